//! What scripts read.

use serde_json::{Value, json};

use super::encode;
use crate::{
    ipvs::table::DaemonState,
    model::listing::Listing,
    output::list::fixture::{least, listing},
};

fn parsed(listing: &Listing) -> Value {
    let mut out = Vec::new();
    encode(listing, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text.find('\n'),
        Some(text.len() - 1),
        "one object is one line"
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn everything_is_written_as_it_stands_here() {
    let expected: Value = serde_json::from_str(include_str!("../testdata/list.json")).unwrap();
    let actual = parsed(&listing());
    let services = |object: &Value| object["services"].as_array().unwrap().clone();
    for (actual, expected) in services(&actual).iter().zip(&services(&expected)) {
        assert_eq!(actual, expected);
    }
    assert_eq!(actual, expected);
}

#[test]
fn what_is_not_known_is_left_out() {
    let object = parsed(&least());
    let names: Vec<_> = object.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "connection_table_size",
            "host",
            "kernel",
            "services",
            "source",
            "table_took_ns",
            "table_torn",
            "time",
            "version"
        ]
    );
    assert_eq!(object["source"], "procfs");
    assert_eq!(
        object["services"][2],
        json!({
            "service": "TCP 192.0.2.10:8443",
            "protocol": "TCP",
            "address": "192.0.2.10",
            "port": 8443,
            "scheduler": "sh",
            "flags": { "persistent": false, "one_packet": false },
            "servers": [
                server("10.1.0.2", 8443), server("10.1.0.3", 8443), server("10.1.0.4", 8443)
            ]
        })
    );
    for listing in [listing(), least()] {
        assert!(!parsed(&listing).to_string().contains("null"));
    }
}

fn server(address: &str, port: u16) -> Value {
    json!({
        "address": address, "port": port, "family": "ipv4",
        "method": "Tunnel", "weight": 1, "active": 0, "inactive": 0
    })
}

#[test]
fn a_torn_table_and_a_network_namespace_are_told() {
    let mut listing = listing();
    listing.table.torn = true;
    listing.netns = Some("blue".to_owned());
    let object = parsed(&listing);
    assert_eq!(object["table_torn"], true);
    assert_eq!(object["netns"], "blue");
}

#[test]
fn a_copy_has_no_greatest_age_while_the_kernel_makes_none() {
    let age = |name: &str, value: &str| {
        let mut listing = listing();
        let mut settings = listing.settings.iter_mut();
        let setting = settings.find(|setting| setting.name == name).unwrap();
        value.clone_into(&mut setting.value);
        let object = parsed(&listing);
        let kernel = &object["services"][1]["kernel"];
        assert_eq!(kernel["live"], false);
        kernel.get("max_age_ns").and_then(Value::as_u64)
    };
    assert_eq!(age("run_estimation", "1"), Some(2_000_000_000));
    assert_eq!(age("run_estimation", "0"), None);
    assert_eq!(age("est_cpulist", ""), None);
    assert_eq!(age("est_nice", "0"), Some(2_000_000_000));
}

#[test]
fn a_daemon_of_an_unknown_state_is_told_by_its_number() {
    let mut listing = listing();
    let daemons = listing.daemons.as_mut().unwrap();
    daemons[0].state = DaemonState::Unknown(3);
    daemons[0].group = Some("ff02::51".parse().unwrap());
    let object = parsed(&listing);
    assert_eq!(object["daemons"][0]["state"], "state 3");
    assert_eq!(object["daemons"][0]["group"], "ff02::51");
}
