//! Tables of real kernels, what tells the family of a firewall mark, and lines that are none.

use super::{super::testing::net, *};
use crate::ipvs::wire::{
    IP_VS_SVC_F_HASHED as HASHED, IP_VS_SVC_F_ONEPACKET as ONEPACKET,
    IP_VS_SVC_F_PERSISTENT as PERSISTENT,
};

const HEADER: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
";

fn read(services: &str) -> ProcTable {
    table(format!("{HEADER}{services}").as_bytes()).unwrap()
}

fn error_of(services: &str) -> String {
    let text = format!("{HEADER}{services}");
    table(text.as_bytes()).unwrap_err().to_string()
}

/// Names of the known services and marks of the others.
fn names(services: &str) -> (Vec<String>, Vec<u32>) {
    let ProcTable { table, marks, .. } = read(services);
    let known = table.services.iter().map(|service| service.id.to_string());
    let unknown = marks.iter().map(|service| service.mark);
    (known.collect(), unknown.collect())
}

fn destination(
    address: &str,
    port: u16,
    method: ForwardingMethod,
    [weight, active, inactive]: [u32; 3],
) -> Destination {
    Destination {
        id: DestinationId {
            address: address.parse().unwrap(),
            port,
        },
        method,
        weight,
        active,
        inactive,
        persistent: None,
        thresholds: None,
        tunnel: None,
        stats: None,
    }
}

#[test]
fn the_table_is_read_in_the_kernels_order() {
    let ProcTable { info, table, marks } = table(&net("6.12", TABLE)[..]).unwrap();
    assert_eq!(info.version, 0x01_02_01);
    assert_eq!(info.connection_table_size, 4096);
    assert!(!table.torn);
    let rows: Vec<_> = table
        .services
        .iter()
        .map(|service| {
            let count = service.destinations.len();
            let row = format!("{} {} {count}", service.id, service.scheduler);
            (row, service.flags, service.netmask)
        })
        .collect();
    let row = |text: &str, flags, netmask| (text.to_owned(), HASHED | flags, netmask);
    let v4 = |mask: &str| Some(Netmask::Ipv4(mask.parse().unwrap()));
    assert_eq!(
        rows,
        [
            row("TCP 192.0.2.10:443 wrr 2", PERSISTENT, v4("255.255.255.0")),
            row("SCTP 192.0.2.10:3868 lc 1", 0, None),
            row("TCP 192.0.2.10:8443 sh 3", 0, None),
            row("TCP 192.0.2.10:9443 mh 0", 0, None),
            row(
                "UDP 192.0.2.10:5060 rr 1",
                PERSISTENT,
                v4("255.255.255.255")
            ),
            row("UDP 192.0.2.10:53 rr 1", ONEPACKET, None),
            row(
                "TCP [2001:db8::80]:80 wlc 2",
                PERSISTENT,
                Some(Netmask::Ipv6(64))
            ),
            row("TCP 192.0.2.10:80 rr 2", 0, None),
            row("TCP 10.9.9.1:7000 sed 1", 0, None),
            row("FWM 47 IPv6 rr 1", PERSISTENT, Some(Netmask::Ipv6(128))),
            row("FWM 47 rr 1", 0, None),
        ]
    );
    let expected = MarkService {
        mark: 4_000_000_000,
        scheduler: "nq".to_owned(),
        flags: HASHED,
        destinations: Vec::new(),
    };
    assert_eq!(marks, [expected]);
}

#[test]
fn real_servers_are_read_and_what_the_file_lacks_is_absent() {
    let table = table(&net("6.12", TABLE)[..]).unwrap().table;
    let service = &table.services[6];
    assert_eq!(service.timeout_s, None);
    assert_eq!((&service.engine, &service.stats), (&None, &None));
    assert_eq!(
        service.destinations,
        [
            destination("10.1.0.2", 80, ForwardingMethod::Tunnel, [1, 1, 0]),
            destination("fd00:1::2", 8080, ForwardingMethod::Masquerade, [1, 0, 0]),
        ]
    );
    assert_eq!(
        table.services[7].destinations,
        [
            destination("10.1.0.3", 8080, ForwardingMethod::Masquerade, [3, 2, 8]),
            destination("10.1.0.2", 8080, ForwardingMethod::Masquerade, [1, 1, 9]),
        ]
    );
    assert_eq!(
        table.services[0].destinations[1].method,
        ForwardingMethod::DirectRoute
    );
}

