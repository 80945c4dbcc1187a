//! Every form against what ipvsadm 1.31 printed of a table with everything in it, on two kernels.
//!
//! Where ipvsadm is wrong, `corrected` says how.

use super::{
    Columns, Options, Order, daemons, save, table,
    testing::{destination, listing, marked, service, stats, written},
    timeouts,
};
use crate::{
    ipvs::table::{Destination, Netmask, Service, Thresholds, Timeouts, Tunnel, TunnelKind},
    model::{
        id::{AddressFamily, ForwardingMethod, Protocol},
        listing::Listing,
    },
};

pub(super) const LINUX_6_1: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/list/ipvsadm-1.31-linux-6.1.txt"
));
pub(super) const LINUX_6_12: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/list/ipvsadm-1.31-linux-6.12.txt"
));

/// The lines that a command printed.
pub(super) fn golden(file: &'static str, command: &str) -> Vec<String> {
    let after = file.split_once(&format!("$ {command}\n")).unwrap().1;
    let block = after.split("\n\n").next().unwrap();
    let lines = block.lines().map(str::to_owned);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// The same where ipvsadm is right: marks are not negative, and numbers are in their order.
fn corrected(mut lines: Vec<String>) -> Vec<String> {
    for line in &mut lines {
        *line = match line.split_at_checked(33) {
            Some((mark, rest)) if mark.trim_end() == "FWM  -294967296" => {
                format!("{:33}{rest}", "FWM  4000000000")
            }
            _ => line.replace("-294967296", "4000000000"),
        };
    }
    lines
}

fn sorted(lines: Vec<String>) -> Vec<String> {
    let mut lines = corrected(lines);
    move_before(&mut lines, "FWM  4000000000", 1, None);
    move_before(
        &mut lines,
        "TCP  10.9.9.1:7000",
        2,
        Some("TCP  192.0.2.10:80 "),
    );
    move_before(
        &mut lines,
        "  -> 10.1.0.2:443 ",
        1,
        Some("  -> 192.168.0.9:443 "),
    );
    move_before(
        &mut lines,
        "  -> 10.1.0.2:80 ",
        1,
        Some("  -> [fd00:1::2]:8080 "),
    );
    lines
}

fn sorted_rules(lines: Vec<String>) -> Vec<String> {
    let mut lines = corrected(lines);
    move_before(&mut lines, "-A -f 4000000000", 1, None);
    move_before(
        &mut lines,
        "-A -t 10.9.9.1:7000",
        2,
        Some("-A -t 192.0.2.10:80 "),
    );
    let of_https = "-a -t 192.0.2.10:443 -r ";
    move_before(
        &mut lines,
        &format!("{of_https}10.1.0.2:"),
        1,
        Some(&format!("{of_https}192.168.0.9:")),
    );
    let of_ipv6 = "-a -t [2001:db8::80]:80 -r ";
    move_before(
        &mut lines,
        &format!("{of_ipv6}10.1.0.2:"),
        1,
        Some(&format!("{of_ipv6}[fd00:1::2]:")),
    );
    lines
}

/// Moves `n` lines, of which the first begins with `from`, before the one that begins with `to` or to the end.
fn move_before(lines: &mut Vec<String>, from: &str, n: usize, to: Option<&str>) {
    let place = |lines: &[String], prefix: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(prefix))
            .unwrap()
    };
    let from = place(lines, from);
    let moved: Vec<_> = lines.drain(from..from + n).collect();
    let to = to.map_or(lines.len(), |to| place(lines, to));
    lines.splice(to..to, moved);
}

/// The figures in which the two tables differ: counters of the IPv6 service, and rates.
struct Figures {
    ipv6: [u64; 5],
    web_rates: [[f64; 5]; 3],
    dns_rates: [f64; 5],
    sip_rates: [f64; 5],
    ipv6_rates: [f64; 5],
}

const FIGURES_6_1: Figures = Figures {
    ipv6: [1, 2, 0, 160, 0],
    web_rates: [
        [1.0, 6.0, 4.0, 1376.0, 325.0],
        [1.0, 3.0, 2.0, 691.0, 164.0],
        [1.0, 3.0, 2.0, 685.0, 161.0],
    ],
    dns_rates: [0.0, 0.0, 0.0, 37.0, 0.0],
    sip_rates: [0.0, 0.0, 0.0, 9.0, 11.0],
    ipv6_rates: [0.0, 0.0, 0.0, 10.0, 0.0],
};

const FIGURES_6_12: Figures = Figures {
    ipv6: [1, 3, 0, 240, 0],
    web_rates: [
        [1.0, 5.0, 3.0, 1032.0, 244.0],
        [0.0, 2.0, 2.0, 518.0, 123.0],
        [0.0, 2.0, 2.0, 514.0, 121.0],
    ],
    dns_rates: [0.0, 0.0, 0.0, 27.0, 0.0],
    sip_rates: [0.0, 0.0, 0.0, 7.0, 9.0],
    ipv6_rates: [0.0, 0.0, 0.0, 12.0, 0.0],
};

