//! The live counters of a service or destination, as the kernel tells the agent about it.

use crate::ServerKey;

/// Entries of [`crate::maps::LIVE`], a ring: more than two datagrams of a dump can hold, since the kernel fills the next
/// one while it hands over the one before.
pub const LIVE_ENTRIES: u32 = 1024;

/// What `ip_vs_genl_fill_service` or `ip_vs_genl_fill_dest` was called for, with its counters at that moment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LiveEntry {
    /// Counts entries from 1; written last.
    pub sequence: u64,
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Connections, packets in, packets out, bytes in, bytes out, over all CPUs since they were last zeroed.
    pub counters: [u64; 5],
    /// The service, or the destination, whose service's family is then left zero.
    pub key: ServerKey,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<LiveEntry>() == 8 + 8 + 40 + size_of::<ServerKey>() + 4);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of maps")]
// SAFETY: the type is `repr(C)`, has no padding (the size above is the sum of its fields) and every bit pattern is valid.
unsafe impl aya::Pod for LiveEntry {}
