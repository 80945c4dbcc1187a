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
            services.sort_by_key(|service| service_key(&service.id));
        }
        services
    }

    pub(super) fn destinations(self, service: &Service) -> Vec<&Destination> {
        let mut destinations: Vec<_> = service.destinations.iter().collect();
        if self == Self::Sorted {
            destinations.sort_by_key(|destination| destination_key(&destination.id));
        }
        destinations
    }
}

type ServiceKey = (u32, AddressFamily, Option<(Protocol, IpAddr, u16)>);

const fn service_key(id: &ServiceId) -> ServiceKey {
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => (
            0,
            AddressFamily::of(address),
            Some((protocol, address, port)),
        ),
        ServiceId::FirewallMark { mark, family } => (mark, family, None),
    }
}

/// ipvsadm compares addresses of different families as well: by the 16 bytes that hold either, of which IPv4 fills the
/// first four.
fn destination_key(id: &DestinationId) -> (u128, u16) {
    let address = match id.address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    (address, id.port)
}
