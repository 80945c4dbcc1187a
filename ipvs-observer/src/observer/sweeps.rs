//! When all connections are looked at, which costs the director nothing per packet and time per connection.

use crate::{ipvs::table::Destination, model::sample::Namespaces};

/// Before 6.14 (commit 178883fd039d) the kernel counts from the first connection for each page of the file: beyond so
/// many connections that takes too long.
const QUADRATIC_LIMIT: u64 = 20_000;
/// The first release that remembers where it was.
const LINEAR_SINCE: (u32, u32) = (6, 14);

/// Whether and why not.
#[derive(Debug)]
pub(super) struct Sweeps {
    /// Whether every window shall have one.
    is_always: bool,
    /// Whether the kernel takes time in proportion to the connections.
    is_linear: bool,
    /// Whether the reason of a refusal was said.
    is_refusal_said: bool,
}

impl Sweeps {
    /// On a kernel of `release`; `is_always` is in each window, else only while a server drains.
    pub(super) fn new(release: &str, is_always: bool) -> Self {
        Self {
            is_always,
            is_linear: version(release).is_some_and(|version| version >= LINEAR_SINCE),
            is_refusal_said: false,
        }
    }

    /// Why the connections of `namespaces` cannot be looked at.
    pub(super) fn refusal(&self, namespaces: &Namespaces) -> Option<String> {
        let connections = connections(namespaces);
        (!self.is_linear && connections > QUADRATIC_LIMIT).then(|| {
            format!(
                "before Linux 6.14 looking at all connections takes time that grows with the square of their number, so \
                 it is done for {QUADRATIC_LIMIT} and not for {connections}"
            )
        })
    }

    /// Whether the window that has read `namespaces` shall have one; says once why not.
    pub(super) fn is_due(&mut self, namespaces: &Namespaces) -> bool {
        if !self.is_always && !servers(namespaces).any(is_draining) {
            return false;
        }
        match self.refusal(namespaces) {
            None => true,
            Some(reason) => {
                if !self.is_refusal_said {
                    log::warn!("connections are not shown by state: {reason}");
                }
                self.is_refusal_said = true;
                false
            }
        }
    }
}

fn is_draining(server: &Destination) -> bool {
    server.weight == 0 && server.active + server.inactive > 0
}

fn connections(namespaces: &Namespaces) -> u64 {
    servers(namespaces)
        .map(|server| u64::from(server.active) + u64::from(server.inactive))
        .sum()
}

fn servers(namespaces: &Namespaces) -> impl Iterator<Item = &Destination> {
    let services = namespaces.values().flat_map(|read| &read.table.services);
    services.flat_map(|service| &service.destinations)
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::{QUADRATIC_LIMIT, Sweeps, version};
    use crate::{
        ipvs::table::{Destination, Service, Table},
        model::{
            id::{DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
            sample::{NamespaceSample, Namespaces},
        },
    };

    const OLD: &str = "6.12.115+deb13-cloud-amd64";
    const NEW: &str = "6.18.15+deb13-amd64";

    /// Two servers of this weight with so many connections together.
    fn table(weight: u32, connections: u64) -> Namespaces {
        let address = [192, 0, 2, 1].into();
        let server = |active, inactive| Destination {
            id: DestinationId { address, port: 80 },
            method: ForwardingMethod::Masquerade,
            weight,
            active,
            inactive,
            persistent: None,
            thresholds: None,
            tunnel: None,
            stats: None,
        };
        let connections = u32::try_from(connections).unwrap();
        let service = Service {
            id: ServiceId::Address {
                protocol: Protocol::TCP,
                address,
                port: 80,
            },
            scheduler: "rr".to_owned(),
            flags: 0,
            timeout_s: None,
            netmask: None,
            engine: None,
            stats: None,
            destinations: vec![
                server(0, connections / 2),
                server(connections.div_ceil(2), 0),
            ],
        };
        let read = NamespaceSample {
            table: Table {
                services: vec![service],
                torn: false,
            },
            ..NamespaceSample::default()
        };
        [(Netns(1), read)].into()
    }

    #[test]
    fn too_many_connections_are_refused_where_the_file_is_quadratic() {
        let (fits, too_many) = (table(1, QUADRATIC_LIMIT), table(1, QUADRATIC_LIMIT + 1));
        for release in [OLD, "6.13.0", "6.1.0-56-amd64", "unreadable"] {
            let sweeps = Sweeps::new(release, true);
            assert_eq!(sweeps.refusal(&fits), None, "{release}");
            let reason = sweeps.refusal(&too_many).unwrap();
            assert!(reason.contains("20000 and not for 20001"), "{reason}");
        }
        for release in [NEW, "6.14.0", "7.2.13", "10.0"] {
            assert_eq!(Sweeps::new(release, true).refusal(&too_many), None);
        }
    }

    #[test]
    fn a_sweep_is_due_while_a_server_drains_or_always() {
        let mut sweeps = Sweeps::new(OLD, false);
        assert!(!sweeps.is_due(&table(1, 10)));
        assert!(sweeps.is_due(&table(0, 10)));
        assert!(!sweeps.is_due(&table(0, 0)));
        assert!(!sweeps.is_due(&table(0, QUADRATIC_LIMIT + 1)));
        assert!(Sweeps::new(OLD, true).is_due(&table(1, 0)));
    }

    #[test]
    fn releases_are_read_up_to_the_minor_number() {
        assert_eq!(version(OLD), Some((6, 12)));
        assert_eq!(version("7.2"), Some((7, 2)));
        assert_eq!(version("6"), None);
        assert_eq!(version(""), None);
    }
}
