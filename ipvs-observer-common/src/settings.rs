//! What the agent tells the programs before they are loaded.

/// Constants of one run, frozen before the verifier reads them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Inode number of the network namespace that is observed.
    pub netns: u32,
    /// Slots for real servers in each CPU's partition.
    pub servers: u32,
    /// The agent's process, as its own PID namespace numbers it.
    pub process: u32,
    /// CPUs that may ever run.
    pub cpus: u32,
    /// Device of the agent's PID namespace, as the kernel writes it.
    pub pid_namespace_device: u64,
    /// Inode number of the agent's PID namespace.
    pub pid_namespace_inode: u64,
    /// Address of the kernel's `__per_cpu_offset`; zero if it is not known.
    pub per_cpu_offset: u64,
}

const _: () = assert!(size_of::<Settings>() == 4 * 4 + 3 * 8);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of globals")]
// SAFETY: the type is `repr(C)` of integers, its size above leaves no padding, and every bit pattern is valid.
unsafe impl aya::Pod for Settings {}
