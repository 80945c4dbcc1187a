//! What the tests of both groups start from: one service with its real servers, and an
//! agent that looks at it.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{self, Agent, Rights},
    director::Lab,
    netns::Netns,
    report::{Report, Row},
    schema,
    services::Vip,
    traffic::{self, Server},
    wait,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;

/// Every measure of a connection that is on by default and seen under Masquerade.
pub(crate) const MEASURES: [&str; 6] = [
    "schedule",
    "connect",
    "client",
    "handshake",
    "first_byte",
    "duration",
];

/// A director with one service, in round robin unless said otherwise, so that each of n
/// servers gets exactly every n-th connection.
pub(crate) struct Balanced {
    /// Stopped before the namespaces go.
    pub(crate) servers: Vec<Server>,
    pub(crate) lab: Lab,
    pub(crate) vip: Vip,
}

impl Balanced {
    /// `servers` real servers, all answering at once.
    pub(crate) fn new(vip: Vip, servers: u8) -> Self {
        Self::with_application_delay(vip, servers, 0, Duration::ZERO)
    }

    /// The same, but the application of server `late` answers `delay` after each
    /// request.
    pub(crate) fn with_application_delay(vip: Vip, servers: u8, late: u8, delay: Duration) -> Self {
        Self::build(vip, "rr", &vec![1; usize::from(servers)], |server| {
            if server == late {
                delay
            } else {
                Duration::ZERO
            }
        })
    }

    /// Servers of these weights in weighted round robin, so that each gets exactly its
    /// part of as many connections as all weights together.
    pub(crate) fn weighted(vip: Vip, weights: &[u32]) -> Self {
        Self::build(vip, "wrr", weights, |_server| Duration::ZERO)
    }

    fn build(
        vip: Vip,
        scheduler: &str,
        weights: &[u32],
        answer_after: impl Fn(u8) -> Duration,
    ) -> Self {
        let count = u8::try_from(weights.len()).expect("there are few servers");
        let lab = Lab::new(count).expect("the lab is built");
        lab.add_service(vip, scheduler)
            .expect("the service is added");
        let start = |(server, &weight)| {
            let running = lab
                .start_server(vip, server, answer_after(server))
                .expect("it starts");
            lab.add_server(vip, server, weight)
                .expect("the server is added");
            running
        };
        Self {
            servers: (1..=count).zip(weights).map(start).collect(),
            lab,
            vip,
        }
    }

    /// Whole sessions one after another, of `requests` requests each.
    pub(crate) fn sessions(&self, sessions: u32, requests: u32) {
        traffic::sessions(self.lab.client(), self.vip.address(), sessions, requests)
            .expect("every session is answered");
    }

    /// An agent in the director that prints every second.
    pub(crate) fn agent(&self) -> Agent {
        agent(&self.lab)
    }
}

/// An agent in the director that prints every second.
pub(crate) fn agent(lab: &Lab) -> Agent {
    Agent::start(lab.director(), &["-i", "1s"]).expect("the agent starts")
}

/// Waits until IPVS has let go of every connection.
pub(crate) fn await_no_connection(lab: &Lab) {
    wait::until("every connection to expire", wait::PATIENCE, || {
        let connections = lab.director().proc_net("ip_vs_conn")?;
        // The first line has the titles.
        Ok((connections.lines().count() == 1).then_some(()))
    })
    .expect("IPVS lets go of them");
}

/// Ends the agent and gives its numbers of the whole run.
#[track_caller]
pub(crate) fn summary(agent: Agent) -> Report {
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.summary().expect("the run is summed up")
}

/// Fails unless the counter of the whole run is `expected`.
#[track_caller]
pub(crate) fn assert_total(row: Row<'_>, counter: &str, expected: u64) {
    let found = row.total(counter).expect("the counter is shown");
    assert_eq!(found, expected, "{counter} of {row:?}");
}

/// Fails unless the measure has `expected` values over the whole run.
#[track_caller]
pub(crate) fn assert_latency_count(row: Row<'_>, measure: &str, expected: u64) {
    let found = row
        .total_latency(measure)
        .expect("the measure is shown")
        .count;
    assert_eq!(found, expected, "values of {measure} in {row:?}");
}

/// How often a program did not run, since another one or a call of bpf(2) was interrupted on its CPU: what happened then
/// is not counted for anybody. Kernels before 6.7 do not count it.
pub(crate) fn not_run(report: &Report) -> u64 {
    const UNKNOWN: u64 = 20;
    let names = report.probes().expect("they are named");
    let mut counts = names
        .into_iter()
        .filter_map(|name| report.not_run(name).expect("it was just named"))
        .peekable();
    if counts.peek().is_none() {
        return UNKNOWN;
    }
    counts.sum()
}

/// The probes on functions of `ip_vs` that the kernel holds at this moment.
pub(crate) fn attached_probes() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/debug/kprobes/list").expect("debugfs is mounted");
    list.lines()
        .filter(|line| line.contains("ip_vs"))
        .map(str::to_owned)
        .collect()
}

/// Fails unless `stderr` is one line that holds `says`.
#[track_caller]
pub(crate) fn assert_one_line(stderr: &str, says: &str) {
    assert_eq!(stderr.lines().count(), 1, "not one line: {stderr}");
    assert!(stderr.contains(says), "nothing about {says}: {stderr}");
}

/// The exit status of `doctor`, and what it says.
#[track_caller]
pub(crate) fn doctor(netns: &Netns, rights: Rights) -> (Option<i32>, Value) {
    let outcome = agent::run(netns, rights, &["doctor", "-o", "json"]).expect("it runs");
    assert_eq!(outcome.stderr, "");
    let report = schema::checked(SchemaOf::Doctor, &outcome.stdout.join("\n"));
    let report = report.expect("it is as the schema says");
    (outcome.status.code(), report)
}

/// The states that probes have in what `doctor` says, each once.
#[track_caller]
pub(crate) fn probe_states(report: &Value) -> Vec<&str> {
    let probes = report["probes"].as_array().expect("they are listed");
    let states = probes.iter().filter_map(|probe| probe["state"].as_str());
    let mut states: Vec<_> = states.collect();
    states.sort_unstable();
    states.dedup();
    states
}

/// Keeps the calling thread on one CPU.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).context("the guest has no such CPU")
}
