//! A listing that has everything in it, for the tests of every format.

use std::time::Duration;

use super::testing::{self, destination, marked, service, stats, traffic};
use crate::{
    ipvs::{
        table::{
            Daemon, DaemonState, Destination, Netmask, Service, Stats, Thresholds, Timeouts,
            Tunnel, TunnelKind,
        },
        wire::{IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT},
    },
    model::{
        id::{AddressFamily, ForwardingMethod, Protocol},
        listing::{Listing, Setting, Source},
        sample::Timestamp,
    },
};

const PERSISTENT: u32 = IP_VS_SVC_F_HASHED | IP_VS_SVC_F_PERSISTENT;
const SCHED1: u32 = 0x8;
const SCHED2: u32 = 0x10;
const SCHED3: u32 = 0x20;

/// When the reading began, on `CLOCK_MONOTONIC`.
const BEGAN: Duration = Duration::from_secs(5_000);

/// All kinds of services, servers and counters, as netlink tells them.
pub(crate) fn listing() -> Listing {
    Listing {
        at: Timestamp {
            wall: Duration::new(1_800_000_000, 123_456_789),
            monotonic: BEGAN,
        },
        took: Duration::from_micros(1_500),
        host: "director1".to_owned(),
        kernel: "6.12.1-test".to_owned(),
        timeouts: Some(Timeouts {
            tcp_s: 900,
            tcp_fin_s: 120,
            udp_s: 300,
        }),
        daemons: Some(daemons()),
        totals: Some(traffic([30, 9_000_000_000, 77, 26_000_000_000_000, 1_000])),
        copied_totals: Some(traffic([27, 123, 78, 26_812, 6_286])),
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
        ..testing::listing(services())
    }
}

/// The same with as little as a listing can know.
pub(in crate::output) fn least() -> Listing {
    let whole = listing();
    let mut services = whole.table.services;
    for service in &mut services {
        service.flags &= IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_ONEPACKET;
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
        at: whole.at,
        took: whole.took,
        host: whole.host,
        kernel: whole.kernel,
        source: Source::Procfs,
        ..testing::listing(services)
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
    let tcp = |endpoint, scheduler, servers| service(Protocol::TCP, endpoint, scheduler, servers);
    let busy = vec![
        Destination {
            active: 1,
            inactive: 9,
            stats: Some(live([10, 5_000_000_000, 39, 1 << 63, 3_108], 260)),
            ..server("10.1.0.2:8080")
        },
        Destination {
            weight: 3,
            active: 2,
            inactive: 8,
            stats: Some(copied([10, 56, 38, 12_992, 3_056])),
            ..server("10.1.0.3:8080")
        },
    ];
    let limited = Destination {
        method: ForwardingMethod::DirectRoute,
        weight: 65_535,
        persistent: Some(5),
        thresholds: Some(Thresholds {
            upper: 4_000_000_000,
            lower: 90,
        }),
        ..server("10.1.0.2:443")
    };
    let tunnels = vec![
        tunnelled("10.1.0.2:8443", TunnelKind::Gue, 6080, 2),
        tunnelled("10.1.0.3:8443", TunnelKind::Gre, 0, 1),
        tunnelled("10.1.0.4:8443", TunnelKind::Unknown(9), 0, 0x80),
    ];
    let ipip = tunnelled("192.168.0.9:443", TunnelKind::IpIp, 0, 0);
    let local = destination("10.9.9.1:7000", ForwardingMethod::Local);
    vec![
        Service {
            stats: Some(live([20, 1 << 33, 77, u64::MAX, 6_164], 250)),
            ..tcp("192.0.2.10:80", "rr", busy)
        },
        Service {
            flags: PERSISTENT,
            timeout_s: Some(360),
            netmask: Some(Netmask::Ipv4([255, 255, 255, 0].into())),
            ..tcp("192.0.2.10:443", "wrr", vec![limited, ipip])
        },
        Service {
            flags: IP_VS_SVC_F_HASHED | SCHED1 | SCHED2,
            ..tcp("192.0.2.10:8443", "sh", tunnels)
        },
        Service {
            flags: IP_VS_SVC_F_HASHED | SCHED2,
            ..tcp("192.0.2.10:9443", "mh", Vec::new())
        },
        Service {
            flags: IP_VS_SVC_F_HASHED | SCHED1 | SCHED3 | 0x8000_0000,
            ..tcp("10.9.9.1:7000", "sed", vec![local])
        },
    ]
}

fn other_protocols() -> Vec<Service> {
    let resolver = vec![server("10.1.0.2:53")];
    let unknown = destination("10.1.0.2:5060", ForwardingMethod::Unknown(6));
    let sctp = vec![server("10.1.0.2:3868")];
    vec![
        Service {
            flags: IP_VS_SVC_F_HASHED | IP_VS_SVC_F_ONEPACKET,
            ..service(Protocol::UDP, "192.0.2.10:53", "rr", resolver)
        },
        Service {
            flags: PERSISTENT,
            timeout_s: Some(60),
            engine: Some("sip".to_owned()),
            ..service(Protocol::UDP, "192.0.2.10:5060", "rr", vec![unknown])
        },
        service(Protocol::SCTP, "192.0.2.10:3868", "lc", sctp),
    ]
}

fn ipv6_and_marks() -> Vec<Service> {
    let mixed = |ipv6, ipv4| vec![server(ipv6), tunnelled(ipv4, TunnelKind::IpIp, 0, 0)];
    let unknown = Destination {
        persistent: None,
        thresholds: None,
        tunnel: None,
        stats: None,
        ..server("10.1.0.2:0")
    };
    let ipv4_mark = vec![server("10.1.0.2:0")];
    let ipv6_mark = mixed("[fd00:1::2]:0", "10.1.0.2:0");
    vec![
        Service {
            flags: PERSISTENT,
            timeout_s: Some(300),
            netmask: Some(Netmask::Ipv6(64)),
            ..service(
                Protocol::TCP,
                "[2001:db8::80]:80",
                "wlc",
                mixed("[fd00:1::2]:8080", "10.1.0.2:80"),
            )
        },
        marked(47, AddressFamily::Ipv4, "rr", ipv4_mark),
        marked(47, AddressFamily::Ipv6, "rr", ipv6_mark),
        Service {
            stats: Some(Stats {
                traffic: traffic([1, 2, 3, 4, 5]),
                ..Stats::default()
            }),
            ..marked(4_000_000_000, AddressFamily::Ipv4, "nq", Vec::new())
        },
        Service {
            timeout_s: None,
            netmask: None,
            stats: None,
            ..service(Protocol(50), "192.0.2.11:0", "rr", vec![unknown])
        },
    ]
}

fn server(endpoint: &str) -> Destination {
    destination(endpoint, ForwardingMethod::Masquerade)
}

fn tunnelled(endpoint: &str, kind: TunnelKind, outer: u16, flags: u16) -> Destination {
    Destination {
        tunnel: Some(Tunnel {
            kind,
            port: outer,
            flags,
        }),
        ..destination(endpoint, ForwardingMethod::Tunnel)
    }
}

/// Counters as they stood so many microseconds after the reading began, with rates of a window.
fn live(totals: [u64; 5], after_us: u64) -> Stats {
    Stats {
        read_at: Some(BEGAN + Duration::from_micros(after_us)),
        ..stats(totals, [0.5, 1_234.567, 2.4, 1e12, 243.6])
    }
}

/// The kernel's copy.
fn copied(totals: [u64; 5]) -> Stats {
    stats(totals, [0.0, 2.0, 2.0, 514.0, 121.0])
}
