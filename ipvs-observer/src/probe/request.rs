//! What is asked of the probes, and what the programs are told of it.

use ipvs_observer_common::{Measure, OFF, Settings};

use super::{plan::Plan, sizes::Sizes};
use crate::{
    config::Wanted,
    kernel::{Kernel, Process, ReadError},
    model::id::Netns,
};

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
    /// What live counters take.
    pub live: LiveRequest,
    /// Whether messages of the programs are wanted.
    pub with_log: bool,
}

/// What reading live counters takes.
#[derive(Clone, Debug)]
pub struct LiveRequest {
    /// The agent itself, for whose dumps alone the programs act.
    pub process: Process,
    /// Address of `__per_cpu_offset`, or why it is not known.
    pub per_cpu_offset: Result<u64, String>,
}

impl LiveRequest {
    /// What `kernel` says of it.
    pub fn of(kernel: &Kernel) -> Result<Self, ReadError> {
        Ok(Self {
            process: kernel.process()?,
            per_cpu_offset: kernel
                .symbol("__per_cpu_offset")
                .map_err(|error| error.to_string()),
        })
    }

    pub(super) fn settings(
        &self,
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
            process: self.process.id,
            cpus: sizes.cpus,
            pid_namespace_device: self.process.namespace_device,
            pid_namespace_inode: self.process.namespace_inode,
            per_cpu_offset: *self.per_cpu_offset.as_ref().unwrap_or(&0),
            grouping_bits: sizes.grouping_bits,
            measures: sizes.measures,
            buckets: sizes.buckets,
            reserved: 0,
            positions,
        }
    }

    pub(super) fn restrict(&self, plan: &mut Plan) {
        if let Err(reason) = &self.per_cpu_offset {
            plan.refuse_live(reason);
        }
    }
}
