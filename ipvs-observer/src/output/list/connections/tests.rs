//! Expected lines are what ipvsadm 1.31 prints when it reads such a file, except where it is wrong.

use super::*;
use crate::{
    ipvs::procfs::connections::{ConnectionFile, Connections as File},
    output::list::golden::{LINUX_6_1, LINUX_6_12, golden},
};

const HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData";
const ODD: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000003 FFFF 0A000002 0050 20010DB8 1F90 ESTABLISHED      59
TCP 2001:0db8:0000:0000:0000:0000:0000:0001 8826 2001:0db8:0000:0000:0000:0000:0000:0002 0050 0A010002 0050 SYN_RECV       6000
SCTP C000020A 0000 C000020A 13C4 0A010002 13C4 C-REPLIED  359999
IP C000020A 0000 0000002F 0000 0A010002 0000 NONE           599
IP_50 C000020A 0000 0000002F 0000 0A010002 0000 A_VERY_LONG_STATE       0
ICMPv6 2001:0db8:1111:2222:3333:4444:5555:6666 8826 2001:0db8:1111:2222:3333:4444:5555:6666 FFFF 2001:0db8:1111:2222:3333:4444:5555:6666 0050 SYN_RECV       6000
UDP C000020A 0000 C000020A 13C4 0A010002 13C4 NONE           600 a_long_name_of_16 x
";

/// What is printed of a file.
fn print(file: &[u8], engines: bool, mut names: Option<Names>) -> Vec<String> {
    let mut out = Vec::new();
    let mut list = Connections::start(&mut out, engines, names.as_mut()).unwrap();
    let mut connections = File::start(ConnectionFile::Conn, file).unwrap();
    while let Some(connection) = connections.advance().unwrap() {
        list.push(&connection).unwrap();
    }
    list.finish().unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn connections_of_two_kernels() {
    for kernel in [LINUX_6_1, LINUX_6_12] {
        let file = golden(kernel, "cat /proc/net/ip_vs_conn").join("\n") + "\n";
        let printed = print(file.as_bytes(), false, None);
        assert_eq!(printed, golden(kernel, "ipvsadm -Lnc"));
        let printed = print(file.as_bytes(), true, None);
        assert_eq!(printed, golden(kernel, "ipvsadm -Lnc --persistent-conn"));
    }
}

#[test]
fn columns_give_way_to_what_is_long() {
    assert_eq!(
        print(ODD.as_bytes(), true, None)[2..],
        [
            "TCP 00:59  ESTABLISHED 10.0.0.3:65535     10.0.0.2:80        32.1.13.184:8080",
            "TCP 100:00 SYN_RECV    [2001:db8::1]:34854 [2001:db8::2]:80   10.1.0.2:80",
            "SCTP 5999:59 C-REPLIED   192.0.2.10:0       192.0.2.10:5060    10.1.0.2:5060",
            "IP  09:59  NONE        192.0.2.10:0       0.0.0.47:0         10.1.0.2:0",
            "IP_50 00:00  A_VERY_LONG_STATE 192.0.2.10:0       0.0.0.47:0         10.1.0.2:0",
            "ICMPv6 100:00 SYN_RECV    [2001:db8:1111:2222:3333:4444:5555:6666]:34854 [2001:db8:1111:2222:3333:4444:5555:6666]:65535 [2001:db8:1111:2222:3333:4444:5555:6666]:80",
            "UDP 10:00  NONE        192.0.2.10:0       192.0.2.10:5060    10.1.0.2:5060    a_long_name_of_16  x",
        ]
    );
}

#[test]
fn what_an_engine_took_from_a_packet_does_not_reach_the_terminal() {
    let mut file = HEADER.as_bytes().to_owned();
    file.extend(b"\nUDP C000020A 0000 C000020A 13C4 0A010002 13C4 NONE            59 sip a\\ ~\x1b[2J\x9b\xff\n");
    let printed = print(&file, true, None);
    assert_eq!(
        printed[2],
        "UDP 00:59  NONE        192.0.2.10:0       192.0.2.10:5060    10.1.0.2:5060    sip                a\\ ~\\x1b[2J\\x9b\\xff"
    );
}

#[test]
fn names() {
    let long = "a-very-long-host-name-of-a-server-that-is-cut.somewhere.in.the.data.centre";
    let names = Names::known(
        b"http 80/tcp\nsip 5060/udp\n",
        &[
            ("10.0.0.2", "short.example"),
            ("10.0.0.3", long),
            ("2001:db8::1", "v6short.example"),
            ("2001:db8::2", long),
        ],
    );
    assert_eq!(
        print(ODD.as_bytes(), true, Some(names))[2..],
        [
            "TCP 00:59  ESTABLISHED a-very-long-host-name-of-a-server-that-is-cut.somewhere.in. short.example:http 32.1.13.184:8080",
            "TCP 100:00 SYN_RECV    [v6short.example]:34854 [a-very-long-host-name-of-a-server-that-is-cut.somewhere.in 10.1.0.2:http",
            "SCTP 5999:59 C-REPLIED   192.0.2.10:0       192.0.2.10:5060    10.1.0.2:5060",
            "IP  09:59  NONE        192.0.2.10:0       0.0.0.47:0         10.1.0.2:0",
            "IP_50 00:00  A_VERY_LONG_STATE 192.0.2.10:0       0.0.0.47:0         10.1.0.2:0",
            "ICMPv6 100:00 SYN_RECV    [2001:db8:1111:2222:3333:4444:5555:6666]:34854 [2001:db8:1111:2222:3333:4444:5555:6666]:65535 [2001:db8:1111:2222:3333:4444:5555:6666]:80",
            "UDP 10:00  NONE        192.0.2.10:0       192.0.2.10:sip     10.1.0.2:sip     a_long_name_of_16  x",
        ]
    );
}

#[test]
fn lines_that_wait_for_names_keep_their_order() {
    let mut file = HEADER.to_owned();
    for port in 1..=3000 {
        let client = format!("\nTCP 0A000002 {port:04X}");
        file.push_str(&client);
        file.push_str(" 0A000002 0050 0A000002 0050 ESTABLISHED      59");
    }
    file.push('\n');
    let names = Names::known(b"", &[("10.0.0.2", "host")]);
    let printed = print(file.as_bytes(), false, Some(names));
    assert_eq!(printed.len(), 3002);
    for (port, line) in (1..).zip(&printed[2..]) {
        let client = format!("host:{port}");
        assert_eq!(
            *line,
            format!("TCP 00:59  ESTABLISHED {client:18} host:80            host:80")
        );
    }
}

#[test]
fn nothing_but_the_header_without_connections() {
    let file = format!("{HEADER}\n");
    assert_eq!(
        print(file.as_bytes(), false, None),
        [
            "IPVS connection entries",
            "pro expire state       source             virtual            destination",
        ]
    );
}
