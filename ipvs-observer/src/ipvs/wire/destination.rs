//! The nest that describes a real server of one service.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, ErrorContext as _, NLA_F_NESTED, Nla, NlaBuffer,
    Parseable, emit_u16, emit_u16_be, emit_u32, parse_u8, parse_u16, parse_u16_be, parse_u32,
};

use super::{
    AF_INET, AF_INET6,
    attr::{EXACT_BUFFER, parse_all, parse_bytes},
    service::address_bytes,
    stats::StatsAttribute,
};
use crate::model::id::{AddressFamily, DestinationId, ForwardingMethod};

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

/// An attribute of a real server. Ports are in host order here and in network order on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationAttribute {
    /// `IPVS_DEST_ATTR_ADDR`, an IPv4 address in the first four bytes
    Address([u8; 16]),
    /// `IPVS_DEST_ATTR_PORT`
    Port(u16),
    /// `IPVS_DEST_ATTR_FWD_METHOD`
    ForwardingMethod(ForwardingMethod),
    /// `IPVS_DEST_ATTR_WEIGHT`
    Weight(u32),
    /// `IPVS_DEST_ATTR_U_THRESH`
    UpperThreshold(u32),
    /// `IPVS_DEST_ATTR_L_THRESH`
    LowerThreshold(u32),
    /// `IPVS_DEST_ATTR_ACTIVE_CONNS`
    ActiveConnections(u32),
    /// `IPVS_DEST_ATTR_INACT_CONNS`
    InactiveConnections(u32),
    /// `IPVS_DEST_ATTR_PERSIST_CONNS`
    PersistentConnections(u32),
    /// `IPVS_DEST_ATTR_STATS`, of 32 bits
    Stats(Vec<StatsAttribute>),
    /// `IPVS_DEST_ATTR_ADDR_FAMILY`; where it is absent the family is the service's
    Family(u16),
    /// `IPVS_DEST_ATTR_STATS64`
    Stats64(Vec<StatsAttribute>),
    /// `IPVS_DEST_ATTR_TUN_TYPE`
    TunnelType(u8),
    /// `IPVS_DEST_ATTR_TUN_PORT`
    TunnelPort(u16),
    /// `IPVS_DEST_ATTR_TUN_FLAGS`
    TunnelFlags(u16),
    /// What is not known to this program.
    Other(DefaultNla),
}

/// The attributes by which a request names a destination of a service.
pub fn destination_identity(destination: &DestinationId) -> Vec<DestinationAttribute> {
    let family = match AddressFamily::of(destination.address) {
        AddressFamily::Ipv4 => AF_INET,
        AddressFamily::Ipv6 => AF_INET6,
    };
    vec![
        DestinationAttribute::Family(family),
        DestinationAttribute::Address(address_bytes(destination.address)),
        DestinationAttribute::Port(destination.port),
    ]
}

