//! The flight recorder writes out what it has when it is asked to, and a full disk ends a recording with what it had.

use std::{fs, path::Path};

use ipvs_observer_tests::{agent::Agent, director::Lab, services::Vip, traffic, wait};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::Signal,
};

use crate::{
    fixture::Balanced,
    recorder::{Folder, recorder, report, scheduled_so_far},
};

const SESSIONS: u32 = 5;

/// The file that a ring was written out to, once it is whole.
#[track_caller]
fn dumped(agent: &Agent, folder: &str, why: &str) -> String {
    let said = format!("the last minutes are written out: {why}");
    agent
        .await_stderr("the ring to be written out", |lines| {
            lines.iter().any(|line| line.contains(&said))
        })
        .expect("it is");
    let files = fs::read_dir(folder).expect("it is there");
    let names = files.map(|file| file.expect("it can be read").path().display().to_string());
    let mut dumps = names.filter(|name| name.ends_with("Z.ivo"));
    let dump = dumps.next().expect("there is one");
    assert_eq!(dumps.next(), None, "what goes on holding is written once");
    dump
}

#[cfg_attr(feature = "vm", test)]
fn sigusr1_writes_the_ring_out_and_it_goes_on() {
    let balanced = Balanced::new(Vip::V4, 1);
    let netns = balanced.lab.director();
    let folder = Folder::new("usr1");
    let ivo = folder.file("run.ivo");
    let mut agent = recorder(netns, &folder, &["--ring", "5m", "-i", "100ms", &ivo]);
    balanced.sessions(SESSIONS, 1);
    // The ring is read as it is written, so that what is asked for next is known to have something to tell.
    let segment = format!("{ivo}.ring/000000.ivo");
    wait::until("the sessions to be recorded", wait::PATIENCE, || {
        let scheduled = scheduled_so_far(netns, &segment);
        Ok((scheduled == Some(u64::from(SESSIONS))).then_some(()))
    })
    .expect("they are");
    agent.send(Signal::USR1).expect("it is there");
    let dump = dumped(&agent, &folder.file(""), "SIGUSR1");
    assert_eq!(scheduled(&report(netns, &dump)), u64::from(SESSIONS));
    balanced.sessions(SESSIONS, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("it ends");
    assert!(outcome.status.success(), "{outcome:?}");
    let whole = report(netns, &ivo);
    assert_eq!(scheduled(&whole), u64::from(2 * SESSIONS));
    assert!(!Path::new(&format!("{ivo}.ring")).exists());
}

fn scheduled(report: &serde_json::Value) -> u64 {
    let counters = &report["services"][0]["counters"];
    counters["scheduled"].as_u64().unwrap_or_default()
}

#[cfg_attr(feature = "vm", test)]
fn a_condition_writes_the_ring_out_once_it_holds() {
    let vip = Vip::V4;
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(vip, "rr").expect("the service is added");
    lab.add_server(vip, 1, 1).expect("the server is added");
    let folder = Folder::new("condition");
    let ivo = folder.file("run.ivo");
    let arguments = ["--ring", "5m", "--dump-when", "refused > 0", "-i", "100ms"];
    let arguments = [&arguments[..], &["--events", &ivo]].concat();
    let agent = recorder(lab.director(), &folder, &arguments);
    // Nobody listens.
    let refused = traffic::attempts(lab.client(), vip.address(), 1).expect("no other failure");
    assert_eq!(refused, 1);
    let dump = dumped(&agent, &folder.file(""), "refused > 0");
    let dumped = report(lab.director(), &dump);
    assert_eq!(dumped["services"][0]["counters"]["refused"], 1);
    let outcome = agent.stop().expect("it ends");
    assert!(outcome.status.success(), "{outcome:?}");
    // Events come into the file after the window in which they happened, so that the dump may lack them.
    let whole = report(lab.director(), &ivo);
    assert_eq!(whole["connection_events"]["told"]["refused"], 1);
}

/// A file system with room for so much.
struct SmallDisk(String);

impl SmallDisk {
    fn new(path: String, size: &str) -> Self {
        fs::create_dir_all(&path).expect("it can be made");
        let options = std::ffi::CString::new(format!("size={size}")).expect("it has no NUL");
        mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .expect("it is mounted");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_full_disk_ends_the_run_and_leaves_what_was_written() {
    let balanced = Balanced::new(Vip::V4, 1);
    let netns = balanced.lab.director();
    let folder = Folder::new("full");
    let disk = SmallDisk::new(folder.file("disk"), "64k");
    let [ivo, ndjson] = ["run.ivo", "run.ndjson"].map(|name| format!("{}/{name}", disk.0));
    let agent = recorder(netns, &folder, &["-i", "20ms", &ivo, &ndjson]);
    let outcome = agent.finish().expect("it ends by itself");
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    let said = "any more, which holds ";
    assert!(outcome.stderr.contains(said), "{outcome:?}");
    assert!(outcome.stderr.contains("No space left"), "{outcome:?}");
    let report = report(netns, &ivo);
    let windows = report["windows"].as_u64().expect("it is a number");
    assert!(windows > 0, "{report}");
    // The two got the same windows, but for the one that did not fit.
    let printed = fs::read_to_string(&ndjson).expect("it is there");
    let lines = printed.lines().count() as u64;
    assert!(
        printed.ends_with("}\n") && windows - lines <= 1,
        "{windows} {lines}"
    );
    let stays = printed.lines().all(|line| line.ends_with('}'));
    assert!(stays, "{printed}");
}
