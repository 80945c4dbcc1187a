//! The nest of counters that services and destinations have.
//!
//! The kernel sends it twice, with the same numbers and other widths: `STATS`, whose counters of
//! connections and packets and whose rates wrap at 32 bits, and since 4.1 `STATS64`.

use super::read::{Attributes, Field, WireError};
use crate::ipvs::table::{Stats, Traffic, TrafficRates};

/// Kernel names of what the nest holds, by the number of the attribute less one.
const NAMES: [&str; 10] = [
    "IPVS_STATS_ATTR_CONNS",
    "IPVS_STATS_ATTR_INPKTS",
    "IPVS_STATS_ATTR_OUTPKTS",
    "IPVS_STATS_ATTR_INBYTES",
    "IPVS_STATS_ATTR_OUTBYTES",
    "IPVS_STATS_ATTR_CPS",
    "IPVS_STATS_ATTR_INPPS",
    "IPVS_STATS_ATTR_OUTPPS",
    "IPVS_STATS_ATTR_INBPS",
    "IPVS_STATS_ATTR_OUTBPS",
];
const IPVS_STATS_ATTR_INBYTES: u16 = 4;
const IPVS_STATS_ATTR_OUTBYTES: u16 = 5;

/// The counters of an entry: those of 64 bits, or else those of 32. What is not used is not read.
pub(super) fn stats(wide: Field<&[u8]>, narrow: Field<&[u8]>) -> Result<Option<Stats>, WireError> {
    match (wide.optional(), narrow.optional()) {
        (Some(nest), _) => read(nest, Width::Wide).map(Some),
        (None, Some(nest)) => read(nest, Width::Narrow).map(Some),
        (None, None) => Ok(None),
    }
}

#[derive(Clone, Copy)]
enum Width {
    /// `STATS64`
    Wide,
    /// `STATS`, in which bytes have 64 bits all the same.
    Narrow,
}

fn read(nest: &[u8], width: Width) -> Result<Stats, WireError> {
    let name = match width {
        Width::Wide => "STATS64",
        Width::Narrow => "STATS",
    };
    let mut counters = NAMES.map(Field::<u64>::new);
    for attribute in Attributes::new(nest, name) {
        let (kind, value) = attribute?;
        let index = usize::from(kind).wrapping_sub(1);
        // Whatever lies outside is padding, or unknown.
        if let Some(counter) = counters.get_mut(index) {
            match (width, kind) {
                (Width::Wide, _)
                | (Width::Narrow, IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES) => {
                    counter.read(value)?;
                }
                (Width::Narrow, _) => counter.read_as::<u32>(value)?,
            }
        }
    }
    let [
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
        rates @ ..,
    ] = counters;
    Ok(Stats {
        traffic: Traffic {
            connections: connections.needed()?,
            in_packets: in_packets.needed()?,
            out_packets: out_packets.needed()?,
            in_bytes: in_bytes.needed()?,
            out_bytes: out_bytes.needed()?,
        },
        rates: rates_of(rates),
        read_at: None,
    })
}

/// The kernel's rates, or none if it left one out.
fn rates_of(rates: [Field<u64>; 5]) -> Option<TrafficRates> {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = rates.map(per_second);
    Some(TrafficRates {
        connections: connections?,
        in_packets: in_packets?,
        out_packets: out_packets?,
        in_bytes: in_bytes?,
        out_bytes: out_bytes?,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no director passes 2^53 bytes per second"
)]
fn per_second(rate: Field<u64>) -> Option<f64> {
    rate.optional().map(|rate| rate as f64)
}
