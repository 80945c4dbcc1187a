//! What the JSON of a service and of a real server is, by the rule that made it.

use serde_json::{Value, json};

use super::Object;

/// A line of the table, as `ipvsadm -R` takes it.
pub(super) struct Rule<'a> {
    /// The service, by the name that ours gives it.
    pub(super) name: String,
    identity: Object,
    /// Empty in the rule that makes the service.
    pub(super) server: String,
    words: Vec<&'a str>,
}

impl<'a> Rule<'a> {
    pub(super) fn parse(rule: &'a str) -> Self {
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

    pub(super) fn service(&self) -> Object {
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

    pub(super) fn destination(&self) -> Object {
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

#[track_caller]
fn object(value: &Value) -> Object {
    let object = value.as_object().expect("it is an object");
    object.clone()
}

fn split(endpoint: &str) -> (&str, u64) {
    let (address, port) = endpoint.rsplit_once(':').expect("it has a port");
    (address.trim_matches(['[', ']']), number_of(port))
}

fn number_of(text: &str) -> u64 {
    text.parse().expect("it is a number")
}
