//! What is measured of each packet on its way through the director: as many values as IPVS
//! counts packets, each given to the right server, and no pair of a call and its return that
//! does not belong together.

use std::thread;

use anyhow::Result;
use ipvs_observer_tests::{
    agent::Agent, proc_ipvs::PacketCounts, report::Report, services::Vip, traffic,
};

use crate::fixture::{Balanced, attached_probes, summary};

const SERVERS: u8 = 2;
/// Connections to each server.
const EACH: u32 = 20;
const REQUESTS: u32 = 4;
const MEASURES: &str = "+xmit,+hook,+estimator";

#[cfg_attr(feature = "vm", test)]
fn every_ipv4_packet_in_is_forwarded_once() {
    every_packet_in_is_forwarded_once(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn every_ipv6_packet_in_is_forwarded_once() {
    every_packet_in_is_forwarded_once(Vip::V6);
}

fn every_packet_in_is_forwarded_once(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let (packets, summary) = observe(&balanced, || {
        balanced.sessions(u32::from(SERVERS) * EACH, REQUESTS);
    });
    assert_each_packet_once(&balanced, packets, &summary);
}

/// The director itself is a client: its packets enter the hook from a task, those that the hook
/// sends enter it again inside of itself, and interrupts bring packets of other clients meanwhile.
#[cfg_attr(feature = "vm", test)]
fn packets_of_the_director_itself_and_of_others_do_not_mix() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let sessions = u32::from(SERVERS) * EACH;
    let (packets, summary) = observe(&balanced, || {
        let netns = [balanced.lab.director(), balanced.lab.client()];
        let target = balanced.vip.address();
        thread::scope(|scope| {
            let run = |netns| move || traffic::sessions(netns, target, sessions, REQUESTS);
            let [one, two] = netns.map(|netns| scope.spawn(run(netns)));
            let ended = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
                let sessions = thread.join().expect("the client does not panic");
                sessions.expect("every session is answered");
            };
            ended(one);
            ended(two);
        });
    });
    assert_each_packet_once_or_told(&balanced, packets, &summary);
}

#[cfg_attr(feature = "vm", test)]
fn the_estimator_is_timed_for_the_host() {
    let balanced = Balanced::new(Vip::V4, 1);
    let agent = Agent::start(
        balanced.lab.director(),
        &["-i", "1s", "--measure", "estimator"],
    )
    .expect("the agent starts");
    let report = agent
        .await_report("the estimator to run", |report| {
            report
                .total_host_latency("estimator")
                .is_ok_and(|latency| latency.count > 1)
        })
        .expect("it runs every two seconds");
    let latency = report.total_host_latency("estimator").expect("it is shown");
    assert!(
        latency.p50_ns > 0 && latency.sum_ns >= latency.count,
        "{latency:?}"
    );
    let summary = summary(agent);
    assert_eq!(summary.measures().expect("they are named"), ["estimator"]);
    assert_eq!(
        summary.total_losses().expect("they are shown"),
        [] as [&str; 0]
    );
}

#[cfg_attr(feature = "vm", test)]
fn what_is_not_asked_for_is_not_attached() {
    let balanced = Balanced::new(Vip::V4, 1);
    let agent = balanced.agent();
    let attached = attached_probes();
    assert_ne!(attached.len(), 0, "what is always attached is found");
    for function in ["_xmit", "ip_vs_in_hook", "estimation"] {
        let found: Vec<_> = attached
            .iter()
            .filter(|line| line.contains(function))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
    summary(agent);
}

/// Packets that IPVS counted during `traffic`, and what the agent says of them.
fn observe(balanced: &Balanced, traffic: impl FnOnce()) -> (PacketCounts, Report) {
    balanced.sessions(u32::from(SERVERS), 1);
    let before = balanced.lab.quiesce().expect("the director becomes idle");
    let agent = Agent::start(
        balanced.lab.director(),
        &["-i", "1s", "--measure", MEASURES],
    )
    .expect("the agent starts");
    traffic();
    let packets = balanced.lab.quiesce().expect("the director becomes idle");
    (packets.since(before), summary(agent))
}

/// Fails unless each packet from a client has one value of each measure, given to a server, and nothing was lost.
#[track_caller]
fn assert_each_packet_once(balanced: &Balanced, packets: PacketCounts, summary: &Report) {
    let losses = summary.total_losses().expect("they are shown");
    assert_eq!(losses, [] as [&str; 0]);
    assert_all_but(0, balanced, packets, summary);
}

/// Fails unless each value that is missing is told as a call without its return: a task may go on on another CPU inside
/// of the hook, which is known of no packet before it comes back there.
#[track_caller]
fn assert_each_packet_once_or_told(balanced: &Balanced, packets: PacketCounts, summary: &Report) {
    let losses = summary.total_losses().expect("they are shown");
    let unpaired = losses.iter().map(|loss| {
        let count = loss.strip_prefix("unpaired: ");
        let count = count.expect("nothing else is lost");
        count.parse::<u64>().expect("it is a number")
    });
    let unpaired: u64 = unpaired.sum();
    assert!(
        unpaired * 20 <= packets.incoming,
        "{unpaired} of {packets:?} are no exception"
    );
    assert_all_but(unpaired, balanced, packets, summary);
}

#[track_caller]
fn assert_all_but(most: u64, balanced: &Balanced, packets: PacketCounts, summary: &Report) {
    let service = summary
        .service(&balanced.vip.name())
        .expect("the service is shown");
    let mut missing = 0;
    for measure in ["xmit", "hook"] {
        let latency = service.total_latency(measure).expect("it is shown");
        assert!(latency.count <= packets.incoming, "{measure}: {latency:?}");
        missing += packets.incoming - latency.count;
        let of_servers = (1..=SERVERS).map(|server| {
            let server = service
                .server(balanced.vip.server_address(server))
                .expect("the server is shown");
            let incoming = server.kernel_packets().expect("they are shown").incoming;
            let latency = server.total_latency(measure).expect("it is shown");
            assert!(latency.count > 0 && latency.count <= incoming, "{server:?}");
            latency.count
        });
        assert_eq!(of_servers.sum::<u64>(), latency.count, "{measure}");
    }
    assert!(
        missing <= most,
        "{missing} values are missing and {most} are told"
    );
    let mean = |measure: &str| {
        let latency = service.total_latency(measure).expect("it is shown");
        latency.sum_ns / latency.count
    };
    assert!(mean("xmit") < mean("hook"), "one is a part of the other");
}
