//! Which events come, and what becomes of those that are too many.

use std::{net::IpAddr, time::Duration};

use ipvs_observer_tests::services::Vip;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    counts::stream::{SERVERS, SESSIONS, end, stream, sum},
    fixture::Balanced,
};

#[cfg_attr(feature = "vm", test)]
fn what_no_filter_wants_makes_no_record_and_is_counted() {
    const FOREIGN: u32 = 60;
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let other = vip.server_address(1).to_string();
    for filter in [
        ["--client", "10.1.0.3/32"],
        ["--protocol", "udp,sctp"],
        ["--outcome", "expired"],
    ] {
        let agent = stream(
            &balanced.lab,
            &[&["--events", "closed"][..], &filter].concat(),
        );
        balanced.sessions(FOREIGN, 1);
        let told = end(&balanced.lab, agent);
        told.assert_counts(&[]);
        assert_eq!(told.filtered, u64::from(FOREIGN), "{filter:?}");
    }
    for (filter, wanted) in [
        (["--client", "10.1.0.0/24"], SESSIONS),
        (["-r", &other], SESSIONS / 2),
        (["--outcome", "finished,expired"], SESSIONS),
    ] {
        let agent = stream(
            &balanced.lab,
            &[&["--events", "closed"][..], &filter].concat(),
        );
        balanced.sessions(SESSIONS, 1);
        let told = end(&balanced.lab, agent);
        told.assert_counts(&[("closed", wanted as usize)]);
        assert_eq!(told.filtered, u64::from(SESSIONS - wanted), "{filter:?}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_sample_has_the_connections_that_the_published_hash_says() {
    const MANY: u32 = 20;
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let all = stream(&balanced.lab, &["--events", "closed"]);
    let sampled = stream(&balanced.lab, &["--events", "closed", "--sample", "1/3"]);
    balanced.sessions(MANY, 1);
    let [all, sampled] = [all, sampled].map(|agent| end(&balanced.lab, agent));
    let port = |line: &Value| line["client"]["port"].as_u64().expect("it is known");
    let mut expected: Vec<_> = all.lines.iter().map(port).collect();
    expected.retain(|&port| {
        let [.., high, low] = port.to_be_bytes();
        published_hash(&[10, 1, 0, 2, high, low, 6]).is_multiple_of(3)
    });
    let found: Vec<_> = sampled.lines.iter().map(port).collect();
    assert_eq!(found, expected);
    assert_eq!(sampled.sampled, u64::from(MANY) - sampled.delivered);
}

/// As README tells others to do it.
fn published_hash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg_attr(feature = "vm", test)]
fn a_stage_that_is_slow_is_told_and_so_are_its_connections_alone() {
    let late = Duration::from_millis(300);
    let balanced = Balanced::with_application_delay(Vip::V4, SERVERS, 1, late);
    let agent = stream(
        &balanced.lab,
        &[
            "--events",
            "slow,closed",
            "--slower-than",
            "first_byte=290ms",
        ],
    );
    balanced.sessions(SESSIONS, 1);
    let told = end(&balanced.lab, agent);
    let half = SESSIONS as usize / 2;
    told.assert_counts(&[("slow", half), ("closed", half)]);
    assert_eq!(told.filtered, half as u64);
    for line in told.of("slow") {
        assert_eq!(line["stage"], "first_byte");
        assert!(line["took_ns"].as_u64() >= Some(290_000_000), "{line}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_stopped_reader_loses_events_and_knows_how_many_and_where() {
    const MANY: u32 = 110;
    let balanced = Balanced::new(Vip::V4, SERVERS);
    // Room for 264 events.
    let mut agent = stream(
        &balanced.lab,
        &["--events", "opened,established,closed", "--buffer", "64K"],
    );
    balanced.sessions(SESSIONS, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    agent.send(Signal::STOP).expect("it is stopped");
    balanced.sessions(MANY, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    agent.send(Signal::CONT).expect("it goes on");
    agent
        .await_stdout("what was lost", |lines| {
            lines.iter().any(|line| line.contains("\"lost\""))
        })
        .expect("it is told");
    balanced.sessions(SESSIONS, 1);
    let told = end(&balanced.lab, agent);
    let all = 3 * u64::from(MANY + 2 * SESSIONS);
    assert!(told.lost > 0);
    assert_eq!(told.delivered + told.lost, all);
    assert_eq!(sum(&told.of("lost"), "lost"), told.lost);
    // Each line has its place, and those of lost events as many as are missing.
    let mut next = 0;
    for line in &told.lines {
        assert_eq!(line["sequence"], next, "{line}");
        next += line["lost"].as_u64().unwrap_or(1);
    }
    assert_eq!(next, all);
    // What was lost is missing between what the reader saw before and what it saw again.
    let last = told.lines.last().expect("there are lines");
    assert_eq!(last["event"], "closed");
}

#[cfg_attr(feature = "vm", test)]
fn a_stream_ends_at_its_limit_and_speaks_to_people() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let agent = stream(
        &balanced.lab,
        &["--events", "opened", "--limit", "3", "-o", "text"],
    );
    balanced.sessions(SESSIONS, 1);
    let outcome = agent.finish().expect("it ends by itself");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stdout.len(), 3);
    let client: IpAddr = [10, 1, 0, 2].into();
    for line in &outcome.stdout {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            (words[2], words[4], words[5]),
            ("opened", ">", "10.9.0.1:80"),
            "{line}"
        );
        assert!(words[3].starts_with(&format!("{client}:")), "{line}");
    }
}
