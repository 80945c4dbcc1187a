//! The messages of the generic netlink family `IPVS`, both ways and without a socket.
//!
//! Attributes are read in the manner of netlink-packet: each nest is a list, in the kernel's
//! order, and what is not known is kept as it came. Requests that change the table can be
//! written too, for the lab that sets up directors to observe; the agent sends none of them.

#![warn(clippy::indexing_slicing)]

mod attr;
mod destination;
mod family;
mod service;
mod stats;

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use self::attr::parse_all;
pub use self::{
    attr::Attribute,
    destination::{DestinationAttribute, destination_identity},
    family::FamilyReply,
    service::{
        IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT, ServiceAttribute,
        service_identity,
    },
    stats::{
        Counter, IPVS_STATS_ATTR_CONNS, IPVS_STATS_ATTR_CPS, IPVS_STATS_ATTR_INBPS,
        IPVS_STATS_ATTR_INBYTES, IPVS_STATS_ATTR_INPKTS, IPVS_STATS_ATTR_INPPS,
        IPVS_STATS_ATTR_OUTBPS, IPVS_STATS_ATTR_OUTBYTES, IPVS_STATS_ATTR_OUTPKTS,
        IPVS_STATS_ATTR_OUTPPS, StatsAttribute,
    },
};

/// The name the family is registered under.
pub const IPVS_GENL_NAME: &str = "IPVS";
/// The only version of the family there has been.
pub const IPVS_GENL_VERSION: u8 = 1;

/// Adds a service; also the command of every answer to [`IPVS_CMD_GET_SERVICE`].
pub const IPVS_CMD_NEW_SERVICE: u8 = 1;
/// Removes a service with its destinations.
pub const IPVS_CMD_DEL_SERVICE: u8 = 3;
/// Asks for one service, or with `NLM_F_DUMP` for all.
pub const IPVS_CMD_GET_SERVICE: u8 = 4;
/// Adds a destination; also the command of every answer to [`IPVS_CMD_GET_DEST`].
pub const IPVS_CMD_NEW_DEST: u8 = 5;
/// Changes a destination.
pub const IPVS_CMD_SET_DEST: u8 = 6;
/// Removes a destination.
pub const IPVS_CMD_DEL_DEST: u8 = 7;
/// Asks with `NLM_F_DUMP` for all destinations of one service.
pub const IPVS_CMD_GET_DEST: u8 = 8;
/// Removes all services.
pub const IPVS_CMD_FLUSH: u8 = 17;

/// `AF_INET` as attributes carry it.
pub const AF_INET: u16 = 2;
/// `AF_INET6` as attributes carry it.
pub const AF_INET6: u16 = 10;

/// One message of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One of the `IPVS_CMD_` constants, or a command that this program does not know.
    pub command: u8,
    /// The attributes in the order of the message.
    pub attributes: Vec<Attribute>,
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        IPVS_GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        IPVS_GENL_VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self {
            command: header.cmd,
            attributes: parse_all(payload)?,
        })
    }
}

#[cfg(test)]
mod tests;
