//! `list -o json` says what was configured, and the numbers that `ipvsadm` prints.

mod rule;

use std::{collections::BTreeMap, fs, path::Path};

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    everything::{Everything, TABLE},
    ipvsadm_text::{COUNTERS, Entry, Order, figures},
    netns::Netns,
    schema,
};
use serde_json::{Map, Value, json};

use self::rule::Rule;
use super::comparison::{ipvsadm, observer, put_right, side_by_side};

const SYSCTLS: &str = "/proc/sys/net/ipv4/vs";
/// The names of what `ipvsadm --rate` prints, in its order.
const RATES: [&str; 5] = [
    "connections_per_s",
    "in_packets_per_s",
    "out_packets_per_s",
    "in_bytes_per_s",
    "out_bytes_per_s",
];
/// The same of `ipvsadm --persistent-conn`.
const CONNECTIONS: [&str; 4] = ["weight", "persistent", "active", "inactive"];

type Object = Map<String, Value>;

#[cfg_attr(feature = "vm", test)]
fn an_object_says_what_was_configured_and_counted() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let listed = ipvsadm(director, &["-Ln"]);
    let order = Order::of(&listed).expect("it is a table");

    for (form, names) in [("--stats", COUNTERS), ("--rate", RATES)] {
        let (printed, listing) = both(director, &["-Ln", form, "--exact"]);
        let expected = figures::<5>(&put_right(&order, &printed)).expect("it is a table");
        let numbers = |entry: &Object| {
            let group = if form == "--stats" { "kernel" } else { "rates" };
            names.map(|name| whole(&entry[group][name]))
        };
        assert_eq!(numbers_of(&listing, numbers), expected, "{form}");
    }
    let (printed, listing) = both(director, &["-Ln", "--persistent-conn"]);
    let expected = figures::<4>(&put_right(&order, &printed)).expect("it is a table");
    let mut found = numbers_of(&listing, |entry| {
        CONNECTIONS.map(|name| entry.get(name).map_or(0, whole))
    });
    found.retain(|(_, server), _| server.is_some());
    assert_eq!(found, expected);

    assert_settings(&listing);
    assert_surroundings(&listing, director, &listed);
    assert_totals(&listing, director);
    assert_daemons(everything.synchronized());
    assert_marks(director);
}

/// What `ipvsadm` prints, and the object of the same time.
fn both(netns: &Netns, theirs: &[&str]) -> (String, Value) {
    let (printed, line) = side_by_side(netns, theirs, &["list", "-o", "json"]);
    (printed, parse(&line))
}

fn parse(line: &str) -> Value {
    assert_eq!(
        line.find('\n'),
        Some(line.len() - 1),
        "not one line: {line}"
    );
    schema::checked(SchemaOf::List, line).expect("it is what the schema says")
}

/// Numbers of every service and real server.
fn numbers_of<const N: usize>(
    listing: &Value,
    numbers: impl Fn(&Object) -> [u64; N],
) -> BTreeMap<Entry, [u64; N]> {
    let mut all = BTreeMap::new();
    for service in objects(&listing["services"]) {
        let name = text(&service["service"]);
        all.insert((name.clone(), None), numbers(service));
        for server in objects(&service["servers"]) {
            all.insert((name.clone(), Some(endpoint(server))), numbers(server));
        }
    }
    all
}

