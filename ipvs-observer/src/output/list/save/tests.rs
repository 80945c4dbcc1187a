//! Expected rules are what `ipvsadm -S` of 1.31 prints when it is given such answers, except where it is wrong.

use super::*;
use crate::{
    ipvs::table::{Netmask, Thresholds, Tunnel, TunnelKind},
    output::list::testing::{destination, marked, service, written},
};

fn rules(service: Service) -> Vec<String> {
    let table = Table {
        services: vec![service],
        torn: false,
    };
    let text = written(|out| save(&table, None, out));
    text.lines().map(str::to_owned).collect()
}

fn scheduled(protocol: Protocol, scheduler: &str, flags: u32) -> Service {
    Service {
        flags,
        timeout_s: Some(100),
        netmask: Some(Netmask::Ipv4([255, 0, 255, 0].into())),
        engine: Some("sip".to_owned()),
        ..service(protocol, "10.0.0.3:53", scheduler, Vec::new())
    }
}

#[test]
fn services() {
    let cases = [
        (
            scheduled(Protocol::UDP, "rr", 1 | 4),
            "-A -u 10.0.0.3:53 -s rr -p 100 -M 255.0.255.0 --pe sip -o",
        ),
        (
            scheduled(Protocol::SCTP, "rr", 4),
            "-A --sctp-service 10.0.0.3:53 -s rr --pe sip -o",
        ),
        (
            Service {
                timeout_s: Some(u32::MAX),
                netmask: Some(Netmask::Ipv4([255; 4].into())),
                engine: None,
                ..scheduled(Protocol::TCP, "wlc", u32::MAX)
            },
            "-A -t 10.0.0.3:53 -s wlc -p 4294967295 -o -b flag-1,flag-2,flag-3",
        ),
        (
            scheduled(Protocol(50), "rr", 0),
            "-A --protocol-50-service 10.0.0.3:53 -s rr --pe sip",
        ),
        (
            marked(u32::MAX, AddressFamily::Ipv6, "rr", Vec::new()),
            "-A -f 4294967295 -6 -s rr",
        ),
    ];
    for (service, expected) in cases {
        assert_eq!(rules(service), [expected]);
    }
}

#[test]
fn real_servers() {
    let server = |method| destination("10.0.0.9:80", method);
    let tunnel = |kind, flags| Destination {
        tunnel: Some(Tunnel {
            kind,
            port: 65535,
            flags,
        }),
        ..server(ForwardingMethod::Tunnel)
    };
    let limited = |upper, lower| Destination {
        thresholds: Some(Thresholds { upper, lower }),
        ..server(ForwardingMethod::Masquerade)
    };
    let cases = [
        (server(ForwardingMethod::Local), "-g -w 1"),
        (server(ForwardingMethod::DirectRoute), "-g -w 1"),
        (
            server(ForwardingMethod::Bypass),
            "--forwarding-method 4 -w 1",
        ),
        (
            server(ForwardingMethod::Unknown(7)),
            "--forwarding-method 7 -w 1",
        ),
        (limited(0, 0), "-m -w 1"),
        (limited(u32::MAX, 0), "-m -w 1 -x 4294967295"),
        (limited(0, 5), "-m -w 1 -y 5"),
        (limited(7, 5), "-m -w 1 -x 7 -y 5"),
        (
            Destination {
                tunnel: None,
                ..server(ForwardingMethod::Tunnel)
            },
            "-i -w 1",
        ),
        (tunnel(TunnelKind::IpIp, 1), "-i -w 1 --tun-type ipip"),
        (
            tunnel(TunnelKind::Gue, 0),
            "-i -w 1 --tun-type gue --tun-port 65535 --tun-nocsum",
        ),
        (
            tunnel(TunnelKind::Gue, 3),
            "-i -w 1 --tun-type gue --tun-port 65535 --tun-flags 3",
        ),
        (
            tunnel(TunnelKind::Gre, 2),
            "-i -w 1 --tun-type gre --tun-remcsum",
        ),
        (tunnel(TunnelKind::Unknown(7), 0), "-i -w 1 --tun-type 7"),
        (
            Destination {
                method: ForwardingMethod::Masquerade,
                ..tunnel(TunnelKind::Gue, 0)
            },
            "-m -w 1",
        ),
    ];
    for (server, expected) in cases {
        let service = marked(47, AddressFamily::Ipv6, "rr", vec![server]);
        assert_eq!(
            rules(service)[1],
            format!("-a -f 47 -6 -r 10.0.0.9:80 {expected}")
        );
    }
}

#[test]
fn names_are_whole() {
    let long = "a-very-long-host-name-of-a-server.somewhere.in.the.data.centre.example.org";
    let names = Names::known(
        b"http 80/tcp\n",
        &[("10.0.0.1", long), ("2001:db8::1", long)],
    );
    let servers = vec![destination("10.0.0.1:80", ForwardingMethod::Masquerade)];
    let table = Table {
        services: vec![service(Protocol::TCP, "[2001:db8::1]:80", "rr", servers)],
        torn: false,
    };
    assert_eq!(
        written(|out| save(&table, Some(&names), out)),
        format!("-A -t [{long}]:http -s rr\n-a -t [{long}]:http -r {long}:http -m -w 1\n")
    );
}