const PERSISTENT: u32 = 1;
const ONE_PACKET: u32 = 4;
const FLAG_1: u32 = 8;
const FLAG_2: u32 = 16;

fn masquerade(endpoint: &str) -> Destination {
    destination(endpoint, ForwardingMethod::Masquerade)
}

fn route(endpoint: &str) -> Destination {
    destination(endpoint, ForwardingMethod::DirectRoute)
}

fn tunnel(endpoint: &str, kind: TunnelKind, port: u16, flags: u16) -> Destination {
    Destination {
        tunnel: Some(Tunnel { kind, port, flags }),
        ..destination(endpoint, ForwardingMethod::Tunnel)
    }
}

fn web(figures: &Figures) -> Service {
    let [service_rates, rates_2, rates_3] = figures.web_rates;
    let server_3 = Destination {
        weight: 3,
        active: 2,
        inactive: 8,
        thresholds: Some(Thresholds {
            upper: 1000,
            lower: 500,
        }),
        stats: Some(stats([10, 56, 38, 12992, 3056], rates_3)),
        ..masquerade("10.1.0.3:8080")
    };
    let server_2 = Destination {
        active: 1,
        inactive: 9,
        stats: Some(stats([10, 58, 39, 13096, 3108], rates_2)),
        ..masquerade("10.1.0.2:8080")
    };
    Service {
        stats: Some(stats([20, 114, 77, 26088, 6164], service_rates)),
        ..service(
            Protocol::TCP,
            "192.0.2.10:80",
            "rr",
            vec![server_3, server_2],
        )
    }
}

fn https() -> Service {
    let servers = [
        tunnel("192.168.0.9:443", TunnelKind::IpIp, 0, 0),
        route("10.1.0.2:443"),
    ];
    let servers = servers.map(|server| Destination {
        weight: 100,
        ..server
    });
    Service {
        flags: PERSISTENT,
        timeout_s: Some(360),
        netmask: Some(Netmask::Ipv4([255, 255, 255, 0].into())),
        ..service(Protocol::TCP, "192.0.2.10:443", "wrr", servers.into())
    }
}

fn tunnels() -> Service {
    let servers = vec![
        Destination {
            weight: 0,
            ..tunnel("10.1.0.4:8443", TunnelKind::IpIp, 0, 0)
        },
        tunnel("10.1.0.3:8443", TunnelKind::Gre, 0, 1),
        tunnel("10.1.0.2:8443", TunnelKind::Gue, 6080, 2),
    ];
    Service {
        flags: FLAG_1 | FLAG_2,
        ..service(Protocol::TCP, "192.0.2.10:8443", "sh", servers)
    }
}

fn maglev() -> Service {
    Service {
        flags: FLAG_2,
        ..service(Protocol::TCP, "192.0.2.10:9443", "mh", Vec::new())
    }
}

fn local() -> Service {
    let servers = vec![route("10.9.9.1:7000")];
    service(Protocol::TCP, "10.9.9.1:7000", "sed", servers)
}

fn dns(figures: &Figures) -> Service {
    let stats = Some(stats([5, 5, 0, 390, 0], figures.dns_rates));
    let server = Destination {
        stats,
        ..masquerade("10.1.0.2:53")
    };
    Service {
        flags: ONE_PACKET,
        stats,
        ..service(Protocol::UDP, "192.0.2.10:53", "rr", vec![server])
    }
}

fn sip(figures: &Figures) -> Service {
    let stats = Some(stats([1, 1, 1, 94, 122], figures.sip_rates));
    let server = Destination {
        inactive: 1,
        persistent: Some(1),
        stats,
        ..masquerade("10.1.0.2:5060")
    };
    Service {
        flags: PERSISTENT,
        timeout_s: Some(60),
        engine: Some("sip".to_owned()),
        stats,
        ..service(Protocol::UDP, "192.0.2.10:5060", "rr", vec![server])
    }
}

fn diameter() -> Service {
    let servers = vec![masquerade("10.1.0.2:3868")];
    service(Protocol::SCTP, "192.0.2.10:3868", "lc", servers)
}

fn ipv6(figures: &Figures) -> Service {
    let stats = Some(stats(figures.ipv6, figures.ipv6_rates));
    let server = Destination {
        active: 1,
        persistent: Some(1),
        stats,
        ..tunnel("10.1.0.2:80", TunnelKind::IpIp, 0, 0)
    };
    let servers = vec![server, masquerade("[fd00:1::2]:8080")];
    Service {
        flags: PERSISTENT,
        timeout_s: Some(300),
        netmask: Some(Netmask::Ipv6(64)),
        stats,
        ..service(Protocol::TCP, "[2001:db8::80]:80", "wlc", servers)
    }
}

