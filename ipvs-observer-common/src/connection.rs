//! What the programs remember of one connection while it lives, and where.
//!
//! The records lie in buckets of an array. A connection has two buckets, chosen by a hash of its address, and its record
//! lies in the one that had more room. An array is looked up with a third of the instructions that a hash map takes, and
//! what is half-open can make room where room is needed.

use core::mem::offset_of;

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
    /// The state before the newest packet, as IPVS numbers those of the protocol.
    pub state: u8,
    /// Direction of the newest packet, as IPVS numbers it.
    pub direction: u8,
    /// Bits of [`Connection::PREEXISTING`] and its like.
    pub flags: u8,
    /// Stamp of the newest sweep that has counted it, which the file may show twice; 0 before the first.
    pub swept: u8,
    /// Of the client's and the virtual endpoint, so that a record which a missed end has left is told from that of the
    /// connection which has its address now.
    pub fingerprint: u32,
    /// One of [`phase`]; of two packets on two CPUs that would leave it, one does: the kernel exchanges it together with the
    /// fingerprint, since BPF before its version 3 has atomic operations on 64 bits only.
    pub phase: u32,
}

const _: () = assert!(size_of::<Connection>() == 48 && align_of::<Connection>() == 8);
const _: () = assert!(offset_of!(Connection, fingerprint).is_multiple_of(8));
const _: () = assert!(offset_of!(Connection, phase) == offset_of!(Connection, fingerprint) + 4);

impl Connection {
    /// The slot of a connection that cannot be given to a server: it is only told apart from other namespaces'.
    pub const NO_SLOT: u32 = u32::MAX;
    /// It had packets or a state before it was first seen: part of totals, never of a latency.
    pub const PREEXISTING: u8 = 1;
    /// The SYN carried data, so that the first request has no time of its own.
    pub const DATA_IN_SYN: u8 = 2;
    /// It was not answered yet: its record makes room for a newer one where there is none.
    pub const HALF_OPEN: u8 = 4;
    /// A stream has told of its end already.
    pub const TOLD: u8 = 8;

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
            swept: 0,
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

/// Places of a [`Bucket`].
pub const BUCKET_PLACES: usize = 8;

/// Records that lie together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Address of each connection, [`FREE`] or [`CLAIMED`].
    pub addresses: [u64; BUCKET_PLACES],
    /// The record of each.
    pub records: [Connection; BUCKET_PLACES],
}

/// No record lies here.
pub const FREE: u64 = 0;
/// A CPU is about to write a record here.
pub const CLAIMED: u64 = 1;

const _: () = assert!(size_of::<Bucket>() == BUCKET_PLACES * (8 + size_of::<Connection>()));

/// The two buckets, of `buckets`, of the connection at `address`; they can be the same.
#[inline(always)]
pub const fn buckets_of(address: u64, buckets: u32) -> (u32, u32) {
    /// 2^64 divided by the golden ratio, odd.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    // Connections lie in a slab whose objects are aligned to a cache line.
    let hash = (address >> 6).wrapping_mul(SPREAD);
    let (high, low) = (hash >> 32, hash & 0xffff_ffff);
    let buckets = buckets as u64;
    (
        ((high * buckets) >> 32) as u32,
        ((low * buckets) >> 32) as u32,
    )
}

/// What the next packet of a connection can tell.
pub mod phase {
    /// No packet seen.
    pub const NEW: u32 = 0;
    /// A SYN has passed to the real server.
    pub const SYN: u32 = 1;
    /// The real server's SYN-ACK has passed back.
    pub const SYN_ACK: u32 = 2;
    /// The handshake is complete and no payload has passed.
    pub const REQUEST: u32 = 3;
    /// The first request has passed to the real server.
    pub const RESPONSE: u32 = 4;
    /// Requests and responses are timed for as long as it lives.
    pub const TURNS: u32 = 5;
    /// Nothing more to learn before the end: the path of almost every packet.
    pub const DONE: u32 = 6;
    /// How it ended is counted.
    pub const ENDED: u32 = 7;
}

#[cfg(test)]
mod tests {
    use super::{BUCKET_PLACES, buckets_of};

    /// How many of `addresses` find no place in `buckets` if none leaves, so that the first free place tells the room.
    fn turned_away(addresses: impl Iterator<Item = u64>, buckets: u32) -> usize {
        let mut used = [0_u8; 1 << 12];
        addresses
            .filter(|&address| {
                let (first, second) = buckets_of(address, buckets);
                let roomier = if used[first as usize] <= used[second as usize] {
                    first
                } else {
                    second
                };
                let used = &mut used[roomier as usize];
                let is_full = usize::from(*used) == BUCKET_PLACES;
                *used += u8::from(!is_full);
                is_full
            })
            .count()
    }

    #[test]
    fn objects_of_a_slab_fill_half_of_the_places_and_more() {
        let buckets = 1 << 12;
        let connections = (buckets as usize * BUCKET_PLACES) as u64 * 6 / 10;
        for object_bytes in [320, 384] {
            let addresses = (0..connections).map(|n| 0xffff_8881_0000_0000 + n * object_bytes);
            assert_eq!(turned_away(addresses, buckets), 0);
        }
        let too_many = (0..connections * 2).map(|n| 0xffff_8881_0000_0000 + n * 320);
        assert!(turned_away(too_many, buckets) > 0);
    }

    #[test]
    fn buckets_are_those_that_there_are() {
        for buckets in [1, 3, 1000, u32::MAX] {
            for address in [0, 64, 0xffff_8881_2345_6780, u64::MAX] {
                let (first, second) = buckets_of(address, buckets);
                assert!(first < buckets && second < buckets);
            }
        }
    }
}
