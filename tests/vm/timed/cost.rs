//! What the probes cost, in guest instructions: the figures that the README gives.
//!
//! The same traffic runs without an agent and with one that does not wake up meanwhile.

use std::io::{self, Write as _};

use ipvs_observer_tests::{agent::Agent, services::Vip, traffic, wait};

use super::await_idle_cpu;
use crate::fixture::Balanced;

/// Requests on one connection: the path of almost every packet.
const REQUESTS: u32 = 3000;
/// Connections of one request each.
const SESSIONS: u32 = 300;

/// Upper bounds; the figures themselves are printed.
const PER_PACKET: u64 = 900;
const PER_CONNECTION: u64 = 40_000;

#[cfg_attr(feature = "vm", test)]
fn a_packet_and_a_connection_cost_what_the_readme_says() {
    let balanced = Balanced::new(Vip::V4, 1);
    kept_alive(&balanced);
    balanced.sessions(SESSIONS, 1);
    let (plain_packets, packets) = timed(&balanced, kept_alive);
    let (plain_connections, _) = timed(&balanced, connections);
    let agent = Agent::start(balanced.lab.director(), &["-i", "1h"]).expect("the agent starts");
    let (probed_packets, probed) = timed(&balanced, kept_alive);
    let (probed_connections, _) = timed(&balanced, connections);
    agent.stop().expect("the agent ends");

    assert_eq!(packets, probed, "the same traffic has the same packets");
    let per_packet = probed_packets.saturating_sub(plain_packets) / packets;
    let per_connection = probed_connections.saturating_sub(plain_connections) / u64::from(SESSIONS);
    // Past the capture of the test harness, for whoever keeps the README.
    writeln!(
        io::stderr(),
        "added instructions: {per_packet} per packet of an established connection, \
         {per_connection} per connection of one request, its packets included"
    )
    .expect("standard error is open");
    assert!(per_packet <= PER_PACKET, "{per_packet} per packet");
    assert!(
        per_connection <= PER_CONNECTION,
        "{per_connection} per connection"
    );
}

/// Guest time and packets of `traffic`.
fn timed(balanced: &Balanced, traffic: impl Fn(&Balanced)) -> (u64, u64) {
    await_idle_cpu();
    let packets = balanced.lab.packets().expect("packets are counted");
    let start_ns = wait::monotonic_ns();
    traffic(balanced);
    let elapsed_ns = wait::monotonic_ns() - start_ns;
    let now = balanced.lab.quiesce().expect("the director becomes idle");
    (elapsed_ns, now.since(packets).total())
}

fn kept_alive(balanced: &Balanced) {
    let target = balanced.vip.address();
    let exchange_all = || {
        let mut stream = traffic::open(target)?;
        for _ in 0..REQUESTS {
            traffic::exchange(&mut stream)?;
        }
        traffic::close(stream)
    };
    balanced
        .lab
        .client()
        .run(exchange_all)
        .expect("every request is answered");
}

fn connections(balanced: &Balanced) {
    balanced.sessions(SESSIONS, 1);
}
