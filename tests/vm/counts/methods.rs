//! Every method of passing connections on, with every protocol and pair of families: each
//! connection is counted once, for the server that answered it, and what the replies tell
//! is known exactly where the director sees them.

use ipvs_observer::{ipvs::table::TunnelKind, model::id::AddressFamily};
use ipvs_observer_tests::{
    agent::Agent,
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path, Replies},
    report::{Coverage, Report, Row},
    services::Vip,
};

use crate::fixture::{agent, assert_latency_count, assert_total, await_no_connection, summary};

const SERVERS: u8 = 2;
/// Connections to each server, over each protocol.
const EACH: u32 = 3;
const CONNECTIONS: u32 = EACH * SERVERS as u32;
/// Requests of each connection.
const REQUESTS: u32 = 2;

const TRANSPORTS: [Transport; 4] = [
    Transport::Tcp,
    Transport::Udp,
    Transport::OnePacket,
    Transport::Sctp,
];

/// What only replies tell.
const MEASURES_OF_REPLIES: [&str; 3] = ["connect", "client", "first_byte"];

macro_rules! every_transport_is_counted {
    ($($name:ident: $vip:expr, $forwarding:expr;)+) => {
        $(
            #[cfg_attr(feature = "vm", test)]
            fn $name() {
                every_transport_is_counted($vip, $forwarding);
            }
        )+
    };
}

every_transport_is_counted! {
    masquerade_of_ipv4: Vip::V4, Forwarding::Masquerade;
    masquerade_of_ipv6: Vip::V6, Forwarding::Masquerade;
    masquerade_of_ipv4_to_the_director_itself: Vip::V4, Forwarding::MasqueradeToItself;
    masquerade_of_ipv6_to_the_director_itself: Vip::V6, Forwarding::MasqueradeToItself;
    local_ipv4: Vip::V4, Forwarding::Local;
    local_ipv6: Vip::V6, Forwarding::Local;
    direct_route_of_ipv4: Vip::V4, Forwarding::DirectRoute(Replies::Avoid);
    direct_route_of_ipv6: Vip::V6, Forwarding::DirectRoute(Replies::Avoid);
    direct_route_of_ipv4_and_back: Vip::V4, Forwarding::DirectRoute(Replies::Pass);
    direct_route_of_ipv6_and_back: Vip::V6, Forwarding::DirectRoute(Replies::Pass);
    ipip_tunnel_of_ipv4: Vip::V4, tunnel(TunnelKind::IpIp, AddressFamily::Ipv4);
    ipip_tunnel_of_ipv6: Vip::V6, tunnel(TunnelKind::IpIp, AddressFamily::Ipv6);
    ipip_tunnel_of_ipv4_over_ipv6: Vip::V4, tunnel(TunnelKind::IpIp, AddressFamily::Ipv6);
    ipip_tunnel_of_ipv6_over_ipv4: Vip::V6, tunnel(TunnelKind::IpIp, AddressFamily::Ipv4);
    gue_tunnel_of_ipv4: Vip::V4, tunnel(TunnelKind::Gue, AddressFamily::Ipv4);
    gue_tunnel_of_ipv6: Vip::V6, tunnel(TunnelKind::Gue, AddressFamily::Ipv6);
    gue_tunnel_of_ipv4_over_ipv6: Vip::V4, tunnel(TunnelKind::Gue, AddressFamily::Ipv6);
    gue_tunnel_of_ipv6_over_ipv4: Vip::V6, tunnel(TunnelKind::Gue, AddressFamily::Ipv4);
    gre_tunnel_of_ipv4: Vip::V4, tunnel(TunnelKind::Gre, AddressFamily::Ipv4);
    gre_tunnel_of_ipv6: Vip::V6, tunnel(TunnelKind::Gre, AddressFamily::Ipv6);
    gre_tunnel_of_ipv4_over_ipv6: Vip::V4, tunnel(TunnelKind::Gre, AddressFamily::Ipv6);
    gre_tunnel_of_ipv6_over_ipv4: Vip::V6, tunnel(TunnelKind::Gre, AddressFamily::Ipv4);
    ipip_tunnel_of_ipv4_and_back: Vip::V4, tunnel_and_back(AddressFamily::Ipv4);
    ipip_tunnel_of_ipv6_and_back: Vip::V6, tunnel_and_back(AddressFamily::Ipv6);
    ipip_tunnel_of_ipv6_over_ipv4_and_back: Vip::V6, tunnel_and_back(AddressFamily::Ipv4);
}

