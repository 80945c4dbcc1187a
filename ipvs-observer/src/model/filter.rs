//! Which services and real servers the user asked for, in ipvsadm's grammar.
//!
//! Only addresses and numbers are read: a name would need a resolver, and an answer of the
//! resolver that changes would change what is being watched.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use thiserror::Error;

use super::id::{AddressFamily, DestinationId, Protocol, ServiceId};
use crate::ipvs::table::{Service, Table};

/// The argument of `-t`, `-u`, `--sctp-service` or `-f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFilter {
    /// One address, at one port or all.
    Address {
        /// The protocol that the option names.
        protocol: Protocol,
        /// The VIP.
        address: IpAddr,
        /// `None` is every port.
        port: Option<u16>,
    },
    /// One firewall mark.
    FirewallMark {
        /// The mark.
        mark: u32,
        /// `None` is both families.
        family: Option<AddressFamily>,
    },
}

impl ServiceFilter {
    /// Reads `ADDRESS[:PORT]`. As in ipvsadm a port left out is port 0; `*` is any port.
    pub fn address(protocol: Protocol, text: &str) -> Result<Self, FilterError> {
        let (address, port) =
            parse_endpoint(text).ok_or_else(|| FilterError::Service(text.to_owned()))?;
        let port = match port {
            PortText::Absent => Some(0),
            PortText::Any => None,
            PortText::Number(port) => Some(port),
        };
        Ok(Self::Address {
            protocol,
            address,
            port,
        })
    }

    /// Reads a mark, decimal or `0x` and hexadecimal.
    pub fn firewall_mark(text: &str, family: Option<AddressFamily>) -> Result<Self, FilterError> {
        let mark = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => parse_digits(digits, 16),
            None => parse_digits(text, 10),
        };
        match mark {
            Some(mark) if mark != 0 => Ok(Self::FirewallMark { mark, family }),
            _ => Err(FilterError::FirewallMark(text.to_owned())),
        }
    }

    /// The one service that this can match, if it is one.
    pub const fn identity(&self) -> Option<ServiceId> {
        match *self {
            Self::Address {
                protocol,
                address,
                port: Some(port),
            } => Some(ServiceId::Address {
                protocol,
                address,
                port,
            }),
            Self::FirewallMark {
                mark,
                family: Some(family),
            } => Some(ServiceId::FirewallMark { mark, family }),
            Self::Address { port: None, .. } | Self::FirewallMark { family: None, .. } => None,
        }
    }

    /// Whether `service` is one of those asked for.
    pub fn matches(&self, service: &ServiceId) -> bool {
        match (*self, *service) {
            (
                Self::Address {
                    protocol,
                    address,
                    port,
                },
                ServiceId::Address {
                    protocol: its_protocol,
                    address: its_address,
                    port: its_port,
                },
            ) => {
                protocol == its_protocol
                    && address == its_address
                    && port.is_none_or(|port| port == its_port)
            }
            (
                Self::FirewallMark { mark, family },
                ServiceId::FirewallMark {
                    mark: its_mark,
                    family: its_family,
                },
            ) => mark == its_mark && family.is_none_or(|family| family == its_family),
            (Self::Address { .. }, ServiceId::FirewallMark { .. })
            | (Self::FirewallMark { .. }, ServiceId::Address { .. }) => false,
        }
    }
}

impl fmt::Display for ServiceFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address {
                protocol,
                address,
                port: Some(port),
            } => ServiceId::Address {
                protocol,
                address,
                port,
            }
            .fmt(f),
            Self::Address {
                protocol, address, ..
            } => write!(f, "{protocol} {address} at any port"),
            Self::FirewallMark {
                mark,
                family: Some(family),
            } => ServiceId::FirewallMark { mark, family }.fmt(f),
            Self::FirewallMark { mark, family: None } => write!(f, "FWM {mark}"),
        }
    }
}

/// The argument of `-r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFilter {
    pub(crate) address: IpAddr,
    pub(crate) port: PortText,
}

impl ServerFilter {
    /// Reads `ADDRESS[:PORT]`. As in ipvsadm a port left out is the service's, which is 0 for a
    /// firewall mark; `*` is any port.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let (address, port) =
            parse_endpoint(text).ok_or_else(|| FilterError::Server(text.to_owned()))?;
        Ok(Self { address, port })
    }

    /// Whether `destination` of `service` is one of those asked for.
    pub fn matches(&self, service: &ServiceId, destination: &DestinationId) -> bool {
        let service_port = match *service {
            ServiceId::Address { port, .. } => port,
            ServiceId::FirewallMark { .. } => 0,
        };
        let port_fits = match self.port {
            PortText::Any => true,
            PortText::Absent => destination.port == service_port,
            PortText::Number(port) => destination.port == port,
        };
        port_fits && destination.address == self.address
    }
}