#[test]
fn every_kernel_writes_the_same_columns() {
    let count = |version| {
        let ProcTable { info, table, marks } = table(&net(version, TABLE)[..]).unwrap();
        (
            info.connection_table_size,
            table.services.len(),
            marks.len(),
        )
    };
    assert_eq!(count("6.1"), (4096, 11, 1));
    assert_eq!(count("6.12"), (4096, 11, 1));
    assert_eq!(count("7.2"), (256, 1, 0));
}

#[test]
fn numbers_that_the_kernel_prints_signed_are_those_of_netlink() {
    let table = read(
        "TCP  C000020A:0050 rr ops persistent -1 00000000
  -> 0A010002:1F90      Local   2147483647 -1         0         \n",
    )
    .table;
    let service = &table.services[0];
    assert_eq!(service.flags, HASHED | ONEPACKET | PERSISTENT);
    assert_eq!(service.netmask, Some(Netmask::Ipv4(Ipv4Addr::UNSPECIFIED)));
    assert_eq!(
        service.destinations,
        [destination(
            "10.1.0.2",
            8080,
            ForwardingMethod::Local,
            [0x7fff_ffff, u32::MAX, 0]
        )]
    );
}

#[test]
fn a_server_that_is_not_in_a_tunnel_tells_the_family_of_a_mark() {
    let tunnel_v6 = "  -> [fd00:0001:0000:0000:0000:0000:0000:0002]:0000      Tunnel  1      0          0         \n";
    let route_v4 = "  -> 0A010002:0000      Route   1      0          0         \n";
    let text = format!("FWM  0000002F rr \n{tunnel_v6}{route_v4}");
    assert_eq!(names(&text), (vec!["FWM 47".to_owned()], vec![]));
    let text = format!("FWM  0000002F rr \n{tunnel_v6}");
    assert_eq!(names(&text), (vec![], vec![47]));
    assert_eq!(read(&text).marks[0].destinations.len(), 1);
}

#[test]
fn a_mask_that_is_no_prefix_length_is_one_of_ipv4() {
    let ipv4 = |mask| names(&format!("FWM  0000002F rr persistent 75000 {mask}\n"));
    let known = (vec!["FWM 47".to_owned()], vec![]);
    for mask in ["FFFFFFFF", "FFFFFF00", "FF000000", "81000000", "00000000"] {
        assert_eq!(ipv4(mask), known, "{mask}");
    }
    // 1, 64 and 128, but also 1.0.0.0, 64.0.0.0 and 128.0.0.0.
    for mask in ["01000000", "40000000", "80000000"] {
        assert_eq!(ipv4(mask), (vec![], vec![47]), "{mask}");
    }
}

#[test]
fn of_two_services_with_one_mark_each_has_a_family() {
    let known = "FWM  0000002F rr \n  -> 0A010002:0000      Masq    1      0          0         \n";
    let unknown = "FWM  0000002F wlc \n";
    let other_mark = "FWM  00000030 wlc \n";
    let both = |first, second| names(&format!("{first}{second}{other_mark}"));
    let name = |text: &str| text.to_owned();
    assert_eq!(
        both(known, unknown),
        (vec![name("FWM 47"), name("FWM 47 IPv6")], vec![48])
    );
    assert_eq!(
        both(unknown, known),
        (vec![name("FWM 47 IPv6"), name("FWM 47")], vec![48])
    );
    assert_eq!(both(unknown, unknown), (vec![], vec![47, 47, 48]));
}

