//! `list` again and again: what changes, what goes, what is said of it, and rates of live counters.

use std::{cell::Cell, thread, time::Duration};

use ipvs_observer::{
    cli::SchemaOf,
    model::id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId},
};
use ipvs_observer_tests::{
    agent::{self, Rights},
    director::Lab,
    ipvs_admin, schema,
    services::{PORT, Vip},
    traffic,
};
use serde_json::{Value, json};

use crate::fixture::Balanced;

const VIP: Vip = Vip::V4;
/// Readings of the agent, in each of which something has changed or not.
const INTERVAL: &str = "100ms";
/// What passes between two changes: more than an interval.
const PACE: Duration = Duration::from_millis(300);

#[cfg_attr(feature = "vm", test)]
fn every_edit_is_told_once_and_nothing_that_traffic_does() {
    let balanced = Balanced::new(VIP, 2);
    let lab = &balanced.lab;
    let arguments = [
        "list",
        "--changes",
        "-o",
        "json",
        "-i",
        INTERVAL,
        "-d",
        "8s",
    ];
    let outcome = thread::scope(|scope| {
        let agent = scope.spawn(|| agent::run(lab.director(), Rights::Root, &arguments));
        for weight in 2..10 {
            balanced.sessions(1, 1);
            thread::sleep(PACE);
            lab.director()
                .run(|| ipvs_admin::set_weight(&VIP.id(), &server(2), weight))
                .expect("the weight is set");
        }
        thread::sleep(PACE);
        lab.remove_server(VIP, 2).expect("it is removed");
        thread::sleep(PACE);
        lab.add_server(VIP, 2, 5).expect("it is added");
        agent.join().expect("it does not panic")
    })
    .expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stderr, "");

    let changes: Vec<Value> = outcome
        .stdout
        .iter()
        .map(|line| schema::checked(SchemaOf::Changes, line).expect("it is a change"))
        .collect();
    let [edits @ .., removed, added] = &changes[..] else {
        panic!("{changes:?}");
    };
    for change in &changes {
        assert_eq!(change["service"], VIP.name());
        let address = VIP.server_address(2).to_string();
        assert_eq!(
            change["server"],
            json!({ "address": address, "port": PORT })
        );
    }
    // The first edits may be older than the first reading, and later ones may share an interval on a busy machine.
    assert_ne!(edits, [] as [Value; 0]);
    let mut weight = edits[0]["old"]["weight"].clone();
    for edit in edits {
        assert_eq!(edit["change"], "edited");
        assert_eq!(edit["old"], json!({ "weight": weight }), "{edits:?}");
        weight = edit["new"]["weight"].clone();
    }
    assert_eq!(weight, 9);
    assert_eq!(
        (&removed["change"], &removed["old"]["weight"]),
        (&json!("removed"), &json!(9))
    );
    assert_eq!(
        (&added["change"], &added["new"]["weight"]),
        (&json!("added"), &json!(5))
    );
}

#[cfg_attr(feature = "vm", test)]
fn rates_of_live_counters_are_those_of_the_time_between_two_readings() {
    let balanced = Balanced::new(VIP, 1);
    let lab: &Lab = &balanced.lab;
    balanced.sessions(5, 1);
    lab.quiesce().expect("the director becomes idle");
    let arguments = ["list", "--live", "-o", "json", "-i", "500ms", "-d", "3s"];
    let outcome = thread::scope(|scope| {
        let agent = scope.spawn(|| agent::run(lab.director(), Rights::Root, &arguments));
        thread::sleep(Duration::from_secs(1));
        traffic::sessions(lab.client(), VIP.address(), 20, 1).expect("every session is answered");
        agent.join().expect("it does not panic")
    })
    .expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    let readings: Vec<Value> = outcome
        .stdout
        .iter()
        .map(|line| schema::checked(SchemaOf::List, line).expect("it is a listing"))
        .collect();
    let (first, others) = readings.split_first().expect("there are readings");
    assert!(others.len() >= 2, "only {} readings", readings.len());
    assert_eq!(
        first["services"][0].get("rates"),
        None,
        "no rate of one reading"
    );
    let mut before = first;
    for reading in others {
        for (old, new) in [
            (&before["services"][0], &reading["services"][0]),
            (
                &before["services"][0]["servers"][0],
                &reading["services"][0]["servers"][0],
            ),
        ] {
            assert_eq!(new["kernel"]["live"], true);
            let connections = |entry: &Value| entry["kernel"]["connections"].as_u64();
            let delta = connections(new)
                .zip(connections(old))
                .expect("they are shown");
            let rate = new["rates"]["connections_per_s"].as_f64();
            let rate = rate.expect("two readings give a rate");
            // The rate names the span, which nobody else has measured.
            if delta.0 == delta.1 {
                assert!(rate == 0.0, "{rate} with no connection");
            } else {
                #[expect(clippy::cast_precision_loss, reason = "there are few connections")]
                let span_s = (delta.0 - delta.1) as f64 / rate;
                assert!((0.4..3.0).contains(&span_s), "{rate} in {span_s} s");
            }
        }
        before = reading;
    }
    assert_eq!(before["services"][0]["kernel"]["connections"], 25);
}