impl fmt::Display for ServerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            PortText::Absent => self.address.fmt(f),
            PortText::Any => write!(f, "{} at any port", self.address),
            PortText::Number(port) => SocketAddr::new(self.address, port).fmt(f),
        }
    }
}

/// All that the user asked for; nothing asked for is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Services, any of which is wanted.
    pub services: Vec<ServiceFilter>,
    /// Real servers, any of which is wanted.
    pub servers: Vec<ServerFilter>,
}

impl Selection {
    /// Whether `service` is wanted.
    pub fn has_service(&self, service: &ServiceId) -> bool {
        self.services.is_empty() || self.services.iter().any(|filter| filter.matches(service))
    }

    /// Whether everything that was asked for is among `services`, which can be those of several tables.
    pub fn check<'a>(
        &self,
        services: &(impl Iterator<Item = &'a Service> + Clone),
    ) -> Result<(), Unmatched> {
        let has_service =
            |filter: &&ServiceFilter| services.clone().any(|service| filter.matches(&service.id));
        if let Some(service) = self.services.iter().find(|filter| !has_service(filter)) {
            return Err(Unmatched::Service(*service));
        }
        let has_server = |filter: &&ServerFilter| {
            let mut wanted = services
                .clone()
                .filter(|service| self.has_service(&service.id));
            wanted.any(|service| {
                let mut servers = service.destinations.iter();
                servers.any(|server| filter.matches(&service.id, &server.id))
            })
        };
        match self.servers.iter().find(|filter| !has_server(filter)) {
            Some(server) => Err(Unmatched::Server(*server)),
            None => Ok(()),
        }
    }

    /// Leaves out of `table` what is not wanted; services without a wanted server go with it.
    pub fn retain(&self, table: &mut Table) {
        table.services.retain_mut(|service| {
            if !self.has_service(&service.id) {
                return false;
            }
            let id = service.id;
            service
                .destinations
                .retain(|destination| self.has_server(&id, &destination.id));
            self.servers.is_empty() || !service.destinations.is_empty()
        });
    }

    /// Whether `destination` of `service` is wanted.
    pub fn has_server(&self, service: &ServiceId, destination: &DestinationId) -> bool {
        self.servers.is_empty()
            || self
                .servers
                .iter()
                .any(|filter| filter.matches(service, destination))
    }
}

/// Something that was asked for and is not there: a mistake of the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unmatched {
    /// The table has no such service.
    #[error(
        "no virtual service {0} in this network namespace; `ipvs-observer list -n` shows those that are there"
    )]
    Service(ServiceFilter),
    /// The services asked for have no such real server.
    #[error(
        "no real server {0} under the services asked for; `ipvs-observer list -n` shows those that are there"
    )]
    Server(ServerFilter),
}

