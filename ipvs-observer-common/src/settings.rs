//! What the agent tells the programs before they are loaded.

/// Constants of one run, frozen before the verifier reads them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Inode number of the network namespace that is observed; 0 for all.
    pub netns: u32,
    /// Partitions of the counters and histograms: as many as CPUs, or fewer, which then share them.
    pub partitions: u32,
    /// The agent's process, as its own PID namespace numbers it.
    pub process: u32,
    /// CPUs that may ever run.
    pub cpus: u32,
    /// Device of the agent's PID namespace, as the kernel writes it.
    pub pid_namespace_device: u64,
    /// Inode number of the agent's PID namespace.
    pub pid_namespace_inode: u64,
    /// Buckets of an octave are two to this power.
    pub grouping_bits: u32,
    /// Measures that have a histogram.
    pub measures: u32,
    /// Buckets for the records of connections.
    pub buckets: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Place of each measure's histogram among those of a server, or [`OFF`].
    pub positions: [u8; 16],
}

/// A measure that is off has no place.
pub const OFF: u8 = u8::MAX;

const _: () = assert!(size_of::<Settings>() == 4 * 4 + 2 * 8 + 4 * 4 + 16);
const _: () = assert!(crate::Measure::ALL.len() <= 16);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of globals")]
// SAFETY: the type is `repr(C)` of integers, its size above leaves no padding, and every bit pattern is valid.
unsafe impl aya::Pod for Settings {}