#[cfg_attr(feature = "vm", test)]
fn a_service_that_was_asked_for_and_goes_is_listed_no_longer() {
    let lab = one_server();
    let arguments = [
        "list",
        "-n",
        "-t",
        &VIP.address().to_string(),
        "-i",
        INTERVAL,
    ];
    let agent = agent::launch(lab.director(), Rights::Root, &arguments).expect("it starts");
    let is_listed = |reading: &[String]| reading.iter().any(|line| line.starts_with("TCP "));
    agent
        .await_stdout("a reading with the service", |lines| {
            newest_reading(lines).is_some_and(is_listed)
        })
        .expect("it is listed");
    remove_service(&lab);
    agent
        .await_stdout("a reading without the service", |lines| {
            newest_reading(lines).is_some_and(|reading| !is_listed(reading))
        })
        .expect("the others go on");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
}

#[cfg_attr(feature = "vm", test)]
fn a_service_that_was_asked_for_and_goes_is_told_as_removed() {
    let lab = one_server();
    let vip = VIP.address().to_string();
    let arguments = [
        "list",
        "--changes",
        "-o",
        "json",
        "-t",
        &vip,
        "-i",
        INTERVAL,
    ];
    let agent = agent::launch(lab.director(), Rights::Root, &arguments).expect("it starts");
    let weight = Cell::new(1);
    agent
        .await_stdout("an edit, after the first reading", |lines| {
            let next = weight.get() + 1;
            weight.set(next);
            lab.director()
                .run(|| ipvs_admin::set_weight(&VIP.id(), &server(1), next))
                .expect("the weight is set");
            !lines.is_empty()
        })
        .expect("it is told");
    remove_service(&lab);
    agent
        .await_stdout("two removals", |lines| {
            lines.iter().filter(|line| line.contains("removed")).count() == 2
        })
        .expect("they are told");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    let mut removals = outcome
        .stdout
        .iter()
        .map(|line| schema::checked(SchemaOf::Changes, line).expect("it is a change"))
        .filter(|change| change["change"] == "removed");
    let service = removals.next().expect("there is one");
    assert_eq!(
        (&service["service"], service.get("server")),
        (&json!(VIP.name()), None)
    );
    let server = removals.next().expect("there are two");
    let address = VIP.server_address(1).to_string();
    assert_eq!(
        server["server"],
        json!({ "address": address, "port": PORT })
    );
}

#[cfg_attr(feature = "vm", test)]
fn what_is_left_out_is_said_once_and_again_when_it_is_more() {
    let lab = Lab::new(1).expect("the lab is built");
    let add = |mark| {
        let service = ServiceId::FirewallMark {
            mark,
            family: AddressFamily::Ipv4,
        };
        let tunnel = ForwardingMethod::Tunnel;
        lab.director()
            .run(|| {
                ipvs_admin::add_service(&service, "rr")?;
                let server = DestinationId {
                    port: 0,
                    ..server(1)
                };
                ipvs_admin::add_destination(&service, &server, tunnel, 1)
            })
            .expect("the service is added");
    };
    add(48);
    let arguments = ["list", "-n", "-i", INTERVAL];
    let agent = agent::launch(lab.director(), Rights::Nobody, &arguments).expect("it starts");
    let readings = |lines: &[String]| lines.iter().filter(|line| line.is_empty()).count();
    agent
        .await_stdout("three readings", |lines| readings(lines) >= 3)
        .expect("they are printed");
    add(49);
    agent
        .await_stderr("the second mark", |lines| {
            lines.iter().any(|line| line.contains("49"))
        })
        .expect("it is said");
    let seen = Cell::new(usize::MAX);
    agent
        .await_stdout("three more readings", |lines| {
            seen.set(seen.get().min(readings(lines)));
            readings(lines) >= seen.get() + 3
        })
        .expect("they are printed");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    let said: Vec<_> = outcome.stderr.lines().collect();
    let [rights, one, two] = said[..] else {
        panic!("not three messages: {said:?}");
    };
    assert!(rights.contains("CAP_NET_ADMIN"), "{rights}");
    assert!(one.contains("marks 48,"), "{one}");
    assert!(two.contains("48") && two.contains("49"), "{two}");
}

/// The service with one real server, which nobody uses.
fn one_server() -> Lab {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(VIP, "rr").expect("the service is added");
    lab.add_server(VIP, 1, 1).expect("the server is added");
    lab
}

fn remove_service(lab: &Lab) {
    lab.director()
        .run(|| ipvs_admin::delete_service(&VIP.id()))
        .expect("the service is removed");
}

/// The lines of the last reading that is printed whole, each of which an empty line ends.
fn newest_reading(lines: &[String]) -> Option<&[String]> {
    lines.rsplit(String::is_empty).nth(1)
}

const fn server(number: u8) -> DestinationId {
    DestinationId {
        address: VIP.server_address(number),
        port: PORT,
    }
}
