//! Real servers that come and go while the agent looks, and an agent that goes.

use ipvs_observer_tests::{
    agent::Agent,
    report::{Report, Row},
    services::Vip,
    wait,
};

use crate::fixture::{Balanced, assert_total, attached_probes};

const VIP: Vip = Vip::V4;

#[cfg_attr(feature = "vm", test)]
fn a_server_that_was_removed_is_shown_gone_once_and_comes_back_as_the_same_row() {
    let balanced = Balanced::new(VIP, 2);
    let lab = &balanced.lab;
    let agent = Agent::start(lab.director(), &["-i", "500ms"]).expect("the agent starts");
    balanced.sessions(8, 1);
    lab.quiesce().expect("the director becomes idle");

    lab.remove_server(VIP, 2).expect("the server is removed");
    let gone = agent
        .await_report("the interval in which the server is gone", |report| {
            second(report).is_some_and(Row::is_gone)
        })
        .expect("it is shown");
    assert_total(second(&gone).expect("it was just found"), "scheduled", 4);
    agent
        .await_report("an interval without the server", |report| {
            second(report).is_none()
        })
        .expect("it is shown once");

    lab.add_server(VIP, 2, 1)
        .expect("the server is added again");
    balanced.sessions(6, 1);
    lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("the agent ends");
    let reports = outcome.reports().expect("every line is JSON");
    let times_gone = reports
        .iter()
        .filter(|report| second(report).is_some_and(Row::is_gone))
        .count();
    assert_eq!(times_gone, 1);
    let summary = outcome.summary().expect("the run is summed up");
    let back = second(&summary).expect("the server is there again");
    assert!(!back.is_gone());
    assert_total(back, "scheduled", 4 + 3);
    assert_total(back, "established", 4 + 3);
}

#[cfg_attr(feature = "vm", test)]
fn a_killed_agent_leaves_nothing_attached() {
    let balanced = Balanced::new(VIP, 1);
    assert_eq!(attached_probes(), Vec::<String>::new());
    let agent = balanced.agent();
    assert_ne!(
        attached_probes(),
        Vec::<String>::new(),
        "an agent at work has probes"
    );
    agent.kill().expect("the agent is killed");
    wait::until(
        "the probes of the killed agent to go",
        wait::PATIENCE,
        || Ok(attached_probes().is_empty().then_some(())),
    )
    .expect("nothing stays");
    balanced.sessions(3, 1);
}

#[cfg_attr(feature = "vm", test)]
fn an_agent_that_was_interrupted_leaves_nothing_attached() {
    let balanced = Balanced::new(VIP, 1);
    let outcome = balanced.agent().stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(attached_probes(), Vec::<String>::new());
}

/// The second real server's row, where it is shown.
fn second(report: &Report) -> Option<Row<'_>> {
    let service = report.service(&VIP.name()).ok()?;
    service.server(VIP.server_address(2)).ok()
}
