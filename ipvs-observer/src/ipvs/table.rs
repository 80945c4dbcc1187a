//! What IPVS says of itself: services and real servers, their counters, and IPVS as a whole.
//!
//! Plain data. How it is read from messages is [`super::wire`]'s affair, and when to ask for them
//! [`super::netlink`]'s.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::wire::{IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT};
use crate::model::id::{DestinationId, ForwardingMethod, ServiceId};

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

    /// Whether `other` is the same service with the same settings, whatever went through it and
    /// to whom.
    pub fn is_defined_as(&self, other: &Self) -> bool {
        self.id == other.id
            && self.scheduler == other.scheduler
            && self.flags == other.flags
            && self.timeout_s == other.timeout_s
            && self.netmask == other.netmask
            && self.engine == other.engine
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

impl Destination {
    /// How packets to it are wrapped, if they are and it is known.
    pub fn wrapping(&self) -> Option<Tunnel> {
        self.tunnel
            .filter(|_| self.method == ForwardingMethod::Tunnel)
    }
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

/// The kernel's live counters of an entry, which it copies for netlink every 2 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Totals since the entry was made; zeroing does not touch them.
    pub traffic: Traffic,
    /// When they were read, on `CLOCK_MONOTONIC`.
    pub read_at: Duration,
}

impl From<Live> for Stats {
    /// Live counters have no rates until two readings are compared.
    fn from(live: Live) -> Self {
        Self {
            traffic: live.traffic,
            rates: None,
            read_at: Some(live.read_at),
        }
    }
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
