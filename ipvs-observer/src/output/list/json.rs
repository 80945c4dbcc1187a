//! One JSON object for each reading.
//!
//! Services and real servers are named as in `top -o json`. They are encoded one after the other: a large table is not in
//! memory twice.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::{
    super::object::{
        CountersObject, FactsObject, IdentityObject, Pairs, RatesObject, SysctlsObject,
        TrafficObject, family_name, nanoseconds, sysctls, time,
    },
    scheduling::flag_names,
};
use crate::{
    ipvs::table::{
        Daemon, DaemonState, Destination, Info, Netmask, Service, Stats, Timeouts, Tunnel,
        TunnelKind,
    },
    model::{
        circumstances::oldest_copy,
        id::AddressFamily,
        listing::{Listing, Source},
        sample::Timestamp,
    },
};

/// `IP_VS_TUNNEL_ENCAP_FLAG_CSUM` of the uapi header `ip_vs.h`.
const IP_VS_TUNNEL_ENCAP_FLAG_CSUM: u16 = 1;
/// `IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`.
const IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: u16 = 2;

/// Writes the listing as one line, in many small pieces.
pub fn encode(listing: &Listing, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &ListingObject::of(listing))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct ListingObject<'a> {
    host: &'a str,
    kernel: &'a str,
    time: String,
    table_took_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    source: &'static str,
    table_torn: bool,
    version: String,
    connection_table_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeouts: Option<Pairs<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemons: Option<Vec<DaemonObject<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<TotalsObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sysctls: Option<SysctlsObject<'a>>,
    services: ServiceObjects<'a>,
}

#[derive(Serialize)]
struct DaemonObject<'a> {
    state: String,
    interface: &'a str,
    sync_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_maxlen: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
}

#[derive(Serialize)]
struct TotalsObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<TrafficObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<TrafficObject>,
}

/// The services of a listing, which become objects only as they are written.
struct ServiceObjects<'a>(&'a [Service], Around);

#[derive(Serialize)]
struct ServiceObject<'a> {
    service: String,
    #[serde(flatten)]
    identity: IdentityObject,
    scheduler: &'a str,
    flags: FlagsObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netmask: Option<NetmaskObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'a str>,
    #[serde(flatten)]
    stats: Option<StatsObject>,
    servers: ServerObjects<'a>,
}

#[derive(Serialize)]
pub(super) struct FlagsObject {
    persistent: bool,
    one_packet: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum NetmaskObject {
    Mask(Ipv4Addr),
    PrefixLength(u32),
}

/// The real servers of a service of a listing, which become objects only as they are written.
struct ServerObjects<'a>(&'a [Destination], Around);

/// What an entry's object takes from its listing.
#[derive(Clone, Copy)]
struct Around {
    source: Source,
    at: Timestamp,
    oldest_copy: Option<Duration>,
}

#[derive(Serialize)]
struct ServerObject {
    address: IpAddr,
    port: u16,
    family: &'static str,
    #[serde(flatten)]
    facts: FactsObject,
    #[serde(flatten)]
    thresholds: Option<ThresholdsObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelObject>,
    #[serde(flatten)]
    stats: Option<StatsObject>,
}

#[derive(Serialize)]
struct ThresholdsObject {
    upper_threshold: u32,
    lower_threshold: u32,
}

#[derive(Serialize)]
pub(super) struct TunnelObject {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    checksum: bool,
    remote_checksum: bool,
    number: u16,
}

#[derive(Serialize)]
struct StatsObject {
    kernel: CountersObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<RatesObject>,
}

impl<'a> ListingObject<'a> {
    fn of(listing: &'a Listing) -> Self {
        let daemons = listing.daemons.as_ref();
        let around = Around {
            source: listing.source,
            at: listing.at,
            oldest_copy: oldest_copy(&listing.settings),
        };
        Self {
            host: &listing.host,
            kernel: &listing.kernel,
            time: time(listing.at),
            table_took_ns: nanoseconds(listing.took),
            netns: listing.netns.as_deref(),
            source: match listing.source {
                Source::Netlink => "netlink",
                Source::Procfs => "procfs",
            },
            table_torn: listing.table.torn,
            version: version(listing.info),
            connection_table_size: listing.info.connection_table_size,
            connections: listing.connections,
            timeouts: listing.timeouts.map(timeouts),
            daemons: daemons.map(|daemons| daemons.iter().map(DaemonObject::of).collect()),
            totals: TotalsObject::of(listing),
            sysctls: sysctls(&listing.settings),
            services: ServiceObjects(&listing.table.services, around),
        }
    }
}

