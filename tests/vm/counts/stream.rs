//! `stream`: one line for each event, exactly, and every one that is not there is counted.

mod burst;
mod config;
mod drops;
mod kinds;

use std::{net::IpAddr, time::Duration};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{Agent, Outcome},
    director::Lab,
    schema,
    services::Vip,
    traffic,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Balanced, await_no_connection};

const SERVERS: u8 = 2;
const SESSIONS: u32 = 6;

fn stream(lab: &Lab, arguments: &[&str]) -> Agent {
    Agent::start_stream(lab.director(), arguments).expect("the agent starts")
}

/// What a stream left: its lines, each as the schema says, and the counts of its last words.
struct Told {
    lines: Vec<Value>,
    delivered: u64,
    filtered: u64,
    sampled: u64,
    lost: u64,
}

#[track_caller]
fn told(outcome: &Outcome) -> Told {
    assert!(outcome.status.success(), "{outcome:?}");
    let lines = outcome.stdout.iter();
    let lines: Vec<_> = lines
        .map(|line| schema::checked(SchemaOf::Stream, line).expect("it is as the schema says"))
        .collect();
    let [delivered, filtered, sampled, lost] = last_words(outcome);
    Told {
        lines,
        delivered,
        filtered,
        sampled,
        lost,
    }
}

/// What the stream says at its end: events delivered, filtered, outside of the sample, and lost.
#[track_caller]
fn last_words(outcome: &Outcome) -> [u64; 4] {
    let last = outcome.stderr.lines().last().expect("it is summed up");
    let numbers: Vec<u64> = last
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    *numbers.first_chunk().expect("a summary has four numbers")
}

impl Told {
    fn of(&self, event: &str) -> Vec<&Value> {
        let lines = self.lines.iter();
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Fails unless there are so many lines of each event, and no others, and nothing is missing.
    #[track_caller]
    fn assert_counts(&self, expected: &[(&str, usize)]) {
        for &(event, count) in expected {
            assert_eq!(self.of(event).len(), count, "{event}: {:#?}", self.lines);
        }
        let all: usize = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(self.lines.len(), all, "{:#?}", self.lines);
        assert_eq!((self.delivered, self.lost), (all as u64, 0));
        for (line, sequence) in self.lines.iter().zip(0_u64..) {
            assert_eq!(line["sequence"], sequence);
        }
    }
}

#[track_caller]
fn sum(lines: &[&Value], member: &str) -> u64 {
    let values = lines.iter().map(|line| line[member].as_u64());
    values.map(|value| value.expect("it is known")).sum()
}

#[cfg_attr(feature = "vm", test)]
fn connections_are_told_when_they_open_are_established_and_end() {
    for vip in [Vip::V4, Vip::V6] {
        let balanced = Balanced::new(vip, SERVERS);
        let agent = stream(
            &balanced.lab,
            &[
                "--events",
                "opened,established,closed,refused,unanswered,dropped",
            ],
        );
        balanced.sessions(SESSIONS, 1);
        balanced.lab.quiesce().expect("the director becomes idle");
        let told = told(&agent.stop().expect("it ends"));
        let each = SESSIONS as usize;
        told.assert_counts(&[("opened", each), ("established", each), ("closed", each)]);
        let closed = told.of("closed");
        for line in &closed {
            assert_eq!(line["service"], vip.name());
            assert_eq!(line["outcome"], "finished");
            assert_eq!(line["method"], "Masq");
            assert_eq!(line["syn_repeated"], 0);
            let states = line["states"].as_array().expect("they are told");
            assert_eq!(states[..2], ["syn_recv", "established"], "{line}");
            assert_eq!(states.last().expect("one"), "time_wait");
            for stage in [
                "schedule",
                "connect",
                "client",
                "handshake",
                "first_byte",
                "duration",
            ] {
                assert!(line[format!("{stage}_ns")].is_u64(), "{stage} of {line}");
            }
        }
        for server in 1..=SERVERS {
            let address = vip.server_address(server).to_string();
            let lines = closed.iter();
            let own = lines.filter(|line| line["server"]["address"] == address.as_str());
            assert_eq!(own.count(), each / usize::from(SERVERS));
        }
        // IPVS's own counts, of a director that is as old as the stream.
        let counted = ["in_packets", "out_packets", "in_bytes", "out_bytes"];
        assert_eq!(
            counted.map(|member| sum(&closed, member)),
            kernel_counts(&balanced.lab)
        );
    }
}

/// Packets from clients and from servers, then their bytes, as the kernel counts them at this moment.
fn kernel_counts(lab: &Lab) -> [u64; 4] {
    let text = lab.director().proc_net("ip_vs_stats_percpu");
    let text = text.expect("it is there");
    let mut sums = [0; 4];
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.len() == 6 && u64::from_str_radix(fields[0], 16).is_ok() {
            for (sum, digits) in sums.iter_mut().zip(&fields[2..]) {
                *sum += u64::from_str_radix(digits, 16).expect("a number");
            }
        }
    }
    sums
}

