//! Expected lines are what ipvsadm 1.31 prints when it is given such answers, except where it is wrong.

use super::*;
use crate::{
    ipvs::table::{Netmask, Thresholds, Tunnel, TunnelKind},
    model::id::Protocol,
    output::list::testing::{destination, listing, marked, service, stats, written},
};

mod scheduling;

const MASQUERADE: ForwardingMethod = ForwardingMethod::Masquerade;

/// The lines below the header.
fn lines(service: Service, options: &Options<'_>) -> Vec<String> {
    let text = written(|out| table(&listing(vec![service]), options, out));
    text.lines().skip(2).map(str::to_owned).collect()
}

fn form(columns: Columns) -> Options<'static> {
    Options {
        columns,
        ..Options::default()
    }
}

fn exact(columns: Columns) -> Options<'static> {
    Options {
        exact: true,
        ..form(columns)
    }
}

/// A service with these counters and rates, and a real server with the same.
#[expect(clippy::cast_precision_loss, reason = "what is lost is not printed")]
fn busy(figures: [u64; 5]) -> Service {
    let stats = Some(stats(figures, figures.map(|figure| figure as f64 + 0.875)));
    let server = Destination {
        stats,
        ..destination("10.1.0.3:80", MASQUERADE)
    };
    let service = service(Protocol::TCP, "[2001:db8::80]:80", "wlc", vec![server]);
    Service { stats, ..service }
}

#[test]
fn figures_of_more_than_eight_digits_are_cut_to_a_unit() {
    let figures = [
        99_999_999,
        100_000_000,
        999_999_999,
        1_000_000_000,
        99_999_999_999,
    ];
    assert_eq!(
        lines(busy(figures), &form(Columns::Stats)),
        [
            "TCP  [2001:db8::80]:80            99999999  100000K  999999K    1000M   99999M",
            "  -> 10.1.0.3:80                  99999999  100000K  999999K    1000M   99999M",
        ]
    );
    let figures = [
        100_000_000_000,
        99_999_999_999_999,
        100_000_000_000_000,
        99_999_999_999_999_999,
        u64::MAX,
    ];
    assert_eq!(
        lines(busy(figures), &form(Columns::Stats)),
        [
            "TCP  [2001:db8::80]:80                100G   99999G     100T   99999T18446744T",
            "  -> 10.1.0.3:80                      100G   99999G     100T   99999T18446744T",
        ]
    );
}

#[test]
fn exact_figures_have_all_digits_after_a_blank() {
    let figures = [1, 99_999_999, 100_000_000, 12_345_678_901, u64::MAX];
    assert_eq!(
        lines(busy(figures), &exact(Columns::Stats)),
        [
            "TCP  [2001:db8::80]:80                   1 99999999 100000000 12345678901 18446744073709551615",
            "  -> 10.1.0.3:80                         1 99999999 100000000 12345678901 18446744073709551615",
        ]
    );
}

#[test]
fn rates_are_whole_numbers_and_the_first_three_of_a_real_server_are_not_cut() {
    let figures = [1, 99_999_999, 100_000_000, 100_000_000, 1_000_000_000];
    assert_eq!(
        lines(busy(figures), &form(Columns::Rate)),
        [
            "TCP  [2001:db8::80]:80                   1 99999999  100000K  100000K    1000M",
            "  -> 10.1.0.3:80                         1 99999999 100000000  100000K    1000M",
        ]
    );
    assert_eq!(
        lines(busy(figures), &exact(Columns::Rate)),
        [
            "TCP  [2001:db8::80]:80                   1 99999999 100000000 100000000 1000000000",
            "  -> 10.1.0.3:80                         1 99999999 100000000 100000000 1000000000",
        ]
    );
}

