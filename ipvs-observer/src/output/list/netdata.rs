//! Netdata's protocol for external plugins, with the charts that its own plugin makes of `/proc/net/ip_vs_stats`.
//!
//! Contexts, dimensions and units are Netdata's; the ids of the charts are of this program, so that both can run. The
//! values are those of the live counters: they move with every reading, and zeroing does not touch them. A reading without
//! them is left out, which Netdata shows as a gap.

use std::{io, time::Duration};

use crate::ipvs::table::Traffic;

/// Charts that Netdata knows of.
#[derive(Debug)]
pub struct Charts {
    /// When the newest values were read, on `CLOCK_MONOTONIC`.
    sent_at: Option<Duration>,
}

impl Charts {
    /// Describes the charts, which get values once in `interval`.
    pub fn start(interval: Duration, out: &mut impl io::Write) -> io::Result<Self> {
        let update_every_s = interval.as_millis().div_ceil(1000);
        for chart in &CHARTS {
            chart.describe(update_every_s, out)?;
        }
        Ok(Self { sent_at: None })
    }

    /// Writes the live counters that were read `now`, on `CLOCK_MONOTONIC`.
    pub fn encode(
        &mut self,
        now: Duration,
        totals: &Traffic,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        let elapsed = self.sent_at.map(|sent_at| now.saturating_sub(sent_at));
        for chart in &CHARTS {
            chart.encode(totals, elapsed, out)?;
        }
        self.sent_at = Some(now);
        Ok(())
    }
}

struct Chart {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    kind: &'static str,
    /// Netdata's own, which decides where a chart stands.
    priority: u32,
    dimensions: &'static [Dimension],
}

struct Dimension {
    id: &'static str,
    multiplier: i32,
    divisor: i32,
    value: fn(&Traffic) -> u64,
}

const CHARTS: [Chart; 3] = [
    Chart {
        id: "sockets",
        title: "IPVS connections",
        unit: "connections/s",
        kind: "line",
        priority: 3101,
        dimensions: &[Dimension {
            id: "connections",
            multiplier: 1,
            divisor: 1,
            value: |totals| totals.connections,
        }],
    },
    Chart {
        id: "packets",
        title: "IPVS packets",
        unit: "packets/s",
        kind: "line",
        priority: 3102,
        dimensions: &[
            Dimension {
                id: "received",
                multiplier: 1,
                divisor: 1,
                value: |totals| totals.in_packets,
            },
            Dimension {
                id: "sent",
                multiplier: -1,
                divisor: 1,
                value: |totals| totals.out_packets,
            },
        ],
    },
    Chart {
        id: "net",
        title: "IPVS bandwidth",
        unit: "kilobits/s",
        kind: "area",
        priority: 3100,
        dimensions: &[
            Dimension {
                id: "received",
                multiplier: 8,
                divisor: 1000,
                value: |totals| totals.in_bytes,
            },
            Dimension {
                id: "sent",
                multiplier: -8,
                divisor: 1000,
                value: |totals| totals.out_bytes,
            },
        ],
    },
];

impl Chart {
    fn describe(&self, update_every_s: u128, out: &mut impl io::Write) -> io::Result<()> {
        let Self {
            id,
            title,
            unit,
            kind,
            priority,
            dimensions,
        } = self;
        writeln!(
            out,
            "CHART ipvs_observer.{id} '' '{title}' '{unit}' ipvs ipvs.{id} {kind} {priority} {update_every_s} '' ipvs-observer list"
        )?;
        for dimension in *dimensions {
            let Dimension {
                id,
                multiplier,
                divisor,
                value: _,
            } = dimension;
            writeln!(out, "DIMENSION {id} '' incremental {multiplier} {divisor}")?;
        }
        Ok(())
    }

    /// `elapsed` is the time since the values before; without it Netdata takes the time itself.
    fn encode(
        &self,
        totals: &Traffic,
        elapsed: Option<Duration>,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        write!(out, "BEGIN ipvs_observer.{}", self.id)?;
        if let Some(elapsed) = elapsed {
            write!(out, " {}", elapsed.as_micros())?;
        }
        writeln!(out)?;
        for dimension in self.dimensions {
            // Values are signed in Netdata.
            let value = i64::try_from((dimension.value)(totals)).unwrap_or(i64::MAX);
            writeln!(out, "SET {} = {value}", dimension.id)?;
        }
        writeln!(out, "END")
    }
}

#[cfg(test)]
mod tests;
