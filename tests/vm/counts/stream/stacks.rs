//! Kernel stacks: in which function a packet was dropped, and who had called it.

use std::net::{IpAddr, Ipv4Addr};

use ipvs_observer_tests::{
    agent::{self, Agent, Rights},
    services::Vip,
};
use rustix::thread::CapabilitySet;
use serde_json::Value;

use super::{Told, end, stream};
use crate::{counts::drops::Silent, fixture::assert_one_line};

const CLIENTS: u32 = 3;

fn stream_of(scene: &Silent, arguments: &[&str]) -> Agent {
    stream(&scene.lab, &[&["--stack"], arguments].concat())
}

/// Fails unless every event is of this kind and has a stack that begins in a function of such a name and leads through the
/// hook of IPVS, and none is missing.
#[track_caller]
fn assert_stacks(told: &Told, event: &str, innermost: &str) {
    told.assert_counts(&[(event, CLIENTS as usize)]);
    for line in told.of(event) {
        let functions = functions(line);
        assert!(functions[0].starts_with(innermost), "{line}");
        let place = |name| functions.iter().position(|&function| function == name);
        let (hook, netfilter) = (place("ip_vs_in_hook"), place("nf_hook_slow"));
        assert!(hook.is_some() && hook < netfilter, "{line}");
    }
}

/// The names in a stack; those of IPVS are said to be of its module.
#[track_caller]
fn functions(line: &Value) -> Vec<&str> {
    let stack = line["stack"].as_array().expect("it has a stack");
    let frames = stack.iter().map(|frame| {
        let frame = frame.as_str().expect("a name");
        let (name, place) = frame.split_once("+0x").expect("it is known");
        if name.starts_with("ip_vs_") {
            assert!(place.ends_with(" [ip_vs]"), "{frame}");
        }
        name
    });
    frames.collect()
}

#[cfg_attr(feature = "vm", test)]
fn a_drop_has_the_stack_of_the_function_that_knows_of_it() {
    for vip in [Vip::V4, Vip::V6] {
        let scene = Silent::new(vip, 0);
        let agent = stream_of(&scene, &["--events", "dropped"]);
        let plain = stream(&scene.lab, &["--events", "dropped"]);
        let _clients = scene.clients(CLIENTS);
        // The caller of `ip_vs_leave`, whose return tells.
        assert_stacks(&end(&scene.lab, agent), "dropped", "udp_conn_schedule");
        for line in end(&scene.lab, plain).of("dropped") {
            assert!(line["stack"].is_null(), "{line}");
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_drop_that_the_tracepoint_tells_begins_where_the_packet_was_freed() {
    let scene = Silent::new(Vip::V4, 0);
    scene.add(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)));
    let agent = stream_of(&scene, &["--events", "dropped"]);
    let _clients = scene.clients(CLIENTS);
    assert_stacks(&end(&scene.lab, agent), "dropped", "ip_vs_nat_xmit");
}

#[cfg_attr(feature = "vm", test)]
fn a_slow_schedule_has_the_stack_of_who_asked_for_it() {
    let scene = Silent::new(Vip::V4, 1);
    let agent = stream_of(
        &scene,
        &["--events", "slow", "--slower-than", "schedule=1ns"],
    );
    let _clients = scene.clients(CLIENTS);
    assert_stacks(&end(&scene.lab, agent), "slow", "udp_conn_schedule");
}

#[cfg_attr(feature = "vm", test)]
fn people_read_a_stack_below_its_event() {
    let scene = Silent::new(Vip::V4, 0);
    let agent = stream_of(&scene, &["--events", "dropped", "-o", "text"]);
    let _clients = scene.clients(1);
    scene.lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("it ends");
    let (event, stack) = outcome.stdout.split_first().expect("a drop");
    assert!(event.ends_with("  no_destination"), "{event}");
    assert!(stack.iter().all(|line| line.starts_with("    ")));
    assert!(
        stack[0].starts_with("    udp_conn_schedule+0x"),
        "{stack:?}"
    );
    assert!(stack[0].ends_with(" [ip_vs]"), "{stack:?}");
}

/// No stack would have a name, so that nothing is begun.
#[cfg_attr(feature = "vm", test)]
fn a_kernel_that_hides_its_symbols_is_told_with_the_capability_that_it_takes() {
    let scene = Silent::new(Vip::V4, 0);
    let rights = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
    let outcome = agent::run(
        scene.lab.director(),
        Rights::NobodyWith(rights),
        &["stream", "--stack"],
    );
    let outcome = outcome.expect("it runs");
    assert_eq!(outcome.status.code(), Some(4), "{outcome:?}");
    assert_one_line(&outcome.stderr, "CAP_SYSLOG");
    assert_eq!(outcome.stdout, Vec::<String>::new());
}
