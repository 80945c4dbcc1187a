//! Packets whose headers do not lie where those of most do, or that are more than one segment.

use std::io::{Read as _, Write as _};

use ipvs_observer_tests::{
    extended,
    services::Vip,
    tcp_counters::tcp_counter,
    traffic::{REQUEST, RESPONSE, close, open},
    wait,
};

use crate::fixture::{Balanced, agent, assert_latency_count, assert_total, summary};

const CONNECTIONS: u16 = 6;
const FIRST_PORT: u16 = 41_000;

/// The kernel tells where TCP begins, or it does not, and then it is a loss and no guess.
#[cfg_attr(feature = "vm", test)]
fn syns_behind_extension_headers_are_read_or_counted_as_unreadable() {
    const VIP: Vip = Vip::V6;
    let balanced = Balanced::new(VIP, 2);
    let agent = agent(&balanced.lab);
    let ports = FIRST_PORT..FIRST_PORT + CONNECTIONS;
    extended::send_syns(balanced.lab.client(), VIP.address(), ports).expect("they are sent");
    let is_seen = |packets: u64| packets >= 3 * u64::from(CONNECTIONS);
    wait::until("the answers", wait::PATIENCE, || {
        let packets = balanced.lab.packets()?;
        Ok(is_seen(packets.incoming + packets.outgoing).then_some(()))
    })
    .expect("each SYN is answered and the answer reset");
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    assert_total(service, "scheduled", CONNECTIONS.into());
    assert_total(service, "established", 0);
    let unreadable = summary.total_loss("header_unreadable");
    let unreadable = unreadable.expect("losses are stated");
    if unreadable == 0 {
        assert_latency_count(service, "connect", CONNECTIONS.into());
    } else {
        assert_eq!(unreadable, u64::from(CONNECTIONS));
        assert_latency_count(service, "connect", 0);
    }
    let coverage = summary.total_coverage().expect("the coverage is stated");
    assert_eq!(coverage.hits, coverage.packets);
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_segments_that_travel_together_are_read() {
    segments_that_travel_together_are_read(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_segments_that_travel_together_are_read() {
    segments_that_travel_together_are_read(Vip::V6);
}

/// Between namespaces of one host many segments are one packet, whose payload lies outside its linear part.
fn segments_that_travel_together_are_read(vip: Vip) {
    const TOGETHER: usize = 500;
    let balanced = Balanced::new(vip, 2);
    let agent = agent(&balanced.lab);
    let exchanged = balanced.lab.client().run(|| {
        for _ in 0..CONNECTIONS {
            let mut stream = open(vip.address())?;
            stream.write_all(&REQUEST.repeat(TOGETHER))?;
            stream.read_exact(&mut RESPONSE.repeat(TOGETHER))?;
            close(stream)?;
        }
        Ok(())
    });
    exchanged.expect("every request is answered");
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    for measure in ["connect", "client", "handshake", "first_byte", "duration"] {
        assert_latency_count(service, measure, CONNECTIONS.into());
    }
    let losses = summary.total_losses().expect("the losses are stated");
    assert_eq!(losses, Vec::<String>::new());
    let coverage = summary.total_coverage().expect("the coverage is stated");
    assert_eq!(coverage.hits, coverage.packets);
    // Else none have travelled together.
    let segments = tcp_counter(balanced.lab.client(), "OutSegs").expect("the client counts them");
    let packets = service.kernel_packets().expect("they are shown").incoming;
    assert!(
        packets < segments,
        "{packets} packets of {segments} segments"
    );
}
