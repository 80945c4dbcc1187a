//! Recordings: what is reported of one is what was printed while it was made, and whoever ends the recorder, what it had
//! written stays.

use std::{fs, time::Duration};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{agent::BINARY, director::Lab, schema, services::Vip, traffic, wait};

use crate::{
    fixture::{Balanced, attached_probes},
    recorder::{Folder, recorder, report, run, scheduled_so_far},
};

const SESSIONS: u32 = 20;

#[cfg_attr(feature = "vm", test)]
fn a_report_says_number_for_number_what_was_printed_beside_the_recording() {
    let balanced = Balanced::new(Vip::V4, 2);
    let netns = balanced.lab.director();
    let folder = Folder::new("beside");
    let [ivo, ndjson, hlog] = ["run.ivo", "run.ndjson", "run.hlog"].map(|name| folder.file(name));
    let agent = recorder(netns, &folder, &["-i", "200ms", &ivo, &ndjson, &hlog]);
    balanced.sessions(SESSIONS, 2);
    let outcome = agent.stop().expect("it ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    assert!(outcome.stderr.contains("bytes for each of"), "{outcome:?}");

    let printed = fs::read_to_string(&ndjson).expect("it is written");
    let printed: Vec<&str> = printed.lines().collect();
    let replayed = run(netns, &["top", "--replay", &ivo, "-o", "json"]);
    assert_eq!(replayed.stdout, printed);
    let last = printed.last().expect("there is a last window");
    let last = schema::checked(SchemaOf::Top, last).expect("it is one of top");
    assert_eq!(last["final"], true);

    let report = report(netns, &ivo);
    let (reported, printed) = (&report["services"][0], &last["services"][0]["total"]);
    assert_eq!(reported["counters"], printed["counters"]);
    assert_eq!(reported["counters"]["scheduled"], SESSIONS);
    for measure in ["schedule", "connect", "client", "handshake", "first_byte"] {
        let printed = printed["latency"][measure]
            .as_object()
            .expect("it is measured");
        assert_eq!(printed["count"], SESSIONS, "{measure}");
        for (name, value) in printed {
            assert_eq!(
                &reported["latency"][measure][name], value,
                "{measure}.{name}"
            );
        }
    }
    let log = fs::read_to_string(&hlog).expect("it is written");
    let tag = "Tag=TCP:10.9.0.1:80/connect,";
    assert!(log.lines().any(|line| line.starts_with(tag)), "{log}");
}

#[cfg_attr(feature = "vm", test)]
fn a_recorder_that_is_killed_leaves_what_it_had_written() {
    let balanced = Balanced::new(Vip::V4, 1);
    let netns = balanced.lab.director();
    let folder = Folder::new("killed");
    let ivo = folder.file("run.ivo");
    let agent = recorder(netns, &folder, &["-i", "100ms", &ivo]);
    balanced.sessions(SESSIONS, 1);
    // It is read while it is being written, too.
    wait::until("all connections to be recorded", wait::PATIENCE, || {
        let scheduled = scheduled_so_far(netns, &ivo);
        Ok((scheduled == Some(u64::from(SESSIONS))).then_some(()))
    })
    .expect("they are");
    agent.kill().expect("it is killed");
    assert_eq!(attached_probes(), Vec::<String>::new());
    // As if the kernel had written only a part of the newest window.
    let bytes = fs::read(&ivo).expect("it is there");
    fs::write(&ivo, [&bytes[..], &[2, 0xff, 0, 0]].concat()).expect("it can be written");
    let outcome = run(netns, &["report", &ivo, "-o", "json"]);
    let report = schema::checked(SchemaOf::Report, &outcome.stdout[0]);
    let report = report.expect("it is as the schema says");
    assert_eq!(report["services"][0]["counters"]["scheduled"], SESSIONS);
    let said = format!("ends within a window at offset {}", bytes.len());
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
}

#[cfg_attr(feature = "vm", test)]
fn a_recording_ends_with_its_command_and_a_ring_with_the_last_minutes() {
    let balanced = Balanced::new(Vip::V4, 1);
    let netns = balanced.lab.director();
    let folder = Folder::new("command");
    let ivo = folder.file("run.ivo");
    let command = ["--", BINARY, "list", "-n"];
    let outcome = run(
        netns,
        &[&["record", "--ring", "5m", &ivo][..], &command].concat(),
    );
    assert!(
        outcome.stdout.iter().any(|line| line.starts_with("TCP ")),
        "{outcome:?}"
    );
    let report = run(netns, &["report", &ivo]);
    assert!(
        report.stdout.iter().any(|line| line.starts_with("TCP ")),
        "{report:?}"
    );
    assert!(!fs::exists(format!("{ivo}.ring")).expect("it can be asked"));
}

#[cfg_attr(feature = "vm", test)]
fn connections_are_recorded_one_by_one_and_their_clients_with_them() {
    let vip = Vip::V4;
    let lab = Lab::new(2).expect("the lab is built");
    lab.add_service(vip, "rr").expect("the service is added");
    lab.add_server(vip, 1, 1).expect("the server is added");
    lab.add_server(vip, 2, 1).expect("the server is added");
    let _only_one_listens = lab
        .start_server(vip, 1, Duration::ZERO)
        .expect("the server starts");
    let folder = Folder::new("events");
    let ivo = folder.file("run.ivo");
    let agent = recorder(lab.director(), &folder, &["--events", "-i", "200ms", &ivo]);
    let refused = traffic::attempts(lab.client(), vip.address(), 10).expect("no other failure");
    assert_eq!(refused, 5);
    lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("it ends");
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(
        outcome.stderr.contains("bytes for each of 10 events"),
        "{outcome:?}"
    );

    let report = report(lab.director(), &ivo);
    let events = &report["connection_events"];
    let expected = serde_json::json!({ "closed": 5, "refused": 5, "unanswered": 0, "dropped": 0 });
    assert_eq!(events["told"], expected);
    let none = serde_json::json!({ "buffer_full": 0, "unreadable": 0, "unwritten": 0 });
    assert_eq!(events["lost"], none);
    let counters = &report["services"][0]["counters"];
    assert_eq!(
        (&counters["established"], &counters["refused"]),
        (&5.into(), &5.into())
    );
    let slowest = events["slowest"].as_array().expect("they are told");
    let finished = slowest.iter().filter(|slow| slow["outcome"] == "finished");
    let finished: Vec<_> = finished.collect();
    assert_eq!(finished.len(), 5, "{slowest:#?}");
    let server = vip.server_address(1).to_string();
    for slow in finished {
        let stage = |name| slow["stages"][name].as_u64().expect("it is known");
        let waited = stage("handshake_ns") + stage("first_byte_ns");
        assert_eq!(slow["waited_ns"], waited);
        assert_eq!(slow["service"], vip.name());
        assert_eq!(slow["server"]["address"], server.as_str());
    }
    let client = &slowest[0]["client"]["address"];
    let expected = serde_json::json!([{ "address": client, "connections": 10, "refused": 5,
        "unanswered": 0, "syn_repeated": 0, "dropped": 0 }]);
    assert_eq!(events["most"]["connections"], expected);
    assert_eq!(events["most"]["refused"], expected);
    let clients = run(
        lab.director(),
        &["report", &ivo, "-o", "csv", "--table", "clients"],
    );
    assert_eq!(clients.stdout.len(), 3, "{clients:?}");
}
