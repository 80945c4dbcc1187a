//! What a sweep over all connections finds of each server.

/// TCP states that IPVS tells apart, `IP_VS_TCP_S_LAST` of `include/net/ip_vs.h`.
pub const TCP_STATES: usize = 11;

/// `IP_VS_TCP_S_` of `include/net/ip_vs.h`, by their numbers there, as every output names them.
pub const TCP_STATE_NAMES: [&str; TCP_STATES] = [
    "none",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "synack",
];

/// `IP_VS_TCP_S_SYN_RECV` as an index of [`Swept::tcp`].
pub const SYN_RECV: usize = 3;

/// The connections of one server that one sweep has found; persistence templates are none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Time of the first packet of the oldest connection whose beginning was seen, `CLOCK_MONOTONIC`; 0 without any.
    pub oldest_ns: u64,
    /// The same of those in `SYN_RECV`.
    pub oldest_syn_recv_ns: u64,
    /// The sweep that found all this; what another one has left is void.
    pub sweep: u32,
    /// TCP connections by state.
    pub tcp: [u32; TCP_STATES],
    /// Connections of other protocols.
    pub other: u32,
    /// Connections whose beginning was not seen.
    pub begun_unseen: u32,
    /// Connections of TCP and UDP that had packets from the client and none from the server.
    pub unanswered: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Swept>() == 2 * 8 + (5 + TCP_STATES) * 4);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of maps")]
// SAFETY: the type is `repr(C)` of unsigned integers, its size above leaves no padding, and every bit pattern is valid.
unsafe impl aya::Pod for Swept {}
