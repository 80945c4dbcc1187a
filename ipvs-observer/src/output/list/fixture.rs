//! A listing that has everything in it, for the tests of every format.

use std::time::Duration;

use crate::{
    ipvs::table::{
        Daemon, DaemonState, Destination, Info, Netmask, Service, Stats, Table, Thresholds,
        Timeouts, Traffic, TrafficRates, Tunnel, TunnelKind,
    },
    model::{
        id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
        listing::{Listing, Setting, Source},
        sample::Timestamp,
    },
};

const PERSISTENT: u32 = 0x1;
const HASHED: u32 = 0x2;
const ONE_PACKET: u32 = 0x4;
const SCHED1: u32 = 0x8;
const SCHED2: u32 = 0x10;
const SCHED3: u32 = 0x20;

/// When the reading began, on `CLOCK_MONOTONIC`.
const BEGAN: Duration = Duration::from_secs(5_000);

/// All kinds of services, servers and counters, as netlink tells them.
pub(in crate::output) fn listing() -> Listing {
    Listing {
        at: Timestamp {
            wall: Duration::new(1_800_000_000, 123_456_789),
            monotonic: BEGAN,
        },
        took: Duration::from_micros(1_500),
        host: "director1".to_owned(),
        kernel: "6.12.1-test".to_owned(),
        netns: None,
        source: Source::Netlink,
        info: Info {
            version: 0x01_02_01,
            connection_table_size: 4096,
        },
        table: Table {
            services: services(),
            torn: false,
        },
        timeouts: Some(Timeouts {
            tcp_s: 900,
            tcp_fin_s: 120,
            udp_s: 300,
        }),
        daemons: Some(daemons()),
        totals: Some(traffic(30, 9_000_000_000, 77, 26_000_000_000_000, 1_000)),
        copied_totals: Some(traffic(27, 123, 78, 26_812, 6_286)),
        settings: [
            ("amemthresh", "1024"),
            ("conn_reuse_mode", "1"),
            ("est_cpulist", "0"),
            ("est_nice", "-7"),
            ("run_estimation", "1"),
            ("sync_threshold", "3\t50"),
        ]
        .map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .into(),
        connections: Some(24),
    }
}

/// The same with as little as a listing can know.
pub(in crate::output) fn least() -> Listing {
    let listing = listing();
    let mut table = listing.table;
    for service in &mut table.services {
        service.flags &= PERSISTENT | ONE_PACKET;
        if !service.is_persistent() {
            (service.timeout_s, service.netmask) = (None, None);
        }
        (service.engine, service.stats) = (None, None);
        for destination in &mut service.destinations {
            (destination.persistent, destination.thresholds) = (None, None);
            (destination.tunnel, destination.stats) = (None, None);
        }
    }
    Listing {
        source: Source::Procfs,
        table,
        timeouts: None,
        daemons: None,
        totals: None,
        copied_totals: None,
        settings: Vec::new(),
        connections: None,
        ..listing
    }
}

fn daemons() -> Vec<Daemon> {
    let master = Daemon {
        state: DaemonState::Master,
        interface: "eth0".to_owned(),
        sync_id: 7,
        sync_maxlen: Some(1472),
        group: Some("224.0.0.81".parse().unwrap()),
        port: Some(8848),
        ttl: Some(1),
    };
    let backup = Daemon {
        state: DaemonState::Backup,
        sync_maxlen: None,
        group: None,
        port: None,
        ttl: None,
        ..master.clone()
    };
    vec![master, backup]
}

fn services() -> Vec<Service> {
    [tcp(), other_protocols(), ipv6_and_marks()].concat()
}

fn tcp() -> Vec<Service> {
    vec![
        Service {
            stats: Some(live(traffic(20, 1 << 33, 77, u64::MAX, 6_164), 250)),
            destinations: vec![
                Destination {
                    active: 1,
                    inactive: 9,
                    stats: Some(live(traffic(10, 5_000_000_000, 39, 1 << 63, 3_108), 260)),
                    ..server("10.1.0.2", 8080)
                },
                Destination {
                    weight: 3,
                    active: 2,
                    inactive: 8,
                    stats: Some(copied(traffic(10, 56, 38, 12_992, 3_056))),
                    ..server("10.1.0.3", 8080)
                },
            ],
            ..service(at(Protocol::TCP, "192.0.2.10", 80), "rr")
        },
        Service {
            flags: HASHED | PERSISTENT,
            timeout_s: Some(360),
            netmask: Some(Netmask::Ipv4([255, 255, 255, 0].into())),
            destinations: vec![
                Destination {
                    method: ForwardingMethod::DirectRoute,
                    weight: 65_535,
                    persistent: Some(5),
                    thresholds: Some(Thresholds {
                        upper: 4_000_000_000,
                        lower: 90,
                    }),
                    ..server("10.1.0.2", 443)
                },
                tunnelled("192.168.0.9", 443, TunnelKind::IpIp, 0, 0),
            ],
            ..service(at(Protocol::TCP, "192.0.2.10", 443), "wrr")
        },
        Service {
            flags: HASHED | SCHED1 | SCHED2,
            destinations: vec![
                tunnelled("10.1.0.2", 8443, TunnelKind::Gue, 6080, 2),
                tunnelled("10.1.0.3", 8443, TunnelKind::Gre, 0, 1),
                tunnelled("10.1.0.4", 8443, TunnelKind::Unknown(9), 0, 0x80),
            ],
            ..service(at(Protocol::TCP, "192.0.2.10", 8443), "sh")
        },
        Service {
            flags: HASHED | SCHED2,
            ..service(at(Protocol::TCP, "192.0.2.10", 9443), "mh")
        },
        Service {
            flags: HASHED | SCHED1 | SCHED3 | 0x8000_0000,
            destinations: vec![Destination {
                method: ForwardingMethod::Local,
                ..server("10.9.9.1", 7000)
            }],
            ..service(at(Protocol::TCP, "10.9.9.1", 7000), "sed")
        },
    ]
}

