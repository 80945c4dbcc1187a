//! Changes of the table, each with the process that made it, which here is this one.

use std::process;

use ipvs_observer_tests::{agent::Agent, ipvs_admin, services::Vip};
use serde_json::Value;

use super::{end, stream};
use crate::{counts::drops::Silent, fixture::Balanced};

const SERVERS: u8 = 2;

fn await_lines(agent: &Agent, count: usize) {
    agent
        .await_stdout("the change", |lines| lines.len() >= count)
        .expect("it is told");
}

/// Fails unless this process did it.
#[track_caller]
fn assert_own(line: &Value) {
    assert_eq!(line["event"], "config");
    assert_eq!(line["process"]["pid"], process::id(), "{line}");
    let name = line["process"]["comm"].as_str();
    assert!(name.is_some_and(|name| !name.is_empty()), "{line}");
}

#[cfg_attr(feature = "vm", test)]
fn a_change_is_told_with_the_process_that_made_it() {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let lab = &balanced.lab;
    let agent = stream(lab, &["--events", "config", "-i", "100ms"]);
    lab.remove_server(vip, 1).expect("the server is removed");
    await_lines(&agent, 1);
    lab.add_server(vip, 1, 3).expect("the server is added");
    await_lines(&agent, 2);
    lab.director()
        .run(|| ipvs_admin::set_weight(&vip.id(), &vip.destination(1), 5))
        .expect("it is edited");
    await_lines(&agent, 3);
    let told = end(lab, agent);
    told.assert_counts(&[("config", 3)]);
    for (line, change) in told.lines.iter().zip(["removed", "added", "edited"]) {
        assert_own(line);
        assert_eq!(line["change"], change);
        assert_eq!(line["service"], vip.name());
        assert_eq!(line["server"]["address"], vip.server_address(1).to_string());
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_flush_is_one_event_and_so_is_the_zeroing_of_counters() {
    let scene = Silent::new(Vip::V6, SERVERS);
    let agent = stream(&scene.lab, &["--events", "config", "-i", "100ms"]);
    scene.configure(ipvs_admin::zero);
    scene.configure(|| ipvs_admin::zero_service(&scene.service));
    // What fails has changed nothing.
    let gone = Silent::destination(Vip::V6.server_address(SERVERS + 1));
    scene
        .lab
        .director()
        .run(|| ipvs_admin::delete_destination(&scene.service, &gone))
        .expect_err("there is none");
    scene.configure(ipvs_admin::flush);
    await_lines(&agent, 3);
    // Another one: that which was there could come again before a reading misses it.
    let other = Vip::V4;
    scene
        .lab
        .add_service(other, "rr")
        .expect("the service is added");
    await_lines(&agent, 4);
    let told = end(&scene.lab, agent);
    told.assert_counts(&[("config", 4)]);
    let expected = [
        ("zeroed", None),
        ("zeroed", Some(scene.service.to_string())),
        ("flushed", None),
        ("added", Some(other.name())),
    ];
    for (line, (change, service)) in told.lines.iter().zip(expected) {
        assert_own(line);
        assert_eq!(line["change"], change);
        let named = line.get("service").and_then(Value::as_str);
        assert_eq!(named, service.as_deref(), "{line}");
    }
}
