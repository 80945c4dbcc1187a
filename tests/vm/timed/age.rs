//! How old connections are: two that begin one after the other differ by the time between them.

use std::{thread, time::Duration};

use ipvs_observer_tests::{
    agent::Agent,
    report::Report,
    services::Vip,
    traffic::{knock, open},
    wait,
};

use super::STILL_NS;
use crate::fixture::Balanced;

const APART: Duration = Duration::from_millis(300);
const APART_NS: u64 = 300_000_000;
/// Longer than a test: what a server sends does not arrive.
const NEVER: Duration = Duration::from_secs(600);

#[cfg_attr(feature = "vm", test)]
fn the_oldest_connections_of_two_servers_are_as_far_apart_as_they_began() {
    let balanced = Balanced::new(Vip::V4, 2);
    let target = balanced.vip.address();
    // Of each server's connections the first is the oldest.
    ages_are_apart(&balanced, "oldest_age_ns", || {
        let first = open(target)?;
        thread::sleep(APART);
        Ok([first, open(target)?, open(target)?, open(target)?])
    });
}

#[cfg_attr(feature = "vm", test)]
fn the_oldest_half_open_connections_are_as_far_apart_as_they_began() {
    let balanced = Balanced::new(Vip::V4, 2);
    let target = balanced.vip.address();
    for server in 1..=2 {
        balanced
            .lab
            .delay_server(server, NEVER)
            .expect("netem is there");
    }
    ages_are_apart(&balanced, "oldest_syn_recv_age_ns", || {
        knock(target)?;
        thread::sleep(APART);
        knock(target)
    });
}

/// Fails unless what `traffic` opens first is so much older at its server than what it opens next at the other.
fn ages_are_apart<T>(
    balanced: &Balanced,
    age: &str,
    traffic: impl FnOnce() -> anyhow::Result<T> + Send,
) where
    T: Send,
{
    wait::idle_cpu().expect("the guest becomes idle");
    let agent = Agent::start(balanced.lab.director(), &["-i", "2s", "--states"]);
    let agent = agent.expect("the agent starts");
    let _open = balanced.lab.client().run(traffic).expect("it is sent");
    let ages = |report: &Report| -> Option<(u64, u64)> {
        let service = report.service(&balanced.vip.name()).ok()?;
        let [one, other] = [1, 2].map(|server| {
            let row = service.server(balanced.vip.server_address(server)).ok()?;
            row.states(age)
        });
        Some((one?, other?))
    };
    let report = agent
        .await_report("both ages", |report| ages(report).is_some())
        .expect("both servers have a connection");
    let (one, other) = ages(&report).expect("both are shown");
    let apart_ns = one.abs_diff(other);
    assert!(
        apart_ns.abs_diff(APART_NS) <= STILL_NS,
        "{one} and {other} ns are {apart_ns} ns apart"
    );
}