const fn tunnel(kind: TunnelKind, outer: AddressFamily) -> Forwarding {
    Forwarding::Tunnel {
        kind,
        outer,
        replies: Replies::Avoid,
    }
}

const fn tunnel_and_back(outer: AddressFamily) -> Forwarding {
    Forwarding::Tunnel {
        kind: TunnelKind::IpIp,
        outer,
        replies: Replies::Pass,
    }
}

/// All services are there at once, so that a connection that is counted for another's shows.
fn every_transport_is_counted(vip: Vip, forwarding: Forwarding) {
    let (lab, paths) = build(vip, forwarding, TRANSPORTS);
    let before = lab.quiesce().expect("the kernel counts packets");
    let measures = ["-i", "1s", "--measure", "+xmit,+hook"];
    let agent = Agent::start(lab.director(), &measures).expect("the agent starts");
    for path in paths {
        exchange(&lab, path);
    }
    let packets = lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    assert_eq!(
        packets.outgoing > 0,
        forwarding.has_return_path(),
        "the lab is not what it should be: {packets:?}"
    );
    let summary = summary(agent);
    for path in paths {
        for (row, expected) in rows(&summary, path) {
            assert_counted(row, path, expected);
        }
    }
    for measure in ["xmit", "hook"] {
        let of_paths = paths.iter().map(|path| {
            let latency = service(&summary, *path).total_latency(measure);
            latency.expect("it is shown").count
        });
        assert_eq!(of_paths.sum::<u64>(), packets.incoming, "{measure}");
    }
    let expected = Coverage {
        hits: packets.total(),
        packets: packets.total(),
    };
    assert_eq!(
        summary.total_coverage().expect("the coverage is stated"),
        expected
    );
    assert_eq!(
        summary.total_losses().expect("the losses are stated"),
        Vec::<String>::new()
    );
}

#[cfg_attr(feature = "vm", test)]
fn what_an_ipv4_direct_route_cannot_show_is_absent() {
    what_no_reply_tells_is_absent(Vip::V4, Forwarding::DirectRoute(Replies::Avoid));
}

#[cfg_attr(feature = "vm", test)]
fn what_an_ipv6_direct_route_cannot_show_is_absent() {
    what_no_reply_tells_is_absent(Vip::V6, Forwarding::DirectRoute(Replies::Avoid));
}

#[cfg_attr(feature = "vm", test)]
fn what_a_tunnel_cannot_show_is_absent() {
    what_no_reply_tells_is_absent(Vip::V4, tunnel(TunnelKind::IpIp, AddressFamily::Ipv4));
}