/// Ends the stream once the director has nothing to do.
#[track_caller]
fn end(lab: &Lab, agent: Agent) -> Told {
    lab.quiesce().expect("the director becomes idle");
    told(&agent.stop().expect("it ends"))
}

#[cfg_attr(feature = "vm", test)]
fn a_connection_that_is_refused_is_told_once() {
    for vip in [Vip::V4, Vip::V6] {
        let lab = Lab::new(1).expect("the lab is built");
        lab.add_service(vip, "rr").expect("the service is added");
        lab.add_server(vip, 1, 1).expect("the server is added");
        let agent = stream(&lab, &[]);
        let refused = traffic::attempts(lab.client(), vip.address(), SESSIONS);
        assert_eq!(refused.expect("it is answered"), SESSIONS);
        lab.quiesce().expect("the director becomes idle");
        lab.director()
            .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
            .expect("connections can be made to end with their server");
        lab.remove_server(vip, 1).expect("the server is removed");
        await_no_connection(&lab);
        agent
            .await_stdout("the change of the table", |lines| {
                lines.iter().any(|line| line.contains("config"))
            })
            .expect("it is told");
        let told = end(&lab, agent);
        told.assert_counts(&[("refused", SESSIONS as usize), ("config", 1)]);
        for line in told.of("refused") {
            assert_eq!(
                (&line["outcome"], &line["in_packets"]),
                (&"refused".into(), &1.into())
            );
        }
        let [change] = told.of("config")[..] else {
            panic!("one change");
        };
        assert_eq!(change["change"], "removed");
        assert_eq!(
            change["server"]["address"],
            vip.server_address(1).to_string()
        );
        assert_eq!(change["old"]["weight"], 1);
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_handshake_that_nobody_completes_and_a_packet_without_a_server_are_told() {
    let vip = Vip::V4;
    let lab = Lab::new(1).expect("the lab is built");
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    lab.add_service(vip, "rr").expect("the service is added");
    lab.add_server(vip, 1, 1).expect("the server is added");
    lab.delay_server(1, Duration::from_secs(3600))
        .expect("netem is there");
    let agent = stream(&lab, &["--events", "closed,refused,unanswered,dropped"]);
    let knock = || {
        lab.client()
            .run(|| (0..SESSIONS).try_for_each(|_| traffic::knock(vip.address())))
            .expect("the SYNs are sent");
        lab.quiesce().expect("the director becomes idle");
    };
    knock();
    lab.remove_server(vip, 1).expect("the server is removed");
    await_no_connection(&lab);
    // The service has no server any more.
    knock();
    let told = end(&lab, agent);
    let each = SESSIONS as usize;
    told.assert_counts(&[("unanswered", each), ("dropped", each)]);
    for line in told.of("dropped") {
        assert_eq!(line["reason"], "no_destination");
        assert_eq!(line["client"]["address"], "10.1.0.2");
        assert!(line.get("server").is_none() && line.get("method").is_none());
    }
}

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
