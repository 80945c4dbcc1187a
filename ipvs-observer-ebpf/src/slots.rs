//! Places of servers in the maps: given out here, made and taken back by the agent.

use ipvs_observer_common::{Connection, Loss, ServerKey};

use crate::{
    kread::{Conn, Service},
    maps::{FREE_SLOTS, SERVER_KEYS, SLOTS},
    record::{count_loss, map_loss},
};

/// Fails an insert that finds the key (`BPF_NOEXIST` of the uapi header `bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// The slot of the server that `conn` goes to, given to it now if it has none, or that of its service if none is left;
/// `None` in a network namespace that is not observed.
///
/// A connection that cannot be given to a server is a loss, counted here, and has [`Connection::NO_SLOT`].
#[inline(always)]
pub(crate) fn slot_of_server(conn: Conn) -> Option<u32> {
    observed(find_server(conn.0))
}

/// The slot of `service` itself, as [`slot_of_server`] gives it.
#[inline(always)]
pub(crate) fn slot_of_service(service: Service) -> Option<u32> {
    observed(find_service(service.0))
}

/// In place of a slot, as none has more than 32 bits.
pub(crate) const UNOBSERVED: u64 = u64::MAX;

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a slot has 32 bits")]
pub(crate) fn observed(slot: u64) -> Option<u32> {
    (slot != UNOBSERVED).then_some(slot as u32)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_server(conn: u64) -> u64 {
    let conn = Conn(conn);
    let netns = match conn.observed_netns() {
        Ok(netns) => netns,
        Err(loss) => return lost(loss),
    };
    let Some(netns) = netns else {
        return UNOBSERVED;
    };
    let mut key = ServerKey::unnamed(netns);
    if let Err(loss) = conn.name_server(&mut key) {
        return lost(loss);
    }
    if let Some(slot) = known_slot(&key) {
        return u64::from(slot);
    }
    match new_slot(&key) {
        Ok(slot) => u64::from(slot),
        Err(loss) => {
            lost(loss);
            key.address = [0; 16];
            key.port = 0;
            key.server_family = 0;
            u64::from(known_slot(&key).unwrap_or(Connection::NO_SLOT))
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_service(service: u64) -> u64 {
    let service = Service(service);
    let netns = match service.observed_netns() {
        Ok(netns) => netns,
        Err(loss) => return lost(loss),
    };
    let Some(netns) = netns else {
        return UNOBSERVED;
    };
    let mut key = ServerKey::unnamed(netns);
    if let Err(loss) = service.name(&mut key) {
        return lost(loss);
    }
    if let Some(slot) = known_slot(&key) {
        return u64::from(slot);
    }
    new_slot(&key).map_or_else(lost, u64::from)
}

#[inline(always)]
fn lost(loss: Loss) -> u64 {
    count_loss(loss);
    u64::from(Connection::NO_SLOT)
}

/// Gives a slot to the server `key`, which has none.
#[inline(always)]
fn new_slot(key: &ServerKey) -> Result<u32, Loss> {
    let slot = match FREE_SLOTS.pop() {
        Ok(Some(slot)) => slot,
        Ok(None) => return Err(Loss::ServersFull),
        Err(error) => return Err(map_loss(error, Loss::ServersFull)),
    };
    if let Err(error) = SLOTS.insert(key, &slot, BPF_NOEXIST) {
        // Another CPU was first, or the map is locked: the slot goes back either way.
        FREE_SLOTS
            .push(&slot, 0)
            .map_err(|error| map_loss(error, Loss::Map))?;
        return known_slot(key).ok_or(map_loss(error, Loss::ServersFull));
    }
    let entry = SERVER_KEYS.get_ptr_mut(slot).ok_or(Loss::Map)?;
    // SAFETY: the element is the map's, and this CPU alone was given the slot.
    unsafe { entry.write(*key) };
    // SAFETY: as above.
    let written = unsafe { &raw mut (*entry).written };
    // SAFETY: as above; volatile, so that the mark is written after the key.
    unsafe { written.write_volatile(1) };
    Ok(slot)
}

#[inline(always)]
fn known_slot(key: &ServerKey) -> Option<u32> {
    // SAFETY: an element is written before it is inserted, and the agent removes only those of servers that are gone.
    unsafe { SLOTS.get(key) }.copied()
}