#[test]
fn what_is_not_known_is_a_dash() {
    let tunnelled = Destination {
        stats: None,
        thresholds: None,
        persistent: None,
        ..destination("10.1.0.2:80", ForwardingMethod::Tunnel)
    };
    let unknown = Service {
        flags: 1,
        timeout_s: None,
        netmask: None,
        stats: None,
        ..service(Protocol::TCP, "192.0.2.10:80", "rr", vec![tunnelled])
    };
    let scheduled = "TCP  192.0.2.10:80 rr persistent -";
    let forms = [
        (
            form(Columns::Stats),
            "TCP  192.0.2.10:80                       -        -        -        -        -",
            "  -> 10.1.0.2:80                         -        -        -        -        -",
        ),
        (
            exact(Columns::Stats),
            "TCP  192.0.2.10:80                       -        -        -        -        -",
            "  -> 10.1.0.2:80                         -        -        -        -        -",
        ),
        (
            form(Columns::Rate),
            "TCP  192.0.2.10:80                       -        -        -        -        -",
            "  -> 10.1.0.2:80                         -        -        -        -        -",
        ),
        (
            form(Columns::Thresholds),
            scheduled,
            "  -> 10.1.0.2:80                  -          -          0          0         ",
        ),
        (
            form(Columns::PersistentConnections),
            scheduled,
            "  -> 10.1.0.2:80                  1         -           0          0         ",
        ),
        (
            form(Columns::Tunnel),
            scheduled,
            "  -> 10.1.0.2:80                  Tunnel  -             1      0          0         ",
        ),
    ];
    for (options, service_line, destination_line) in forms {
        assert_eq!(
            lines(unknown.clone(), &options),
            [service_line, destination_line],
            "{options:?}"
        );
    }
}

#[test]
fn counters_without_rates_and_rates_that_are_no_numbers() {
    let stats = Some(stats([7; 5], [f64::NAN, -1.0, 0.999, f64::INFINITY, 2.0]));
    let mut busy = Service {
        stats,
        ..service(Protocol::TCP, "192.0.2.10:80", "rr", Vec::new())
    };
    assert_eq!(
        lines(busy.clone(), &form(Columns::Rate)),
        ["TCP  192.0.2.10:80                       -        -        0        -        2"]
    );
    busy.stats = stats.map(|stats| Stats {
        rates: None,
        ..stats
    });
    assert_eq!(
        lines(busy.clone(), &form(Columns::Rate)),
        ["TCP  192.0.2.10:80                       -        -        -        -        -"]
    );
    assert_eq!(
        lines(busy, &form(Columns::Stats)),
        ["TCP  192.0.2.10:80                       7        7        7        7        7"]
    );
}

#[test]
fn the_largest_numbers_of_a_real_server() {
    let server = Destination {
        weight: u32::MAX,
        active: u32::MAX,
        inactive: u32::MAX,
        persistent: Some(u32::MAX),
        thresholds: Some(Thresholds {
            upper: u32::MAX,
            lower: u32::MAX,
        }),
        ..destination("10.1.0.2:65535", ForwardingMethod::Local)
    };
    let service = service(Protocol::TCP, "192.0.2.10:80", "rr", vec![server]);
    let forms = [
        (
            Columns::Forwarding,
            "  -> 10.1.0.2:65535               Local   4294967295 4294967295 4294967295",
        ),
        (
            Columns::Tunnel,
            "  -> 10.1.0.2:65535               Local   n/a           4294967295 4294967295 4294967295",
        ),
        (
            Columns::Thresholds,
            "  -> 10.1.0.2:65535               4294967295 4294967295 4294967295 4294967295",
        ),
        (
            Columns::PersistentConnections,
            "  -> 10.1.0.2:65535               4294967295 4294967295  4294967295 4294967295",
        ),
    ];
    for (columns, expected) in forms {
        assert_eq!(lines(service.clone(), &form(columns))[1], expected);
    }
}

#[test]
fn addresses_of_ipv6_are_not_cut() {
    let server = destination(
        "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
        ForwardingMethod::Masquerade,
    );
    let service = service(
        Protocol::TCP,
        "[2001:db8:1111:2222:3333:4444:5555:7777]:65535",
        "rr",
        vec![server],
    );
    assert_eq!(
        lines(service.clone(), &form(Columns::Stats)),
        [
            "TCP  [2001:db8:1111:2222:3333:4444:5555:7777]:65535        0        0        0        0        0",
            "  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535        0        0        0        0        0",
        ]
    );
    assert_eq!(
        lines(service, &form(Columns::Forwarding)),
        [
            "TCP  [2001:db8:1111:2222:3333:4444:5555:7777]:65535 rr",
            "  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535 Masq    1      0          0         ",
        ]
    );
}

