//! What has passed through all of IPVS: `/proc/net/ip_vs_stats` and `/proc/net/ip_vs_stats_percpu`.
//!
//! All numbers are hexadecimal. Only the rows of the CPUs are live, and zeroing leaves them as
//! they are; everything else is the copy that the kernel makes every 2 s.

use std::io::BufRead;

use super::{
    ProcfsError,
    line::{Fields, Lines, Unreadable, hex},
};
use crate::ipvs::table::{Stats, Traffic, TrafficRates};

/// The name of the file of totals in `/proc/net`.
pub const STATS: &str = "ip_vs_stats";
/// The name of the file with a row for each CPU.
pub const STATS_PERCPU: &str = "ip_vs_stats_percpu";

/// Where the row of the totals has the number of a CPU.
const TOTALS_ROW: &[u8] = b"~";
const NO_TOTALS: &str = "its totals";

/// All that `ip_vs_stats_percpu` says.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsPerCpu {
    /// The live counters, in the order of the CPUs: those that are possible, present or not.
    pub cpus: Vec<CpuTraffic>,
    /// The copy of their sum, since it was zeroed, and the rates.
    pub copy: Stats,
}

/// The counters of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTraffic {
    /// The number of the CPU.
    pub cpu: u32,
    /// What passed on it since the network namespace exists.
    pub traffic: Traffic,
}

impl StatsPerCpu {
    /// The live counters of all CPUs together.
    pub fn live(&self) -> Traffic {
        let mut sum = Traffic::default();
        for CpuTraffic { traffic, .. } in &self.cpus {
            let counters = [
                (&mut sum.connections, traffic.connections),
                (&mut sum.in_packets, traffic.in_packets),
                (&mut sum.out_packets, traffic.out_packets),
                (&mut sum.in_bytes, traffic.in_bytes),
                (&mut sum.out_bytes, traffic.out_bytes),
            ];
            for (total, counter) in counters {
                *total = total.wrapping_add(counter);
            }
        }
        sum
    }
}

/// Reads `ip_vs_stats`.
pub fn stats(reader: impl BufRead) -> Result<Stats, ProcfsError> {
    let mut lines = Lines::new(STATS, reader);
    lines.expect_words("Total Incoming Outgoing Incoming Outgoing")?;
    lines.expect_words("Conns Packets Packets Bytes Bytes")?;
    let totals = lines.expect(NO_TOTALS)?;
    let traffic = last_columns(totals.fields()).map_err(|what| totals.error(what))?;
    with_rates(&mut lines, traffic)
}

/// Reads `ip_vs_stats_percpu`.
pub fn stats_per_cpu(reader: impl BufRead) -> Result<StatsPerCpu, ProcfsError> {
    let mut lines = Lines::new(STATS_PERCPU, reader);
    lines.expect_words("Total Incoming Outgoing Incoming Outgoing")?;
    lines.expect_words("CPU Conns Packets Packets Bytes Bytes")?;
    let mut cpus = Vec::new();
    loop {
        let line = lines.expect(NO_TOTALS)?;
        match row(line.fields()).map_err(|what| line.error(what))? {
            (Some(cpu), traffic) => cpus.push(CpuTraffic { cpu, traffic }),
            (None, traffic) => {
                let copy = with_rates(&mut lines, traffic)?;
                return Ok(StatsPerCpu { cpus, copy });
            }
        }
    }
}

/// A row with its CPU, or without one for the totals.
fn row(mut fields: Fields<'_>) -> Result<(Option<u32>, Traffic), Unreadable> {
    let cpu = fields.read("CPU", |field| match field {
        TOTALS_ROW => Some(None),
        number => Some(Some(u32::try_from(hex(number)?).ok()?)),
    })?;
    Ok((cpu, last_columns(fields)?))
}

/// The five columns that end a row; their names are the same for rates.
fn last_columns(mut fields: Fields<'_>) -> Result<Traffic, Unreadable> {
    let traffic = Traffic {
        connections: fields.read("Conns", hex)?,
        in_packets: fields.read("Incoming Packets", hex)?,
        out_packets: fields.read("Outgoing Packets", hex)?,
        in_bytes: fields.read("Incoming Bytes", hex)?,
        out_bytes: fields.read("Outgoing Bytes", hex)?,
    };
    fields.end()?;
    Ok(traffic)
}

/// Reads the block of rates, which ends both files.
#[expect(
    clippy::cast_precision_loss,
    reason = "no machine passes 2^53 bytes in a second"
)]
fn with_rates<R: BufRead>(lines: &mut Lines<R>, traffic: Traffic) -> Result<Stats, ProcfsError> {
    lines.expect_words("")?;
    lines.expect_words("Conns/s Pkts/s Pkts/s Bytes/s Bytes/s")?;
    let line = lines.expect("its rates")?;
    let rates = last_columns(line.fields()).map_err(|what| line.error(what))?;
    Ok(Stats {
        traffic,
        rates: Some(TrafficRates {
            connections: rates.connections as f64,
            in_packets: rates.in_packets as f64,
            out_packets: rates.out_packets as f64,
            in_bytes: rates.in_bytes as f64,
            out_bytes: rates.out_bytes as f64,
        }),
        read_at: None,
    })
}

#[cfg(test)]
mod tests;
