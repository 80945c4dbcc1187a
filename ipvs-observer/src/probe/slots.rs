//! The slots as the programs look them up, from the agent's side.

use std::mem::offset_of;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, Queue},
};
use ipvs_observer_common::{ServerKey, maps};

use super::{LoadError, mapped::MappedArray};

/// Fails an insert that finds the key (`BPF_NOEXIST` of the uapi header `bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// Makes the slot `slot` one that the programs can give to a server.
pub(super) fn give(ebpf: &mut Ebpf, slot: u32) -> Result<(), LoadError> {
    free_slots(ebpf)?.push(&slot, 0).map_err(free_slots_error)
}

/// Gives a free slot to `key`, if there is one and the programs have not given it one meanwhile.
pub(super) fn assign(
    ebpf: &mut Ebpf,
    keys: &mut MappedArray,
    key: ServerKey,
) -> Result<(), LoadError> {
    let slot = match free_slots(ebpf)?.pop(0) {
        Ok(slot) => slot,
        Err(MapError::ElementNotFound) => return Ok(()),
        Err(error) => return Err(free_slots_error(error)),
    };
    // Before the programs can find it: what they write there is the same.
    keys.write_at(slot as usize, 0, ServerKey { written: 1, ..key });
    let inserted = slots(ebpf)?.insert(&key, &slot, BPF_NOEXIST);
    if let Err(error) = inserted {
        keys.write_at(slot as usize, offset_of!(ServerKey, written), 0_u16);
        log::debug!("a service has its slot already: {error}");
        return give(ebpf, slot);
    }
    Ok(())
}

/// Makes the programs find the slot `slot` of `key` no more; another slot of the same key stays.
pub(super) fn unlink(ebpf: &mut Ebpf, mut key: ServerKey, slot: u32) -> Result<(), LoadError> {
    // As the programs ask for it.
    key.written = 0;
    let mut slots = slots(ebpf)?;
    match slots.get(&key, 0) {
        Ok(found) if found == slot => slots.remove(&key).map_err(map_error),
        Ok(_) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(map_error(error)),
    }
}

fn slots(ebpf: &mut Ebpf) -> Result<HashMap<&mut MapData, ServerKey, u32>, LoadError> {
    let name = maps::SLOTS;
    let map = ebpf.map_mut(name).ok_or_else(|| {
        map_error(MapError::InvalidName {
            name: name.to_owned(),
        })
    })?;
    map.try_into().map_err(map_error)
}

const fn map_error(source: MapError) -> LoadError {
    LoadError::Map {
        name: maps::SLOTS,
        source,
    }
}

fn free_slots(ebpf: &mut Ebpf) -> Result<Queue<&mut MapData, u32>, LoadError> {
    let name = maps::FREE_SLOTS;
    let map = ebpf.map_mut(name).ok_or_else(|| {
        free_slots_error(MapError::InvalidName {
            name: name.to_owned(),
        })
    })?;
    map.try_into().map_err(free_slots_error)
}

const fn free_slots_error(source: MapError) -> LoadError {
    LoadError::Map {
        name: maps::FREE_SLOTS,
        source,
    }
}
