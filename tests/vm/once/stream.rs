//! `stream`, where the kernel makes no difference: which events come, how many, and the pipe behind it: a reader that stops
//! for a while, and one that goes away.

mod burst;
mod filters;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use ipvs_observer_tests::{agent::BINARY, services::Vip, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fixture::Balanced;

const SERVERS: u8 = 2;
/// Three lines of some 500 bytes each, twice as much as a pipe holds.
const MANY: u32 = 100;

/// A stream whose standard output nobody reads yet.
fn start(balanced: &Balanced) -> Child {
    let ready = std::env::temp_dir().join(format!("ready-{}", wait::monotonic_ns()));
    let mut command = Command::new(BINARY);
    command
        .args(["stream", "--events", "opened,established,closed"])
        .arg("--ready-file")
        .arg(&ready)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = balanced.lab.director().spawn(&mut command);
    wait::until("the probes", wait::PATIENCE, || {
        Ok(ready.exists().then_some(()))
    })
    .expect("they are attached");
    child.expect("the agent starts")
}

fn last_words(child: &mut Child) -> String {
    let mut words = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut words).expect("it is text");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}: {words}");
    words
}

#[cfg_attr(feature = "vm", test)]
fn a_reader_that_stops_for_a_while_misses_nothing_and_holds_up_nobody() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let mut child = start(&balanced);
    // Every session ends, whatever becomes of its events.
    balanced.sessions(MANY, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("it has a number"), Signal::INT).expect("it is there");
    // It ends once all is written, which is while we read.
    let stdout = child.stdout.take().expect("it is piped");
    let lines: Vec<String> = BufReader::new(stdout)
        .lines()
        .collect::<Result<_, _>>()
        .expect("it is text");
    assert_eq!(lines.len(), 3 * MANY as usize);
    for (line, sequence) in lines.iter().zip(0_u32..) {
        let line: Value = serde_json::from_str(line).expect("each line is whole");
        assert_eq!(line["sequence"], sequence);
    }
    let words = last_words(&mut child);
    let expected = format!("{} events delivered, 0 filtered", 3 * MANY);
    assert!(words.contains(&expected), "{words}");
}

#[cfg_attr(feature = "vm", test)]
fn a_reader_that_goes_away_ends_the_stream_quietly() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let mut child = start(&balanced);
    balanced.sessions(1, 1);
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it is text");
    assert!(line.contains("opened"), "{line}");
    drop(stdout);
    // The next event finds nobody.
    balanced.sessions(1, 1);
    let words = last_words(&mut child);
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains("events delivered"), "{words}");
}
