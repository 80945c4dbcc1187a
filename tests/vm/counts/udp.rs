//! UDP services: a connection is what IPVS makes of one client's port, and the first
//! answer to it is its first byte.

use ipvs_observer_tests::{
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path},
    report::Coverage,
    services::Vip,
};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

const SERVERS: u8 = 2;
/// Sockets of the client that each server gets to do with, and datagrams of each.
const SOCKETS_EACH: u32 = 5;
const DATAGRAMS: u32 = 3;

#[cfg_attr(feature = "vm", test)]
fn ipv4_datagrams_are_seen_and_first_answers_are_counted_once() {
    datagrams_are_seen_and_first_answers_are_counted_once(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_datagrams_are_seen_and_first_answers_are_counted_once() {
    datagrams_are_seen_and_first_answers_are_counted_once(Vip::V6);
}

fn datagrams_are_seen_and_first_answers_are_counted_once(vip: Vip) {
    let path = Path {
        vip,
        transport: Transport::Udp,
        forwarding: Forwarding::Masquerade,
    };
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.balance(path).expect("the service is set up");
    let before = lab.quiesce().expect("the kernel counts packets");
    let agent = agent(&lab);

    let sockets = SOCKETS_EACH * u32::from(SERVERS);
    lab.exchange(path, SOCKETS_EACH, DATAGRAMS)
        .expect("each server answers its part of the datagrams");
    let packets = lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    assert_eq!(
        (packets.incoming, packets.outgoing),
        (
            u64::from(sockets * DATAGRAMS),
            u64::from(sockets * DATAGRAMS)
        ),
        "no more packets than datagrams"
    );
    let summary = summary(agent);

    let expected = Coverage {
        hits: packets.total(),
        packets: packets.total(),
    };
    assert_eq!(
        summary.total_coverage().expect("the coverage is stated"),
        expected
    );
    let row = summary
        .service(&path.id().to_string())
        .expect("the service is shown");
    for (row, expected) in (1..=SERVERS)
        .map(|server| {
            row.server(vip.server_address(server))
                .expect("the server is shown")
        })
        .map(|server| (server, SOCKETS_EACH))
        .chain([(row, sockets)])
    {
        assert_total(row, "scheduled", u64::from(expected));
        assert_latency_count(row, "schedule", u64::from(expected));
        assert_latency_count(row, "first_byte", u64::from(expected));
        // There is no handshake, and no connection of UDP ends before it is forgotten.
        assert_total(row, "established", 0);
        for measure in ["connect", "client", "handshake", "duration"] {
            assert_latency_count(row, measure, 0);
        }
    }
}