#[test]
fn ipv6_is_written_as_the_c_library_writes_it() {
    let written = [
        ("::", "::"),
        ("::1", "::1"),
        ("::1:2", "::0.1.0.2"),
        ("::1.2.3.4", "::1.2.3.4"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("::ffff:0:2", "::ffff:0.0.0.2"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("2001:0:0:1:1:0:0:1", "2001::1:1:0:0:1"),
        ("2001:0:1:1:1:1:1:1", "2001:0:1:1:1:1:1:1"),
    ];
    for (address, expected) in written {
        let service = service(Protocol::TCP, &format!("[{address}]:80"), "rr", Vec::new());
        assert_eq!(
            lines(service, &Options::default()),
            [format!("TCP  [{expected}]:80 rr")]
        );
    }
}

#[test]
fn marks() {
    let mark = |mark, family| marked(mark, family, "rr", Vec::new());
    let largest = mark(u32::MAX, AddressFamily::Ipv6);
    assert_eq!(
        lines(largest.clone(), &form(Columns::Stats)),
        ["FWM  4294967295 IPv6                     0        0        0        0        0"]
    );
    assert_eq!(
        lines(largest, &Options::default()),
        ["FWM  4294967295 IPv6 rr"]
    );
}

#[test]
fn order_is_that_of_the_numbers() {
    let servers = vec![
        destination("[2001:db8::2]:80", MASQUERADE),
        destination("192.168.0.9:80", MASQUERADE),
        destination("[fd00::2]:80", MASQUERADE),
        destination("10.1.0.2:80", MASQUERADE),
        destination("10.1.0.2:79", MASQUERADE),
        destination("9.255.255.255:81", MASQUERADE),
    ];
    let none = Vec::new;
    let services = vec![
        marked(u32::MAX, AddressFamily::Ipv4, "rr", none()),
        marked(1, AddressFamily::Ipv6, "rr", none()),
        marked(1, AddressFamily::Ipv4, "rr", none()),
        service(Protocol::UDP, "[::1]:80", "rr", none()),
        service(Protocol::TCP, "[ffff::]:80", "rr", none()),
        service(Protocol::TCP, "[2001:db8::]:80", "rr", servers),
        service(Protocol::SCTP, "9.0.0.1:80", "rr", none()),
        service(Protocol::UDP, "9.0.0.1:80", "rr", none()),
        service(Protocol::TCP, "192.0.2.1:79", "rr", none()),
        service(Protocol::TCP, "9.0.0.1:81", "rr", none()),
        service(Protocol::TCP, "9.0.0.1:80", "rr", none()),
    ];
    let text = written(|out| table(&listing(services), &Options::default(), out));
    let order: Vec<_> = text
        .lines()
        .skip(2)
        .map(|line| line.split(" rr").next().unwrap())
        .map(|line| line.split("  M").next().unwrap().trim_end())
        .collect();
    assert_eq!(
        order,
        [
            "TCP  9.0.0.1:80",
            "TCP  9.0.0.1:81",
            "TCP  192.0.2.1:79",
            "UDP  9.0.0.1:80",
            "SCTP 9.0.0.1:80",
            "TCP  [2001:db8::]:80",
            "  -> 9.255.255.255:81",
            "  -> 10.1.0.2:79",
            "  -> 10.1.0.2:80",
            "  -> [2001:db8::2]:80",
            "  -> 192.168.0.9:80",
            "  -> [fd00::2]:80",
            "TCP  [ffff::]:80",
            "UDP  [::1]:80",
            "FWM  1",
            "FWM  1 IPv6",
            "FWM  4294967295",
        ]
    );
}

#[test]
fn version_and_size_begin_the_whole_table_only() {
    let mut empty = listing(Vec::new());
    empty.info = Info {
        version: 0xff_01_c8_03,
        connection_table_size: u32::MAX,
    };
    let header = "Prot LocalAddress:Port Scheduler Flags\n  \
                  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    assert_eq!(
        written(|out| table(&empty, &Options::default(), out)),
        header
    );
    let whole = Options {
        whole: true,
        ..Options::default()
    };
    assert_eq!(
        written(|out| table(&empty, &whole, out)),
        format!("IP Virtual Server version 1.200.3 (size=4294967295)\n{header}")
    );
}

#[test]
fn a_table_of_many_writes_is_whole() {
    let servers = || vec![destination("10.1.0.2:80", MASQUERADE)];
    let services = (0..3000)
        .map(|port| service(Protocol::TCP, &format!("10.0.0.1:{port}"), "rr", servers()))
        .collect();
    let text = written(|out| table(&listing(services), &form(Columns::Stats), out));
    let mut lines = text.lines().skip(2);
    for port in 0..3000 {
        let service = lines.next().unwrap();
        assert!(
            service.starts_with(&format!("TCP  10.0.0.1:{port} ")),
            "{service}"
        );
        assert!(lines.next().unwrap().starts_with("  -> 10.1.0.2:80 "));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn an_output_that_fails_ends_the_table() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = table(&listing(Vec::new()), &Options::default(), &mut Closed).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn names_are_cut_as_ipvsadm_cuts_them() {
    let hosts = [
        ("10.0.0.1", "short.example"),
        ("10.0.0.2", "a-name-of-twenty-two-c"),
        ("10.0.0.3", "a-name-of-twenty-three-"),
        (
            "10.0.0.4",
            "a-very-long-host-name-of-a-server-that-is-cut.example.org",
        ),
        ("2001:db8::1", "v6short.example"),
        (
            "2001:db8::2",
            "a-very-long-ipv6-host-name-of-a-server-that-is-cut.somewhere.example.org",
        ),
    ];
    let names = Names::known(b"domain 53/udp\nhttp 80/tcp\n", &hosts);
    let named = Options {
        order: Order::Kernel,
        names: Some(&names),
        ..Options::default()
    };
    let printed = [
        ("10.0.0.1:80", "short.example:http          "),
        ("10.0.0.1:53", "short.example:53            "),
        ("10.0.0.2:80", "a-name-of-twenty-two-c:http "),
        ("10.0.0.3:80", "a-name-of-twenty-three-:http"),
        ("10.0.0.4:80", "a-very-long-host-name-of-a-s"),
        ("10.0.0.5:80", "10.0.0.5:http               "),
        ("[2001:db8::1]:80", "[v6short.example]:http      "),
        (
            "[2001:db8::2]:80",
            "[a-very-long-ipv6-host-name-of-a-server-that-is-cut.somewhe",
        ),
        ("[2001:db8::3]:80", "[2001:db8::3]:http          "),
    ];
    let servers = printed.map(|(endpoint, _)| destination(endpoint, MASQUERADE));
    let mut expected = vec!["TCP  a-very-long-host-name-of-a-s rr".to_owned()];
    expected.extend(
        printed.map(|(_, name)| format!("  -> {name} Masq    1      0          0         ")),
    );
    let ipv4 = service(Protocol::TCP, "10.0.0.4:80", "rr", servers.to_vec());
    assert_eq!(lines(ipv4, &named), expected);
    let ipv6 = service(Protocol::TCP, "[2001:db8::2]:80", "rr", servers.to_vec());
    expected[0] = "TCP  [a-very-long-ipv6-host-name-of-a-server-that-is-cut.somewhe rr".to_owned();
    assert_eq!(lines(ipv6, &named), expected);
}

#[test]
fn ports_below_a_mark_have_no_names() {
    let names = Names::known(b"http 80/tcp\n", &[("10.0.0.1", "host.example")]);
    let named = Options {
        names: Some(&names),
        ..Options::default()
    };
    let servers = vec![destination("10.0.0.1:80", MASQUERADE)];
    let service = marked(1, AddressFamily::Ipv4, "rr", servers);
    assert_eq!(
        lines(service, &named)[1],
        "  -> host.example:80              Masq    1      0          0         "
    );
}
