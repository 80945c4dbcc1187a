//! The nest of counters that services and destinations have.
//!
//! The kernel sends it twice, with the same numbers and other widths: `STATS`, whose counters of
//! connections and packets and whose rates wrap at 32 bits, and since 4.1 `STATS64`.

use super::read::{Attributes, Field, WireError, once, read};
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
        (Some(nest), _) => read_nest::<true>(nest).map(Some),
        (None, Some(nest)) => read_nest::<false>(nest).map(Some),
        (None, None) => Ok(None),
    }
}

/// Reads `STATS64`, or `STATS`, in which only bytes have 64 bits.
fn read_nest<const IS_WIDE: bool>(nest: &[u8]) -> Result<Stats, WireError> {
    let name = if IS_WIDE { "STATS64" } else { "STATS" };
    let mut counters = [None; NAMES.len()];
    for attribute in Attributes::new(nest, name) {
        let (kind, value) = attribute?;
        let index = usize::from(kind).wrapping_sub(1);
        // Whatever lies outside is padding, or unknown.
        if let (Some(counter), Some(name)) = (counters.get_mut(index), NAMES.get(index)) {
            let is_bytes = matches!(kind, IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES);
            let value = if IS_WIDE || is_bytes {
                read(value, name)?
            } else {
                read::<u32>(value, name)?.into()
            };
            once(counter, value, name)?;
        }
    }
    let [conns, in_pkts, out_pkts, in_bytes, out_bytes, rates @ ..] = counters;
    let needed = |counter: Option<u64>, attribute| counter.ok_or(WireError::Missing { attribute });
    let [
        conns_name,
        in_pkts_name,
        out_pkts_name,
        in_bytes_name,
        out_bytes_name,
        ..,
    ] = NAMES;
    Ok(Stats {
        traffic: Traffic {
            connections: needed(conns, conns_name)?,
            in_packets: needed(in_pkts, in_pkts_name)?,
            out_packets: needed(out_pkts, out_pkts_name)?,
            in_bytes: needed(in_bytes, in_bytes_name)?,
            out_bytes: needed(out_bytes, out_bytes_name)?,
        },
        rates: rates_of(rates),
        read_at: None,
    })
}

/// The kernel's rates, or none if it left one out.
fn rates_of(rates: [Option<u64>; 5]) -> Option<TrafficRates> {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = rates;
    Some(TrafficRates {
        connections: per_second(connections?),
        in_packets: per_second(in_packets?),
        out_packets: per_second(out_packets?),
        in_bytes: per_second(in_bytes?),
        out_bytes: per_second(out_bytes?),
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no director passes 2^53 bytes per second"
)]
const fn per_second(rate: u64) -> f64 {
    rate as f64
}

#[cfg(test)]
mod tests;