impl Nla for DestinationAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::TunnelType(_) => 1,
            Self::Port(_) | Self::Family(_) | Self::TunnelPort(_) | Self::TunnelFlags(_) => 2,
            Self::ForwardingMethod(_)
            | Self::Weight(_)
            | Self::UpperThreshold(_)
            | Self::LowerThreshold(_)
            | Self::ActiveConnections(_)
            | Self::InactiveConnections(_)
            | Self::PersistentConnections(_) => 4,
            Self::Address(_) => 16,
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
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
            Self::ActiveConnections(_) => IPVS_DEST_ATTR_ACTIVE_CONNS,
            Self::InactiveConnections(_) => IPVS_DEST_ATTR_INACT_CONNS,
            Self::PersistentConnections(_) => IPVS_DEST_ATTR_PERSIST_CONNS,
            Self::Stats(_) => IPVS_DEST_ATTR_STATS | NLA_F_NESTED,
            Self::Family(_) => IPVS_DEST_ATTR_ADDR_FAMILY,
            Self::Stats64(_) => IPVS_DEST_ATTR_STATS64 | NLA_F_NESTED,
            Self::TunnelType(_) => IPVS_DEST_ATTR_TUN_TYPE,
            Self::TunnelPort(_) => IPVS_DEST_ATTR_TUN_PORT,
            Self::TunnelFlags(_) => IPVS_DEST_ATTR_TUN_FLAGS,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::TunnelType(value) => buffer.fill(*value),
            Self::Family(value) | Self::TunnelFlags(value) => {
                emit_u16(buffer, *value).expect(EXACT_BUFFER);
            }
            Self::Port(port) | Self::TunnelPort(port) => {
                emit_u16_be(buffer, *port).expect(EXACT_BUFFER);
            }
            Self::ForwardingMethod(method) => {
                emit_u32(buffer, (*method).into()).expect(EXACT_BUFFER);
            }
            Self::Weight(value)
            | Self::UpperThreshold(value)
            | Self::LowerThreshold(value)
            | Self::ActiveConnections(value)
            | Self::InactiveConnections(value)
            | Self::PersistentConnections(value) => emit_u32(buffer, *value).expect(EXACT_BUFFER),
            Self::Address(bytes) => buffer.copy_from_slice(bytes),
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl Parseable<NlaBuffer<&[u8]>> for DestinationAttribute {
    fn parse(buffer: &NlaBuffer<&[u8]>) -> Result<Self, DecodeError> {
        let value = buffer.value();
        Ok(match buffer.kind() {
            IPVS_DEST_ATTR_ADDR => {
                Self::Address(parse_bytes(value).context("IPVS_DEST_ATTR_ADDR")?)
            }
            IPVS_DEST_ATTR_PORT => Self::Port(parse_u16_be(value).context("IPVS_DEST_ATTR_PORT")?),
            IPVS_DEST_ATTR_FWD_METHOD => Self::ForwardingMethod(
                parse_u32(value)
                    .context("IPVS_DEST_ATTR_FWD_METHOD")?
                    .into(),
            ),
            IPVS_DEST_ATTR_WEIGHT => {
                Self::Weight(parse_u32(value).context("IPVS_DEST_ATTR_WEIGHT")?)
            }
            IPVS_DEST_ATTR_U_THRESH => {
                Self::UpperThreshold(parse_u32(value).context("IPVS_DEST_ATTR_U_THRESH")?)
            }
            IPVS_DEST_ATTR_L_THRESH => {
                Self::LowerThreshold(parse_u32(value).context("IPVS_DEST_ATTR_L_THRESH")?)
            }
            IPVS_DEST_ATTR_ACTIVE_CONNS => {
                Self::ActiveConnections(parse_u32(value).context("IPVS_DEST_ATTR_ACTIVE_CONNS")?)
            }
            IPVS_DEST_ATTR_INACT_CONNS => {
                Self::InactiveConnections(parse_u32(value).context("IPVS_DEST_ATTR_INACT_CONNS")?)
            }
            IPVS_DEST_ATTR_PERSIST_CONNS => Self::PersistentConnections(
                parse_u32(value).context("IPVS_DEST_ATTR_PERSIST_CONNS")?,
            ),
            IPVS_DEST_ATTR_STATS => Self::Stats(parse_all(value).context("IPVS_DEST_ATTR_STATS")?),
            IPVS_DEST_ATTR_ADDR_FAMILY => {
                Self::Family(parse_u16(value).context("IPVS_DEST_ATTR_ADDR_FAMILY")?)
            }
            IPVS_DEST_ATTR_STATS64 => {
                Self::Stats64(parse_all(value).context("IPVS_DEST_ATTR_STATS64")?)
            }
            IPVS_DEST_ATTR_TUN_TYPE => {
                Self::TunnelType(parse_u8(value).context("IPVS_DEST_ATTR_TUN_TYPE")?)
            }
            IPVS_DEST_ATTR_TUN_PORT => {
                Self::TunnelPort(parse_u16_be(value).context("IPVS_DEST_ATTR_TUN_PORT")?)
            }
            IPVS_DEST_ATTR_TUN_FLAGS => {
                Self::TunnelFlags(parse_u16(value).context("IPVS_DEST_ATTR_TUN_FLAGS")?)
            }
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}
