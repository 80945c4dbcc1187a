//! Delays that the lab injects, found again by the agent where they belong and nowhere
//! else. Guest time is exact here, so what is compared is two runs of the same traffic,
//! without and with the delay.

mod age;
mod cost;
mod duration;
mod explain;
mod flood;
mod methods;
mod precision;

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use ipvs_observer_tests::{
    agent::Agent,
    report::{Latency, Report},
    services::Vip,
    wait,
};

use crate::fixture::Balanced;

/// How long a delay is, where one length says as much as any.
const DELAY: Duration = Duration::from_millis(30);
const DELAY_NS: u64 = 30_000_000;
/// How long delays are that an operator meets: a busy server, a far one, a sick one.
const DELAYS: [Duration; 3] = [
    Duration::from_millis(3),
    Duration::from_millis(30),
    Duration::from_millis(300),
];
/// How much a measure may move that has nothing to do with the delay; one that has may be
/// off by 5 % more.
const STILL_NS: u64 = 1_000_000;

const SERVERS: u8 = 3;
/// The server that is delayed, where one is.
const DELAYED: u8 = 2;
/// Connections to each server in each run.
const EACH: u32 = 6;

/// The measures that are compared; `duration`, the sum of all that happens, has tests of
/// its own.
const MEASURES: [&str; 5] = ["schedule", "connect", "client", "handshake", "first_byte"];

/// An agent has this many guest instructions, one nanosecond each, to attach.
const START_BUDGET_NS: u64 = 1_500_000_000;

#[cfg_attr(feature = "vm", test)]
fn guest_time_is_exact_and_a_delay_is_as_long_as_it_says() {
    let cpus = thread::available_parallelism()
        .expect("the number of CPUs is known")
        .get();
    assert_eq!(cpus, 1, "guest time is exact on one CPU only");
    let balanced = Balanced::new(Vip::V4, 1);
    balanced.sessions(3, 1);
    wait::idle_cpu().expect("the guest becomes idle");
    let session_ns = || {
        let start_ns = wait::monotonic_ns();
        balanced.sessions(1, 1);
        wait::monotonic_ns() - start_ns
    };
    let plain_ns = session_ns();
    balanced.lab.delay_server(1, DELAY).expect("netem is there");
    // The SYN-ACK, the response and the FIN come late.
    let late_ns = session_ns() - plain_ns;
    assert!(
        late_ns.abs_diff(3 * DELAY_NS) <= STILL_NS,
        "{plain_ns} ns, then {late_ns} more"
    );
}

