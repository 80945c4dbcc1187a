//! Writes what the agent reads: a server's slot, its counters and histograms, the losses.
//!
//! Adds are plain: a CPU runs one kprobe program at a time and writes its own partition only.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use ipvs_observer_common::{
    Connection, Counters, CpuBlock, Loss, Measure, SLOTS as BUCKET_SLOTS, ServerBlock, ServerKey,
    bucket_of,
};

use crate::{
    globals::frozen,
    maps::{CONTROL, CPUS, FREE_SLOTS, SERVER_KEYS, SERVERS, SLOTS},
};

/// Fails an insert that finds the key (`BPF_NOEXIST` of the uapi header `bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// `EBUSY`, negated as helpers return it.
const EBUSY: i32 = -16;

/// Counts a packet of the observed network namespace.
#[inline(always)]
pub(crate) fn count_transition() {
    if let Some(block) = cpu_block() {
        // SAFETY: see `cpu_block`.
        unsafe { (*block).transitions += 1 };
    }
}

/// The loss that the error of a map's helper stands for: `otherwise`, unless the map was locked.
#[inline(always)]
pub(crate) fn map_loss(error: i32, otherwise: Loss) -> Loss {
    if error == EBUSY {
        Loss::Busy
    } else {
        otherwise
    }
}

/// Ends a program; counts the loss if it gave up.
#[inline(always)]
pub(crate) fn settle(result: Result<(), Loss>) -> u32 {
    if let Err(loss) = result {
        count_loss(loss);
    }
    0
}

/// Counts `loss`.
#[inline(always)]
pub(crate) fn count_loss(loss: Loss) {
    let index = loss as usize;
    if let Some(block) = cpu_block()
        && index < Loss::ALL.len()
    {
        // SAFETY: see `cpu_block`; the index is checked.
        unsafe { (*block).losses[index] += 1 };
    }
}

/// Changes the counters of the server in `slot`.
#[inline(always)]
pub(crate) fn count(slot: u32, change: impl FnOnce(&mut Counters)) -> Result<(), Loss> {
    if slot == Connection::NO_SLOT {
        return Ok(());
    }
    let block = server_block(slot)?;
    // SAFETY: see `server_block`.
    change(unsafe { &mut (*block).counters });
    Ok(())
}

/// Records one value of `measure` for the server in `slot`.
#[inline(always)]
pub(crate) fn observe(slot: u32, measure: Measure, value_ns: u64) -> Result<(), Loss> {
    if slot == Connection::NO_SLOT {
        return Ok(());
    }
    let block = server_block(slot)?;
    let bank = match CONTROL.get(0) {
        Some(control) => (control.epoch & 1) as usize,
        None => return Err(Loss::Map),
    };
    // SAFETY: see `server_block`.
    let histogram = unsafe { &mut (*block).histograms[measure as usize] };
    let bucket = bucket_of(measure.range(), value_ns);
    if bucket >= BUCKET_SLOTS {
        return Err(Loss::Map);
    }
    let extremes = &mut histogram.extremes[bank];
    extremes.inverted_min_ns = extremes.inverted_min_ns.max(!value_ns);
    extremes.max_ns = extremes.max_ns.max(value_ns);
    histogram.buckets[bucket] = histogram.buckets[bucket].wrapping_add(1);
    histogram.sum_ns += value_ns;
    histogram.count += 1;
    Ok(())
}

/// The slot of the server `key`, given to it now if it has none.
#[inline(always)]
pub(crate) fn slot_of(key: &ServerKey) -> Result<u32, Loss> {
    if let Some(slot) = known_slot(key) {
        return Ok(slot);
    }
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
    // SAFETY: an element is written before it is inserted and never changed or removed.
    unsafe { SLOTS.get(key) }.copied()
}

/// This CPU's block of the server in `slot`: only this CPU writes it, and it lives as long as the map.
#[inline(always)]
fn server_block(slot: u32) -> Result<*mut ServerBlock, Loss> {
    let servers = frozen!(SETTINGS.servers);
    SERVERS
        .get_ptr_mut(current_cpu() * servers + slot)
        .ok_or(Loss::Map)
}

/// This CPU's block of the programs: only this CPU writes it, and it lives as long as the map.
#[inline(always)]
fn cpu_block() -> Option<*mut CpuBlock> {
    CPUS.get_ptr_mut(current_cpu())
}

#[inline(always)]
fn current_cpu() -> u32 {
    // SAFETY: the helper has no argument and no precondition.
    unsafe { bpf_get_smp_processor_id() }
}