/// An argument that cannot be read; the text says how it is written.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// For `-t`, `-u` and `--sctp-service`.
    #[error(
        "cannot read service {0:?}: write ADDRESS[:PORT], as 192.0.2.1:80, [2001:db8::1]:80, or \
         192.0.2.1:* for any port"
    )]
    Service(String),
    /// For `-r`.
    #[error(
        "cannot read server {0:?}: write ADDRESS[:PORT], as 10.0.0.1:80, [2001:db8::1]:80, or \
         10.0.0.1:* for any port"
    )]
    Server(String),
    /// For `-f`.
    #[error("cannot read firewall mark {0:?}: write a number above 0, as 47 or 0x2f")]
    FirewallMark(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortText {
    Absent,
    Any,
    Number(u16),
}

fn parse_endpoint(text: &str) -> Option<(IpAddr, PortText)> {
    if let Ok(address) = text.parse() {
        return Some((address, PortText::Absent));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address = IpAddr::V6(address.parse().ok()?);
        return match port {
            "" => Some((address, PortText::Absent)),
            port => Some((address, parse_port(port.strip_prefix(':')?)?)),
        };
    }
    let (address, port) = text.split_once(':')?;
    Some((IpAddr::V4(address.parse().ok()?), parse_port(port)?))
}

fn parse_port(text: &str) -> Option<PortText> {
    match text {
        "*" => Some(PortText::Any),
        text => {
            let port = parse_digits(text, 10)?;
            Some(PortText::Number(u16::try_from(port).ok()?))
        }
    }
}

/// Reads digits alone: `from_str_radix` would take a sign as well.
fn parse_digits(text: &str, radix: u32) -> Option<u32> {
    if text.starts_with('+') {
        return None;
    }
    u32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str, port: u16) -> ServiceId {
        ServiceId::Address {
            protocol: Protocol::TCP,
            address: text.parse().unwrap(),
            port,
        }
    }

    fn server(text: &str, port: u16) -> DestinationId {
        DestinationId {
            address: text.parse().unwrap(),
            port,
        }
    }

    #[test]
    fn a_service_is_read_as_ipvsadm_reads_it() {
        let cases = [
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("192.0.2.1", "192.0.2.1", Some(0)),
            ("192.0.2.1:*", "192.0.2.1", None),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
            ("[2001:db8::1]", "2001:db8::1", Some(0)),
            ("[2001:db8::1]:*", "2001:db8::1", None),
            ("2001:db8::1", "2001:db8::1", Some(0)),
        ];
        for (text, address, port) in cases {
            let expected = ServiceFilter::Address {
                protocol: Protocol::TCP,
                address: address.parse().unwrap(),
                port,
            };
            assert_eq!(
                ServiceFilter::address(Protocol::TCP, text),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_service_is_refused_with_the_grammar() {
        let texts = [
            "",
            ":",
            ":80",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1:-1",
            "192.0.2.1:80:80",
            "192.0.2.300:80",
            "[192.0.2.1]:80",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "www.example.net:80",
        ];
        for text in texts {
            let error = ServiceFilter::address(Protocol::TCP, text).unwrap_err();
            assert!(error.to_string().contains("ADDRESS[:PORT]"), "{text}");
            assert!(ServerFilter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_matches_its_service_and_no_other() {
        let one = ServiceFilter::address(Protocol::TCP, "192.0.2.1:80").unwrap();
        let any = ServiceFilter::address(Protocol::TCP, "192.0.2.1:*").unwrap();
        assert!(one.matches(&service("192.0.2.1", 80)));
        assert!(!one.matches(&service("192.0.2.1", 81)));
        assert!(!one.matches(&service("192.0.2.2", 80)));
        assert!(any.matches(&service("192.0.2.1", 81)));
        let udp = ServiceFilter::address(Protocol::UDP, "192.0.2.1:80").unwrap();
        assert!(!udp.matches(&service("192.0.2.1", 80)));
    }

    #[test]
    fn a_mark_is_read_in_both_notations_and_matches_both_families() {
        let decimal = ServiceFilter::firewall_mark("47", None).unwrap();
        assert_eq!(ServiceFilter::firewall_mark("0x2f", None), Ok(decimal));
        let only_v6 = ServiceFilter::firewall_mark("0X2F", Some(AddressFamily::Ipv6)).unwrap();
        let mark = |family| ServiceId::FirewallMark { mark: 47, family };
        assert!(decimal.matches(&mark(AddressFamily::Ipv4)));
        assert!(decimal.matches(&mark(AddressFamily::Ipv6)));
        assert!(!only_v6.matches(&mark(AddressFamily::Ipv4)));
        assert!(only_v6.matches(&mark(AddressFamily::Ipv6)));
        assert!(!decimal.matches(&service("192.0.2.1", 47)));
        for text in ["", "0", "0x", "0x0", "-1", "+1", "4294967296", "x"] {
            let error = ServiceFilter::firewall_mark(text, None).unwrap_err();
            assert!(error.to_string().contains("0x2f"), "{text}");
        }
    }

    #[test]
    fn a_server_without_a_port_has_the_port_of_its_service() {
        let id = service("192.0.2.1", 80);
        let mark = ServiceId::FirewallMark {
            mark: 47,
            family: AddressFamily::Ipv4,
        };
        let plain = ServerFilter::parse("10.0.0.1").unwrap();
        assert!(plain.matches(&id, &server("10.0.0.1", 80)));
        assert!(!plain.matches(&id, &server("10.0.0.1", 8080)));
        assert!(!plain.matches(&id, &server("10.0.0.2", 80)));
        assert!(plain.matches(&mark, &server("10.0.0.1", 0)));
        let any = ServerFilter::parse("10.0.0.1:*").unwrap();
        assert!(any.matches(&id, &server("10.0.0.1", 8080)));
        let one = ServerFilter::parse("[2001:db8::9]:8080").unwrap();
        assert!(one.matches(&id, &server("2001:db8::9", 8080)));
        assert!(!one.matches(&id, &server("2001:db8::9", 80)));
    }
}
