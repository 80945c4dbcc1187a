//! What the agent tells the programs before they are loaded.

/// Constants of one run, frozen before the verifier reads them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Inode number of the network namespace that is observed.
    pub netns: u32,
    /// Slots for real servers in each CPU's partition.
    pub servers: u32,
}

const _: () = assert!(size_of::<Settings>() == 8);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of globals")]
// SAFETY: the type is `repr(C)` of two `u32`, without padding, and every bit pattern is valid.
unsafe impl aya::Pod for Settings {}
