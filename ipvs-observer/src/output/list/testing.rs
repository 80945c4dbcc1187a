//! Listings, services and real servers as netlink tells them, made by hand for the tests of every form.

use std::time::Duration;

use crate::{
    ipvs::{
        table::{
            Destination, Info, Netmask, Service, Stats, Table, Thresholds, Traffic, TrafficRates,
            Tunnel, TunnelKind,
        },
        wire::IP_VS_SVC_F_HASHED,
    },
    model::{
        id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
        listing::{Listing, Source},
        sample::Timestamp,
    },
};

/// A listing that has only a table.
pub(super) fn listing(services: Vec<Service>) -> Listing {
    Listing {
        at: Timestamp {
            wall: Duration::ZERO,
            monotonic: Duration::ZERO,
        },
        took: Duration::ZERO,
        host: String::new(),
        kernel: String::new(),
        netns: None,
        source: Source::Netlink,
        info: Info {
            version: 0x01_02_01,
            connection_table_size: 4096,
        },
        table: Table {
            services,
            torn: false,
        },
        timeouts: None,
        daemons: None,
        totals: None,
        copied_totals: None,
        settings: Vec::new(),
        connections: None,
    }
}

/// A service with an address: `TCP`, `192.0.2.10:80`.
pub(super) fn service(
    protocol: Protocol,
    endpoint: &str,
    scheduler: &str,
    destinations: Vec<Destination>,
) -> Service {
    let DestinationId { address, port } = id(endpoint);
    let id = ServiceId::Address {
        protocol,
        address,
        port,
    };
    any_service(id, scheduler, destinations)
}

/// A service with a mark.
pub(super) fn marked(
    mark: u32,
    family: AddressFamily,
    scheduler: &str,
    destinations: Vec<Destination>,
) -> Service {
    any_service(
        ServiceId::FirewallMark { mark, family },
        scheduler,
        destinations,
    )
}

fn any_service(id: ServiceId, scheduler: &str, destinations: Vec<Destination>) -> Service {
    Service {
        id,
        scheduler: scheduler.to_owned(),
        flags: IP_VS_SVC_F_HASHED,
        timeout_s: Some(0),
        netmask: Some(match id.family() {
            AddressFamily::Ipv4 => Netmask::Ipv4([255; 4].into()),
            AddressFamily::Ipv6 => Netmask::Ipv6(128),
        }),
        engine: None,
        stats: Some(stats([0; 5], [0.0; 5])),
        destinations,
    }
}

/// A real server of weight 1 without connections or thresholds.
pub(super) fn destination(endpoint: &str, method: ForwardingMethod) -> Destination {
    Destination {
        id: id(endpoint),
        method,
        weight: 1,
        active: 0,
        inactive: 0,
        persistent: Some(0),
        thresholds: Some(Thresholds::default()),
        tunnel: Some(Tunnel {
            kind: TunnelKind::IpIp,
            port: 0,
            flags: 0,
        }),
        stats: Some(stats([0; 5], [0.0; 5])),
    }
}

fn id(endpoint: &str) -> DestinationId {
    let endpoint: std::net::SocketAddr = endpoint.parse().unwrap();
    DestinationId {
        address: endpoint.ip(),
        port: endpoint.port(),
    }
}

/// Counters and rates in the order of the columns.
pub(super) fn stats(totals: [u64; 5], per_second: [f64; 5]) -> Stats {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = per_second;
    let rates = Some(TrafficRates {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    });
    Stats {
        traffic: traffic(totals),
        rates,
        read_at: None,
    }
}

/// Counters in the order of the columns.
pub(super) const fn traffic(totals: [u64; 5]) -> Traffic {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = totals;
    Traffic {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    }
}

/// What an encoder writes.
pub(super) fn written(encode: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    encode(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}
