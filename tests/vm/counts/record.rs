//! Recordings: what is reported of one is what was printed while it was made, and whoever ends the recorder, what it had
//! written stays.

use std::{env, fs, path::PathBuf};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{self, Agent, BINARY, Outcome, Rights},
    netns::Netns,
    schema,
    services::Vip,
    wait,
};
use serde_json::Value;

use crate::fixture::{Balanced, attached_probes};

const SESSIONS: u32 = 20;

/// Where a test writes; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("record-{name}"));
        fs::create_dir_all(&folder).expect("it can be made");
        Self(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// A recorder whose probes are attached.
fn recorder(netns: &Netns, folder: &Folder, arguments: &[&str]) -> Agent {
    let ready = folder.file("ready");
    let arguments = [&["record", "--ready-file", &ready], arguments].concat();
    let agent = agent::launch(netns, Rights::Root, &arguments).expect("it starts");
    wait::until("the recorder to attach its probes", wait::PATIENCE, || {
        Ok(fs::exists(&ready)?.then_some(()))
    })
    .expect("it is ready");
    agent
}

#[track_caller]
fn run(netns: &Netns, arguments: &[&str]) -> Outcome {
    let outcome = agent::run(netns, Rights::Root, arguments).expect("it runs");
    assert!(outcome.status.success(), "{outcome:?}");
    outcome
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

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

    let report = run(netns, &["report", &ivo, "-o", "json"]);
    let report = parsed(&report.stdout[0]);
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
    let windows = || {
        let report = run(netns, &["report", &ivo, "-o", "json"]);
        parsed(&report.stdout[0])
    };
    // It is read while it is being written, too.
    wait::until("all connections to be recorded", wait::PATIENCE, || {
        let size = fs::metadata(&ivo)?.len();
        let is_begun = size > 8_000;
        let scheduled = is_begun.then(|| windows()["services"][0]["counters"]["scheduled"].clone());
        Ok((scheduled == Some(SESSIONS.into())).then_some(()))
    })
    .expect("they are");
    agent.kill().expect("it is killed");
    assert_eq!(attached_probes(), Vec::<String>::new());
    // As if the kernel had written only a part of the newest window.
    let bytes = fs::read(&ivo).expect("it is there");
    fs::write(&ivo, [&bytes[..], &[2, 0xff, 0, 0]].concat()).expect("it can be written");
    let outcome = run(netns, &["report", &ivo, "-o", "json"]);
    let report = parsed(&outcome.stdout[0]);
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
