//! Packets and bytes per second, between two readings of the kernel's counters.

use std::time::Duration;

use crate::ipvs::table::{Traffic, TrafficRates};

/// Rates between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Packets per second from clients.
    pub in_packets: f64,
    /// Packets per second to clients.
    pub out_packets: f64,
    /// Bytes per second from clients.
    pub in_bytes: f64,
    /// Bytes per second to clients.
    pub out_bytes: f64,
    /// Time since the newer reading, or since a copy of the kernel was first seen.
    pub age: Duration,
}

impl Rates {
    pub(super) const NONE: Self = Self {
        in_packets: 0.0,
        out_packets: 0.0,
        in_bytes: 0.0,
        out_bytes: 0.0,
        age: Duration::ZERO,
    };

    /// Those that [`between`] finds for packets and bytes.
    pub(super) fn between(
        old: &Traffic,
        new: &Traffic,
        elapsed: Duration,
        age: Duration,
    ) -> Option<Self> {
        let TrafficRates {
            connections: _,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = between(old, new, elapsed)?;
        Some(Self {
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            age,
        })
    }
}

/// `None` where no time has passed or a counter went back: it was zeroed, or the entry was made anew.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
pub fn between(old: &Traffic, new: &Traffic, elapsed: Duration) -> Option<TrafficRates> {
    if elapsed.is_zero() {
        return None;
    }
    let elapsed_s = elapsed.as_secs_f64();
    let per_second =
        |old: u64, new: u64| new.checked_sub(old).map(|delta| delta as f64 / elapsed_s);
    Some(TrafficRates {
        connections: per_second(old.connections, new.connections)?,
        in_packets: per_second(old.in_packets, new.in_packets)?,
        out_packets: per_second(old.out_packets, new.out_packets)?,
        in_bytes: per_second(old.in_bytes, new.in_bytes)?,
        out_bytes: per_second(old.out_bytes, new.out_bytes)?,
    })
}
