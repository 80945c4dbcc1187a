//! Who is who: the names by which everything is merged, filtered and shown.
//!
//! The table and the programs know the same virtual services and real servers only through
//! these types, so they are keys: ordered, comparable and made of nothing that changes while
//! the thing lives. Numbers of the kernel are kept even where they have no name here.

use std::{fmt, net::IpAddr};

/// The family of an address. IPVS knows no third one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// `AF_INET`.
    Ipv4,
    /// `AF_INET6`.
    Ipv6,
}

impl AddressFamily {
    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// An IP protocol number, one of which IPVS balances: TCP, UDP, SCTP, AH or ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u16);

impl Protocol {
    /// `IPPROTO_IP`, which no packet has: the templates of firewall marks have it.
    pub const IP: Self = Self(0);
    /// `IPPROTO_ICMP`.
    pub const ICMP: Self = Self(1);
    /// `IPPROTO_TCP`.
    pub const TCP: Self = Self(6);
    /// `IPPROTO_UDP`.
    pub const UDP: Self = Self(17);
    /// `IPPROTO_ICMPV6`.
    pub const ICMPV6: Self = Self(58);
    /// `IPPROTO_SCTP`.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IP => f.pad("IP"),
            Self::ICMP => f.pad("ICMP"),
            Self::ICMPV6 => f.pad("ICMPv6"),
            Self::TCP => f.pad("TCP"),
            Self::UDP => f.pad("UDP"),
            Self::SCTP => f.pad("SCTP"),
            // The kernel's own spelling of a protocol that it has no name for.
            Self(number) => f.pad(&format!("IP_{number}")),
        }
    }
}

/// A network namespace, by the inode number that `lsns -t net` and `/proc/PID/ns/net` show: the kernel's name of it, which
/// goes to another once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Netns(pub u32);

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What identifies a virtual service in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// A service that clients reach at an address.
    Address {
        /// The protocol that is balanced.
        protocol: Protocol,
        /// The VIP.
        address: IpAddr,
        /// The port; 0 stands for every port that has no service of its own.
        port: u16,
    },
    /// A service made of all packets that netfilter marks alike.
    FirewallMark {
        /// The mark, never 0.
        mark: u32,
        /// One mark may name two services, one for each family.
        family: AddressFamily,
    },
}

impl ServiceId {
    /// The family of the packets that clients send to the service.
    pub const fn family(&self) -> AddressFamily {
        match *self {
            Self::Address { address, .. } => AddressFamily::of(address),
            Self::FirewallMark { family, .. } => family,
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Address {
                protocol,
                address,
                port,
            } => format!("{protocol} {}", endpoint(address, port)),
            Self::FirewallMark {
                mark,
                family: AddressFamily::Ipv4,
            } => format!("FWM {mark}"),
            Self::FirewallMark {
                mark,
                family: AddressFamily::Ipv6,
            } => format!("FWM {mark} IPv6"),
        };
        f.pad(&text)
    }
}

/// What identifies a real server under its virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId {
    /// The address packets are sent to; its family may differ from the service's (tunnels).
    pub address: IpAddr,
    /// The port packets are sent to.
    pub port: u16,
}

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&endpoint(self.address, self.port))
    }
}

/// How IPVS passes a packet on to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardingMethod {
    /// The destination is rewritten, and replies come back through the director.
    Masquerade,
    /// The real server is the director itself.
    Local,
    /// The packet is wrapped and sent; replies go straight to the client.
    Tunnel,
    /// The packet is sent as it is to the real server's link address.
    DirectRoute,
    /// The packet goes where it was addressed.
    Bypass,
    /// A method that this program does not know.
    Unknown(u32),
}

impl ForwardingMethod {
    /// Whether replies pass the director by themselves; with others they do if it is the real server's gateway.
    pub const fn has_return_path(self) -> bool {
        match self {
            Self::Masquerade | Self::Local | Self::Unknown(_) => true,
            Self::Tunnel | Self::DirectRoute | Self::Bypass => false,
        }
    }
}

impl From<u32> for ForwardingMethod {
    fn from(value: u32) -> Self {
        match value {
            0 => Self::Masquerade,
            1 => Self::Local,
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            4 => Self::Bypass,
            other => Self::Unknown(other),
        }
    }
}

impl From<ForwardingMethod> for u32 {
    fn from(method: ForwardingMethod) -> Self {
        match method {
            ForwardingMethod::Masquerade => 0,
            ForwardingMethod::Local => 1,
            ForwardingMethod::Tunnel => 2,
            ForwardingMethod::DirectRoute => 3,
            ForwardingMethod::Bypass => 4,
            ForwardingMethod::Unknown(other) => other,
        }
    }
}

impl fmt::Display for ForwardingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.pad("Masq"),
            Self::Local => f.pad("Local"),
            Self::Tunnel => f.pad("Tunnel"),
            Self::DirectRoute => f.pad("Route"),
            Self::Bypass => f.pad("Bypass"),
            Self::Unknown(value) => f.pad(&format!("method {value}")),
        }
    }
}

fn endpoint(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(protocol: Protocol, address: &str, port: u16) -> ServiceId {
        ServiceId::Address {
            protocol,
            address: address.parse().unwrap(),
            port,
        }
    }

    fn mark(mark: u32, family: AddressFamily) -> ServiceId {
        ServiceId::FirewallMark { mark, family }
    }

    #[test]
    fn services_are_named_as_ipvsadm_names_them() {
        let named = [
            (service(Protocol::TCP, "10.0.0.1", 80), "TCP 10.0.0.1:80"),
            (
                service(Protocol::TCP, "2001:db8::1", 80),
                "TCP [2001:db8::1]:80",
            ),
            (service(Protocol::UDP, "10.0.0.1", 0), "UDP 10.0.0.1:0"),
            (service(Protocol(50), "10.0.0.1", 0), "IP_50 10.0.0.1:0"),
            (mark(47, AddressFamily::Ipv4), "FWM 47"),
            (mark(47, AddressFamily::Ipv6), "FWM 47 IPv6"),
        ];
        for (id, name) in named {
            assert_eq!(id.to_string(), name);
        }
    }

    #[test]
    fn names_fill_a_column() {
        let id = mark(47, AddressFamily::Ipv4);
        assert_eq!(format!("{id:<8}|{id:>8}"), "FWM 47  |  FWM 47");
    }

    #[test]
    fn every_method_number_survives() {
        for number in [0, 1, 2, 3, 4, 5, 7, u32::MAX] {
            assert_eq!(u32::from(ForwardingMethod::from(number)), number);
        }
    }

    #[test]
    fn services_are_sorted_by_protocol_then_address_then_port() {
        let sorted = [
            service(Protocol::TCP, "9.0.0.1", 443),
            service(Protocol::TCP, "10.0.0.1", 80),
            service(Protocol::TCP, "10.0.0.1", 443),
            service(Protocol::TCP, "2001:db8::1", 80),
            service(Protocol::UDP, "10.0.0.1", 53),
            mark(1, AddressFamily::Ipv4),
            mark(1, AddressFamily::Ipv6),
        ];
        assert!(sorted.is_sorted());
    }
}
