//! `list -o json` says what was configured, and the numbers that `ipvsadm` prints.

use std::{collections::BTreeMap, fs, path::Path};

use ipvs_observer_tests::{
    everything::{Everything, TABLE},
    ipvsadm_text::{Entry, Order, figures},
    netns::Netns,
};
use serde_json::{Map, Value, json};

use super::comparison::{ipvsadm, observer, put_right, side_by_side};

const SYSCTLS: &str = "/proc/sys/net/ipv4/vs";
/// The names of what `ipvsadm --stats` prints, in its order.
const COUNTERS: [&str; 5] = [
    "connections",
    "in_packets",
    "out_packets",
    "in_bytes",
    "out_bytes",
];
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
    serde_json::from_str(line).expect("it is JSON")
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

/// A line of the table, as `ipvsadm -R` takes it.
struct Rule<'a> {
    /// The service, by the name that ours gives it.
    name: String,
    identity: Object,
    /// Empty in the rule that makes the service.
    server: String,
    words: Vec<&'a str>,
}

impl<'a> Rule<'a> {
    fn parse(rule: &'a str) -> Self {
        let words: Vec<_> = rule.split_whitespace().collect();
        let mut rule = Self {
            name: String::new(),
            identity: Object::new(),
            server: String::new(),
            words,
        };
        let protocols = [("-t", "TCP"), ("-u", "UDP"), ("--sctp-service", "SCTP")];
        for (option, protocol) in protocols {
            if let Some(address) = rule.value(option) {
                rule.name = format!("{protocol} {address}");
                let (address, port) = split(address);
                rule.identity = object(&json!(
                    { "protocol": protocol, "address": address, "port": port }
                ));
            }
        }
        if let Some(mark) = rule.value("-f") {
            let family = if rule.has("-6") { "ipv6" } else { "ipv4" };
            let ending = if rule.has("-6") { " IPv6" } else { "" };
            rule.name = format!("FWM {mark}{ending}");
            rule.identity = object(&json!({ "firewall_mark": number_of(mark), "family": family }));
        }
        rule.server = rule.value("-r").unwrap_or_default().to_owned();
        rule
    }

    fn has(&self, option: &str) -> bool {
        self.words.contains(&option)
    }

    /// The word after an option, unless that is an option itself.
    fn value(&self, option: &str) -> Option<&'a str> {
        let index = self.words.iter().position(|word| *word == option)?;
        let value = self.words.get(index + 1)?;
        (!value.starts_with('-')).then_some(value)
    }

    fn is_ipv6(&self) -> bool {
        self.has("-6") || self.name.contains('[')
    }

    fn service(&self) -> Object {
        let scheduler = self.value("-s").expect("every service has one");
        let flags: Vec<_> = self
            .value("-b")
            .into_iter()
            .flat_map(|flags| flags.split(','))
            .collect();
        // What IP_VS_SVC_F_ says in the uapi header ip_vs.h; all services in the table are hashed.
        let bits = flags.iter().map(|flag| match *flag {
            "sh-fallback" | "mh-fallback" | "flag-1" => 8,
            "sh-port" | "mh-port" | "flag-2" => 16,
            _ => 32,
        });
        let number =
            2 | u32::from(self.has("-p")) | u32::from(self.has("-o")) << 2 | bits.sum::<u32>();
        // Six minutes are what `-p` alone means.
        let timeout_s = if self.has("-p") {
            self.value("-p").map_or(360, number_of)
        } else {
            0
        };
        let netmask = match self.value("-M") {
            None if self.is_ipv6() => json!(128),
            None => json!("255.255.255.255"),
            Some(length) if self.is_ipv6() => json!(number_of(length)),
            Some(mask) => json!(mask),
        };
        let mut service = object(&json!({
            "service": self.name,
            "scheduler": scheduler,
            "flags": {
                "persistent": self.has("-p"),
                "one_packet": self.has("-o"),
                "scheduler": flags,
                "number": number,
            },
            "timeout_ns": timeout_s * 1_000_000_000,
            "netmask": netmask,
        }));
        if let Some(engine) = self.value("--pe") {
            service.insert("engine".to_owned(), json!(engine));
        }
        service.extend(self.identity.clone());
        service
    }

    fn destination(&self) -> Object {
        let (address, port) = split(&self.server);
        let family = if address.contains(':') {
            "ipv6"
        } else {
            "ipv4"
        };
        let method = match (self.has("-m"), self.has("-i")) {
            (true, _) => "Masq",
            (_, true) => "Tunnel",
            _ => "Route",
        };
        let count = |option| self.value(option).map_or(0, number_of);
        let mut server = object(&json!({
            "address": address,
            "port": port,
            "family": family,
            "method": method,
            "weight": count("-w"),
            "upper_threshold": count("-x"),
            "lower_threshold": count("-y"),
        }));
        if method == "Tunnel" {
            server.insert("tunnel".to_owned(), self.tunnel());
        }
        server
    }

    /// `IP_VS_TUNNEL_ENCAP_FLAG_CSUM` is 1, `_REMCSUM` 2; without an option it is IP in IP.
    fn tunnel(&self) -> Value {
        let (checksum, remote) = (self.has("--tun-csum"), self.has("--tun-remcsum"));
        let mut tunnel = object(&json!({
            "type": self.value("--tun-type").unwrap_or("ipip"),
            "checksum": checksum,
            "remote_checksum": remote,
            "number": u32::from(checksum) | u32::from(remote) << 1,
        }));
        if let Some(port) = self.value("--tun-port") {
            tunnel.insert("port".to_owned(), json!(number_of(port)));
        }
        Value::Object(tunnel)
    }
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

#[track_caller]
fn objects(list: &Value) -> impl Iterator<Item = &Object> {
    let list = list.as_array().expect("it is a list");
    list.iter()
        .map(|entry| entry.as_object().expect("of objects"))
}

#[track_caller]
fn object(value: &Value) -> Object {
    let object = value.as_object().expect("it is an object");
    object.clone()
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

fn split(endpoint: &str) -> (&str, u64) {
    let (address, port) = endpoint.rsplit_once(':').expect("it has a port");
    (address.trim_matches(['[', ']']), number_of(port))
}

fn number_of(text: &str) -> u64 {
    text.parse().expect("it is a number")
}
