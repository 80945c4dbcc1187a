//! The table of virtual services and real servers, made of messages.
//!
//! Pure: which messages there are, and when to ask again, is [`super::netlink`]'s affair.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use thiserror::Error;

use super::wire::{
    AF_INET, AF_INET6, Attribute, DestinationAttribute, IP_VS_SVC_F_ONEPACKET,
    IP_VS_SVC_F_PERSISTENT, IPVS_STATS_ATTR_CONNS, IPVS_STATS_ATTR_INBYTES, IPVS_STATS_ATTR_INPKTS,
    IPVS_STATS_ATTR_OUTBYTES, IPVS_STATS_ATTR_OUTPKTS, Message, ServiceAttribute, StatsAttribute,
};
use crate::model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId};

/// All services of a network namespace with their real servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The services in the kernel's order, each once.
    pub services: Vec<Service>,
    /// Whether the table changed under every attempt to read it, so that entries may be
    /// missing or outdated.
    pub torn: bool,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What identifies it.
    pub id: ServiceId,
    /// The kernel's name of the algorithm that chooses a real server.
    pub scheduler: String,
    /// All `IP_VS_SVC_F_` bits, known or not.
    pub flags: u32,
    /// How long a client is remembered, where [`Service::is_persistent`] says that it is.
    pub timeout_s: Option<u32>,
    /// Which clients count as one, where they are remembered.
    pub netmask: Option<Netmask>,
    /// The engine that looks into the payload to tell clients apart, where one is set.
    pub engine: Option<String>,
    /// What went through the service; absent if the kernel did not say.
    pub stats: Option<Stats>,
    /// Its real servers in the kernel's order, each once.
    pub destinations: Vec<Destination>,
}

impl Service {
    /// Whether every packet is scheduled by itself.
    pub const fn is_one_packet(&self) -> bool {
        self.flags & IP_VS_SVC_F_ONEPACKET != 0
    }

    /// Whether connections of one client stay with one real server.
    pub const fn is_persistent(&self) -> bool {
        self.flags & IP_VS_SVC_F_PERSISTENT != 0
    }
}

/// The part of a client's address that persistence looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// A mask, which the kernel does not require to be contiguous.
    Ipv4(Ipv4Addr),
    /// A prefix length.
    Ipv6(u32),
}

/// A real server of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Destination {
    /// What identifies it under its service.
    pub id: DestinationId,
    /// How packets get to it.
    pub method: ForwardingMethod,
    /// Its share of new connections; 0 gives it none.
    pub weight: u32,
    /// Connections in an established state.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    /// Clients that are remembered; absent if the source does not say.
    pub persistent: Option<u32>,
    /// When it is given no more connections; absent if the source does not say.
    pub thresholds: Option<Thresholds>,
    /// How packets are wrapped; absent if the kernel or the source does not say.
    pub tunnel: Option<Tunnel>,
    /// What went through it; absent if the kernel did not say.
    pub stats: Option<Stats>,
}

/// Limits on the connections of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Connections at which it is given no more; 0 is no limit.
    pub upper: u32,
    /// Connections below which it is given some again.
    pub lower: u32,
}

/// How packets to a real server of [`ForwardingMethod::Tunnel`] are wrapped; the kernel says it of every real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The outer protocol.
    pub kind: TunnelKind,
    /// The UDP port of [`TunnelKind::Gue`].
    pub port: u16,
    /// `IP_VS_TUNNEL_ENCAP_FLAG_` bits.
    pub flags: u16,
}

/// `IP_VS_CONN_F_TUNNEL_TYPE_` of the uapi header `ip_vs.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// IP in IP.
    IpIp,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
    /// A kind that this program does not know.
    Unknown(u8),
}

/// The counters of a service or real server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Totals since the entry was made or its counters were zeroed.
    pub traffic: Traffic,
    /// Rates: the kernel's own, which it smooths over about 8 s, or with [`Stats::read_at`] those of the window measured.
    /// Absent if they are not known.
    pub rates: Option<TrafficRates>,
    /// When the kernel's live counters were read, on `CLOCK_MONOTONIC`; absent for the copy that the kernel makes every 2 s.
    pub read_at: Option<Duration>,
}

/// Counts of connections, packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients, as the kernel counts them: after receive offload.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

/// Counters as they stand, and when they were read on `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The counters.
    pub traffic: Traffic,
    /// The time.
    pub read_at: Duration,
}

/// [`Traffic`] per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficRates {
    /// Connections scheduled per second.
    pub connections: f64,
    /// Packets per second from clients.
    pub in_packets: f64,
    /// Packets per second to clients.
    pub out_packets: f64,
    /// Bytes per second from clients.
    pub in_bytes: f64,
    /// Bytes per second to clients.
    pub out_bytes: f64,
}

