//! The nest that describes a virtual service, both ways.

use netlink_packet_core::{Nla, emit_u16, emit_u16_be, emit_u32};

use super::{
    attr::{EXACT_BUFFER, Nest, address, address_bytes, family, family_number},
    read::{Attributes, Field, Port, WireError, native_u32},
    stats::stats,
};
use crate::{
    ipvs::table::{Netmask, Service},
    model::id::{AddressFamily, Protocol, ServiceId},
};

pub(super) const IPVS_SVC_ATTR_AF: u16 = 1;
pub(super) const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
pub(super) const IPVS_SVC_ATTR_ADDR: u16 = 3;
pub(super) const IPVS_SVC_ATTR_PORT: u16 = 4;
pub(super) const IPVS_SVC_ATTR_FWMARK: u16 = 5;
const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
const IPVS_SVC_ATTR_FLAGS: u16 = 7;
const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
const IPVS_SVC_ATTR_NETMASK: u16 = 9;
const IPVS_SVC_ATTR_STATS: u16 = 10;
const IPVS_SVC_ATTR_PE_NAME: u16 = 11;
const IPVS_SVC_ATTR_STATS64: u16 = 12;

/// Set where connections of one client stay with one real server.
pub const IP_VS_SVC_F_PERSISTENT: u32 = 0x1;
/// Set in every answer: the service is in the kernel's tables.
pub const IP_VS_SVC_F_HASHED: u32 = 0x2;
/// Set where every UDP packet is scheduled by itself.
pub const IP_VS_SVC_F_ONEPACKET: u32 = 0x4;

/// An attribute of a virtual service in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAttribute {
    /// `IPVS_SVC_ATTR_AF`
    Family(AddressFamily),
    /// `IPVS_SVC_ATTR_PROTOCOL`
    Protocol(u16),
    /// `IPVS_SVC_ATTR_ADDR`, an IPv4 address in the first four bytes
    Address([u8; 16]),
    /// `IPVS_SVC_ATTR_PORT`, in host order here and in network order on the wire
    Port(u16),
    /// `IPVS_SVC_ATTR_FWMARK`
    FirewallMark(u32),
    /// `IPVS_SVC_ATTR_SCHED_NAME`
    Scheduler(String),
    /// `IPVS_SVC_ATTR_FLAGS`
    Flags {
        /// Any of the `IP_VS_SVC_F_` bits.
        flags: u32,
        /// The bits of `flags` that are meant.
        mask: u32,
    },
    /// `IPVS_SVC_ATTR_TIMEOUT`: how long a client is remembered, in seconds
    Timeout(u32),
    /// `IPVS_SVC_ATTR_NETMASK`: a mask in network order, for IPv6 a prefix length in host order
    Netmask([u8; 4]),
}

/// The attributes by which a request names a service that exists.
pub fn service_identity(service: &ServiceId) -> Vec<ServiceAttribute> {
    let family = ServiceAttribute::Family(service.family());
    match *service {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => vec![
            family,
            ServiceAttribute::Protocol(protocol.0),
            ServiceAttribute::Address(address_bytes(address)),
            ServiceAttribute::Port(port),
        ],
        ServiceId::FirewallMark { mark, .. } => {
            vec![family, ServiceAttribute::FirewallMark(mark)]
        }
    }
}

impl Nla for ServiceAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::FirewallMark(_) | Self::Timeout(_) | Self::Netmask(_) => 4,
            Self::Flags { .. } => 8,
            Self::Address(_) => 16,
            Self::Scheduler(name) => name.len() + 1,
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Family(_) => IPVS_SVC_ATTR_AF,
            Self::Protocol(_) => IPVS_SVC_ATTR_PROTOCOL,
            Self::Address(_) => IPVS_SVC_ATTR_ADDR,
            Self::Port(_) => IPVS_SVC_ATTR_PORT,
            Self::FirewallMark(_) => IPVS_SVC_ATTR_FWMARK,
            Self::Scheduler(_) => IPVS_SVC_ATTR_SCHED_NAME,
            Self::Flags { .. } => IPVS_SVC_ATTR_FLAGS,
            Self::Timeout(_) => IPVS_SVC_ATTR_TIMEOUT,
            Self::Netmask(_) => IPVS_SVC_ATTR_NETMASK,
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(family) => {
                emit_u16(buffer, family_number(*family)).expect(EXACT_BUFFER);
            }
            Self::Protocol(value) => emit_u16(buffer, *value).expect(EXACT_BUFFER),
            Self::Port(port) => emit_u16_be(buffer, *port).expect(EXACT_BUFFER),
            Self::FirewallMark(value) | Self::Timeout(value) => {
                emit_u32(buffer, *value).expect(EXACT_BUFFER);
            }
            Self::Flags { flags, mask } => {
                let (first, second) = buffer.split_at_mut(4);
                emit_u32(first, *flags).expect(EXACT_BUFFER);
                emit_u32(second, *mask).expect(EXACT_BUFFER);
            }
            Self::Address(bytes) => buffer.copy_from_slice(bytes),
            Self::Netmask(bytes) => buffer.copy_from_slice(bytes),
            Self::Scheduler(name) => {
                let bytes = name.bytes().chain(std::iter::once(0));
                for (slot, byte) in buffer.iter_mut().zip(bytes) {
                    *slot = byte;
                }
            }
        }
    }
}