/// Every rule of the table, and nothing else.
#[track_caller]
fn assert_settings(listing: &Value) {
    let mut expected = BTreeMap::<String, (Object, BTreeMap<String, Object>)>::new();
    for rule in TABLE.lines() {
        let rule = Rule::parse(rule);
        let service = expected.entry(rule.name.clone()).or_default();
        if rule.server.is_empty() {
            service.0 = rule.service();
        } else {
            service.1.insert(rule.server.clone(), rule.destination());
        }
    }
    let mut found = BTreeMap::new();
    for service in objects(&listing["services"]) {
        let servers = objects(&service["servers"]).map(|server| {
            let numbers = ["kernel", "rates", "active", "inactive", "persistent"];
            (endpoint(server), without(server, &numbers))
        });
        let own = without(service, &["kernel", "rates", "servers"]);
        found.insert(text(&service["service"]), (own, servers.collect()));
    }
    for (name, service) in &expected {
        assert_eq!(found.get(name), Some(service), "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{:?}", found.keys());
}

/// What stands around the table.
#[track_caller]
fn assert_surroundings(listing: &Value, director: &Netns, listed: &str) {
    let (first, _) = listed.split_once('\n').expect("there are lines");
    let said = format!(
        "IP Virtual Server version {} (size={})",
        text(&listing["version"]),
        listing["connection_table_size"]
    );
    assert_eq!(said, first);
    assert_eq!(listing["source"], "netlink");
    assert_eq!(listing["table_torn"], false);
    assert_eq!(listing.get("netns"), None);
    assert_eq!(listing["daemons"], json!([]));
    let timeouts = json!({
        "tcp_ns": 900_000_000_000_u64, "tcp_fin_ns": 120_000_000_000_u64, "udp_ns": 300_000_000_000_u64
    });
    assert_eq!(listing["timeouts"], timeouts);
    for (name, file) in [("host", "hostname"), ("kernel", "osrelease")] {
        let expected = fs::read_to_string(Path::new("/proc/sys/kernel").join(file));
        let expected = expected.expect("every kernel says it");
        assert_eq!(listing[name], expected.trim_end(), "{name}");
    }
    let sysctls = director.run(|| {
        let mut sysctls = BTreeMap::new();
        for entry in fs::read_dir(SYSCTLS)? {
            let entry = entry?;
            let value = fs::read_to_string(entry.path())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            sysctls.insert(name, value.trim().to_owned());
        }
        Ok(sysctls)
    });
    let found = listing["sysctls"].as_object().expect("there are some");
    let found = found.iter().map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    });
    let found: BTreeMap<_, _> = found.collect();
    assert_eq!(found, sysctls.expect("the kernel has sysctls"));
}

/// All traffic of the namespace, which is that of its services; and the connections, which only
/// some kernels count.
#[track_caller]
fn assert_totals(listing: &Value, director: &Netns) {
    let mut sums = [0; 5];
    for service in objects(&listing["services"]) {
        for (sum, name) in sums.iter_mut().zip(COUNTERS) {
            *sum += whole(&service["kernel"][name]);
        }
    }
    for kind in ["live", "copied"] {
        let found = COUNTERS.map(|name| whole(&listing["totals"][kind][name]));
        assert_eq!(found, sums, "{kind}");
    }
    let connections = director.proc_net("ip_vs_conn").expect("it can be read");
    // The first line has the titles.
    let connections = connections.lines().count() - 1;
    let counts = director.proc_net("ip_vs_status").is_ok();
    assert_eq!(
        listing.get("connections"),
        counts.then(|| json!(connections)).as_ref()
    );
}

#[track_caller]
fn assert_daemons(synchronized: &Netns) {
    let listing = parse(&observer(synchronized, &["list", "-o", "json"]));
    let expected = json!([
        {
            "state": "master", "interface": "uplink", "sync_id": 7, "sync_maxlen": 1400,
            "group": "224.0.1.44", "port": 8849, "ttl": 3
        },
        {
            "state": "backup", "interface": "uplink", "sync_id": 255, "sync_maxlen": 1472,
            "group": "224.0.0.81", "port": 8848, "ttl": 1
        }
    ]);
    assert_eq!(listing["daemons"], expected);
    assert_eq!(listing["services"], json!([]));
}

/// Unlike the text, objects of a mark are those of both families.
#[track_caller]
fn assert_marks(director: &Netns) {
    let names = |options: &[&str]| -> Vec<_> {
        let listing = parse(&observer(
            director,
            &[&["list", "-o", "json"], options].concat(),
        ));
        let names = objects(&listing["services"]).map(|service| text(&service["service"]));
        names.collect()
    };
    let mut both = names(&["-f", "47"]);
    both.sort_unstable();
    assert_eq!(both, ["FWM 47", "FWM 47 IPv6"]);
    assert_eq!(names(&["-f", "47", "-6"]), ["FWM 47 IPv6"]);
}

#[track_caller]
fn objects(list: &Value) -> impl Iterator<Item = &Object> {
    let list = list.as_array().expect("it is a list");
    list.iter()
        .map(|entry| entry.as_object().expect("of objects"))
}

fn without(object: &Object, names: &[&str]) -> Object {
    let entries = object
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()));
    entries
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// A number of the kernel's, which has no fraction even where it is a rate.
#[track_caller]
fn whole(value: &Value) -> u64 {
    let text = match value.as_f64().filter(|_| value.is_f64()) {
        Some(rate) => rate.to_string(),
        None => value.to_string(),
    };
    text.parse().expect("it is a whole number")
}

#[track_caller]
fn endpoint(server: &Object) -> String {
    let address = text(&server["address"]);
    let port = &server["port"];
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
