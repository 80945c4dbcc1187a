//! Names of the programs' records: bytes of the kernel become identities of the model.

use std::net::IpAddr;

use ipvs_observer_common::ServerKey;

use crate::model::{
    id::{AddressFamily, DestinationId, Netns, Protocol, ServiceId},
    sample::{ServerId, ServiceKey},
};

/// `AF_INET` of `include/linux/socket.h`.
pub(super) const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub(super) const AF_INET6: u16 = 10;

/// A family as the kernel numbers it.
pub(super) const fn family_number(family: AddressFamily) -> u16 {
    match family {
        AddressFamily::Ipv4 => AF_INET,
        AddressFamily::Ipv6 => AF_INET6,
    }
}

/// The name of a service, as the programs know it.
pub(super) fn service_key((netns, service): &ServiceKey) -> ServerKey {
    let mut key = ServerKey::unnamed(netns.0);
    key.family = family_number(service.family());
    match *service {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            key.protocol = protocol.0;
            key.virtual_port = port.to_be();
            match address {
                IpAddr::V4(v4) => key.virtual_address[..4].copy_from_slice(&v4.octets()),
                IpAddr::V6(v6) => key.virtual_address = v6.octets(),
            }
        }
        ServiceId::FirewallMark { mark, .. } => key.firewall_mark = mark,
    }
    key
}

/// Whom `key` names; `None` while it is not written.
#[inline(always)]
pub(super) fn server_id(key: &ServerKey) -> Option<ServerId> {
    if key.written == 0 {
        return None;
    }
    let service = if key.firewall_mark == 0 {
        ServiceId::Address {
            protocol: Protocol(key.protocol),
            address: address(key.family, key.virtual_address)?,
            port: u16::from_be(key.virtual_port),
        }
    } else {
        ServiceId::FirewallMark {
            mark: key.firewall_mark,
            family: AddressFamily::of(address(key.family, key.virtual_address)?),
        }
    };
    let netns = Netns(key.netns);
    if key.server_family == 0 {
        return Some((netns, service, None));
    }
    let destination = DestinationId {
        address: address(key.server_family, key.address)?,
        port: u16::from_be(key.port),
    };
    Some((netns, service, Some(destination)))
}

#[inline(always)]
fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => bytes.first_chunk::<4>().map(|&v4| IpAddr::from(v4)),
        AF_INET6 => Some(IpAddr::from(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::ServerKey;

    use super::{server_id, service_key};
    use crate::model::id::Netns;

    fn key() -> ServerKey {
        let mut virtual_address = [0; 16];
        virtual_address[..4].copy_from_slice(&[192, 0, 2, 1]);
        let mut address = [0; 16];
        address[..2].copy_from_slice(&[0xfd, 0]);
        address[15] = 7;
        ServerKey {
            virtual_address,
            address,
            netns: 4_026_531_840,
            firewall_mark: 0,
            family: 2,
            protocol: 6,
            virtual_port: 80_u16.to_be(),
            port: 8080_u16.to_be(),
            server_family: 10,
            written: 1,
        }
    }

    #[test]
    fn families_of_service_and_server_are_their_own() {
        let (netns, service, server) = server_id(&key()).unwrap();
        assert_eq!(netns, Netns(4_026_531_840));
        assert_eq!(service.to_string(), "TCP 192.0.2.1:80");
        assert_eq!(server.unwrap().to_string(), "[fd00::7]:8080");
    }

    #[test]
    fn a_mark_has_neither_address_nor_port_but_a_family() {
        let mark = ServerKey {
            firewall_mark: 47,
            family: 10,
            protocol: 0,
            server_family: 0,
            ..key()
        };
        let (_, service, server) = server_id(&mark).unwrap();
        assert_eq!(
            (service.to_string().as_str(), server),
            ("FWM 47 IPv6", None)
        );
    }

    #[test]
    fn the_key_of_a_service_names_it() {
        let (_, service, _) = server_id(&key()).unwrap();
        let mark = ServerKey {
            firewall_mark: 47,
            family: 10,
            ..key()
        };
        let (_, mark, _) = server_id(&mark).unwrap();
        for service in [service, mark] {
            let key = ServerKey {
                written: 1,
                ..service_key(&(Netns(7), service))
            };
            assert_eq!(server_id(&key), Some((Netns(7), service, None)));
        }
    }

    #[test]
    fn an_entry_that_is_not_written_or_of_no_family_names_nobody() {
        assert_eq!(
            server_id(&ServerKey {
                written: 0,
                ..key()
            }),
            None
        );
        assert_eq!(server_id(&ServerKey { family: 3, ..key() }), None);
        assert_eq!(
            server_id(&ServerKey {
                server_family: 1,
                ..key()
            }),
            None
        );
    }
}