/// Reads an answer to `IPVS_CMD_GET_SERVICE`; the destinations are left to be asked for.
pub fn service(answer: &[u8]) -> Result<Service, WireError> {
    let mut identity = Identity::new();
    let mut scheduler = Field::<&str>::new("IPVS_SVC_ATTR_SCHED_NAME");
    let mut flags = Field::<[u8; 8]>::new("IPVS_SVC_ATTR_FLAGS");
    let mut timeout_s = Field::<u32>::new("IPVS_SVC_ATTR_TIMEOUT");
    let mut netmask = Field::<[u8; 4]>::new("IPVS_SVC_ATTR_NETMASK");
    let mut engine = Field::<&str>::new("IPVS_SVC_ATTR_PE_NAME");
    let mut narrow = Field::<&[u8]>::new("IPVS_SVC_ATTR_STATS");
    let mut wide = Field::<&[u8]>::new("IPVS_SVC_ATTR_STATS64");
    let attributes: Attributes<'_> = Nest::Service.open(answer)?;
    for attribute in attributes {
        let (kind, value) = attribute?;
        match kind {
            IPVS_SVC_ATTR_AF => identity.family.read(value)?,
            IPVS_SVC_ATTR_PROTOCOL => identity.protocol.read(value)?,
            IPVS_SVC_ATTR_ADDR => identity.address.read(value)?,
            IPVS_SVC_ATTR_PORT => identity.port.read(value)?,
            IPVS_SVC_ATTR_FWMARK => identity.mark.read(value)?,
            IPVS_SVC_ATTR_SCHED_NAME => scheduler.read(value)?,
            IPVS_SVC_ATTR_FLAGS => flags.read(value)?,
            IPVS_SVC_ATTR_TIMEOUT => timeout_s.read(value)?,
            IPVS_SVC_ATTR_NETMASK => netmask.read(value)?,
            IPVS_SVC_ATTR_PE_NAME => engine.read(value)?,
            IPVS_SVC_ATTR_STATS => narrow.read(value)?,
            IPVS_SVC_ATTR_STATS64 => wide.read(value)?,
            _ => {}
        }
    }

    let id = identity.id()?;
    // The other four bytes are the mask, which says something in requests only.
    let [f0, f1, f2, f3, ..] = flags.needed()?;
    let netmask = netmask.optional().map(|bytes| match id.family() {
        AddressFamily::Ipv4 => Netmask::Ipv4(bytes.into()),
        // Where the mask of IPv4 lies, the kernel keeps the prefix length of IPv6.
        AddressFamily::Ipv6 => Netmask::Ipv6(native_u32(bytes)),
    });
    Ok(Service {
        id,
        scheduler: scheduler.needed()?.to_owned(),
        flags: native_u32([f0, f1, f2, f3]),
        timeout_s: timeout_s.optional(),
        netmask,
        engine: engine.optional().map(str::to_owned),
        stats: stats(wide, narrow)?,
        destinations: Vec::new(),
    })
}

/// The service that the attributes of a request name, which may be cut off behind those.
pub fn named_service(attributes: &[u8]) -> Option<ServiceId> {
    let mut identity = Identity::new();
    let attributes = Attributes::new(attributes, "IPVS_CMD_ATTR_SERVICE");
    for (kind, value) in attributes.map_while(Result::ok) {
        let read = match kind {
            IPVS_SVC_ATTR_AF => identity.family.read(value),
            IPVS_SVC_ATTR_PROTOCOL => identity.protocol.read(value),
            IPVS_SVC_ATTR_ADDR => identity.address.read(value),
            IPVS_SVC_ATTR_PORT => identity.port.read(value),
            IPVS_SVC_ATTR_FWMARK => identity.mark.read(value),
            _ => Ok(()),
        };
        read.ok()?;
    }
    identity.id().ok()
}

/// The attributes that identify a service.
struct Identity {
    family: Field<u16>,
    protocol: Field<u16>,
    address: Field<[u8; 16]>,
    port: Field<Port>,
    mark: Field<u32>,
}

impl Identity {
    const fn new() -> Self {
        Self {
            family: Field::new("IPVS_SVC_ATTR_AF"),
            protocol: Field::new("IPVS_SVC_ATTR_PROTOCOL"),
            address: Field::new("IPVS_SVC_ATTR_ADDR"),
            port: Field::new("IPVS_SVC_ATTR_PORT"),
            mark: Field::new("IPVS_SVC_ATTR_FWMARK"),
        }
    }

    /// A mark, or else protocol, address and port.
    fn id(&self) -> Result<ServiceId, WireError> {
        let mark_name = "IPVS_SVC_ATTR_FWMARK";
        let family = family(self.family.needed()?, "IPVS_SVC_ATTR_AF")?;
        let Some(mark) = self.mark.optional() else {
            return Ok(ServiceId::Address {
                protocol: Protocol(self.protocol.needed()?),
                address: address(family, self.address.needed()?),
                port: self.port.needed()?.0,
            });
        };
        self.protocol.excluded_by(mark_name)?;
        self.address.excluded_by(mark_name)?;
        self.port.excluded_by(mark_name)?;
        if mark == 0 {
            return Err(WireError::Value {
                attribute: mark_name,
                value: mark,
            });
        }
        Ok(ServiceId::FirewallMark { mark, family })
    }
}

#[cfg(test)]
mod tests;
