//! The order of services and real servers.

use std::net::IpAddr;

use crate::{
    ipvs::table::{Destination, Service, Table},
    model::id::{AddressFamily, DestinationId, Protocol, ServiceId},
};

/// `--sort` and `--nosort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Services by mark, of which those with an address have none, then by family, protocol, address and port;
    /// real servers by address and port.
    #[default]
    Sorted,
    /// As the kernel has them.
    Kernel,
}

impl Order {
    pub(super) fn services(self, table: &Table) -> Vec<&Service> {
        let mut services: Vec<_> = table.services.iter().collect();
        if self == Self::Sorted {
            services.sort_unstable_by_key(|service| service_key(&service.id));
        }
        services
    }

    /// Puts the real servers of a service into `destinations`, which is one for all services and spares each its own.
    pub(super) fn destinations<'a>(
        self,
        service: &'a Service,
        destinations: &mut Vec<&'a Destination>,
    ) {
        destinations.clear();
        destinations.extend(&service.destinations);
        if self == Self::Sorted {
            destinations.sort_unstable_by_key(|destination| destination_key(&destination.id));
        }
    }
}

type ServiceKey = (u32, AddressFamily, Protocol, u128, u16);

const fn service_key(id: &ServiceId) -> ServiceKey {
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => (0, AddressFamily::of(address), protocol, bits(address), port),
        ServiceId::FirewallMark { mark, family } => (mark, family, Protocol(0), 0, 0),
    }
}

const fn destination_key(id: &DestinationId) -> (u128, u16) {
    (bits(id.address), id.port)
}

/// ipvsadm compares addresses of different families as well: by the 16 bytes that hold either, of which IPv4 fills the
/// first four.
const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => (address.to_bits() as u128) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}
