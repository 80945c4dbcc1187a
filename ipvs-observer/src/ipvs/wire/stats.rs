//! The nest of counters that services and destinations have.
//!
//! The kernel sends it twice, with the same numbers and other widths: `STATS`, whose counters of
//! connections and packets and whose rates wrap at 32 bits, and since 4.1 `STATS64`.

use super::read::{Attributes, Field, Value as _, WireError};
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
    let mut counters = Counters::default();
    for attribute in Attributes::new(nest, name) {
        let (kind, value) = attribute?;
        let index = usize::from(kind).wrapping_sub(1);
        // Whatever lies outside is padding, or unknown.
        if let Some(&name) = NAMES.get(index) {
            let value = match (width, kind) {
                (Width::Wide, _)
                | (Width::Narrow, IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES) => {
                    u64::read(value, name)?
                }
                (Width::Narrow, _) => u32::read(value, name)?.into(),
            };
            counters.take(index, value)?;
        }
    }
    counters.stats()
}

/// What the nest has said so far. Two such nests come with each entry, so this holds no more than it must.
#[derive(Default)]
struct Counters {
    values: [u64; NAMES.len()],
    /// A bit for each value that was said.
    said: u16,
}

impl Counters {
    fn take(&mut self, index: usize, value: u64) -> Result<(), WireError> {
        let (Some(slot), Some(&attribute)) = (self.values.get_mut(index), NAMES.get(index)) else {
            return Ok(());
        };
        let bit = 1 << index;
        if self.said & bit != 0 && *slot != value {
            return Err(WireError::Contradiction { attribute });
        }
        *slot = value;
        self.said |= bit;
        Ok(())
    }

    /// All counters, and the rates if the kernel left none out.
    fn stats(&self) -> Result<Stats, WireError> {
        /// The bits of the counters, which come before the rates.
        const COUNTERS: u16 = 0b1_1111;
        let missing = (!self.said & COUNTERS).trailing_zeros() as usize;
        if let Some(&attribute) = NAMES.get(missing) {
            return Err(WireError::Missing { attribute });
        }
        let [
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            rates @ ..,
        ] = self.values;
        let has_rates = self.said >> 5 == COUNTERS;
        Ok(Stats {
            traffic: Traffic {
                connections,
                in_packets,
                out_packets,
                in_bytes,
                out_bytes,
            },
            rates: has_rates.then(|| per_second(rates)),
            read_at: None,
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no director passes 2^53 bytes per second"
)]
fn per_second(rates: [u64; 5]) -> TrafficRates {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = rates.map(|rate| rate as f64);
    TrafficRates {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    }
}
