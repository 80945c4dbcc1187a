//! The JSON objects that more than one output prints: who a service is, its counters and rates, names that are data.
//!
//! What only one output has stands with that output; what is not known is left out in all of them.

use std::{net::IpAddr, time::Duration};

use serde::{Serialize, Serializer};

use crate::{
    ipvs::table::{Destination, Traffic, TrafficRates},
    model::{
        id::{AddressFamily, Netns, ServiceId},
        listing::Setting,
        memory::Memory,
        rates::Rates,
        sample::Timestamp,
        snapshot::Snapshot,
    },
};

/// The sysctl that is a list even where it reads like a number.
const EST_CPULIST: &str = "est_cpulist";

/// What identifies a virtual service.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum IdentityObject {
    Address {
        protocol: String,
        address: IpAddr,
        port: u16,
    },
    FirewallMark {
        firewall_mark: u32,
        family: &'static str,
    },
}

impl IdentityObject {
    pub(super) fn of(id: &ServiceId) -> Self {
        match *id {
            ServiceId::Address {
                protocol,
                address,
                port,
            } => Self::Address {
                protocol: protocol.to_string(),
                address,
                port,
            },
            ServiceId::FirewallMark { mark, family } => Self::FirewallMark {
                firewall_mark: mark,
                family: family_name(family),
            },
        }
    }
}

/// The network namespace of a service, where several are observed.
#[derive(Serialize)]
pub(super) struct NetnsObject {
    netns_inode: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns_name: Option<String>,
}

impl NetnsObject {
    /// Nothing where one namespace is observed.
    pub(super) fn of(netns: Netns, snapshot: &Snapshot) -> Option<Self> {
        let namespace = snapshot.namespaces.get(&netns);
        snapshot.run.all_netns.then(|| Self {
            netns_inode: netns.0,
            netns_name: namespace.and_then(|namespace| namespace.name.clone()),
        })
    }
}

/// What IPVS says of a real server besides its counters.
#[derive(Serialize)]
pub(super) struct FactsObject {
    method: String,
    weight: u32,
    active: u32,
    inactive: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistent: Option<u32>,
}

impl FactsObject {
    pub(super) fn of(destination: &Destination) -> Self {
        Self {
            method: destination.method.to_string(),
            weight: destination.weight,
            active: destination.active,
            inactive: destination.inactive,
            persistent: destination.persistent,
        }
    }
}

/// The kernel's counters.
#[derive(Serialize)]
pub(super) struct TrafficObject {
    connections: u64,
    in_packets: u64,
    out_packets: u64,
    in_bytes: u64,
    out_bytes: u64,
}

impl TrafficObject {
    pub(super) const fn of(traffic: &Traffic) -> Self {
        Self {
            connections: traffic.connections,
            in_packets: traffic.in_packets,
            out_packets: traffic.out_packets,
            in_bytes: traffic.in_bytes,
            out_bytes: traffic.out_bytes,
        }
    }
}

/// The kernel's counters of an entry, and how fresh they are.
#[derive(Serialize)]
pub(super) struct CountersObject {
    #[serde(flatten)]
    traffic: TrafficObject,
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_after_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ns: Option<u64>,
}

impl CountersObject {
    /// Live counters were `read_at` some time, others are copies, the `oldest_copy` so old; `time` is the object's.
    pub(super) fn of(
        traffic: &Traffic,
        read_at: Option<Duration>,
        time: Timestamp,
        oldest_copy: Option<Duration>,
    ) -> Self {
        let oldest_copy = oldest_copy.filter(|_| read_at.is_none());
        Self {
            traffic: TrafficObject::of(traffic),
            live: read_at.is_some(),
            read_after_ns: read_at.map(|read_at| difference_ns(read_at, time.monotonic)),
            max_age_ns: oldest_copy.map(nanoseconds),
        }
    }
}

/// What the maps hold and take.
#[derive(Serialize)]
pub(super) struct MemoryObject {
    bytes: u64,
    partitions: u32,
    grouping_bits: u32,
    slots: u32,
    max_slots: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots_used: Option<u32>,
    connections: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_used: Option<u64>,
}

impl MemoryObject {
    pub(super) fn of(memory: &Memory) -> Self {
        Self {
            bytes: memory.bytes(),
            partitions: memory.partitions,
            grouping_bits: memory.grouping_bits,
            slots: memory.slots,
            max_slots: memory.max_slots,
            slots_used: memory.records_used.map(|_| memory.slots_used),
            connections: memory.connections,
            records_used: memory.records_used,
        }
    }
}

/// Rates per second.
#[derive(Serialize)]
pub(super) struct RatesObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_per_s: Option<f64>,
    #[serde(flatten)]
    packets: Option<PacketRatesObject>,
}

#[derive(Serialize)]
struct PacketRatesObject {
    in_packets_per_s: f64,
    out_packets_per_s: f64,
    in_bytes_per_s: f64,
    out_bytes_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ns: Option<u64>,
}

impl RatesObject {
    /// Rates of a window: connections as the programs count them, the rest of the kernel's newest copies.
    pub(super) fn of_window(connections_per_s: Option<f64>, packets: Option<&Rates>) -> Self {
        let packets = packets.map(|rates| PacketRatesObject {
            in_packets_per_s: rates.in_packets,
            out_packets_per_s: rates.out_packets,
            in_bytes_per_s: rates.in_bytes,
            out_bytes_per_s: rates.out_bytes,
            age_ns: Some(nanoseconds(rates.age)),
        });
        Self {
            connections_per_s,
            packets,
        }
    }

    /// Rates of a table.
    pub(super) const fn of_table(rates: &TrafficRates) -> Self {
        Self {
            connections_per_s: Some(rates.connections),
            packets: Some(PacketRatesObject {
                in_packets_per_s: rates.in_packets,
                out_packets_per_s: rates.out_packets,
                in_bytes_per_s: rates.in_bytes,
                out_bytes_per_s: rates.out_bytes,
                age_ns: None,
            }),
        }
    }
}

/// An object whose names are data, in the order given.
pub(super) struct Pairs<K, V>(pub(super) Vec<(K, V)>);

impl<K, V> Pairs<K, V> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Pairs<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

pub(super) type SysctlsObject<'a> = Pairs<&'a str, SysctlObject<'a>>;

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum SysctlObject<'a> {
    Integer(i64),
    Text(&'a str),
}

/// Nothing if none is known.
pub(super) fn sysctls(settings: &[Setting]) -> Option<SysctlsObject<'_>> {
    let pairs = settings
        .iter()
        .map(|setting| (setting.name.as_str(), sysctl(setting)));
    (!settings.is_empty()).then(|| Pairs(pairs.collect()))
}

fn sysctl(setting: &Setting) -> SysctlObject<'_> {
    let number = setting.value.parse().ok();
    let number = number.filter(|_| setting.name != EST_CPULIST);
    number.map_or(SysctlObject::Text(&setting.value), SysctlObject::Integer)
}

pub(super) const fn family_name(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::Ipv4 => "ipv4",
        AddressFamily::Ipv6 => "ipv6",
    }
}

pub(super) fn time(at: Timestamp) -> String {
    humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + at.wall).to_string()
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn difference_ns(later: Duration, earlier: Duration) -> i64 {
    let signed = |duration| i64::try_from(nanoseconds(duration)).unwrap_or(i64::MAX);
    signed(later.saturating_sub(earlier)) - signed(earlier.saturating_sub(later))
}
