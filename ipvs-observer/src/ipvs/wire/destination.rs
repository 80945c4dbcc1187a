//! The nest that describes a real server of one service, both ways.

use netlink_packet_core::{Nla, emit_u16, emit_u16_be, emit_u32};

use super::{
    attr::{EXACT_BUFFER, Nest, address, address_bytes, family, family_number},
    read::{Field, Port, WireError},
    stats::stats,
};
use crate::{
    ipvs::table::{Destination, Thresholds, Tunnel, TunnelKind},
    model::id::{AddressFamily, DestinationId, ForwardingMethod},
};

const IPVS_DEST_ATTR_ADDR: u16 = 1;
const IPVS_DEST_ATTR_PORT: u16 = 2;
const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
const IPVS_DEST_ATTR_PERSIST_CONNS: u16 = 9;
const IPVS_DEST_ATTR_STATS: u16 = 10;
const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
const IPVS_DEST_ATTR_STATS64: u16 = 12;
const IPVS_DEST_ATTR_TUN_TYPE: u16 = 13;
const IPVS_DEST_ATTR_TUN_PORT: u16 = 14;
const IPVS_DEST_ATTR_TUN_FLAGS: u16 = 15;

/// The bits of `IPVS_DEST_ATTR_FWD_METHOD` that say the method.
const IP_VS_CONN_F_FWD_MASK: u32 = 0x7;

/// An attribute of a real server in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationAttribute {
    /// `IPVS_DEST_ATTR_ADDR`, an IPv4 address in the first four bytes
    Address([u8; 16]),
    /// `IPVS_DEST_ATTR_PORT`, in host order here and in network order on the wire
    Port(u16),
    /// `IPVS_DEST_ATTR_FWD_METHOD`
    ForwardingMethod(ForwardingMethod),
    /// `IPVS_DEST_ATTR_WEIGHT`
    Weight(u32),
    /// `IPVS_DEST_ATTR_U_THRESH`
    UpperThreshold(u32),
    /// `IPVS_DEST_ATTR_L_THRESH`
    LowerThreshold(u32),
    /// `IPVS_DEST_ATTR_ADDR_FAMILY`
    Family(AddressFamily),
}

/// The attributes by which a request names a destination of a service.
pub fn destination_identity(destination: &DestinationId) -> Vec<DestinationAttribute> {
    vec![
        DestinationAttribute::Family(AddressFamily::of(destination.address)),
        DestinationAttribute::Address(address_bytes(destination.address)),
        DestinationAttribute::Port(destination.port),
    ]
}

impl Nla for DestinationAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Port(_) | Self::Family(_) => 2,
            Self::ForwardingMethod(_)
            | Self::Weight(_)
            | Self::UpperThreshold(_)
            | Self::LowerThreshold(_) => 4,
            Self::Address(_) => 16,
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Address(_) => IPVS_DEST_ATTR_ADDR,
            Self::Port(_) => IPVS_DEST_ATTR_PORT,
            Self::ForwardingMethod(_) => IPVS_DEST_ATTR_FWD_METHOD,
            Self::Weight(_) => IPVS_DEST_ATTR_WEIGHT,
            Self::UpperThreshold(_) => IPVS_DEST_ATTR_U_THRESH,
            Self::LowerThreshold(_) => IPVS_DEST_ATTR_L_THRESH,
            Self::Family(_) => IPVS_DEST_ATTR_ADDR_FAMILY,
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(family) => {
                emit_u16(buffer, family_number(*family)).expect(EXACT_BUFFER);
            }
            Self::Port(port) => emit_u16_be(buffer, *port).expect(EXACT_BUFFER),
            Self::ForwardingMethod(method) => {
                emit_u32(buffer, (*method).into()).expect(EXACT_BUFFER);
            }
            Self::Weight(value) | Self::UpperThreshold(value) | Self::LowerThreshold(value) => {
                emit_u32(buffer, *value).expect(EXACT_BUFFER);
            }
            Self::Address(bytes) => buffer.copy_from_slice(bytes),
        }
    }
}

