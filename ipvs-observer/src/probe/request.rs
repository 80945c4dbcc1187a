//! What is asked of the probes, and what the programs are told of it.

use ipvs_observer_common::{Measure, OFF, Settings};

use super::sizes::Sizes;
use crate::{config::Wanted, kernel::Process, model::id::Netns};

/// What a run asks of the probes.
#[derive(Clone, Debug)]
pub struct Request {
    /// The network namespace to observe; `None` is all of them.
    pub netns: Option<Netns>,
    /// The latencies to measure.
    pub measures: Vec<Measure>,
    /// Bytes that the maps may take.
    pub memory_bytes: u64,
    /// Connections to follow at the same time.
    pub connections: u32,
    /// Services and real servers in the table.
    pub configured: usize,
    /// What a stream wants of single connections, while one is open.
    pub stream: Option<Wanted>,
    /// The agent itself, for whose own questions some programs act.
    pub process: Process,
    /// Whether messages of the programs are wanted.
    pub with_log: bool,
}

/// What `measures` of this network namespace take from the programs, which read live counters for `process` alone.
pub(super) fn settings(
    process: Process,
    netns: Option<Netns>,
    sizes: &Sizes,
    measures: &[Measure],
) -> Settings {
    let mut positions = [OFF; 16];
    for (position, &measure) in (0_u8..).zip(measures) {
        positions[measure as usize] = position;
    }
    Settings {
        netns: netns.map_or(0, |netns| netns.0),
        partitions: sizes.partitions,
        process: process.id,
        cpus: sizes.cpus,
        pid_namespace_device: process.namespace_device,
        pid_namespace_inode: process.namespace_inode,
        grouping_bits: sizes.grouping_bits,
        measures: sizes.measures,
        buckets: sizes.buckets,
        reserved: 0,
        positions,
    }
}