/// Absent is not zero: a zero would say that no server has answered.
fn what_no_reply_tells_is_absent(vip: Vip, forwarding: Forwarding) {
    let (lab, [path]) = build(vip, forwarding, [Transport::Tcp]);
    let agent = agent(&lab);
    exchange(&lab, path);
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    for (row, expected) in rows(&summary, path) {
        assert_latency_count(row, "handshake", expected);
        for measure in MEASURES_OF_REPLIES {
            assert!(
                !row.has_total_latency(measure).expect("latencies are shown"),
                "{measure} cannot be known and is shown"
            );
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn connections_by_direct_route_have_their_duration_when_they_end() {
    connections_have_their_duration_when_they_end(Forwarding::DirectRoute(Replies::Avoid));
}

#[cfg_attr(feature = "vm", test)]
fn connections_by_tunnel_have_their_duration_when_they_end() {
    let forwarding = tunnel(TunnelKind::IpIp, AddressFamily::Ipv4);
    connections_have_their_duration_when_they_end(forwarding);
}

#[cfg_attr(feature = "vm", test)]
fn connections_to_the_director_itself_have_their_duration_when_they_end() {
    connections_have_their_duration_when_they_end(Forwarding::Local);
}

/// At the latest when IPVS lets go of them, and one-packet connections never.
fn connections_have_their_duration_when_they_end(forwarding: Forwarding) {
    let (lab, paths) = build(Vip::V4, forwarding, TRANSPORTS);
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    let agent = agent(&lab);
    for path in paths {
        exchange(&lab, path);
    }
    lab.quiesce().expect("the director becomes idle");
    for path in paths {
        lab.remove_servers(path).expect("the servers are removed");
    }
    await_no_connection(&lab);
    await_durations(&agent, &paths);
    let summary = summary(agent);
    for path in paths {
        let service = service(&summary, path);
        assert_latency_count(service, "duration", durations(path));
        assert_total(service, "unanswered", 0);
    }
}

/// How many connections of the path have one.
fn durations(path: Path) -> u64 {
    if path.transport == Transport::OnePacket {
        0
    } else {
        u64::from(CONNECTIONS)
    }
}

/// The records are taken away a moment after their connections.
fn await_durations(agent: &Agent, paths: &[Path]) {
    let has_all = |report: &Report, path: Path| {
        let service = report.service(&path.id().to_string())?;
        let latency = service.total_latency("duration")?;
        anyhow::Ok(latency.count >= durations(path))
    };
    agent
        .await_report("the durations of all connections", |report| {
            let mut paths = paths.iter();
            paths.all(|path| has_all(report, *path).unwrap_or(false))
        })
        .expect("every connection has one");
}

/// A lab with the services of these transports, and nothing else.
fn build<const COUNT: usize>(
    vip: Vip,
    forwarding: Forwarding,
    transports: [Transport; COUNT],
) -> (Lab, [Path; COUNT]) {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.equip(vip, forwarding)
        .expect("the servers get what the method takes");
    let paths = transports.map(|transport| Path {
        vip,
        transport,
        forwarding,
    });
    for path in paths {
        lab.balance(path).expect("the service is added");
    }
    (lab, paths)
}

fn exchange(lab: &Lab, path: Path) {
    lab.exchange(path, EACH, REQUESTS)
        .expect("each server answers its part");
}

/// Each server's row and the service's, with how many connections it had.
fn rows(summary: &Report, path: Path) -> Vec<(Row<'_>, u64)> {
    let service = service(summary, path);
    let server = |server| {
        service
            .server(path.server_address(server))
            .expect("the server is shown")
    };
    (1..=SERVERS)
        .map(|number| (server(number), u64::from(EACH)))
        .chain([(service, u64::from(CONNECTIONS))])
        .collect()
}

fn service(summary: &Report, path: Path) -> Row<'_> {
    summary
        .service(&path.id().to_string())
        .expect("the service is shown")
}

/// Fails unless the row tells of `connections` connections, all of which went well.
#[track_caller]
fn assert_counted(row: Row<'_>, path: Path, connections: u64) {
    let of_return_path = if path.forwarding.has_return_path() {
        connections
    } else {
        0
    };
    let (scheduled, handshakes, connects, first_bytes) = match path.transport {
        Transport::Tcp => (connections, connections, of_return_path, of_return_path),
        Transport::Udp => (connections, 0, 0, of_return_path),
        // Nothing joins a reply to its request.
        Transport::OnePacket => (connections * u64::from(REQUESTS), 0, 0, 0),
        Transport::Sctp => (connections, 0, 0, 0),
    };
    for (counter, expected) in [
        ("scheduled", scheduled),
        ("established", handshakes),
        ("refused", 0),
        ("syn_repeated", 0),
        ("unanswered", 0),
        ("server_first", 0),
        ("data_in_syn", 0),
        ("preexisting", 0),
        ("dropped", 0),
    ] {
        assert_total(row, counter, expected);
    }
    for (measure, expected) in [
        ("schedule", scheduled),
        ("handshake", handshakes),
        ("connect", connects),
        ("client", connects),
        ("first_byte", first_bytes),
    ] {
        assert_latency_count(row, measure, expected);
    }
}
