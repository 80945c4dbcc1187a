//! A kernel that has BTF and none of its modules: `top` says so and ends, and `list`, which takes
//! no programs, is what it is elsewhere.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{self, Outcome, Rights},
    director::Lab,
    ipvsadm_text::{COUNTERS, Entry, figures},
    schema,
    services::{PORT, Vip},
    wait,
};
use serde_json::{Value, json};

use crate::fixture::{Balanced, assert_one_line, attached_probes, doctor, probe_states};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 2;
/// Connections to each server.
const EACH: u32 = 3;

#[cfg_attr(feature = "vm", test)]
fn top_says_that_the_module_has_no_btf_and_ends() {
    let lab = Lab::new(1).expect("a lab can be built");
    assert!(Path::new("/sys/kernel/btf/vmlinux").exists());
    assert!(!Path::new("/sys/kernel/btf/ip_vs").exists());
    for arguments in [
        &["top"][..],
        &["top", "--once"],
        &["top", "-o", "json", "-i", "1s"],
    ] {
        let outcome = run(&lab, arguments);
        assert_eq!(outcome.status.code(), Some(3), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, Vec::<String>::new(), "{arguments:?}");
        assert_one_line(
            &outcome.stderr,
            "no BTF of ip_vs (/sys/kernel/btf/ip_vs): it takes one built with \
             CONFIG_DEBUG_INFO_BTF_MODULES",
        );
    }
    assert_eq!(attached_probes(), Vec::<String>::new());
}

#[cfg_attr(feature = "vm", test)]
fn doctor_says_what_is_missing_and_looks_at_the_rest() {
    let balanced = busy();
    let (status, report) = doctor(balanced.lab.director(), Rights::Root);
    assert_eq!(status, Some(3), "{report}");
    assert_eq!(report["verdict"], "no_types");
    assert_eq!(report["types"]["state"], "kernel_only");
    assert_eq!(report["ip_vs"]["state"], "loaded");
    assert_eq!(report["table"], json!({"services": 1, "servers": SERVERS}));
    assert_eq!(probe_states(&report), ["unknown"]);
    assert_eq!(report.get("measures"), None);
}

#[cfg_attr(feature = "vm", test)]
fn list_shows_the_table_and_its_counters_as_text() {
    let balanced = busy();
    let listing = settled(&balanced);
    let service = &listing["services"][0];

    let expected = [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  10.9.0.1:80 rr",
        "  -> 10.2.1.2:80                  Masq    1      0          3         ",
        "  -> 10.2.2.2:80                  Masq    1      0          3         ",
    ];
    assert_eq!(list(&balanced.lab, &["-n"]), expected);

    let printed = list(&balanced.lab, &["-n", "--stats", "--exact"]).join("\n");
    let servers = (1..=SERVERS).map(|number| {
        let address = SocketAddr::new(VIP.server_address(number), PORT);
        let server = server(service, number);
        ((VIP.name(), Some(address.to_string())), server)
    });
    let expected: BTreeMap<Entry, _> = [((VIP.name(), None), service)]
        .into_iter()
        .chain(servers)
        .map(|(entry, counted)| (entry, counters(&counted["kernel"])))
        .collect();
    assert_eq!(figures(&printed).expect("it is a table"), expected);
}

#[cfg_attr(feature = "vm", test)]
fn list_shows_the_table_and_its_counters_as_json() {
    let balanced = busy();
    let packets = balanced.lab.quiesce().expect("the kernel counts packets");
    let listing = settled(&balanced);

    assert_eq!(listing["source"], "netlink");
    let [service] = objects(&listing["services"]) else {
        panic!("not one service: {listing}");
    };
    assert_eq!(service["service"], VIP.name());
    assert_eq!(service["scheduler"], "rr");
    assert_eq!(objects(&service["servers"]).len(), usize::from(SERVERS));
    let mut sums = [0; 5];
    for number in 1..=SERVERS {
        let server = server(service, number);
        assert_eq!(server["kernel"]["connections"], EACH);
        assert_eq!(
            (&server["active"], &server["inactive"]),
            (&json!(0), &json!(EACH))
        );
        for (sum, number) in sums.iter_mut().zip(counters(&server["kernel"])) {
            *sum += number;
        }
    }
    assert_eq!(counters(&service["kernel"]), sums);
    for (name, expected) in [
        ("connections", u64::from(EACH) * u64::from(SERVERS)),
        ("in_packets", packets.incoming),
        ("out_packets", packets.outgoing),
    ] {
        assert_eq!(service["kernel"][name], expected, "{name}");
        assert_eq!(listing["totals"]["live"][name], expected, "{name} in all");
    }
}

/// Live counters take programs: without them the kernel's copies are shown, and said to be that.
#[cfg_attr(feature = "vm", test)]
fn list_shows_copies_of_counters_where_live_ones_are_asked_for() {
    let balanced = busy();
    settled(&balanced);
    let outcome = run(&balanced.lab, &["list", "-n", "--stats", "--live"]);
    assert!(outcome.status.success(), "{outcome:?}");
    assert_one_line(&outcome.stderr, "no live counters");
    assert_eq!(outcome.stdout, list(&balanced.lab, &["-n", "--stats"]));
}

#[cfg_attr(feature = "vm", test)]
fn list_shows_every_connection() {
    let balanced = busy();
    let printed = list(&balanced.lab, &["-n", "-c"]);
    for server in 1..=SERVERS {
        let to_server = format!(" {}:80", VIP.server_address(server));
        let connections = printed.iter().filter(|line| line.ends_with(&to_server));
        assert_eq!(connections.count(), 3, "{printed:?}");
    }
    // Two lines come before them.
    assert_eq!(printed.len(), 2 + 6);
}

/// A director that has done its work.
fn busy() -> Balanced {
    let balanced = Balanced::new(VIP, SERVERS);
    balanced.sessions(EACH * u32::from(SERVERS), 2);
    balanced.lab.quiesce().expect("the director becomes idle");
    balanced
}

/// The listing, once the kernel's copies of its counters have caught up with the traffic.
fn settled(balanced: &Balanced) -> Value {
    wait::until("the kernel to copy its counters", wait::PATIENCE, || {
        let printed = list(&balanced.lab, &["-o", "json"]).join("\n");
        let listing = schema::checked(SchemaOf::List, &printed)?;
        let copy = counters(&listing["services"][0]["kernel"]);
        let is_whole = copy == counters(&listing["totals"]["live"]);
        Ok(is_whole.then_some(listing))
    })
    .expect("a copy is made every two seconds")
}

#[track_caller]
fn counters(counted: &Value) -> [u64; 5] {
    COUNTERS.map(|name| counted[name].as_u64().expect("it is counted"))
}

/// A server of the service; JSON has them in the kernel's order.
#[track_caller]
fn server(service: &Value, number: u8) -> &Value {
    let address = VIP.server_address(number).to_string();
    let mut servers = objects(&service["servers"]).iter();
    let found = servers.find(|server| server["address"] == address);
    found.expect("the server is listed")
}

#[track_caller]
fn objects(list: &Value) -> &[Value] {
    list.as_array().expect("it is a list")
}

/// What `list` prints where nothing is wrong.
#[track_caller]
fn list(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let outcome = run(lab, &[&["list"], arguments].concat());
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    outcome.stdout
}

fn run(lab: &Lab, arguments: &[&str]) -> Outcome {
    agent::run(lab.director(), Rights::Root, arguments).expect("it runs")
}
