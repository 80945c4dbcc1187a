//! Expected lines are what ipvsadm 1.31 prints when it is given such answers, except where it is wrong.

use super::*;
use crate::{
    ipvs::table::{Netmask, Thresholds, Tunnel, TunnelKind},
    model::id::Protocol,
    output::list::testing::{destination, listing, marked, service, stats, written},
};

mod figures;
mod names;
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
