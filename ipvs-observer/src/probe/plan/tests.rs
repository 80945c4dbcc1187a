//! What is planned for kernels that lack something.

use std::collections::BTreeMap;

use ipvs_observer_common::{Event, Layout, Measure};

use super::{
    CHAIN, DEFENCE, HOOK, LIVE, Occasions, PROBES, Plan, Probe, SHOW, TIMER, UNAVAILABLE, XMITS,
    every,
};
use crate::btf::resolve::{Refusal, Resolved};

const MEASURES: [Measure; 7] = [
    Measure::Schedule,
    Measure::Connect,
    Measure::Client,
    Measure::Handshake,
    Measure::FirstByte,
    Measure::Response,
    Measure::Duration,
];

fn full() -> Plan {
    Plan {
        probes: PROBES.to_vec(),
        refused: Vec::new(),
        no_live: None,
    }
}

fn probe_on(function: &str) -> Probe {
    *PROBES
        .iter()
        .find(|probe| probe.function == function)
        .unwrap()
}

/// A kernel that has all functions but one.
fn kernel_without(absent: &'static str) -> Resolved {
    let probes = every().chain(XMITS);
    let probes = probes.chain(HOOK).chain(TIMER).chain(CHAIN);
    let functions = probes.map(|probe| probe.function);
    let outcome = |function| {
        if function == absent {
            Err(Refusal::NoFunction(absent))
        } else {
            Ok(())
        }
    };
    Resolved {
        layout: Layout::default(),
        functions: functions
            .map(|function| (function, outcome(function)))
            .collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn what_no_wanted_measure_takes_is_not_attached() {
    let kernel = kernel_without("");
    let standard: Vec<_> = every().collect();
    assert_eq!(Plan::full(&kernel, &MEASURES).probes, standard);
    let plan = Plan::full(&kernel, &[Measure::Xmit]);
    assert_eq!(plan.probes.len(), standard.len() + XMITS.len());
    assert_eq!(plan.measures(&Measure::ALL).last(), Some(&Measure::Xmit));
    let plan = Plan::full(&kernel, &Measure::ALL);
    assert_eq!(plan.measures(&Measure::ALL), Measure::ALL);
}

#[test]
fn the_estimator_is_the_one_that_the_kernel_has_and_the_other_is_no_refusal() {
    for (absent, pair) in [
        ("estimation_timer", CHAIN),
        ("ip_vs_chain_estimation", TIMER),
    ] {
        let plan = Plan::full(&kernel_without(absent), &[Measure::Estimator]);
        assert_eq!(plan.refused, []);
        assert!(plan.has(&pair));
        assert_eq!(plan.measures(&[Measure::Estimator]), [Measure::Estimator]);
    }
}

#[test]
fn forwarding_is_timed_without_ipv6_and_not_without_one_of_the_methods() {
    for (absent, expected) in [
        ("ip_vs_tunnel_xmit_v6", vec![Measure::Xmit]),
        ("ip_vs_tunnel_xmit", vec![]),
    ] {
        let plan = Plan::full(&kernel_without(absent), &[Measure::Xmit]);
        assert_eq!(plan.refused[0].function, absent);
        assert_eq!(plan.measures(&[Measure::Xmit]), expected);
    }
}

#[test]
fn all_probes_give_all_measures() {
    assert_eq!(full().measures(&MEASURES), MEASURES);
}

#[test]
fn a_refused_probe_takes_its_measures_with_it_and_leaves_the_others() {
    let mut plan = full();
    plan.refuse(probe_on("ip_vs_schedule"), "inlined".to_owned());
    assert!(!plan.measures(&MEASURES).contains(&Measure::Schedule));
    assert!(plan.measures(&MEASURES).contains(&Measure::Connect));
    assert!(plan.events().contains(&Event::Established));
    assert_eq!(plan.refused.len(), 1);
    plan.refuse(probe_on("tcp_state_transition"), "absent".to_owned());
    assert_eq!(plan.measures(&MEASURES), []);
    assert_eq!(plan.refused[1].function, "tcp_state_transition");
}

#[test]
fn live_counters_take_both_of_their_probes_and_nothing_else_does() {
    let mut plan = Plan {
        probes: PROBES.into_iter().chain(LIVE).collect(),
        ..full()
    };
    assert!(plan.has_live());
    plan.refuse(LIVE[1], "inlined".to_owned());
    assert!(!plan.has_live() && !plan.probes.contains(&LIVE[0]));
    assert_eq!(plan.measures(&MEASURES), MEASURES);
    assert_eq!(plan.refused, []);
    assert_eq!(
        plan.no_live.as_deref(),
        Some("ip_vs_genl_fill_dest: inlined")
    );
}

#[test]
fn nothing_is_measured_without_the_end_of_connections() {
    let mut plan = full();
    plan.refuse(probe_on("ip_vs_conn_rcu_free"), "absent".to_owned());
    assert_eq!(plan.measures(&MEASURES), []);
}

#[test]
fn records_can_be_ended_before_they_are_made_and_packets_seen_before_new_connections() {
    let place = |function: &str| {
        PROBES
            .iter()
            .position(|probe| probe.function == function)
            .unwrap()
    };
    assert!(place("ip_vs_conn_rcu_free") < place("ip_vs_conn_new"));
    assert!(place("ip_vs_conn_rcu_free") < place("tcp_state_transition"));
    assert!(place("tcp_state_transition") < place("ip_vs_conn_new"));
}

#[test]
fn probes_that_are_seldom_asked_for_wait_for_their_occasion() {
    let never = Occasions::default();
    let occasions = [
        (
            Occasions {
                removed: true,
                ..never
            },
            UNAVAILABLE.as_slice(),
        ),
        (
            Occasions {
                defence: true,
                ..never
            },
            &DEFENCE,
        ),
        (
            Occasions {
                sweep: true,
                ..never
            },
            &[SHOW],
        ),
    ];
    let seldom: Vec<_> = occasions.iter().flat_map(|(_, probes)| *probes).collect();
    for (occasion, probes) in occasions {
        for probe in every() {
            let is_asked_for = probes.contains(&probe) || !seldom.contains(&&probe);
            assert_eq!(occasion.ask_for(probe), is_asked_for, "{probe:?}");
        }
    }
}
