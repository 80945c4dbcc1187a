//! What the programs count: a block per real server and CPU, and a block per CPU for the programs themselves.

use crate::{Range, SLOTS};

/// A latency that is measured per connection; the index of its histogram in a [`ServerBlock`].
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// `ip_vs_schedule` entry to return, where a connection was made.
    Schedule,
    /// First SYN to the real server's SYN-ACK, both at the director.
    Connect,
    /// SYN-ACK at the director to the client's ACK.
    Client,
    /// First SYN to the ACK that completes the handshake.
    Handshake,
    /// First request packet with payload to the first response packet with payload.
    FirstByte,
    /// First packet to last packet.
    Duration,
}

impl Measure {
    /// Every measure in the order of its index.
    pub const ALL: [Self; 6] = [
        Self::Schedule,
        Self::Connect,
        Self::Client,
        Self::Handshake,
        Self::FirstByte,
        Self::Duration,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Connect => "connect",
            Self::Client => "client",
            Self::Handshake => "handshake",
            Self::FirstByte => "first_byte",
            Self::Duration => "duration",
        }
    }

    /// The range of its histogram.
    #[inline(always)]
    pub const fn range(self) -> Range {
        match self {
            Self::Schedule => Range::DIRECTOR,
            Self::Connect | Self::Client | Self::Handshake | Self::FirstByte => Range::NETWORK,
            Self::Duration => Range::LONG,
        }
    }
}

/// Smallest and largest value of one bank; all zero when it has seen none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Extremes {
    /// Bitwise complement of the smallest value, so that zero means none and both fields grow.
    pub inverted_min_ns: u64,
    /// Largest value.
    pub max_ns: u64,
}

/// One histogram of one server on one CPU. Only `extremes` are ever reset; the agent takes differences of the rest.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// Values recorded; written last, so that a change of it tells the agent to read the buckets.
    pub count: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// Two banks; the programs write the one that the [`Control`]'s epoch names.
    pub extremes: [Extremes; 2],
    /// Counts by [`crate::bucket_of`], modulo 2^32.
    pub buckets: [u32; SLOTS],
}

/// Events of one server on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that `ip_vs_schedule` made.
    pub scheduled: u64,
    /// Handshakes completed.
    pub established: u64,
    /// A SYN answered by an RST of the real server.
    pub refused: u64,
    /// Packets dropped because the service had no destination to give.
    pub no_destination: u64,
    /// SYNs that came again before the handshake was complete.
    pub syn_repeated: u64,
    /// Connections that ended without the handshake's last ACK and without a refusal.
    pub unanswered: u64,
    /// Connections where the real server sent payload before the client.
    pub server_first: u64,
    /// Connections whose SYN carried payload.
    pub data_in_syn: u64,
    /// Connections that were older than the agent when first seen.
    pub preexisting: u64,
}

/// Everything that is kept of one server on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ServerBlock {
    /// Events.
    pub counters: Counters,
    /// Latencies, by [`Measure`].
    pub histograms: [Histogram; Measure::ALL.len()],
}

/// What the agent tells the programs while they run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Its lowest bit is the bank of [`Extremes`] that is written.
    pub epoch: u64,
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
    /// No slot left for another real server.
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
}

impl Loss {
    /// Every reason in the order of its index.
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::HeaderUnreadable,
        Self::ConnectionsFull,
        Self::ServersFull,
        Self::Unbound,
        Self::Unpaired,
        Self::EntriesFull,
        Self::Busy,
        Self::Map,
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
}

const _: () =
    assert!(size_of::<Histogram>() == 8 + 8 + 2 * 16 + SLOTS * 4 && SLOTS.is_multiple_of(2));
const _: () =
    assert!(size_of::<ServerBlock>() == 9 * 8 + Measure::ALL.len() * size_of::<Histogram>());

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya asks for this promise on types of maps")]

    use super::{Control, Counters, CpuBlock, Extremes, Histogram, ServerBlock};

    // SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for ServerBlock {}
    // SAFETY: the type is `repr(C)` of `u64` only, and every bit pattern is valid.
    unsafe impl aya::Pod for CpuBlock {}
    // SAFETY: the type is `repr(C)` of `u64` only, and every bit pattern is valid.
    unsafe impl aya::Pod for Counters {}
    // SAFETY: the type is `repr(C)` of `u64` only, and every bit pattern is valid.
    unsafe impl aya::Pod for Extremes {}
    // SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for Histogram {}
    // SAFETY: the type is `repr(C)` of one `u64`, and every bit pattern is valid.
    unsafe impl aya::Pod for Control {}
}
