//! The table on which ours is compared with others is what a comparison needs: it has everything
//! that IPVS can be told, and it holds still.

use std::collections::BTreeMap;

use ipvs_observer_tests::{
    everything::Everything,
    netns::Netns,
    peers::{self, IPVSADM},
};

/// What `ipvsadm -Ln` prints but for its first line, which has the size of the table of
/// connections: that is 4096 up to 6.12, and follows their number on 7.2.
const LISTED: &str = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
FWM  -1294967296 IPv6 rr
FWM  -294967296 nq
  -> 10.2.1.2:0                   Route   1      0          0         
TCP  192.168.100.200:65535 rr persistent 360
  -> 192.168.100.201:65535        Route   1      0          0         
TCP  10.9.0.1:80 rr
  -> 10.2.1.2:80                  Masq    1      1          2         
  -> 10.2.2.2:80                  Masq    3      1          2         
TCP  10.9.0.1:443 wrr persistent 360 mask 255.255.255.0
  -> 192.168.0.9:443              Tunnel  100    0          0         
  -> 10.2.1.2:443                 Route   65535  0          0         
TCP  10.9.0.1:1001 rr
TCP  10.9.0.1:1002 wrr
TCP  10.9.0.1:1003 lc
TCP  10.9.0.1:1004 wlc (flag-1,flag-2,flag-3)
TCP  10.9.0.1:1005 lblc
TCP  10.9.0.1:1006 lblcr
TCP  10.9.0.1:1007 dh
TCP  10.9.0.1:1008 sh
TCP  10.9.0.1:1009 sh (sh-fallback)
TCP  10.9.0.1:1010 sh (sh-port)
TCP  10.9.0.1:1011 sed
TCP  10.9.0.1:1012 nq
TCP  10.9.0.1:1013 fo
TCP  10.9.0.1:1014 ovf
TCP  10.9.0.1:1015 mh
TCP  10.9.0.1:1016 mh (mh-fallback)
TCP  10.9.0.1:1017 mh (mh-port)
TCP  10.9.0.1:8443 sh (sh-fallback,sh-port)
  -> 10.2.1.2:8443                Tunnel  1      0          0         
  -> 10.2.2.2:8443                Tunnel  1      0          0         
  -> 10.2.3.2:8443                Tunnel  1      0          0         
  -> 10.2.4.2:8443                Tunnel  1      0          0         
  -> 10.2.5.2:8443                Tunnel  1      0          0         
  -> 10.2.6.2:8443                Tunnel  0      0          0         
UDP  10.9.0.1:53 rr ops
  -> 10.2.1.2:53                  Masq    1      0          0         
UDP  10.9.0.1:123 wrr
  -> 10.2.2.2:123                 Masq    1      0          1         
UDP  10.9.0.1:5060 rr persistent 60 pe sip
  -> 10.2.1.2:5060                Masq    1      0          1         
SCTP 10.9.0.1:3868 lc
  -> 10.2.1.2:3868                Masq    1      0          0         
TCP  [fd00:9::1]:80 wlc persistent 300 mask 64
  -> [fd00:2:1::2]:80             Masq    1      1          2         
  -> 10.2.2.2:80                  Tunnel  0      0          0         
TCP  [fd00:9::1]:8080 rr
  -> 10.2.2.2:8080                Tunnel  1      1          0         
TCP  [fd00:9::1]:8443 mh (mh-fallback,mh-port)
  -> [fd00:2:1::2]:8443           Tunnel  1      0          0         
  -> 10.2.2.2:8443                Tunnel  1      0          0         
TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:65535 sed
  -> [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535 Route   65535  0          0         
  -> 100.64.0.9:65535             Tunnel  1      0          0         
UDP  [fd00:9::1]:53 rr persistent 120 mask 96 ops
  -> [fd00:2:1::2]:5353           Masq    1      0          0         
FWM  47 rr
  -> 10.2.1.2:0                   Masq    1      0          1         
FWM  47 IPv6 rr persistent 300
  -> [fd00:2:1::2]:0              Masq    1      0          1         
";

/// Cells of `--tun-info`, each with the server's weight behind it.
const TUNNELS: [&str; 11] = [
    "10.2.1.2:8443                Tunnel  gue:6080:-c   1 ",
    "10.2.2.2:8443                Tunnel  gue:6081:+c   1 ",
    "10.2.3.2:8443                Tunnel  gue:65535:r+c 1 ",
    "10.2.4.2:8443                Tunnel  gre:-c        1 ",
    "10.2.5.2:8443                Tunnel  gre:+c        1 ",
    "10.2.6.2:8443                Tunnel  ipip          0 ",
    "192.168.0.9:443              Tunnel  ipip          100 ",
    "[fd00:2:1::2]:8443           Tunnel  gue:6080:+c   1 ",
    "10.2.2.2:8443                Tunnel  gre:+c        1 ",
    "10.2.2.2:8080                Tunnel  ipip          1 ",
    "10.2.1.2:443                 Route   n/a           65535 ",
];
const DAEMONS: &str = "\
master sync daemon (mcast=uplink, syncid=7, maxlen=1400, group=224.0.1.44, port=8849, ttl=3)
backup sync daemon (mcast=uplink, syncid=255, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)
";

#[cfg_attr(feature = "vm", test)]
fn the_table_has_everything() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();

    let listed = list(director, &["-Ln"]);
    let (first, rest) = listed.split_once('\n').expect("there are lines");
    assert!(
        first.starts_with("IP Virtual Server version 1.2.1 (size="),
        "{first}"
    );
    assert_eq!(rest, LISTED);

    let tunnels = list(director, &["-Ln", "--tun-info"]);
    for tunnel in TUNNELS {
        assert!(tunnels.contains(tunnel), "no {tunnel} in:\n{tunnels}");
    }
    let thresholds = list(director, &["-Ln", "--thresholds"]);
    for row in [
        "10.2.2.2:80                  1000       500        1          2         \n",
        "192.168.0.9:443              2000000000 0          0          0         \n",
    ] {
        assert!(thresholds.contains(row), "no {row} in:\n{thresholds}");
    }
    let persistent = list(director, &["-Ln", "--persistent-conn"]);
    for row in [
        "[fd00:2:1::2]:80             1         1           1          2         \n",
        "10.2.1.2:5060                1         1           0          1         \n",
        "[fd00:2:1::2]:0              1         1           0          1         \n",
    ] {
        assert!(persistent.contains(row), "no {row} in:\n{persistent}");
    }
    let named = list(director, &["-L"]);
    for row in [
        "TCP  vip.example.org:http rr\n",
        "  -> the-second-real-server-of-th Masq    3",
        "TCP  another-service-of-this-dire rr persistent 360\n",
        "TCP  [vip6.example.org]:http wlc persistent 300 mask 64\n",
        "SCTP vip.example.org:3868 lc\n",
    ] {
        assert!(named.contains(row), "no {row} in:\n{named}");
    }
    assert_eq!(
        list(everything.synchronized(), &["-Ln", "--daemon"]),
        DAEMONS
    );
}

#[cfg_attr(feature = "vm", test)]
fn the_table_has_been_used_and_is_at_rest() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();

    let statistics = list(director, &["-Ln", "--stats"]);
    for (service, connections) in [
        ("TCP  10.9.0.1:80 ", 6),
        ("TCP  [fd00:9::1]:80 ", 3),
        ("TCP  [fd00:9::1]:8080 ", 1),
        ("UDP  10.9.0.1:53 ", 3),
        ("UDP  10.9.0.1:123 ", 1),
        ("UDP  10.9.0.1:5060 ", 1),
        ("FWM  47 ", 1),
        ("FWM  47 IPv6 ", 1),
        ("TCP  10.9.0.1:443 ", 0),
    ] {
        let row = statistics
            .lines()
            .find_map(|line| line.strip_prefix(service))
            .expect("the service is listed");
        let first = row.split_whitespace().next().expect("it has counters");
        assert_eq!(
            first,
            connections.to_string(),
            "{service} in:\n{statistics}"
        );
    }
    let connections = list(director, &["-Lnc"]);
    let mut states = BTreeMap::<(&str, &str), u32>::new();
    for line in connections.lines().skip(2) {
        let fields: Vec<_> = line.split_whitespace().collect();
        // Whether a template has a state depends on the kernel.
        let state = if fields[3].ends_with(":0") {
            "template"
        } else {
            fields[2]
        };
        *states.entry((fields[0], state)).or_default() += 1;
    }
    let expected = BTreeMap::from([
        (("IP", "template"), 1),
        (("TCP", "ESTABLISHED"), 3),
        (("TCP", "SYN_RECV"), 1),
        (("TCP", "TIME_WAIT"), 8),
        (("TCP", "template"), 1),
        (("UDP", "UDP"), 2),
        (("UDP", "template"), 1),
    ]);
    assert_eq!(states, expected, "{connections}");
    let engine = "sip                abcdef0123456789@host.example\n";
    let connections = list(director, &["-Lnc", "--persistent-conn"]);
    assert!(connections.contains(engine), "{connections}");

    assert_eq!(list(director, &["-Ln", "--stats"]), statistics);
}

#[track_caller]
fn list(netns: &Netns, arguments: &[&str]) -> String {
    peers::output(netns, IPVSADM, arguments, "").expect("ipvsadm lists")
}
