//! The nest of counters that services and destinations carry.
//!
//! The kernel sends it twice, with the same numbers and other widths. Each counter keeps the
//! width it came in, so that one type reads and writes both nests.

use netlink_packet_core::{
    DecodeError, DefaultNla, ErrorContext as _, Nla, NlaBuffer, Parseable, emit_u32, emit_u64,
    parse_u32, parse_u64,
};

use super::attr::EXACT_BUFFER;

/// Connections scheduled.
pub const IPVS_STATS_ATTR_CONNS: u16 = 1;
/// Packets from clients.
pub const IPVS_STATS_ATTR_INPKTS: u16 = 2;
/// Packets to clients.
pub const IPVS_STATS_ATTR_OUTPKTS: u16 = 3;
/// Bytes from clients.
pub const IPVS_STATS_ATTR_INBYTES: u16 = 4;
/// Bytes to clients.
pub const IPVS_STATS_ATTR_OUTBYTES: u16 = 5;
/// The kernel's smoothed rate of connections.
pub const IPVS_STATS_ATTR_CPS: u16 = 6;
/// The kernel's smoothed rate of packets from clients.
pub const IPVS_STATS_ATTR_INPPS: u16 = 7;
/// The kernel's smoothed rate of packets to clients.
pub const IPVS_STATS_ATTR_OUTPPS: u16 = 8;
/// The kernel's smoothed rate of bytes, not bits, from clients.
pub const IPVS_STATS_ATTR_INBPS: u16 = 9;
/// The kernel's smoothed rate of bytes, not bits, to clients.
pub const IPVS_STATS_ATTR_OUTBPS: u16 = 10;

/// An attribute of a statistics nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsAttribute {
    /// A counter or rate.
    Counter {
        /// One of the `IPVS_STATS_ATTR_` constants.
        kind: u16,
        /// What it stands at.
        value: Counter,
    },
    /// Padding, and what is not known to this program.
    Other(DefaultNla),
}

/// A counter in the width it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Four bytes.
    U32(u32),
    /// Eight bytes.
    U64(u64),
}

impl From<Counter> for u64 {
    fn from(counter: Counter) -> Self {
        match counter {
            Counter::U32(value) => value.into(),
            Counter::U64(value) => value,
        }
    }
}

impl Nla for StatsAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Counter {
                value: Counter::U32(_),
                ..
            } => 4,
            Self::Counter {
                value: Counter::U64(_),
                ..
            } => 8,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Counter { kind, .. } => *kind,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Counter {
                value: Counter::U32(value),
                ..
            } => emit_u32(buffer, *value).expect(EXACT_BUFFER),
            Self::Counter {
                value: Counter::U64(value),
                ..
            } => emit_u64(buffer, *value).expect(EXACT_BUFFER),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl Parseable<NlaBuffer<&[u8]>> for StatsAttribute {
    fn parse(buffer: &NlaBuffer<&[u8]>) -> Result<Self, DecodeError> {
        let value = buffer.value();
        let kind = buffer.kind();
        if !(IPVS_STATS_ATTR_CONNS..=IPVS_STATS_ATTR_OUTBPS).contains(&kind) {
            return Ok(Self::Other(DefaultNla::parse(buffer)?));
        }
        let counter = match value.len() {
            4 => parse_u32(value).map(Counter::U32),
            _ => parse_u64(value).map(Counter::U64),
        };
        Ok(Self::Counter {
            kind,
            value: counter.with_context(|| format!("IPVS_STATS_ATTR {kind}"))?,
        })
    }
}
