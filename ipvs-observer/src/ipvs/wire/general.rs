//! Answers that are about IPVS as a whole: its size, its timeouts and its synchronisation.

use std::net::IpAddr;

use super::{
    attr::Nest,
    read::{Attributes, Field, WireError},
};
use crate::ipvs::table::{Daemon, DaemonState, Info, Timeouts};

const IPVS_INFO_ATTR_VERSION: u16 = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;

const IPVS_DAEMON_ATTR_STATE: u16 = 1;
const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;
const IPVS_DAEMON_ATTR_SYNC_MAXLEN: u16 = 4;
const IPVS_DAEMON_ATTR_MCAST_GROUP: u16 = 5;
const IPVS_DAEMON_ATTR_MCAST_GROUP6: u16 = 6;
const IPVS_DAEMON_ATTR_MCAST_PORT: u16 = 7;
const IPVS_DAEMON_ATTR_MCAST_TTL: u16 = 8;

/// Reads an answer to `IPVS_CMD_GET_INFO`.
pub fn info(answer: &[u8]) -> Result<Info, WireError> {
    let mut version = Field::<u32>::new("IPVS_INFO_ATTR_VERSION");
    let mut connection_table_size = Field::<u32>::new("IPVS_INFO_ATTR_CONN_TAB_SIZE");
    for attribute in Attributes::new(answer, "IPVS_CMD_SET_INFO") {
        let (kind, value) = attribute?;
        match kind {
            IPVS_INFO_ATTR_VERSION => version.read(value)?,
            IPVS_INFO_ATTR_CONN_TAB_SIZE => connection_table_size.read(value)?,
            _ => {}
        }
    }
    Ok(Info {
        version: version.needed()?,
        connection_table_size: connection_table_size.needed()?,
    })
}

/// Reads an answer to `IPVS_CMD_GET_CONFIG`.
pub fn timeouts(answer: &[u8]) -> Result<Timeouts, WireError> {
    let mut tcp_s = Field::<u32>::new("IPVS_CMD_ATTR_TIMEOUT_TCP");
    let mut tcp_fin_s = Field::<u32>::new("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN");
    let mut udp_s = Field::<u32>::new("IPVS_CMD_ATTR_TIMEOUT_UDP");
    for attribute in Attributes::new(answer, "IPVS_CMD_SET_CONFIG") {
        let (kind, value) = attribute?;
        match kind {
            IPVS_CMD_ATTR_TIMEOUT_TCP => tcp_s.read(value)?,
            IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => tcp_fin_s.read(value)?,
            IPVS_CMD_ATTR_TIMEOUT_UDP => udp_s.read(value)?,
            _ => {}
        }
    }
    Ok(Timeouts {
        tcp_s: tcp_s.needed()?,
        tcp_fin_s: tcp_fin_s.needed()?,
        udp_s: udp_s.needed()?,
    })
}

/// Reads an answer to `IPVS_CMD_GET_DAEMON`; what follows the sync id is there since 4.3.
pub fn daemon(answer: &[u8]) -> Result<Daemon, WireError> {
    let mut state = Field::<u32>::new("IPVS_DAEMON_ATTR_STATE");
    let mut interface = Field::<&str>::new("IPVS_DAEMON_ATTR_MCAST_IFN");
    let mut sync_id = Field::<u32>::new("IPVS_DAEMON_ATTR_SYNC_ID");
    let mut sync_maxlen = Field::<u16>::new("IPVS_DAEMON_ATTR_SYNC_MAXLEN");
    let mut group = Field::<[u8; 4]>::new("IPVS_DAEMON_ATTR_MCAST_GROUP");
    let mut group6 = Field::<[u8; 16]>::new("IPVS_DAEMON_ATTR_MCAST_GROUP6");
    // The one port of the family that is in host order.
    let mut port = Field::<u16>::new("IPVS_DAEMON_ATTR_MCAST_PORT");
    let mut ttl = Field::<u8>::new("IPVS_DAEMON_ATTR_MCAST_TTL");
    for attribute in Nest::Daemon.open(answer)? {
        let (kind, value) = attribute?;
        match kind {
            IPVS_DAEMON_ATTR_STATE => state.read(value)?,
            IPVS_DAEMON_ATTR_MCAST_IFN => interface.read(value)?,
            IPVS_DAEMON_ATTR_SYNC_ID => sync_id.read(value)?,
            IPVS_DAEMON_ATTR_SYNC_MAXLEN => sync_maxlen.read(value)?,
            IPVS_DAEMON_ATTR_MCAST_GROUP => group.read(value)?,
            IPVS_DAEMON_ATTR_MCAST_GROUP6 => group6.read(value)?,
            IPVS_DAEMON_ATTR_MCAST_PORT => port.read(value)?,
            IPVS_DAEMON_ATTR_MCAST_TTL => ttl.read(value)?,
            _ => {}
        }
    }
    let group = match (group.optional(), group6.optional()) {
        (group, None) => group.map(IpAddr::from),
        (None, Some(group)) => Some(group.into()),
        (Some(_), Some(_)) => {
            return Err(WireError::Excluded {
                attribute: "IPVS_DAEMON_ATTR_MCAST_GROUP6",
                other: "IPVS_DAEMON_ATTR_MCAST_GROUP",
            });
        }
    };
    Ok(Daemon {
        state: match state.needed()? {
            1 => DaemonState::Master,
            2 => DaemonState::Backup,
            other => DaemonState::Unknown(other),
        },
        interface: interface.needed()?.to_owned(),
        sync_id: sync_id.needed()?,
        sync_maxlen: sync_maxlen.optional(),
        group,
        port: port.optional(),
        ttl: ttl.optional(),
    })
}

#[cfg(test)]
mod tests;
