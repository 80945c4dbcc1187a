//! Connections that have ended not long ago, for packets that come too late.

/// Places of [`crate::maps::ENDED`], a power of two; an end takes the place of the one before it that has the same.
pub const ENDED_PLACES: u32 = 1 << 16;

/// The end of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When its record was taken away, `CLOCK_MONOTONIC`; 0 if there is none here.
    pub at_ns: u64,
    /// [`crate::Connection::fingerprint`].
    pub fingerprint: u32,
    /// Its server's slot, which may have become another's.
    pub slot: u32,
    /// Of that server's endpoint.
    pub server: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Ended>() == 24);

/// The place of a fingerprint.
#[inline(always)]
pub const fn ended_place(fingerprint: u32) -> u32 {
    /// Odd, so that all bits of the fingerprint reach the highest ones.
    const SPREAD: u32 = 0x9e37_79b1;
    fingerprint.wrapping_mul(SPREAD) >> (u32::BITS - ENDED_PLACES.trailing_zeros())
}
