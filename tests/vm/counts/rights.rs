//! The rights that the agent needs are those that it says, and the signals that end it.

use std::{fs, panic};

use ipvs_observer_tests::{
    agent::{self, Agent, Outcome, Rights},
    director::Lab,
    report::Coverage,
    services::Vip,
};
use rustix::thread::CapabilitySet;

use crate::fixture::{
    Balanced, MEASURES, assert_latency_count, assert_one_line, assert_total, attached_probes,
};

const SERVERS: u8 = 2;
const EACH: u32 = 6;

/// Debian's kernels ask for more while this is above 2, the highest value of others.
const PARANOIA: &str = "/proc/sys/kernel/perf_event_paranoid";

#[cfg_attr(feature = "vm", test)]
fn a_user_with_three_capabilities_measures_everything() {
    with_paranoia("2", || a_user_measures_everything(three_capabilities()));
}

#[cfg_attr(feature = "vm", test)]
fn a_kernel_that_gives_perf_events_to_sys_admin_alone_is_told_by_that_capability() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr")
        .expect("the service is added");
    with_paranoia("3", || {
        let rights = Rights::NobodyWith(three_capabilities());
        let outcome = agent::run(lab.director(), rights, &["top", "--once"]).expect("it runs");
        assert_eq!(outcome.status.code(), Some(4), "{outcome:?}");
        assert_one_line(&outcome.stderr, "CAP_SYS_ADMIN");
        assert_eq!(outcome.stdout, Vec::<String>::new());
    });
}

fn three_capabilities() -> CapabilitySet {
    CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN
}

/// Runs `job` while the kernel is as paranoid as `paranoia` says.
fn with_paranoia(paranoia: &str, job: impl FnOnce() + panic::UnwindSafe) {
    let before = fs::read_to_string(PARANOIA).expect("the kernel has perf events");
    fs::write(PARANOIA, paranoia).expect("it can be set");
    let outcome = panic::catch_unwind(job);
    fs::write(PARANOIA, &before).expect("it can be set again");
    outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
}

#[cfg_attr(feature = "vm", test)]
fn a_user_with_sys_admin_and_net_admin_measures_everything() {
    a_user_measures_everything(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN);
}

fn a_user_measures_everything(capabilities: CapabilitySet) {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let rights = Rights::NobodyWith(capabilities);
    let before = balanced.lab.quiesce().expect("the kernel counts packets");
    let agent = Agent::start_with(balanced.lab.director(), rights, &["-i", "1s"])
        .expect("these rights are enough");
    let status =
        fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent runs");
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        &format!("CapEff:\t{:016x}", capabilities.bits()),
    ] {
        assert!(status.contains(line), "not {line}: {status}");
    }
    balanced.sessions(EACH * u32::from(SERVERS), 2);
    let packets = balanced
        .lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    let outcome = agent.stop().expect("the agent ends");
    assert_eq!(outcome.stderr, "", "it has nothing to complain about");
    assert_measured(&outcome, vip);
    let summary = outcome.summary().expect("the run is summed up");
    let attached = summary.probes().expect("they are listed");
    for live in ["ip_vs_genl_fill_service", "ip_vs_genl_fill_dest"] {
        assert!(attached.contains(&live), "not {live}: {attached:?}");
    }
    let coverage = summary.total_coverage().expect("the coverage is stated");
    let expected = Coverage {
        hits: packets.total(),
        packets: packets.total(),
    };
    assert_eq!(coverage, expected);
}

#[cfg_attr(feature = "vm", test)]
fn an_agent_that_was_terminated_sums_its_run_up() {
    let vip = Vip::V6;
    let balanced = Balanced::new(vip, SERVERS);
    let agent = balanced.agent();
    balanced.sessions(EACH * u32::from(SERVERS), 2);
    balanced.lab.quiesce().expect("the director becomes idle");
    let outcome = agent.terminate().expect("the agent ends");
    assert_measured(&outcome, vip);
    assert_eq!(attached_probes(), Vec::<String>::new());
}

/// Fails unless the run ended well, nothing was refused and every connection was measured.
#[track_caller]
fn assert_measured(outcome: &Outcome, vip: Vip) {
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let summary = outcome.summary().expect("the run is summed up");
    let refused = summary.refused_probes().expect("they are listed");
    assert!(refused.is_empty(), "{refused:?}");
    let mut measures = summary.measures().expect("they are listed");
    measures.sort_unstable();
    let mut expected = MEASURES;
    expected.sort_unstable();
    assert_eq!(measures, expected);
    let service = summary.service(&vip.name()).expect("the service is shown");
    for (row, expected) in (1..=SERVERS)
        .map(|server| {
            service
                .server(vip.server_address(server))
                .expect("the server is shown")
        })
        .map(|server| (server, EACH))
        .chain([(service, EACH * u32::from(SERVERS))])
    {
        assert_total(row, "scheduled", u64::from(expected));
        assert_total(row, "established", u64::from(expected));
        for measure in MEASURES {
            assert_latency_count(row, measure, u64::from(expected));
        }
    }
}