#[test]
fn a_service_that_is_listed_twice_is_kept_once_and_the_table_is_torn() {
    let one =
        "TCP  C000020A:0050 rr  \n  -> 0A010002:1F90      Masq    1      0          0         \n";
    let other = "UDP  C000020A:0050 rr  \n";
    let table = read(&format!("{one}{other}{one}")).table;
    assert!(table.torn);
    assert_eq!(table.services.len(), 2);
    assert_eq!(table.services[0].destinations.len(), 1);
}

#[test]
fn no_service_is_a_table_and_no_header_is_none() {
    let ProcTable { table, marks, .. } = read("");
    assert_eq!((table.services.len(), marks.len()), (0, 0));
    assert!(!table.torn);
    let file = |text: &str| super::table(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(file(""), "/proc/net/ip_vs ends before its version");
    let (version, _) = HEADER.split_once('\n').unwrap();
    assert_eq!(
        file(&format!("{version}\n")),
        "/proc/net/ip_vs ends before the end of its header"
    );
    for (bad, what) in [
        ("IP Virtual Server version 1.2 (size=4096)", "the version"),
        (
            "IP Virtual Server version 1.2.1.0 (size=4096)",
            "the version",
        ),
        (
            "IP Virtual Server version 1.2.256 (size=4096)",
            "the version",
        ),
        ("IP Virtual Server version 1.2.1 (size=-1)", "the size"),
        ("IP Virtual Server version 1.2.1", "the size"),
        ("IP Virtual Machine", "the header"),
        ("TCP  C000020A:0050 rr  ", "the header"),
    ] {
        assert_eq!(
            file(&format!("{bad}\n")),
            format!("cannot make sense of {what} in line 1 of /proc/net/ip_vs: \"{bad}\"")
        );
    }
}

#[test]
fn a_line_that_is_none_is_an_error_with_its_place() {
    for (bad, what) in [
        ("", "Prot"),
        ("XYZ  C000020A:0050 rr ", "Prot"),
        ("TCP  C000020A rr ", "LocalAddress:Port"),
        ("TCP  C000020A.0050 rr ", "LocalAddress:Port"),
        ("TCP  [C000020A:0050 rr ", "LocalAddress:Port"),
        ("TCP  C000020A:0050", "Scheduler"),
        ("TCP  C000020A:0050 rr opt ", "Flags"),
        ("TCP  C000020A:0050 rr ops persist", "Flags"),
        ("TCP  C000020A:0050 rr persistent x FFFFFFFF", "the timeout"),
        ("TCP  C000020A:0050 rr persistent 300", "the mask"),
        ("TCP  C000020A:0050 rr persistent 300 FFFFFFF", "the mask"),
        ("FWM  47 rr ", "the mark"),
        ("FWM  0000002F", "Scheduler"),
        (
            "  -> 0A010002:1F90 Masq 1 0 0",
            "the service, which is missing,",
        ),
    ] {
        let mut shown = bad.to_owned();
        shown.truncate(80);
        assert_eq!(
            error_of(&format!("{bad}\n")),
            format!("cannot make sense of {what} in line 4 of /proc/net/ip_vs: \"{shown}\"")
        );
    }
    for (bad, what) in [
        ("  -> 0A010002 Masq 1 0 0", "RemoteAddress:Port"),
        ("  -> 0A010002:1F90", "Forward"),
        ("  -> 0A010002:1F90 Bypass 1 0 0", "Forward"),
        ("  -> 0A010002:1F90 Masq one 0 0", "Weight"),
        ("  -> 0A010002:1F90 Masq 1 - 0", "ActiveConn"),
        ("  -> 0A010002:1F90 Masq 1 0", "InActConn"),
        (
            "  -> 0A010002:1F90 Masq 1 0 0 0",
            "the columns after the last",
        ),
    ] {
        assert_eq!(
            error_of(&format!("TCP  C000020A:0050 rr  \n{bad}\n")),
            format!("cannot make sense of {what} in line 5 of /proc/net/ip_vs: \"{bad}\"")
        );
    }
}
