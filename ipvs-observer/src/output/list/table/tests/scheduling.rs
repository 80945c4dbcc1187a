//! How services schedule, and how packets are tunnelled.

use super::{
    Columns, Destination, ForwardingMethod, Netmask, Options, Protocol, Service, Tunnel,
    TunnelKind, destination, form, lines, service,
};

fn scheduled(scheduler: &str, flags: u32) -> Service {
    Service {
        flags,
        timeout_s: Some(100),
        netmask: Some(Netmask::Ipv4([255, 0, 255, 0].into())),
        engine: Some("sip".to_owned()),
        ..service(Protocol::UDP, "10.0.0.1:53", scheduler, Vec::new())
    }
}

#[test]
fn how_services_schedule() {
    let cases = [
        // A mask and an engine without persistence mean nothing.
        (scheduled("rr", 2), "UDP  10.0.0.1:53 rr"),
        (
            scheduled("rr", 1 | 2 | 4),
            "UDP  10.0.0.1:53 rr persistent 100 mask 255.0.255.0 pe sip ops",
        ),
        (scheduled("sh", 8), "UDP  10.0.0.1:53 sh (sh-fallback)"),
        (
            scheduled("sh", 0x38),
            "UDP  10.0.0.1:53 sh (sh-fallback,sh-port,flag-3)",
        ),
        (scheduled("mh", 0x10), "UDP  10.0.0.1:53 mh (mh-port)"),
        (
            scheduled("mh", 0x38),
            "UDP  10.0.0.1:53 mh (mh-fallback,mh-port,flag-3)",
        ),
        (scheduled("wlc", 0x20), "UDP  10.0.0.1:53 wlc (flag-3)"),
        (
            scheduled("wlc", u32::MAX),
            "UDP  10.0.0.1:53 wlc (flag-1,flag-2,flag-3) persistent 100 mask 255.0.255.0 pe sip ops",
        ),
    ];
    for (service, expected) in cases {
        assert_eq!(lines(service, &Options::default()), [expected]);
    }
    let ipv6 = |length| Service {
        flags: 1,
        timeout_s: Some(u32::MAX),
        netmask: Some(Netmask::Ipv6(length)),
        ..service(Protocol::TCP, "[2001:db8::1]:80", "rr", Vec::new())
    };
    for (length, expected) in [
        (0, "TCP  [2001:db8::1]:80 rr persistent 4294967295 mask 0"),
        (
            127,
            "TCP  [2001:db8::1]:80 rr persistent 4294967295 mask 127",
        ),
        (128, "TCP  [2001:db8::1]:80 rr persistent 4294967295"),
        (
            u32::MAX,
            "TCP  [2001:db8::1]:80 rr persistent 4294967295 mask 4294967295",
        ),
    ] {
        assert_eq!(lines(ipv6(length), &Options::default()), [expected]);
    }
}

#[test]
fn numbers_stand_for_what_has_no_name() {
    let servers = [4, 5, 7, u32::MAX].map(|number| {
        let method = ForwardingMethod::from(number);
        destination(&format!("10.0.0.{}:80", number % 256), method)
    });
    let service = service(Protocol(50), "10.0.0.9:0", "rr", servers.into());
    assert_eq!(
        lines(service, &Options::default()),
        [
            "IP_50 10.0.0.9:0 rr",
            "  -> 10.0.0.4:80                  Bypass  1      0          0         ",
            "  -> 10.0.0.5:80                  5       1      0          0         ",
            "  -> 10.0.0.7:80                  7       1      0          0         ",
            "  -> 10.0.0.255:80                4294967295 1      0          0         ",
        ]
    );
}

#[test]
fn tunnels() {
    let cases = [
        (TunnelKind::IpIp, 6, "ipip         "),
        (TunnelKind::Gue, 0, "gue:65535:-c "),
        (TunnelKind::Gue, 1, "gue:65535:+c "),
        (TunnelKind::Gue, 2, "gue:65535:r+c"),
        (TunnelKind::Gue, 3, "gue:65535:3  "),
        (TunnelKind::Gre, 0, "gre:-c       "),
        (TunnelKind::Gre, 1, "gre:+c       "),
        (TunnelKind::Gre, 2, "gre:r+c      "),
        (TunnelKind::Gre, u16::MAX, "gre:65535    "),
        (TunnelKind::Unknown(7), 0, "7            "),
    ];
    for (kind, flags, cell) in cases {
        let server = Destination {
            tunnel: Some(Tunnel {
                kind,
                port: u16::MAX,
                flags,
            }),
            ..destination("10.1.0.2:80", ForwardingMethod::Tunnel)
        };
        let service = service(Protocol::TCP, "192.0.2.10:80", "rr", vec![server]);
        assert_eq!(
            lines(service, &form(Columns::Tunnel))[1],
            format!(
                "  -> 10.1.0.2:80                  Tunnel  {cell} 1      0          0         "
            )
        );
    }
}