/// What IPVS says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// `NVERSION(major, minor, patch)` of `include/net/ip_vs.h`: a byte each.
    pub version: u32,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// How long connections are kept while nothing passes, as `ipvsadm --set` sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Of established TCP connections.
    pub tcp_s: u32,
    /// Of TCP connections after a FIN.
    pub tcp_fin_s: u32,
    /// Of UDP.
    pub udp_s: u32,
}

/// A thread that exchanges connections with other directors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What it does.
    pub state: DaemonState,
    /// The interface it multicasts through.
    pub interface: String,
    /// Which directors belong together.
    pub sync_id: u32,
    /// Longest message in bytes; absent if the kernel does not say.
    pub sync_maxlen: Option<u16>,
    /// The multicast group; absent if the kernel does not say.
    pub group: Option<IpAddr>,
    /// The UDP port; absent if the kernel does not say.
    pub port: Option<u16>,
    /// Hops of the messages; absent if the kernel does not say.
    pub ttl: Option<u8>,
}

/// `IP_VS_STATE_` of the uapi header `ip_vs.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonState {
    /// Sends.
    Master,
    /// Receives.
    Backup,
    /// A state that this program does not know.
    Unknown(u32),
}

/// A message that does not describe what it should.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// The attribute that gives the message its sense is not there.
    #[error("an IPVS {entry} came without {attribute}")]
    Missing {
        /// `service` or `destination`.
        entry: &'static str,
        /// The kernel's name of the attribute.
        attribute: &'static str,
    },
    /// The addresses cannot be read.
    #[error("an IPVS entry came with the unknown address family {0}")]
    Family(u16),
}

/// Reads one answer to `IPVS_CMD_GET_SERVICE`.
pub fn service(message: &Message) -> Result<Service, TableError> {
    let attributes = message.attributes.iter().find_map(|attribute| {
        if let Attribute::Service(attributes) = attribute {
            Some(attributes)
        } else {
            None
        }
    });
    let missing = |attribute| TableError::Missing {
        entry: "service",
        attribute,
    };
    let attributes = attributes.ok_or_else(|| missing("IPVS_CMD_ATTR_SERVICE"))?;

    let mut raw_family = None;
    let mut protocol = None;
    let mut raw_address = None;
    let mut port = None;
    let mut mark = None;
    let mut scheduler = None;
    let mut flags = 0;
    let mut timeout_s = 0;
    let mut raw_netmask = [0; 4];
    let mut engine = None;
    let mut stats = StatsNests::default();
    for attribute in attributes {
        match attribute {
            ServiceAttribute::Family(value) => raw_family = Some(*value),
            ServiceAttribute::Protocol(value) => protocol = Some(Protocol(*value)),
            ServiceAttribute::Address(value) => raw_address = Some(*value),
            ServiceAttribute::Port(value) => port = Some(*value),
            ServiceAttribute::FirewallMark(value) => mark = Some(*value),
            ServiceAttribute::Scheduler(value) => scheduler = Some(value.clone()),
            ServiceAttribute::Flags { flags: value, .. } => flags = *value,
            ServiceAttribute::Timeout(value) => timeout_s = *value,
            ServiceAttribute::Netmask(value) => raw_netmask = *value,
            ServiceAttribute::PersistenceEngine(value) => engine = Some(value.clone()),
            ServiceAttribute::Stats(value) => stats.narrow = Some(value),
            ServiceAttribute::Stats64(value) => stats.wide = Some(value),
            ServiceAttribute::Other(_) => {}
        }
    }

    let family = family(raw_family.ok_or_else(|| missing("IPVS_SVC_ATTR_AF"))?)?;
    let id = match mark {
        Some(mark) => ServiceId::FirewallMark { mark, family },
        None => ServiceId::Address {
            protocol: protocol.ok_or_else(|| missing("IPVS_SVC_ATTR_PROTOCOL"))?,
            address: address(
                family,
                raw_address.ok_or_else(|| missing("IPVS_SVC_ATTR_ADDR"))?,
            ),
            port: port.ok_or_else(|| missing("IPVS_SVC_ATTR_PORT"))?,
        },
    };
    let netmask = match family {
        AddressFamily::Ipv4 => Netmask::Ipv4(raw_netmask.into()),
        AddressFamily::Ipv6 => Netmask::Ipv6(prefix_length(raw_netmask)),
    };
    Ok(Service {
        id,
        scheduler: scheduler.ok_or_else(|| missing("IPVS_SVC_ATTR_SCHED_NAME"))?,
        flags,
        timeout_s: Some(timeout_s),
        netmask: Some(netmask),
        engine,
        stats: stats.read(),
        destinations: Vec::new(),
    })
}

