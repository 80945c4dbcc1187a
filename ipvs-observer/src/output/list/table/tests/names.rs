//! Names in the place of numbers.

use super::{
    AddressFamily, MASQUERADE, Names, Options, Order, Protocol, destination, lines, marked, service,
};

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