fn other_protocols() -> Vec<Service> {
    vec![
        Service {
            flags: HASHED | ONE_PACKET,
            destinations: vec![server("10.1.0.2", 53)],
            ..service(at(Protocol::UDP, "192.0.2.10", 53), "rr")
        },
        Service {
            flags: HASHED | PERSISTENT,
            timeout_s: Some(60),
            engine: Some("sip".to_owned()),
            destinations: vec![Destination {
                method: ForwardingMethod::Unknown(6),
                ..server("10.1.0.2", 5060)
            }],
            ..service(at(Protocol::UDP, "192.0.2.10", 5060), "rr")
        },
        Service {
            destinations: vec![server("10.1.0.2", 3868)],
            ..service(at(Protocol::SCTP, "192.0.2.10", 3868), "lc")
        },
    ]
}

fn ipv6_and_marks() -> Vec<Service> {
    vec![
        Service {
            flags: HASHED | PERSISTENT,
            timeout_s: Some(300),
            netmask: Some(Netmask::Ipv6(64)),
            destinations: vec![
                server("fd00:1::2", 8080),
                tunnelled("10.1.0.2", 80, TunnelKind::IpIp, 0, 0),
            ],
            ..service(at(Protocol::TCP, "2001:db8::80", 80), "wlc")
        },
        Service {
            destinations: vec![server("10.1.0.2", 0)],
            ..service(mark(47, AddressFamily::Ipv4), "rr")
        },
        Service {
            destinations: vec![
                server("fd00:1::2", 0),
                tunnelled("10.1.0.2", 0, TunnelKind::IpIp, 0, 0),
            ],
            ..service(mark(47, AddressFamily::Ipv6), "rr")
        },
        Service {
            stats: Some(Stats {
                traffic: traffic(1, 2, 3, 4, 5),
                ..Stats::default()
            }),
            ..service(mark(4_000_000_000, AddressFamily::Ipv4), "nq")
        },
        Service {
            timeout_s: None,
            netmask: None,
            stats: None,
            destinations: vec![Destination {
                persistent: None,
                thresholds: None,
                tunnel: None,
                stats: None,
                ..server("10.1.0.2", 0)
            }],
            ..service(at(Protocol(50), "192.0.2.11", 0), "rr")
        },
    ]
}

fn service(id: ServiceId, scheduler: &str) -> Service {
    Service {
        id,
        scheduler: scheduler.to_owned(),
        flags: HASHED,
        timeout_s: Some(0),
        netmask: Some(match id.family() {
            AddressFamily::Ipv4 => Netmask::Ipv4([255; 4].into()),
            AddressFamily::Ipv6 => Netmask::Ipv6(128),
        }),
        engine: None,
        stats: Some(copied(Traffic::default())),
        destinations: Vec::new(),
    }
}

fn server(address: &str, port: u16) -> Destination {
    Destination {
        id: DestinationId {
            address: address.parse().unwrap(),
            port,
        },
        method: ForwardingMethod::Masquerade,
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
        stats: Some(copied(Traffic::default())),
    }
}

fn tunnelled(address: &str, port: u16, kind: TunnelKind, outer: u16, flags: u16) -> Destination {
    Destination {
        method: ForwardingMethod::Tunnel,
        tunnel: Some(Tunnel {
            kind,
            port: outer,
            flags,
        }),
        ..server(address, port)
    }
}

fn at(protocol: Protocol, address: &str, port: u16) -> ServiceId {
    ServiceId::Address {
        protocol,
        address: address.parse().unwrap(),
        port,
    }
}

fn mark(mark: u32, family: AddressFamily) -> ServiceId {
    ServiceId::FirewallMark { mark, family }
}

const fn traffic(
    connections: u64,
    in_packets: u64,
    out_packets: u64,
    in_bytes: u64,
    out_bytes: u64,
) -> Traffic {
    Traffic {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    }
}

/// Counters as they stood so many microseconds after the reading began, with rates of a window.
fn live(traffic: Traffic, after_us: u64) -> Stats {
    Stats {
        traffic,
        rates: Some(TrafficRates {
            connections: 0.5,
            in_packets: 1_234.567,
            out_packets: 2.4,
            in_bytes: 1e12,
            out_bytes: 243.6,
        }),
        read_at: Some(BEGAN + Duration::from_micros(after_us)),
    }
}

/// The kernel's copy.
fn copied(traffic: Traffic) -> Stats {
    let rates = if traffic == Traffic::default() {
        TrafficRates::default()
    } else {
        TrafficRates {
            connections: 0.0,
            in_packets: 2.0,
            out_packets: 2.0,
            in_bytes: 514.0,
            out_bytes: 121.0,
        }
    };
    Stats {
        traffic,
        rates: Some(rates),
        read_at: None,
    }
}
