//! Names of hosts and services, with a resolver that the tests hold in their hands.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SERVICES_TEXT: &[u8] = b"\
# a comment
http\t\t80/tcp\t\twww
shell 514/tcp cmd # not syslog
syslog 514/udp
first 7/tcp
second 7/tcp
s\xffrange 8/tcp
diameter 3868/sctp
other 9/dccp
none
bad 70000/tcp
bad x/tcp
bad 10
";
/// Long enough for every answer that comes at all.
const LONG: Duration = Duration::from_secs(600);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(lookup: lookup::Lookup, patience: Duration) -> Names {
    Names::of(Services::parse(SERVICES_TEXT), lookup, patience)
}

#[test]
fn services_are_named_by_protocol_and_port() {
    let services = Services::parse(SERVICES_TEXT);
    let cases = [
        (Protocol::TCP, 80, Some("http")),
        (Protocol::UDP, 80, None),
        (Protocol::TCP, 514, Some("shell")),
        (Protocol::UDP, 514, Some("syslog")),
        (Protocol::TCP, 7, Some("first")),
        (Protocol::TCP, 8, Some("s\u{fffd}range")),
        (Protocol::SCTP, 3868, Some("diameter")),
        (Protocol(33), 9, None),
        (Protocol::TCP, 10, None),
        (Protocol::TCP, 0, None),
    ];
    for (protocol, port, name) in cases {
        assert_eq!(services.name(protocol, port), name, "{protocol} {port}");
    }
}

#[test]
fn each_host_is_looked_up_once() {
    static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
    let mut names = names(
        |address| {
            LOOKUPS.fetch_add(1, Ordering::Relaxed);
            address.is_ipv4().then(|| format!("host-of-{address}"))
        },
        LONG,
    );
    let [first, second, third] = ["10.0.0.1", "10.0.0.2", "2001:db8::1"].map(address);
    names.resolve([first, second, first, third]);
    names.resolve([third, first]);
    assert_eq!(LOOKUPS.load(Ordering::Relaxed), 3);
    assert_eq!(names.host(first), Some("host-of-10.0.0.1"));
    assert_eq!(names.host(second), Some("host-of-10.0.0.2"));
    assert_eq!(names.host(third), None);
    assert_eq!(names.host(address("10.0.0.3")), None);
    assert_eq!(names.unanswered(), 0);
}

#[test]
fn more_hosts_than_threads() {
    let mut names = names(|address| Some(address.to_string()), LONG);
    let hosts = || (0..1000_u32).map(|bits| std::net::Ipv4Addr::from_bits(bits).into());
    names.resolve(hosts());
    assert_eq!(names.unanswered(), 0);
    for host in hosts() {
        assert_eq!(names.host(host), Some(host.to_string().as_str()));
    }
}

#[test]
fn lookups_that_hang_are_left_behind_and_counted() {
    let mut names = names(
        |address| {
            while address.is_ipv6() {
                std::thread::park();
            }
            Some("answered".to_owned())
        },
        LONG,
    );
    let good = address("10.0.0.1");
    names.resolve([good]);
    names.renew(Duration::from_millis(1));
    let hanging: Vec<_> = (0..100_u128)
        .map(|bits| std::net::Ipv6Addr::from_bits(bits).into())
        .collect();
    names.resolve(hanging.iter().copied());
    assert_eq!(names.patience, Duration::ZERO);
    names.resolve(hanging.iter().copied());
    assert_eq!(names.unanswered(), 100);
    assert_eq!(names.host(good), Some("answered"));
    assert_eq!(names.host(hanging[0]), None);
}

#[test]
fn an_answer_that_comes_late_is_of_use_later() {
    static GATE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let mut names = names(
        |_| {
            drop(GATE.lock());
            Some("late".to_owned())
        },
        Duration::from_millis(1),
    );
    let host = address("10.0.0.1");
    let closed = GATE.lock().unwrap();
    names.resolve([host]);
    assert_eq!((names.unanswered(), names.host(host)), (1, None));
    drop(closed);
    names.renew(LONG);
    names.resolve([]);
    assert_eq!((names.unanswered(), names.host(host)), (0, Some("late")));
}
