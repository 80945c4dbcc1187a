//! What a stream asks of the programs, in their own terms. Pure.

use std::net::IpAddr;

use ipvs_observer_common::{ClientPrefix, Pattern, StreamSettings};

use super::{super::decode::family_number, WATERMARK_PART};
use crate::{
    config::{ClientNetwork, Wanted},
    model::{
        filter::{PortText, ServerFilter, ServiceFilter},
        id::AddressFamily,
    },
};

/// The settings that select what is `wanted`.
pub(in super::super) fn settings(wanted: &Wanted) -> StreamSettings {
    let mut settings = StreamSettings {
        watermark_bytes: u64::from(wanted.buffer_bytes / WATERMARK_PART),
        kinds: wanted.kinds.iter().map(|kind| kind.bit()).sum(),
        endings: wanted
            .endings
            .iter()
            .fold(0, |bits, ending| bits | ending.bit()),
        sample: wanted.sample,
        is_slow_only: u32::from(!wanted.slower_than.is_empty()),
        protocols: wanted.protocols,
        clients: count(wanted.clients.len()),
        services: count(wanted.selection.services.len()),
        servers: count(wanted.selection.servers.len()),
        stacks: u32::from(wanted.stacks),
        ..StreamSettings::default()
    };
    for &(measure, least) in &wanted.slower_than {
        let least_ns = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        settings.slower_than_ns[measure as usize] = least_ns;
    }
    let places = settings.client.iter_mut().zip(&mut settings.client_family);
    for ((place, family), client) in places.zip(&wanted.clients) {
        *place = prefix(*client);
        *family = family_number(AddressFamily::of(client.address));
    }
    for (place, service) in settings.service.iter_mut().zip(&wanted.selection.services) {
        *place = service_pattern(service);
    }
    for (place, server) in settings.server.iter_mut().zip(&wanted.selection.servers) {
        *place = server_pattern(server);
    }
    settings
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The words of an address as they lie in the kernel's memory.
fn words(address: IpAddr) -> [u32; 4] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes = v6.octets(),
    }
    let [a, b, c, d] = bytes.as_chunks::<4>().0 else {
        return [0; 4];
    };
    [a, b, c, d].map(|word| u32::from_le_bytes(*word))
}

fn prefix(client: ClientNetwork) -> ClientPrefix {
    let bits = u32::from(client.bits);
    let mask = match client.address {
        IpAddr::V4(_) => IpAddr::V4(u32::MAX.checked_shl(32 - bits).unwrap_or(0).into()),
        IpAddr::V6(_) => IpAddr::V6(u128::MAX.checked_shl(128 - bits).unwrap_or(0).into()),
    };
    let (address, mut mask) = (words(client.address), words(mask));
    if client.address.is_ipv4() {
        // The programs give 0 behind an IPv4 address.
        mask[1..].fill(u32::MAX);
    }
    let mut kept = address;
    for (word, mask) in kept.iter_mut().zip(mask) {
        *word &= mask;
    }
    ClientPrefix {
        address: kept,
        mask,
    }
}

fn service_pattern(filter: &ServiceFilter) -> Pattern {
    match *filter {
        ServiceFilter::Address {
            protocol,
            address,
            port,
        } => Pattern {
            address: words(address),
            firewall_mark: 0,
            family: family_number(AddressFamily::of(address)),
            protocol: protocol.0,
            port: port.unwrap_or(0).to_be(),
            ports: if port.is_some() {
                Pattern::THIS_PORT
            } else {
                Pattern::ANY_PORT
            },
        },
        ServiceFilter::FirewallMark { mark, family } => Pattern {
            firewall_mark: mark,
            family: family.map_or(0, family_number),
            ..Pattern::default()
        },
    }
}

fn server_pattern(filter: &ServerFilter) -> Pattern {
    let (port, ports) = match filter.port {
        PortText::Absent => (0, Pattern::SERVICE_PORT),
        PortText::Any => (0, Pattern::ANY_PORT),
        PortText::Number(port) => (port, Pattern::THIS_PORT),
    };
    Pattern {
        address: words(filter.address),
        family: family_number(AddressFamily::of(filter.address)),
        port: port.to_be(),
        ports,
        ..Pattern::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{prefix, words};
    use crate::config::ClientNetwork;

    fn is_in(network: (&str, u8), address: &str) -> bool {
        let prefix = prefix(ClientNetwork {
            address: network.0.parse().unwrap(),
            bits: network.1,
        });
        let address = words(address.parse().unwrap());
        (0..4).all(|word| address[word] & prefix.mask[word] == prefix.address[word])
    }

    #[test]
    fn a_prefix_has_its_addresses_and_no_others() {
        assert!(is_in(("192.0.2.77", 24), "192.0.2.1"));
        assert!(!is_in(("192.0.2.77", 24), "192.0.3.1"));
        assert!(is_in(("192.0.2.128", 25), "192.0.2.129"));
        assert!(!is_in(("192.0.2.128", 25), "192.0.2.127"));
        assert!(is_in(("0.0.0.0", 0), "203.0.113.9"));
        assert!(is_in(("192.0.2.1", 32), "192.0.2.1"));
        assert!(!is_in(("192.0.2.1", 32), "192.0.2.0"));
        assert!(is_in(("2001:db8::", 33), "2001:db8:7fff::1"));
        assert!(!is_in(("2001:db8::", 33), "2001:db8:8000::1"));
        assert!(is_in(("::", 0), "2001:db8::1"));
        assert!(is_in(("2001:db8::1", 128), "2001:db8::1"));
        assert!(!is_in(("2001:db8::1", 128), "2001:db8::2"));
    }
}
