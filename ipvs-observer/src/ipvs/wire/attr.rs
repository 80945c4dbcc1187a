//! The top level of a message, and what attributes have in common when they are written.

use std::net::IpAddr;

use netlink_packet_core::{Emitable as _, NLA_F_NESTED, Nla};

use super::{
    destination::DestinationAttribute,
    read::{Attributes, Field, WireError},
    service::ServiceAttribute,
};
use crate::model::id::AddressFamily;

pub(super) const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The proof that every writer of a fixed-size value relies on.
pub(super) const EXACT_BUFFER: &str = "Nla::emit hands over a buffer of value_len() bytes";

/// An attribute at the top level of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `IPVS_CMD_ATTR_SERVICE`
    Service(Vec<ServiceAttribute>),
    /// `IPVS_CMD_ATTR_DEST`
    Destination(Vec<DestinationAttribute>),
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Service(nest) => nest.as_slice().buffer_len(),
            Self::Destination(nest) => nest.as_slice().buffer_len(),
        }
    }

    fn kind(&self) -> u16 {
        NLA_F_NESTED
            | match self {
                Self::Service(_) => IPVS_CMD_ATTR_SERVICE,
                Self::Destination(_) => IPVS_CMD_ATTR_DEST,
            }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Service(nest) => nest.as_slice().emit(buffer),
            Self::Destination(nest) => nest.as_slice().emit(buffer),
        }
    }
}

/// The nest that an answer consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nest {
    Service,
    Destination,
    Daemon,
}

impl Nest {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Service => "IPVS_CMD_ATTR_SERVICE",
            Self::Destination => "IPVS_CMD_ATTR_DEST",
            Self::Daemon => "IPVS_CMD_ATTR_DAEMON",
        }
    }

    /// The attributes in this nest of an answer, which may have none of the others.
    pub(super) fn open(self, answer: &[u8]) -> Result<Attributes<'_>, WireError> {
        let mut field = Field::<&[u8]>::new(self.name());
        for attribute in Attributes::new(answer, "an IPVS message") {
            let (kind, value) = attribute?;
            let nest = match kind {
                IPVS_CMD_ATTR_SERVICE => Self::Service,
                IPVS_CMD_ATTR_DEST => Self::Destination,
                IPVS_CMD_ATTR_DAEMON => Self::Daemon,
                _ => continue,
            };
            if nest != self {
                return Err(WireError::Excluded {
                    attribute: nest.name(),
                    other: self.name(),
                });
            }
            field.read(value)?;
        }
        Ok(Attributes::new(field.needed()?, self.name()))
    }
}

/// The number of an address family.
pub(super) const fn family_number(family: AddressFamily) -> u16 {
    match family {
        AddressFamily::Ipv4 => AF_INET,
        AddressFamily::Ipv6 => AF_INET6,
    }
}

/// The address family of which `attribute` has the number.
pub(super) fn family(number: u16, attribute: &'static str) -> Result<AddressFamily, WireError> {
    match number {
        AF_INET => Ok(AddressFamily::Ipv4),
        AF_INET6 => Ok(AddressFamily::Ipv6),
        other => Err(WireError::Value {
            attribute,
            value: other.into(),
        }),
    }
}

/// The 16 bytes that the kernel keeps for an address of either family.
pub(super) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address in the 16 bytes, of which IPv4 uses the first four.
pub(super) fn address(family: AddressFamily, bytes: [u8; 16]) -> IpAddr {
    match (family, bytes) {
        (AddressFamily::Ipv4, [a, b, c, d, ..]) => IpAddr::from([a, b, c, d]),
        (AddressFamily::Ipv6, bytes) => IpAddr::from(bytes),
    }
}