/// Reads one answer to `IPVS_CMD_GET_DEST` for a service of `service_family`.
pub fn destination(
    message: &Message,
    service_family: AddressFamily,
) -> Result<Destination, TableError> {
    let attributes = message.attributes.iter().find_map(|attribute| {
        if let Attribute::Destination(attributes) = attribute {
            Some(attributes)
        } else {
            None
        }
    });
    let missing = |attribute| TableError::Missing {
        entry: "destination",
        attribute,
    };
    let attributes = attributes.ok_or_else(|| missing("IPVS_CMD_ATTR_DEST"))?;

    let mut raw_family = None;
    let mut raw_address = None;
    let mut port = None;
    let mut method = None;
    let mut weight = None;
    let mut stats = StatsNests::default();
    let [mut active, mut inactive, mut persistent] = [0; 3];
    let [mut upper_threshold, mut lower_threshold] = [0; 2];
    for attribute in attributes {
        match attribute {
            DestinationAttribute::Family(value) => raw_family = Some(*value),
            DestinationAttribute::Address(value) => raw_address = Some(*value),
            DestinationAttribute::Port(value) => port = Some(*value),
            DestinationAttribute::ForwardingMethod(value) => method = Some(*value),
            DestinationAttribute::Weight(value) => weight = Some(*value),
            DestinationAttribute::UpperThreshold(value) => upper_threshold = *value,
            DestinationAttribute::LowerThreshold(value) => lower_threshold = *value,
            DestinationAttribute::ActiveConnections(value) => active = *value,
            DestinationAttribute::InactiveConnections(value) => inactive = *value,
            DestinationAttribute::PersistentConnections(value) => persistent = *value,
            DestinationAttribute::Stats(value) => stats.narrow = Some(value),
            DestinationAttribute::Stats64(value) => stats.wide = Some(value),
            DestinationAttribute::TunnelType(_)
            | DestinationAttribute::TunnelPort(_)
            | DestinationAttribute::TunnelFlags(_)
            | DestinationAttribute::Other(_) => {}
        }
    }

    let family = match raw_family {
        Some(raw) => family(raw)?,
        None => service_family,
    };
    let id = DestinationId {
        address: address(
            family,
            raw_address.ok_or_else(|| missing("IPVS_DEST_ATTR_ADDR"))?,
        ),
        port: port.ok_or_else(|| missing("IPVS_DEST_ATTR_PORT"))?,
    };
    Ok(Destination {
        id,
        method: method.ok_or_else(|| missing("IPVS_DEST_ATTR_FWD_METHOD"))?,
        weight: weight.ok_or_else(|| missing("IPVS_DEST_ATTR_WEIGHT"))?,
        active,
        inactive,
        persistent: Some(persistent),
        thresholds: Some(Thresholds {
            upper: upper_threshold,
            lower: lower_threshold,
        }),
        tunnel: None,
        stats: stats.read(),
    })
}

/// The statistics nests of an entry, of which kernels since 4.1 send both.
#[derive(Default)]
struct StatsNests<'a> {
    narrow: Option<&'a [StatsAttribute]>,
    wide: Option<&'a [StatsAttribute]>,
}

impl StatsNests<'_> {
    fn read(&self) -> Option<Stats> {
        let mut traffic = Traffic::default();
        for attribute in self.wide.or(self.narrow)? {
            let StatsAttribute::Counter { kind, value } = attribute else {
                continue;
            };
            let slot = match *kind {
                IPVS_STATS_ATTR_CONNS => &mut traffic.connections,
                IPVS_STATS_ATTR_INPKTS => &mut traffic.in_packets,
                IPVS_STATS_ATTR_OUTPKTS => &mut traffic.out_packets,
                IPVS_STATS_ATTR_INBYTES => &mut traffic.in_bytes,
                IPVS_STATS_ATTR_OUTBYTES => &mut traffic.out_bytes,
                _ => continue,
            };
            *slot = (*value).into();
        }
        Some(Stats {
            traffic,
            rates: None,
            read_at: None,
        })
    }
}

fn family(raw: u16) -> Result<AddressFamily, TableError> {
    match raw {
        AF_INET => Ok(AddressFamily::Ipv4),
        AF_INET6 => Ok(AddressFamily::Ipv6),
        other => Err(TableError::Family(other)),
    }
}

fn address(family: AddressFamily, raw: [u8; 16]) -> IpAddr {
    match (family, raw) {
        (AddressFamily::Ipv4, [a, b, c, d, ..]) => Ipv4Addr::new(a, b, c, d).into(),
        (AddressFamily::Ipv6, raw) => Ipv6Addr::from(raw).into(),
    }
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel stores the prefix length of IPv6 in host order where the mask of IPv4 is"
)]
fn prefix_length(raw: [u8; 4]) -> u32 {
    u32::from_ne_bytes(raw)
}

#[cfg(test)]
mod tests;