fn mark() -> Service {
    let servers = vec![masquerade("10.1.0.2:0")];
    marked(47, AddressFamily::Ipv4, "rr", servers)
}

fn ipv6_mark() -> Service {
    let servers = vec![masquerade("[fd00:1::2]:0")];
    Service {
        flags: PERSISTENT,
        timeout_s: Some(300),
        ..marked(47, AddressFamily::Ipv6, "rr", servers)
    }
}

fn large_mark() -> Service {
    marked(4_000_000_000, AddressFamily::Ipv4, "nq", Vec::new())
}

/// Both tables in the order in which their kernel had them.
fn tables() -> [(&'static str, Listing); 2] {
    let figures = &FIGURES_6_1;
    let linux_6_1 = vec![
        maglev(),
        sip(figures),
        tunnels(),
        diameter(),
        https(),
        local(),
        web(figures),
        ipv6(figures),
        dns(figures),
        large_mark(),
        ipv6_mark(),
        mark(),
    ];
    let figures = &FIGURES_6_12;
    let linux_6_12 = vec![
        https(),
        diameter(),
        tunnels(),
        maglev(),
        sip(figures),
        dns(figures),
        ipv6(figures),
        web(figures),
        local(),
        ipv6_mark(),
        mark(),
        large_mark(),
    ];
    [
        (LINUX_6_1, listing(linux_6_1)),
        (LINUX_6_12, listing(linux_6_12)),
    ]
}

fn lines(encode: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Vec<String> {
    let text = written(encode);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn whole(columns: Columns) -> Options<'static> {
    Options {
        columns,
        whole: true,
        ..Options::default()
    }
}

#[test]
fn every_form_of_the_table() {
    let exact = Options {
        exact: true,
        ..whole(Columns::Stats)
    };
    let forms = [
        ("ipvsadm -Ln", whole(Columns::Forwarding)),
        ("ipvsadm -Ln --stats", whole(Columns::Stats)),
        ("ipvsadm -Ln --rate", whole(Columns::Rate)),
        ("ipvsadm -Ln --thresholds", whole(Columns::Thresholds)),
        (
            "ipvsadm -Ln --persistent-conn",
            whole(Columns::PersistentConnections),
        ),
        ("ipvsadm -Ln --tun-info", whole(Columns::Tunnel)),
        ("ipvsadm -Ln --stats --exact", exact),
    ];
    for (file, listing) in tables() {
        for (command, options) in &forms {
            let printed = lines(|out| table(&listing, options, out));
            assert_eq!(printed, sorted(golden(file, command)), "{command}");
        }
    }
}

#[test]
fn the_kernels_order() {
    let options = Options {
        order: Order::Kernel,
        ..whole(Columns::Forwarding)
    };
    for (file, listing) in tables() {
        let printed = lines(|out| table(&listing, &options, out));
        assert_eq!(printed, corrected(golden(file, "ipvsadm -Ln --nosort")));
    }
}

#[test]
fn one_service() {
    for (file, mut listing) in tables() {
        listing
            .table
            .services
            .retain(|service| service.id == web(&FIGURES_6_1).id);
        let printed = lines(|out| table(&listing, &Options::default(), out));
        assert_eq!(printed, golden(file, "ipvsadm -Ln -t 192.0.2.10:80"));
    }
}

#[test]
fn an_empty_table() {
    for (file, mut listing) in tables() {
        listing.table.services.clear();
        let printed = lines(|out| table(&listing, &whole(Columns::Forwarding), out));
        assert_eq!(printed, golden(file, "ip netns exec rs ipvsadm -Ln"));
    }
}

#[test]
fn saved_rules_with_the_thresholds_that_ipvsadm_forgets() {
    for (file, listing) in tables() {
        let mut expected = sorted_rules(golden(file, "ipvsadm -Sn"));
        for rule in &mut expected {
            if rule == "-a -t 192.0.2.10:80 -r 10.1.0.3:8080 -m -w 3" {
                rule.push_str(" -x 1000 -y 500");
            }
        }
        assert_eq!(lines(|out| save(&listing.table, None, out)), expected);
    }
}

#[test]
fn times_and_no_daemon() {
    let default = Timeouts {
        tcp_s: 900,
        tcp_fin_s: 120,
        udp_s: 300,
    };
    for (file, _) in tables() {
        let printed = lines(|out| timeouts(&default, out));
        assert_eq!(printed, golden(file, "ipvsadm -Ln --timeout"));
        let printed = lines(|out| daemons(&[], out));
        assert_eq!(printed, golden(file, "ipvsadm -Ln --daemon"));
    }
}