#[cfg_attr(feature = "vm", test)]
fn late_replies_of_an_ipv4_server_move_what_waits_for_them() {
    late_replies_move_what_waits_for_them(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn late_replies_of_an_ipv6_server_move_what_waits_for_them() {
    late_replies_move_what_waits_for_them(Vip::V6);
}

fn late_replies_move_what_waits_for_them(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let before = measure(&balanced);
    for delay in DELAYS {
        balanced
            .lab
            .delay_server(DELAYED, delay)
            .expect("netem is there");
        let after = measure(&balanced);
        assert_moved(vip, &before, &after, delay, |server, measure| {
            server == DELAYED && matches!(measure, "connect" | "handshake" | "first_byte")
        });
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_late_ipv4_application_moves_first_byte_alone() {
    a_late_application_moves_first_byte_alone(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_late_ipv6_application_moves_first_byte_alone() {
    a_late_application_moves_first_byte_alone(Vip::V6);
}

fn a_late_application_moves_first_byte_alone(vip: Vip) {
    let before = measure(&Balanced::new(vip, SERVERS));
    for delay in DELAYS {
        let late = Balanced::with_application_delay(vip, SERVERS, DELAYED, delay);
        let after = measure(&late);
        assert_moved(vip, &before, &after, delay, |server, measure| {
            server == DELAYED && measure == "first_byte"
        });
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_slow_ipv4_client_moves_client_and_handshake_of_every_server() {
    a_slow_client_moves_client_and_handshake_of_every_server(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_slow_ipv6_client_moves_client_and_handshake_of_every_server() {
    a_slow_client_moves_client_and_handshake_of_every_server(Vip::V6);
}

/// The SYN is late as well, but the director cannot know; its clock starts with it.
fn a_slow_client_moves_client_and_handshake_of_every_server(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let before = measure(&balanced);
    for delay in DELAYS {
        balanced.lab.delay_client(delay).expect("netem is there");
        let after = measure(&balanced);
        assert_moved(vip, &before, &after, delay, |_server, measure| {
            matches!(measure, "client" | "handshake")
        });
    }
}

#[cfg_attr(feature = "vm", test)]
fn the_agent_attaches_within_its_budget() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    wait::idle_cpu().expect("the guest becomes idle");
    let ready_after_ns = agent(&balanced).ready_after_ns();
    // Past the capture of the test harness, for whoever watches the budget.
    writeln!(
        io::stderr(),
        "agent start to probes attached: {ready_after_ns} guest ns"
    )
    .expect("standard error is open");
    assert!(ready_after_ns <= START_BUDGET_NS, "{ready_after_ns} ns");
}

/// One run: an agent that sees nothing but a known number of warm connections.
fn measure(balanced: &Balanced) -> Report {
    observe(balanced, || {
        balanced.sessions(u32::from(SERVERS) * EACH, 1);
    })
}

/// The same with other traffic, of as many connections.
fn observe(balanced: &Balanced, traffic: impl FnOnce()) -> Report {
    balanced.sessions(u32::from(SERVERS), 1);
    wait::idle_cpu().expect("the guest becomes idle");
    let agent = agent(balanced);
    traffic();
    balanced.lab.quiesce().expect("the director becomes idle");
    agent
        .stop()
        .expect("the agent ends")
        .summary()
        .expect("the run is summed up")
}

/// Prints so seldom that its own work does not fall into what is measured.
fn agent(balanced: &Balanced) -> Agent {
    Agent::start(balanced.lab.director(), &["-i", "60s"]).expect("the agent starts")
}

/// Fails unless exactly the measures that `expected` names have moved by the delay, and
/// all others have stayed.
#[track_caller]
fn assert_moved(
    vip: Vip,
    before: &Report,
    after: &Report,
    delay: Duration,
    expected: impl Fn(u8, &str) -> bool,
) {
    let delay_ns = u64::try_from(delay.as_nanos()).expect("delays are short");
    for server in 1..=SERVERS {
        for measure in MEASURES {
            let shift_ns = if expected(server, measure) {
                delay_ns
            } else {
                0
            };
            let [before, after] =
                [before, after].map(|report| latency(report, vip, server, measure));
            assert_shift(
                &format!("{measure} of server {server}"),
                before,
                after,
                shift_ns,
            );
        }
    }
}

/// Fails unless the values have moved by so much.
#[track_caller]
fn assert_shift(what: &str, before: Latency, after: Latency, shift_ns: u64) {
    // The mean is exact and shows what a bucket would hide; people read the median.
    for (statistic, before_ns, after_ns) in [
        (
            "mean",
            before.sum_ns / before.count,
            after.sum_ns / after.count,
        ),
        ("median", before.p50_ns, after.p50_ns),
    ] {
        assert!(
            after_ns.abs_diff(before_ns + shift_ns) <= shift_ns / 20 + STILL_NS,
            "the {statistic} of {what} went from {before_ns} to {after_ns} ns, but should have \
             moved by {shift_ns}"
        );
    }
}

/// A measure of a server over the whole run, of as many values as it had connections.
#[track_caller]
fn latency(report: &Report, vip: Vip, server: u8, measure: &str) -> Latency {
    let service = report.service(&vip.name()).expect("the service is shown");
    let row = service
        .server(vip.server_address(server))
        .expect("the server is shown");
    let latency = row.total_latency(measure).expect("the measure is shown");
    assert_eq!(
        latency.count,
        u64::from(EACH),
        "values of {measure} of server {server}"
    );
    latency
}
