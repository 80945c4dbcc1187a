//! The nest that describes a virtual service.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, ErrorContext as _, NLA_F_NESTED, Nla, NlaBuffer,
    Parseable, emit_u16, emit_u16_be, emit_u32, parse_string, parse_u16, parse_u16_be, parse_u32,
};

use super::{
    AF_INET, AF_INET6,
    attr::{EXACT_BUFFER, emit_string, parse_all, parse_bytes, string_len},
    stats::StatsAttribute,
};
use crate::model::id::{AddressFamily, ServiceId};

const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
const IPVS_SVC_ATTR_FWMARK: u16 = 5;
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

/// An attribute of a virtual service. Ports are in host order here and in network order on the
/// wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAttribute {
    /// `IPVS_SVC_ATTR_AF`
    Family(u16),
    /// `IPVS_SVC_ATTR_PROTOCOL`
    Protocol(u16),
    /// `IPVS_SVC_ATTR_ADDR`, an IPv4 address in the first four bytes
    Address([u8; 16]),
    /// `IPVS_SVC_ATTR_PORT`
    Port(u16),
    /// `IPVS_SVC_ATTR_FWMARK`
    FirewallMark(u32),
    /// `IPVS_SVC_ATTR_SCHED_NAME`
    Scheduler(String),
    /// `IPVS_SVC_ATTR_FLAGS`
    Flags {
        /// Any of the `IP_VS_SVC_F_` bits.
        flags: u32,
        /// In a request, the bits of `flags` that are meant.
        mask: u32,
    },
    /// `IPVS_SVC_ATTR_TIMEOUT`: how long a client is remembered, in seconds
    Timeout(u32),
    /// `IPVS_SVC_ATTR_NETMASK`: a mask in network order, for IPv6 a prefix length in host order
    Netmask([u8; 4]),
    /// `IPVS_SVC_ATTR_STATS`, of 32 bits
    Stats(Vec<StatsAttribute>),
    /// `IPVS_SVC_ATTR_PE_NAME`
    PersistenceEngine(String),
    /// `IPVS_SVC_ATTR_STATS64`
    Stats64(Vec<StatsAttribute>),
    /// What is not known to this program.
    Other(DefaultNla),
}

/// The attributes by which a request names a service that exists.
pub fn service_identity(service: &ServiceId) -> Vec<ServiceAttribute> {
    let family = ServiceAttribute::Family(match service.family() {
        AddressFamily::Ipv4 => AF_INET,
        AddressFamily::Ipv6 => AF_INET6,
    });
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

/// An address in the 16 bytes that the kernel keeps for either family.
pub(super) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

impl Nla for ServiceAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::FirewallMark(_) | Self::Timeout(_) | Self::Netmask(_) => 4,
            Self::Flags { .. } => 8,
            Self::Address(_) => 16,
            Self::Scheduler(name) | Self::PersistenceEngine(name) => string_len(name),
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
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
            Self::Stats(_) => IPVS_SVC_ATTR_STATS | NLA_F_NESTED,
            Self::PersistenceEngine(_) => IPVS_SVC_ATTR_PE_NAME,
            Self::Stats64(_) => IPVS_SVC_ATTR_STATS64 | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(value) | Self::Protocol(value) => {
                emit_u16(buffer, *value).expect(EXACT_BUFFER);
            }
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
            Self::Scheduler(name) | Self::PersistenceEngine(name) => emit_string(buffer, name),
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl Parseable<NlaBuffer<&[u8]>> for ServiceAttribute {
    fn parse(buffer: &NlaBuffer<&[u8]>) -> Result<Self, DecodeError> {
        let value = buffer.value();
        Ok(match buffer.kind() {
            IPVS_SVC_ATTR_AF => Self::Family(parse_u16(value).context("IPVS_SVC_ATTR_AF")?),
            IPVS_SVC_ATTR_PROTOCOL => {
                Self::Protocol(parse_u16(value).context("IPVS_SVC_ATTR_PROTOCOL")?)
            }
            IPVS_SVC_ATTR_ADDR => Self::Address(parse_bytes(value).context("IPVS_SVC_ATTR_ADDR")?),
            IPVS_SVC_ATTR_PORT => Self::Port(parse_u16_be(value).context("IPVS_SVC_ATTR_PORT")?),
            IPVS_SVC_ATTR_FWMARK => {
                Self::FirewallMark(parse_u32(value).context("IPVS_SVC_ATTR_FWMARK")?)
            }
            IPVS_SVC_ATTR_SCHED_NAME => {
                Self::Scheduler(parse_string(value).context("IPVS_SVC_ATTR_SCHED_NAME")?)
            }
            IPVS_SVC_ATTR_FLAGS => parse_flags(value).context("IPVS_SVC_ATTR_FLAGS")?,
            IPVS_SVC_ATTR_TIMEOUT => {
                Self::Timeout(parse_u32(value).context("IPVS_SVC_ATTR_TIMEOUT")?)
            }
            IPVS_SVC_ATTR_NETMASK => {
                Self::Netmask(parse_bytes(value).context("IPVS_SVC_ATTR_NETMASK")?)
            }
            IPVS_SVC_ATTR_STATS => Self::Stats(parse_all(value).context("IPVS_SVC_ATTR_STATS")?),
            IPVS_SVC_ATTR_PE_NAME => {
                Self::PersistenceEngine(parse_string(value).context("IPVS_SVC_ATTR_PE_NAME")?)
            }
            IPVS_SVC_ATTR_STATS64 => {
                Self::Stats64(parse_all(value).context("IPVS_SVC_ATTR_STATS64")?)
            }
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}

fn parse_flags(value: &[u8]) -> Result<ServiceAttribute, DecodeError> {
    let [f0, f1, f2, f3, m0, m1, m2, m3] = parse_bytes(value)?;
    Ok(ServiceAttribute::Flags {
        flags: parse_u32(&[f0, f1, f2, f3])?,
        mask: parse_u32(&[m0, m1, m2, m3])?,
    })
}
