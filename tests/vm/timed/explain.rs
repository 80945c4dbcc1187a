//! `top --explain` puts a delay where the lab injects it, and nowhere else.

use std::{net::IpAddr, time::Duration};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{agent::Agent, schema, services::Vip, wait};
use serde_json::Value;

use super::{DELAY, DELAY_NS, DELAYED, EACH, SERVERS, STILL_NS};
use crate::fixture::Balanced;

const PARTS: [&str; 4] = [
    "client_network",
    "director",
    "server_network",
    "server_application",
];

#[cfg_attr(feature = "vm", test)]
fn a_late_application_is_explained_as_one() {
    let before = explain(&Balanced::new(Vip::V4, SERVERS));
    let late = Balanced::with_application_delay(Vip::V4, SERVERS, DELAYED, DELAY);
    let after = explain(&late);
    assert_moved(&before, &after, |server, part| {
        server == DELAYED && part == "server_application"
    });
    assert_eq!(server(&after, DELAYED)["largest"], "server_application");
}

#[cfg_attr(feature = "vm", test)]
fn a_late_network_is_explained_as_one() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let before = explain(&balanced);
    balanced
        .lab
        .delay_server(DELAYED, DELAY)
        .expect("netem is there");
    let after = explain(&balanced);
    assert_moved(&before, &after, |server, part| {
        server == DELAYED && part == "server_network"
    });
    assert_eq!(server(&after, DELAYED)["largest"], "server_network");
}

#[cfg_attr(feature = "vm", test)]
fn a_slow_client_is_explained_as_one() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let before = explain(&balanced);
    balanced.lab.delay_client(DELAY).expect("netem is there");
    let after = explain(&balanced);
    assert_moved(&before, &after, |_server, part| part == "client_network");
    assert_eq!(after["largest"], "client_network");
}

/// The object of the service; nothing is lost on the way and the cost is stated.
fn explain(balanced: &Balanced) -> Value {
    balanced.sessions(u32::from(SERVERS), 1);
    wait::idle_cpu().expect("the guest becomes idle");
    let service = balanced.vip.address().to_string();
    let agent = Agent::start(
        balanced.lab.director(),
        &["--explain", "-d", "1h", "-t", &service],
    )
    .expect("the agent starts");
    balanced.sessions(u32::from(SERVERS) * EACH, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("the agent ends");
    assert_eq!(outcome.stdout.len(), 1, "one object: {outcome:?}");
    let object = schema::checked(SchemaOf::Explain, &outcome.stdout[0]);
    let object = object.expect("it is an explanation");
    let cost = &object["cost"];
    let number = |name: &str| cost[name].as_u64().expect("it is a number");
    assert!(number("runs") > number("packets"), "{cost}");
    assert!(number("per_packet_ns") > 0, "{cost}");
    let services = object["services"].as_array().expect("it is a list");
    assert_eq!(services.len(), 1, "one service: {object}");
    services[0].clone()
}

/// Fails unless exactly the parts that `expected` names are larger by the delay.
#[track_caller]
fn assert_moved(before: &Value, after: &Value, expected: impl Fn(u8, &str) -> bool) {
    for number in 1..=SERVERS {
        for part in PARTS {
            let mean_ns = |service| {
                let mean = &server(service, number)["means_ns"][part];
                mean.as_u64().expect("the part is known")
            };
            let (before_ns, after_ns) = (mean_ns(before), mean_ns(after));
            let shift_ns = if expected(number, part) { DELAY_NS } else { 0 };
            assert!(
                after_ns.abs_diff(before_ns + shift_ns) <= shift_ns / 20 + STILL_NS,
                "{part} of server {number} went from {before_ns} to {after_ns} ns, but should \
                 have moved by {shift_ns}"
            );
        }
    }
}

#[track_caller]
fn server(service: &Value, number: u8) -> &Value {
    let address: IpAddr = Vip::V4.server_address(number);
    let servers = service["servers"].as_array().expect("it is a list");
    let found = servers
        .iter()
        .find(|server| server["address"] == address.to_string());
    found.expect("the server is shown")
}

/// The screen for people says the same.
#[cfg_attr(feature = "vm", test)]
fn the_screen_names_the_largest_part_and_the_cost() {
    let late = Balanced::with_application_delay(Vip::V4, 1, 1, Duration::from_millis(300));
    let service = late.vip.address().to_string();
    let agent = Agent::start_plain(
        late.lab.director(),
        &["--explain", "-d", "1h", "-t", &service],
    )
    .expect("the agent starts");
    late.sessions(EACH, 1);
    let outcome = agent.stop().expect("the agent ends");
    let screen = outcome.stdout.join("\n");
    let verdict = "most of it is server application (9";
    assert!(screen.contains(verdict), "{screen}");
    assert!(screen.contains("cost: the programs ran"), "{screen}");
}
