//! Counters, rates and all other numbers, in and beyond the width of their columns.

use super::{
    Columns, Destination, ForwardingMethod, MASQUERADE, Options, Protocol, Service, Stats,
    Thresholds, destination, form, lines, service, stats,
};

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
        tunnel: None,
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
