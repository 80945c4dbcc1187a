//! The names of ports.

use std::collections::BTreeMap;

use crate::model::id::Protocol;

/// What `/etc/services` says, by protocol and port.
#[derive(Debug, Default)]
pub(super) struct Services(BTreeMap<(Protocol, u16), String>);

impl Services {
    /// Reads services(5). The first of several names counts; lines of other protocols and those that cannot be read are
    /// none.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut names = BTreeMap::new();
        for line in String::from_utf8_lossy(text).lines() {
            if let Some((key, name)) = service(line) {
                names.entry(key).or_insert_with(|| name.to_owned());
            }
        }
        Self(names)
    }

    pub(super) fn name(&self, protocol: Protocol, port: u16) -> Option<&str> {
        self.0.get(&(protocol, port)).map(String::as_str)
    }
}

fn service(line: &str) -> Option<((Protocol, u16), &str)> {
    let text = line.split('#').next()?;
    let mut words = text.split_whitespace();
    let name = words.next()?;
    let (port, protocol) = words.next()?.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        _ => return None,
    };
    Some(((protocol, port.parse().ok()?), name))
}
