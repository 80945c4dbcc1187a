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
        FactsObject, IdentityObject, Pairs, RatesObject, TrafficObject, family_name, nanoseconds,
        time,
    },
    scheduling::flag_names,
};
use crate::{
    ipvs::table::{
        Daemon, DaemonState, Destination, Info, Netmask, Service, Stats, Timeouts, Tunnel,
        TunnelKind,
    },
    model::{
        id::AddressFamily,
        listing::{Listing, Setting, Source},
    },
};

/// The sysctl that is a list even where it reads like a number.
const EST_CPULIST: &str = "est_cpulist";

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
    sysctls: Option<Pairs<&'a str, SysctlObject<'a>>>,
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

#[derive(Serialize)]
#[serde(untagged)]
enum SysctlObject<'a> {
    Integer(i64),
    Text(&'a str),
}

/// The services of a listing, which become objects only as they are written.
struct ServiceObjects<'a>(&'a Listing);

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
struct ServerObjects<'a>(&'a Listing, &'a [Destination]);

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

#[derive(Serialize)]
struct CountersObject {
    #[serde(flatten)]
    traffic: TrafficObject,
    live: bool,
    /// Of live counters.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_after_ns: Option<u64>,
    /// Of copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ns: Option<u64>,
}

impl<'a> ListingObject<'a> {
    fn of(listing: &'a Listing) -> Self {
        let daemons = listing.daemons.as_ref();
        let settings = listing.settings.iter();
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
            sysctls: (!listing.settings.is_empty()).then(|| Pairs(settings.map(sysctl).collect())),
            services: ServiceObjects(listing),
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
        let &Self(listing) = self;
        let services = listing.table.services.iter();
        serializer.collect_seq(services.map(|service| ServiceObject::of(service, listing)))
    }
}

impl<'a> ServiceObject<'a> {
    fn of(service: &'a Service, listing: &'a Listing) -> Self {
        let stats = service.stats.as_ref();
        Self {
            service: service.id.to_string(),
            identity: IdentityObject::of(&service.id),
            scheduler: &service.scheduler,
            flags: FlagsObject::of(service, listing.source),
            timeout_ns: service.timeout_s.map(seconds),
            netmask: service.netmask.map(NetmaskObject::of),
            engine: service.engine.as_deref(),
            stats: stats.map(|stats| StatsObject::of(stats, listing)),
            servers: ServerObjects(listing, &service.destinations),
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
        let &Self(listing, destinations) = self;
        let servers = destinations.iter();
        serializer.collect_seq(servers.map(|destination| ServerObject::of(destination, listing)))
    }
}

impl ServerObject {
    fn of(destination: &Destination, listing: &Listing) -> Self {
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
            stats: stats.map(|stats| StatsObject::of(stats, listing)),
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
    fn of(stats: &Stats, listing: &Listing) -> Self {
        let read_after = stats
            .read_at
            .map(|at| at.saturating_sub(listing.at.monotonic));
        let max_age = match stats.read_at {
            Some(_) => None,
            None => listing.oldest_copy(),
        };
        Self {
            kernel: CountersObject {
                traffic: TrafficObject::of(&stats.traffic),
                live: stats.read_at.is_some(),
                read_after_ns: read_after.map(nanoseconds),
                max_age_ns: max_age.map(nanoseconds),
            },
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

fn sysctl(setting: &Setting) -> (&str, SysctlObject<'_>) {
    let number = setting.value.parse().ok();
    let number = number.filter(|_| setting.name != EST_CPULIST);
    let value = number.map_or(SysctlObject::Text(&setting.value), SysctlObject::Integer);
    (&setting.name, value)
}

pub(super) fn seconds(seconds: u32) -> u64 {
    nanoseconds(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