/// Reads an answer to `IPVS_CMD_GET_DEST` for a service of `service_family`, which is the
/// destination's too unless it says another (since 3.18).
pub fn destination(answer: &[u8], service_family: AddressFamily) -> Result<Destination, WireError> {
    let mut own_family = Field::<u16>::new("IPVS_DEST_ATTR_ADDR_FAMILY");
    let mut raw_address = Field::<[u8; 16]>::new("IPVS_DEST_ATTR_ADDR");
    let mut port = Field::<Port>::new("IPVS_DEST_ATTR_PORT");
    let mut method = Field::<u32>::new("IPVS_DEST_ATTR_FWD_METHOD");
    let mut weight = Field::<u32>::new("IPVS_DEST_ATTR_WEIGHT");
    let mut upper = Field::<u32>::new("IPVS_DEST_ATTR_U_THRESH");
    let mut lower = Field::<u32>::new("IPVS_DEST_ATTR_L_THRESH");
    let mut active = Field::<u32>::new("IPVS_DEST_ATTR_ACTIVE_CONNS");
    let mut inactive = Field::<u32>::new("IPVS_DEST_ATTR_INACT_CONNS");
    let mut persistent = Field::<u32>::new("IPVS_DEST_ATTR_PERSIST_CONNS");
    let mut narrow = Field::<&[u8]>::new("IPVS_DEST_ATTR_STATS");
    let mut wide = Field::<&[u8]>::new("IPVS_DEST_ATTR_STATS64");
    let mut tunnel = TunnelFields::new();
    for attribute in Nest::Destination.open(answer)? {
        let (kind, value) = attribute?;
        match kind {
            IPVS_DEST_ATTR_ADDR => raw_address.read(value)?,
            IPVS_DEST_ATTR_PORT => port.read(value)?,
            IPVS_DEST_ATTR_FWD_METHOD => method.read(value)?,
            IPVS_DEST_ATTR_WEIGHT => weight.read(value)?,
            IPVS_DEST_ATTR_U_THRESH => upper.read(value)?,
            IPVS_DEST_ATTR_L_THRESH => lower.read(value)?,
            IPVS_DEST_ATTR_ACTIVE_CONNS => active.read(value)?,
            IPVS_DEST_ATTR_INACT_CONNS => inactive.read(value)?,
            IPVS_DEST_ATTR_PERSIST_CONNS => persistent.read(value)?,
            IPVS_DEST_ATTR_STATS => narrow.read(value)?,
            IPVS_DEST_ATTR_ADDR_FAMILY => own_family.read(value)?,
            IPVS_DEST_ATTR_STATS64 => wide.read(value)?,
            IPVS_DEST_ATTR_TUN_TYPE => tunnel.kind.read(value)?,
            IPVS_DEST_ATTR_TUN_PORT => tunnel.port.read(value)?,
            IPVS_DEST_ATTR_TUN_FLAGS => tunnel.flags.read(value)?,
            _ => {}
        }
    }

    let family = match own_family.optional() {
        Some(number) => family(number, "IPVS_DEST_ATTR_ADDR_FAMILY")?,
        None => service_family,
    };
    Ok(Destination {
        id: DestinationId {
            address: address(family, raw_address.needed()?),
            port: port.needed()?.0,
        },
        method: (method.needed()? & IP_VS_CONN_F_FWD_MASK).into(),
        weight: weight.needed()?,
        active: active.needed()?,
        inactive: inactive.needed()?,
        persistent: persistent.optional(),
        thresholds: thresholds(upper, lower)?,
        tunnel: tunnel.tunnel()?,
        stats: stats(wide, narrow)?,
    })
}

/// Both thresholds or neither.
fn thresholds(upper: Field<u32>, lower: Field<u32>) -> Result<Option<Thresholds>, WireError> {
    if upper.optional().is_none() && lower.optional().is_none() {
        return Ok(None);
    }
    Ok(Some(Thresholds {
        upper: upper.needed()?,
        lower: lower.needed()?,
    }))
}

/// The attributes of a tunnel.
struct TunnelFields {
    kind: Field<u8>,
    port: Field<Port>,
    flags: Field<u16>,
}

impl TunnelFields {
    const fn new() -> Self {
        Self {
            kind: Field::new("IPVS_DEST_ATTR_TUN_TYPE"),
            port: Field::new("IPVS_DEST_ATTR_TUN_PORT"),
            flags: Field::new("IPVS_DEST_ATTR_TUN_FLAGS"),
        }
    }

    /// None before 5.2; 5.2 itself has no flags, neither to set nor to send.
    fn tunnel(&self) -> Result<Option<Tunnel>, WireError> {
        if self.kind.optional().is_none()
            && self.port.optional().is_none()
            && self.flags.optional().is_none()
        {
            return Ok(None);
        }
        Ok(Some(Tunnel {
            kind: match self.kind.needed()? {
                0 => TunnelKind::IpIp,
                1 => TunnelKind::Gue,
                2 => TunnelKind::Gre,
                other => TunnelKind::Unknown(other),
            },
            port: self.port.needed()?.0,
            flags: self.flags.optional().unwrap_or(0),
        }))
    }
}

#[cfg(test)]
mod tests;
