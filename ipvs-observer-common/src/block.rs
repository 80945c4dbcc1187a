//! What the programs keep: histograms per real server and partition, and a block per CPU for the programs themselves.

use crate::buckets;

/// Smallest and largest value of one bank; all zero when it has seen none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Extremes {
    /// Bitwise complement of the smallest value, so that zero means none and both fields grow.
    pub inverted_min_ns: u64,
    /// Largest value.
    pub max_ns: u64,
}

/// What a histogram holds besides its buckets. Only `extremes` are ever reset; the agent takes differences of the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Values recorded; written last, so that a change of it tells the agent to read the buckets.
    pub count: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// Two banks; the programs write the one that the [`Control`]'s epoch names.
    pub extremes: [Extremes; 2],
}

/// One measure of one server in one partition, with `N` buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Histogram<const N: usize> {
    /// What does not depend on the buckets; first, so that the agent finds it whatever their number.
    pub summary: Summary,
    /// Counts by [`crate::Scale::bucket_of`], modulo 2^32.
    pub buckets: [u32; N],
}

/// A histogram with 32 buckets to an octave.
pub type Fine = Histogram<{ buckets(5) }>;
/// A histogram with 16 buckets to an octave.
pub type Medium = Histogram<{ buckets(4) }>;
/// A histogram with 8 buckets to an octave.
pub type Coarse = Histogram<{ buckets(3) }>;

/// What the agent tells the programs while they run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Its lowest bit is the bank of [`Extremes`] that is written.
    pub epoch: u64,
    /// The sweep over all connections that is being made, counted from 1.
    pub sweep: u32,
    /// Whether that sweep makes the records that connections lack, and counts nothing.
    pub is_seeding: u32,
}

/// Why a program gave up on an event; the index of its count in a [`CpuBlock`].
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Kernel memory could not be read.
    Unreadable,
    /// The transport header does not lie in the linear part of the packet or behind the fixed IPv6 header.
    HeaderUnreadable,
    /// No room for another connection.
    ConnectionsFull,
    /// No slot left for another real server, which counts in its service.
    ServersFull,
    /// The connection has no real server (bypass, or synchronised before its server was configured).
    Unbound,
    /// A return without its entry.
    Unpaired,
    /// No room to remember an entry until its return.
    EntriesFull,
    /// A map was locked by another program at that moment (`EBUSY`).
    Busy,
    /// A map did not have an element that it always has.
    Map,
    /// A half-open connection gave its record to a newer one.
    HalfOpenEvicted,
    /// A record that an earlier connection at the same address has left, as its end was missed.
    Stale,
}

impl Loss {
    /// Every reason in the order of its index.
    pub const ALL: [Self; 11] = [
        Self::Unreadable,
        Self::HeaderUnreadable,
        Self::ConnectionsFull,
        Self::ServersFull,
        Self::Unbound,
        Self::Unpaired,
        Self::EntriesFull,
        Self::Busy,
        Self::Map,
        Self::HalfOpenEvicted,
        Self::Stale,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::HeaderUnreadable => "header_unreadable",
            Self::ConnectionsFull => "connections_full",
            Self::ServersFull => "servers_full",
            Self::Unbound => "unbound",
            Self::Unpaired => "unpaired",
            Self::EntriesFull => "entries_full",
            Self::Busy => "busy",
            Self::Map => "map",
            Self::HalfOpenEvicted => "half_open_evicted",
            Self::Stale => "stale",
        }
    }
}

/// What one CPU says of the programs themselves.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CpuBlock {
    /// Packets of the observed network namespace that reached a state transition.
    pub transitions: u64,
    /// Events given up, by [`Loss`].
    pub losses: [u64; Loss::ALL.len()],
    /// The packet that came to the newest state transition, by its address: forwarding follows.
    pub packet: u64,
    /// The slot of its real server.
    pub slot: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Summary>() == 6 * 8);
const _: () = assert!(size_of::<Fine>() == 6 * 8 + buckets(5) * 4 && buckets(5).is_multiple_of(2));
const _: () =
    assert!(size_of::<Medium>() == 6 * 8 + buckets(4) * 4 && buckets(4).is_multiple_of(2));
const _: () =
    assert!(size_of::<Coarse>() == 6 * 8 + buckets(3) * 4 && buckets(3).is_multiple_of(2));

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya asks for this promise on types of maps")]

    use super::{Coarse, Control, CpuBlock, Extremes, Fine, Medium, Summary};

    // SAFETY: the type is `repr(C)` of integers, `reserved` leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for CpuBlock {}
    // SAFETY: the type is `repr(C)` of `u64` only, and every bit pattern is valid.
    unsafe impl aya::Pod for Extremes {}
    // SAFETY: the type is `repr(C)` of `u64` only, and every bit pattern is valid.
    unsafe impl aya::Pod for Summary {}
    // SAFETY: the type is `repr(C)` of a `u64` and two `u32`, and every bit pattern is valid.
    unsafe impl aya::Pod for Control {}
    // SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for Fine {}
    // SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for Medium {}
    // SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for Coarse {}
}