impl TotalsObject {
    fn of(listing: &Listing) -> Option<Self> {
        let (live, copied) = (&listing.totals, &listing.copied_totals);
        (live.is_some() || copied.is_some()).then(|| Self {
            live: live.as_ref().map(TrafficObject::of),
            copied: copied.as_ref().map(TrafficObject::of),
        })
    }
}

impl<'a> DaemonObject<'a> {
    fn of(daemon: &'a Daemon) -> Self {
        Self {
            state: match daemon.state {
                DaemonState::Master => "master".to_owned(),
                DaemonState::Backup => "backup".to_owned(),
                DaemonState::Unknown(number) => format!("state {number}"),
            },
            interface: &daemon.interface,
            sync_id: daemon.sync_id,
            sync_maxlen: daemon.sync_maxlen,
            group: daemon.group,
            port: daemon.port,
            ttl: daemon.ttl,
        }
    }
}

impl Serialize for ServiceObjects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(services, around) = self;
        let services = services.iter();
        serializer.collect_seq(services.map(|service| ServiceObject::of(service, around)))
    }
}

impl<'a> ServiceObject<'a> {
    fn of(service: &'a Service, around: &Around) -> Self {
        let stats = service.stats.as_ref();
        Self {
            service: service.id.to_string(),
            identity: IdentityObject::of(&service.id),
            scheduler: &service.scheduler,
            flags: FlagsObject::of(service, around.source),
            timeout_ns: service.timeout_s.map(seconds),
            netmask: service.netmask.map(NetmaskObject::of),
            engine: service.engine.as_deref(),
            stats: stats.map(|stats| StatsObject::of(stats, around)),
            servers: ServerObjects(&service.destinations, *around),
        }
    }
}

impl FlagsObject {
    pub(super) fn of(service: &Service, source: Source) -> Self {
        let all = source == Source::Netlink;
        Self {
            persistent: service.is_persistent(),
            one_packet: service.is_one_packet(),
            scheduler: all.then(|| flag_names(service).collect()),
            number: all.then_some(service.flags),
        }
    }
}

impl NetmaskObject {
    pub(super) const fn of(netmask: Netmask) -> Self {
        match netmask {
            Netmask::Ipv4(mask) => Self::Mask(mask),
            Netmask::Ipv6(length) => Self::PrefixLength(length),
        }
    }
}

impl Serialize for ServerObjects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(servers, around) = self;
        let servers = servers.iter();
        serializer.collect_seq(servers.map(|destination| ServerObject::of(destination, around)))
    }
}

impl ServerObject {
    fn of(destination: &Destination, around: &Around) -> Self {
        let stats = destination.stats.as_ref();
        Self {
            address: destination.id.address,
            port: destination.id.port,
            family: family_name(AddressFamily::of(destination.id.address)),
            facts: FactsObject::of(destination),
            thresholds: destination.thresholds.map(|thresholds| ThresholdsObject {
                upper_threshold: thresholds.upper,
                lower_threshold: thresholds.lower,
            }),
            tunnel: destination.wrapping().map(TunnelObject::of),
            stats: stats.map(|stats| StatsObject::of(stats, around)),
        }
    }
}

impl TunnelObject {
    pub(super) fn of(tunnel: Tunnel) -> Self {
        Self {
            r#type: match tunnel.kind {
                TunnelKind::IpIp => "ipip".to_owned(),
                TunnelKind::Gue => "gue".to_owned(),
                TunnelKind::Gre => "gre".to_owned(),
                TunnelKind::Unknown(number) => format!("type {number}"),
            },
            port: (tunnel.kind == TunnelKind::Gue).then_some(tunnel.port),
            checksum: tunnel.flags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM != 0,
            remote_checksum: tunnel.flags & IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM != 0,
            number: tunnel.flags,
        }
    }
}

impl StatsObject {
    fn of(stats: &Stats, around: &Around) -> Self {
        let Around {
            at, oldest_copy, ..
        } = *around;
        Self {
            kernel: CountersObject::of(&stats.traffic, stats.read_at, at, oldest_copy),
            rates: stats.rates.as_ref().map(RatesObject::of_table),
        }
    }
}

fn version(info: Info) -> String {
    let [_, major, minor, patch] = info.version.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

fn timeouts(timeouts: Timeouts) -> Pairs<&'static str, u64> {
    Pairs(vec![
        ("tcp_ns", seconds(timeouts.tcp_s)),
        ("tcp_fin_ns", seconds(timeouts.tcp_fin_s)),
        ("udp_ns", seconds(timeouts.udp_s)),
    ])
}

pub(super) fn seconds(seconds: u32) -> u64 {
    nanoseconds(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
