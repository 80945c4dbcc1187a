//! What the probes cost, in guest instructions: the figures that the README gives.
//!
//! The same traffic runs without an agent and with one that does not wake up meanwhile.

use std::io::{self, Write as _};

use ipvs_observer_tests::{agent::Agent, report::Coverage, services::Vip, traffic, wait};

use crate::fixture::{Balanced, summary};

/// Requests on one connection: the path of almost every packet.
const REQUESTS: u32 = 3000;
/// Connections of one request each.
const SESSIONS: u32 = 500;

/// Upper bounds; the figures themselves are printed.
const PER_PACKET: u64 = 800;
const PER_CONNECTION: u64 = 30_000;
/// Two fifths more than a kprobe and kretprobe of nothing take on 6.12.
const PER_XMIT: u64 = 1_500;

#[cfg_attr(feature = "vm", test)]
fn a_packet_and_a_connection_cost_what_the_readme_says() {
    let balanced = Balanced::new(Vip::V4, 1);
    kept_alive(&balanced);
    connections(&balanced);
    let before = Run::of(&balanced);
    let agent = Agent::start(balanced.lab.director(), &["-i", "1h"]).expect("the agent starts");
    let packets = balanced.lab.packets().expect("packets are counted");
    let probed = Run::of(&balanced);
    let now = balanced.lab.packets().expect("packets are counted");
    let packets = now.since(packets).total();
    let summary = summary(agent);
    let after = Run::of(&balanced);

    assert_eq!(
        [before.packets, after.packets],
        [probed.packets; 2],
        "the same traffic has the same packets"
    );
    let coverage = summary.total_coverage().expect("the coverage is stated");
    assert_eq!(
        coverage,
        Coverage {
            hits: packets,
            packets
        },
        "a probe that misses packets is cheap"
    );
    // What the lab itself costs changes slowly, so it is taken from both sides.
    let added = |what: fn(&Run) -> u64| {
        what(&probed).saturating_sub(u64::midpoint(what(&before), what(&after)))
    };
    let per_packet = added(|run| run.kept_alive_ns) / probed.packets;
    let per_connection = added(|run| run.connections_ns) / u64::from(SESSIONS);
    // Past the capture of the test harness, for whoever keeps the README.
    writeln!(
        io::stderr(),
        "added instructions: {per_packet} per packet of an established connection, \
         {per_connection} per connection of one request, its packets included"
    )
    .expect("standard error is open");
    assert!(
        (1..=PER_PACKET).contains(&per_packet),
        "{per_packet} per packet"
    );
    assert!(
        (1..=PER_CONNECTION).contains(&per_connection),
        "{per_connection} per connection"
    );
}

/// With `xmit` the same packets take one return probe more, for those from the client.
#[cfg_attr(feature = "vm", test)]
fn timing_what_is_forwarded_costs_less_than_a_pair_of_probes_and_two_fifths() {
    let balanced = Balanced::new(Vip::V4, 1);
    kept_alive(&balanced);
    let run = |measures: &str| {
        let arguments = ["-i", "1h", "--measure", measures];
        let agent = Agent::start(balanced.lab.director(), &arguments).expect("the agent starts");
        // What is made at the first packets is not what the others cost.
        kept_alive(&balanced);
        let before = balanced.lab.packets().expect("packets are counted");
        let (elapsed_ns, _) = timed(&balanced, kept_alive);
        let now = balanced.lab.packets().expect("packets are counted");
        let summary = summary(agent);
        assert_eq!(
            summary.total_losses().expect("they are shown"),
            [] as [&str; 0]
        );
        (elapsed_ns, now.since(before).incoming)
    };
    let (default_ns, packets) = run("default");
    let (xmit_ns, _) = run("+xmit");
    let (hook_ns, _) = run("+hook");
    let (again_ns, _) = run("default");
    let added = |ns: u64| ns.saturating_sub(u64::midpoint(default_ns, again_ns)) / packets;
    let (xmit, hook) = (added(xmit_ns), added(hook_ns));
    writeln!(
        io::stderr(),
        "added instructions per packet from a client: {xmit} with xmit, {hook} with hook"
    )
    .expect("standard error is open");
    assert!((1..=PER_XMIT).contains(&xmit), "{xmit} per packet");
}

/// What the traffic took.
struct Run {
    kept_alive_ns: u64,
    /// Of the kept-alive connection.
    packets: u64,
    connections_ns: u64,
}

impl Run {
    fn of(balanced: &Balanced) -> Self {
        let (kept_alive_ns, packets) = timed(balanced, kept_alive);
        let (connections_ns, _) = timed(balanced, connections);
        Self {
            kept_alive_ns,
            packets,
            connections_ns,
        }
    }
}

/// Guest time and packets of `traffic`.
fn timed(balanced: &Balanced, traffic: impl Fn(&Balanced)) -> (u64, u64) {
    wait::idle_cpu().expect("the guest becomes idle");
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
