//! Finds, makes and takes away the records of connections.
//!
//! A place is claimed by one CPU before its record is written, and the address is written last: a record that is found is
//! whole. A record of a half-open connection that makes room may be in the hands of another CPU at that moment; what that
//! one writes then lands in a record which has just begun.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use ipvs_observer_common::{BUCKET_PLACES, CLAIMED, Connection, Event, FREE, Loss, buckets_of};

use crate::{
    globals::{forget, frozen},
    kread::Conn,
    maps::CONNECTIONS,
    record::{count, count_loss},
};

/// The record of `conn`, if it has one: it lives until the connection is freed, which waits for the packets in flight,
/// or until a half-open one makes room.
#[inline(always)]
pub(crate) fn record_of(conn: Conn) -> Option<*mut Connection> {
    let (first, second) = buckets(conn);
    find(first, conn.0).or_else(|| find(second, conn.0))
}

/// Puts `record` where that of `conn` belongs, in place of any other of the same address.
#[inline(always)]
pub(crate) fn insert(conn: Conn, record: &Connection) -> Result<(), Loss> {
    if let Some(place) = record_of(conn) {
        // What an earlier connection has left; its end was missed.
        count_loss(Loss::Stale);
        // SAFETY: the place is the map's; packets of the earlier connection cannot be in flight.
        let before = unsafe { (*place).slot };
        // SAFETY: as above.
        unsafe { place.write(*record) };
        return count(before, Event::RecordEnded);
    }
    let (first, second) = buckets(conn);
    let mut outcome = Err(Loss::Busy);
    // Another CPU may be first to claim a place, and then this one takes another.
    for _ in 0..2 {
        let in_first = best_place(first);
        // None is better than the first place.
        let in_second = if in_first == 0 {
            NO_PLACE
        } else {
            best_place(second)
        };
        let (index, rank) = if in_first <= in_second {
            (first, in_first)
        } else {
            (second, in_second)
        };
        if rank == NO_PLACE {
            return Err(Loss::ConnectionsFull);
        }
        outcome = replace(index, rank, conn.0, record);
        if outcome != Err(Loss::Busy) {
            break;
        }
    }
    outcome
}

/// Whether a record of `conn` would find a place.
#[inline(always)]
pub(crate) fn have_room(conn: Conn) -> bool {
    let (first, second) = buckets(conn);
    best_place(first).min(best_place(second)) != NO_PLACE
}

/// Takes the record of `conn` away: both, where two CPUs have made one at the same time.
#[inline(always)]
pub(crate) fn remove(conn: Conn) {
    let (first, second) = buckets(conn);
    clear(first, conn.0);
    clear(second, conn.0);
}

/// Frees the places of `address` in the bucket `index`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn clear(index: u32, address: u64) -> u32 {
    let Some(bucket) = CONNECTIONS.get_ptr_mut(index) else {
        return 0;
    };
    for place in 0..BUCKET_PLACES {
        // SAFETY: the bucket is the map's.
        let key = unsafe { &raw mut (*bucket).addresses[place] };
        // SAFETY: as above.
        if unsafe { key.read_volatile() } != address {
            continue;
        }
        // SAFETY: as above.
        let slot = unsafe { (*bucket).records[place].slot };
        // SAFETY: as above.
        if !unsafe { swap(key, address, FREE) } {
            // Another connection has just taken the place of this half-open one, and so ended its record.
            continue;
        }
        if let Err(loss) = count(slot, Event::RecordEnded) {
            count_loss(loss);
        }
    }
    0
}

#[inline(always)]
fn buckets(conn: Conn) -> (u32, u32) {
    buckets_of(conn.0, frozen!(SETTINGS.buckets))
}

#[inline(always)]
fn find(index: u32, address: u64) -> Option<*mut Connection> {
    let bucket = CONNECTIONS.get_ptr_mut(index)?;
    // SAFETY: the bucket is the map's.
    let addresses = unsafe { &(*bucket).addresses };
    let place = addresses.iter().position(|found| *found == address)?;
    // What follows is the same for all places.
    let place = forget(place as u64) & PLACE_BITS;
    // SAFETY: as above.
    Some(unsafe { &raw mut (*bucket).records[place as usize] })
}

/// The place of a bucket that a new record can have, in the lowest bits of its rank: the first free one, else that of
/// the half-open connection which was quiet for longest.
///
/// Of two buckets the one whose first free place comes sooner has more room; so half of all places can be taken, however
/// connections come and go, before one in a million finds none (tried with random addresses).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn best_place(index: u32) -> u64 {
    let Some(bucket) = CONNECTIONS.get_ptr_mut(index) else {
        return NO_PLACE;
    };
    let mut best = NO_PLACE;
    for place in 0..BUCKET_PLACES {
        // SAFETY: the bucket is the map's.
        let address = unsafe { (*bucket).addresses[place] };
        // SAFETY: as above.
        let record = unsafe { &(*bucket).records[place] };
        let rank = if address == FREE {
            0
        } else if address == CLAIMED || record.flags & Connection::HALF_OPEN == 0 {
            NO_PLACE
        } else {
            record.last_ns
        };
        let rank = (rank & !PLACE_BITS) | place as u64;
        best = best.min(forget(rank));
    }
    if best >= NO_PLACE & !PLACE_BITS {
        NO_PLACE
    } else {
        best
    }
}

/// No record can be put here.
const NO_PLACE: u64 = u64::MAX;
/// Of a rank.
const PLACE_BITS: u64 = BUCKET_PLACES as u64 - 1;

/// Writes `record` of `address` into the place of `rank` in the bucket `index`, and ends the record that lies there.
#[inline(always)]
fn replace(index: u32, rank: u64, address: u64, record: &Connection) -> Result<(), Loss> {
    let bucket = CONNECTIONS.get_ptr_mut(index).ok_or(Loss::Map)?;
    let place = (rank & PLACE_BITS) as usize;
    // SAFETY: the bucket is the map's and the place one of its.
    let key = unsafe { &raw mut (*bucket).addresses[place] };
    // SAFETY: as above.
    let before = unsafe { key.read_volatile() };
    // SAFETY: as above.
    let evicted = unsafe { (*bucket).records[place].slot };
    if before == CLAIMED {
        return Err(Loss::Busy);
    }
    // SAFETY: as above.
    if !unsafe { swap(key, before, CLAIMED) } {
        return Err(Loss::Busy);
    }
    // SAFETY: as above, and this CPU alone has claimed the place.
    unsafe { (*bucket).records[place] = *record };
    // SAFETY: as above; volatile, so that it is written last.
    unsafe { key.write_volatile(address) };
    if before == FREE {
        return Ok(());
    }
    count_loss(Loss::HalfOpenEvicted);
    count(evicted, Event::RecordEnded)
}

/// Puts `new` where `old` is, and says whether it was there.
///
/// # Safety
///
/// `key` lies in an element of a map.
#[inline(always)]
unsafe fn swap(key: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: elements of maps are aligned, and of those that others write at the same time one wins.
    let (_, is_swapped) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(key, old, new)
    };
    is_swapped
}
