//! What the programs remember of one connection while it lives.

/// The record of one `struct ip_vs_conn`, found by its address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Time of the first packet, `CLOCK_MONOTONIC`; 0 before it.
    pub first_ns: u64,
    /// Time of the event that the current phase waits from: the SYN-ACK, then the first request.
    pub mark_ns: u64,
    /// Time of the newest request packet that has not been answered; 0 without one.
    pub request_ns: u64,
    /// Time of the newest packet.
    pub last_ns: u64,
    /// The server's place in the maps, or [`Connection::NO_SLOT`].
    pub slot: u32,
    /// Of the client's and the virtual endpoint, so that a record which a missed end has left is told from that of the
    /// connection which has its address now.
    pub fingerprint: u32,
    /// One of [`phase`].
    pub phase: u8,
    /// The state before the newest packet, as IPVS numbers those of the protocol.
    pub state: u8,
    /// Direction of the newest packet, as IPVS numbers it.
    pub direction: u8,
    /// Bits of [`Connection::PREEXISTING`] and its like.
    pub flags: u8,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Connection>() == 48 && align_of::<Connection>() == 8);

impl Connection {
    /// The slot of a connection that cannot be given to a server: it is only told apart from other namespaces'.
    pub const NO_SLOT: u32 = u32::MAX;
    /// It had packets or a state before it was first seen: part of totals, never of a latency.
    pub const PREEXISTING: u8 = 1;
    /// Its duration is recorded.
    pub const SETTLED: u8 = 2;
    /// The SYN carried data, so that the first request has no time of its own.
    pub const DATA_IN_SYN: u8 = 4;
    /// A packet from the real server was seen.
    pub const ANSWERED: u8 = 8;
    /// Its record lies among those of half-open connections.
    pub const HALF_OPEN: u8 = 16;
    /// Its handshake is complete.
    pub const ESTABLISHED: u8 = 32;
    /// How it was reset is counted.
    pub const RESET: u8 = 64;

    /// The record of a connection that has seen no packet yet.
    pub const fn fresh(slot: u32, fingerprint: u32) -> Self {
        Self {
            first_ns: 0,
            mark_ns: 0,
            request_ns: 0,
            last_ns: 0,
            slot,
            fingerprint,
            phase: phase::NEW,
            state: 0,
            direction: 0,
            flags: 0,
            reserved: 0,
        }
    }

    /// The record of a connection that is older than the agent.
    pub const fn preexisting(slot: u32, fingerprint: u32) -> Self {
        let mut record = Self::fresh(slot, fingerprint);
        record.phase = phase::DONE;
        record.flags = Self::PREEXISTING;
        record
    }
}

/// What the next packet of a connection can tell.
pub mod phase {
    /// No packet seen.
    pub const NEW: u8 = 0;
    /// A SYN has passed to the real server.
    pub const SYN: u8 = 1;
    /// The real server's SYN-ACK has passed back.
    pub const SYN_ACK: u8 = 2;
    /// The handshake is complete and no payload has passed.
    pub const REQUEST: u8 = 3;
    /// The first request has passed to the real server.
    pub const RESPONSE: u8 = 4;
    /// Nothing more to learn before the end: the path of almost every packet.
    pub const DONE: u8 = 5;
    /// The same, but requests and responses are timed for as long as it lives.
    pub const TURNS: u8 = 6;
}
