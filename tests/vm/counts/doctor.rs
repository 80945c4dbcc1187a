//! What `doctor` says beforehand is what `top` then does, and saying it loads and attaches nothing.

use ipvs_observer_tests::{
    agent::{self, Outcome, Rights},
    director::Lab,
    netns::Netns,
    services::Vip,
};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use crate::fixture::{Balanced, MEASURES, attached_probes, doctor, probe_states, summary};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 3;

#[cfg_attr(feature = "vm", test)]
fn a_director_where_nothing_is_missing_is_fine() {
    let balanced = Balanced::new(VIP, SERVERS);
    let netns = balanced.lab.director();
    let (status, report) = doctor(netns, Rights::Root);
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(attached_probes(), Vec::<String>::new());

    assert_eq!(report["verdict"], "fine");
    assert_eq!(report["unseen"], json!([]));
    assert_eq!(report["ip_vs"]["state"], "loaded");
    let schedulers = report["ip_vs"]["schedulers"].as_array();
    let schedulers = schedulers.expect("they are listed");
    assert!(schedulers.contains(&json!("rr")), "{schedulers:?}");
    assert_eq!(report["table"], json!({"services": 1, "servers": SERVERS}));
    let mut measures: Vec<_> = texts(&report["measures"]).collect();
    measures.sort_unstable();
    let mut expected = MEASURES;
    expected.sort_unstable();
    assert_eq!(measures, expected);
    assert_eq!(probe_states(&report), ["attachable"]);

    // What was foretold is what `top` then takes.
    let summary = summary(balanced.agent());
    for member in [
        "bytes",
        "partitions",
        "grouping_bits",
        "slots",
        "connections",
    ] {
        let taken = summary.memory(member).expect("it is stated");
        assert_eq!(report["memory"][member], taken, "{member}");
    }
    let attached = summary.probes().expect("they are listed");
    let foretold = texts_of_probes(&report);
    let unforetold = attached.iter().filter(|probe| !foretold.contains(probe));
    assert_eq!(unforetold.collect::<Vec<_>>(), [] as [&&str; 0]);
    let always = foretold.iter().filter(|probe| !is_occasional(probe));
    let missing = always.filter(|probe| !attached.contains(probe));
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&&str; 0]);
}

#[cfg_attr(feature = "vm", test)]
fn text_says_the_same_in_a_line_each() {
    let balanced = Balanced::new(VIP, SERVERS);
    let outcome = run(balanced.lab.director(), Rights::Root, &[]);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let states = outcome.stdout[1..outcome.stdout.len() - 1].iter();
    let mut states = states.map(|line| line.split(' ').next());
    assert!(states.all(|state| state == Some("ok")), "{outcome:?}");
    let last = outcome.stdout.last().expect("it ends with a verdict");
    assert!(last.starts_with("all fine: "), "{last}");
}

#[cfg_attr(feature = "vm", test)]
fn a_user_without_privileges_is_told_which_are_missing_and_sees_the_rest() {
    let balanced = Balanced::new(VIP, SERVERS);
    let (status, report) = doctor(balanced.lab.director(), Rights::Nobody);
    assert_eq!(status, Some(4), "{report}");
    assert_eq!(report["verdict"], "not_permitted");
    for name in ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"] {
        let rights = report["capabilities"].as_array().expect("they are listed");
        let right = rights.iter().find(|right| right["capability"] == name);
        assert_eq!(right.expect("it is named")["effective"], false, "{name}");
    }
    assert_eq!(report["table"], json!({"services": 1, "servers": SERVERS}));
    assert_eq!(report["types"]["state"], "complete");
    // They take no privilege of their own.
    assert_eq!(report["no_live_counters"], Value::Null);
    // Only root may see what can be traced.
    let unseen: Vec<_> = texts(&report["unseen"]).collect();
    assert!(
        matches!(unseen[..], [one] if one.contains("traced")),
        "{unseen:?}"
    );
}

#[cfg_attr(feature = "vm", test)]
fn the_capability_that_is_missing_is_named() {
    let lab = Lab::new(1).expect("the lab is built");
    let outcome = run(
        lab.director(),
        Rights::RootWithout(CapabilitySet::NET_ADMIN),
        &[],
    );
    assert_eq!(outcome.status.code(), Some(4), "{outcome:?}");
    let last = outcome.stdout.last().expect("it ends with a verdict");
    assert!(
        last.contains("CAP_NET_ADMIN") && !last.contains("CAP_BPF"),
        "{last}"
    );
}

#[cfg_attr(feature = "vm", test)]
fn little_memory_is_told_in_words() {
    let balanced = Balanced::new(VIP, SERVERS);
    let outcome = run(
        balanced.lab.director(),
        Rights::Root,
        &["--max-memory", "1M"],
    );
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let notes: Vec<_> = outcome
        .stdout
        .iter()
        .filter(|line| line.starts_with("note"))
        .collect();
    assert!(
        notes.iter().any(|note| note.contains("share partitions")),
        "{notes:?}"
    );
}

fn run(netns: &Netns, rights: Rights, arguments: &[&str]) -> Outcome {
    agent::run(netns, rights, &[&["doctor"], arguments].concat()).expect("it runs")
}

/// Attached only while they have something to see.
fn is_occasional(probe: &str) -> bool {
    probe.starts_with("unavailable")
        || probe.starts_with("defence")
        || probe == "ip_vs_conn_seq_show"
}

fn texts_of_probes(report: &Value) -> Vec<&str> {
    let probes = report["probes"].as_array().expect("they are listed");
    probes
        .iter()
        .filter_map(|probe| probe["probe"].as_str())
        .collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().expect("it is a list");
    list.iter().filter_map(Value::as_str)
}
