//! A recorder that has begun, a folder for what it writes, and what is reported of that.

use std::{env, fs, path::PathBuf};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{self, Agent, Outcome, Rights},
    netns::Netns,
    schema, wait,
};
use serde_json::Value;

/// Where a test writes; gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("record-{name}"));
        fs::create_dir_all(&folder).expect("it can be made");
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// A recorder whose probes are attached.
pub(crate) fn recorder(netns: &Netns, folder: &Folder, arguments: &[&str]) -> Agent {
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
pub(crate) fn run(netns: &Netns, arguments: &[&str]) -> Outcome {
    let outcome = agent::run(netns, Rights::Root, arguments).expect("it runs");
    assert!(outcome.status.success(), "{outcome:?}");
    outcome
}

/// What `report` says of a recording.
#[track_caller]
pub(crate) fn report(netns: &Netns, ivo: &str) -> Value {
    let outcome = run(netns, &["report", ivo, "-o", "json"]);
    let report = schema::checked(SchemaOf::Report, &outcome.stdout[0]);
    report.expect("it is as the schema says")
}

/// The connections that a recording has so far; none while there is no whole window in it.
#[track_caller]
pub(crate) fn scheduled_so_far(netns: &Netns, ivo: &str) -> Option<u64> {
    let arguments = ["report", ivo, "-o", "json"];
    let outcome = agent::run(netns, Rights::Root, &arguments).expect("it runs");
    let report = schema::checked(SchemaOf::Report, outcome.stdout.first()?);
    let report = report.expect("it is as the schema says");
    report["services"][0]["counters"]["scheduled"].as_u64()
}
