//! `stream`: one line for each event, exactly, and every one that is not there is counted.

mod config;
mod drops;
mod kinds;
mod stacks;

use std::time::Duration;

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{Agent, Outcome},
    director::Lab,
    schema,
    services::Vip,
    traffic,
};
use serde_json::Value;

use crate::fixture::{Balanced, await_no_connection};

pub(crate) const SERVERS: u8 = 2;
pub(crate) const SESSIONS: u32 = 6;

pub(crate) fn stream(lab: &Lab, arguments: &[&str]) -> Agent {
    Agent::start_stream(lab.director(), arguments).expect("the agent starts")
}

/// What a stream left: its lines, each as the schema says, and the counts of its last words.
pub(crate) struct Told {
    pub(crate) lines: Vec<Value>,
    pub(crate) delivered: u64,
    pub(crate) filtered: u64,
    pub(crate) sampled: u64,
    pub(crate) lost: u64,
}

#[track_caller]
pub(crate) fn told(outcome: &Outcome) -> Told {
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
pub(crate) fn last_words(outcome: &Outcome) -> [u64; 4] {
    let last = outcome.stderr.lines().last().expect("it is summed up");
    let numbers: Vec<u64> = last
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    *numbers.first_chunk().expect("a summary has four numbers")
}

impl Told {
    pub(crate) fn of(&self, event: &str) -> Vec<&Value> {
        let lines = self.lines.iter();
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Fails unless there are so many lines of each event, and no others, and nothing is missing.
    #[track_caller]
    pub(crate) fn assert_counts(&self, expected: &[(&str, usize)]) {
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
pub(crate) fn sum(lines: &[&Value], member: &str) -> u64 {
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
pub(crate) fn end(lab: &Lab, agent: Agent) -> Told {
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
