//! Writes what the agent reads: counters and histograms of a server, losses.
//!
//! A CPU runs one kprobe program at a time, so that adds to a partition of its own are plain; where CPUs share a
//! partition they are atomic, and two extremes that meet may leave the lesser one.
//!
//! What is exported by name here and elsewhere takes and gives numbers only: of such a function the verifier checks one
//! walk by itself, where it would follow any other from each of its callers.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{btf_maps::ArrayOfMaps, helpers::bpf_get_smp_processor_id};
use ipvs_observer_common::{
    COARSEST_GROUPING_BITS, Connection, CpuBlock, Event, FINEST_GROUPING_BITS, Histogram, Loss,
    Measure, OFF, Range, Scale, buckets, maps::CHUNK_SLOTS,
};

use crate::{
    globals::frozen,
    maps::{COARSE, CONTROL, COUNTERS, CPUS, Chunk, FINE, MEDIUM},
};

/// `EBUSY`, negated as helpers return it.
const EBUSY: i32 = -16;

/// Counts a packet of the observed network namespace, and remembers it until the next.
#[inline(always)]
pub(crate) fn count_transition(skb: u64, slot: u32) {
    if let Some(block) = cpu_block() {
        // SAFETY: see `cpu_block`.
        let block = unsafe { &mut *block };
        block.transitions += 1;
        block.packet = skb;
        block.slot = slot;
    }
}

/// The slot of the real server that the packet `skb` goes to, if it is the newest that this CPU remembers; it does so no
/// more then.
#[inline(always)]
pub(crate) fn take_newest(skb: u64) -> Option<u32> {
    // SAFETY: see `cpu_block`.
    let block = unsafe { &mut *cpu_block()? };
    if block.packet != skb {
        return None;
    }
    block.packet = 0;
    Some(block.slot)
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
    add_loss(loss as usize);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_loss(loss: usize) -> u32 {
    let Some(block) = cpu_block() else {
        return NO_PLACE;
    };
    // SAFETY: see `cpu_block`.
    match unsafe { &mut (*block).losses }.get_mut(loss) {
        Some(losses) => *losses += 1,
        None => return NO_PLACE,
    }
    DONE
}

/// Counts `event` for the server in `slot`.
#[inline(always)]
pub(crate) fn count(slot: u32, event: Event) -> Result<(), Loss> {
    done(add_event(slot, event as usize))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_event(slot: u32, event: usize) -> u32 {
    if slot == Connection::NO_SLOT {
        return DONE;
    }
    let Some(counters) = COUNTERS.get_value_ptr_mut(slot / CHUNK_SLOTS, &place(slot)) else {
        return NO_PLACE;
    };
    if event >= Event::ALL.len() {
        return NO_PLACE;
    }
    // SAFETY: the element lives as long as the map; the index is checked.
    let count = unsafe { &raw mut (*counters)[event] };
    // SAFETY: as above.
    unsafe { add(count, 1) };
    DONE
}

/// What an exported function gives.
const DONE: u32 = 0;
/// A map does not have the place.
const NO_PLACE: u32 = 1;
/// The value is negative: two CPUs have seen two packets in the other order.
const BACKWARDS: u32 = 2;

#[inline(always)]
fn done(status: u32) -> Result<(), Loss> {
    match status {
        DONE => Ok(()),
        BACKWARDS => Err(Loss::Unpaired),
        _ => Err(Loss::Map),
    }
}

/// Whether `measure` is wanted.
#[inline(always)]
pub(crate) fn is_on(measure: Measure) -> bool {
    frozen!(SETTINGS.positions[measure as usize]) != OFF
}

/// Records one value of `measure` for the server in `slot`.
#[inline(always)]
pub(crate) fn observe(slot: u32, measure: Measure, value_ns: u64) -> Result<(), Loss> {
    let position = frozen!(SETTINGS.positions[measure as usize]);
    if position == OFF {
        return Ok(());
    }
    done(add_value(
        slot,
        u32::from(position),
        measure.range().base(),
        value_ns,
    ))
}

/// Adds a value to the histogram at `position` among those of `slot`, whose range begins at `2^base` ns.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_value(slot: u32, position: u32, base: u32, value_ns: u64) -> u32 {
    if slot == Connection::NO_SLOT {
        return DONE;
    }
    if value_ns > i64::MAX.cast_unsigned() {
        return BACKWARDS;
    }
    let index = place(slot) * frozen!(SETTINGS.measures) + position;
    let grouping_bits = frozen!(SETTINGS.grouping_bits);
    let bucket = Scale::new(Range::from_base(base), grouping_bits).bucket_of(value_ns);
    let added = match grouping_bits {
        FINEST_GROUPING_BITS => {
            add_to::<{ buckets(FINEST_GROUPING_BITS) }, _, _>(&FINE, slot, index, bucket, value_ns)
        }
        COARSEST_GROUPING_BITS => add_to::<{ buckets(COARSEST_GROUPING_BITS) }, _, _>(
            &COARSE, slot, index, bucket, value_ns,
        ),
        _ => add_to::<{ buckets(4) }, _, _>(&MEDIUM, slot, index, bucket, value_ns),
    };
    if added.is_some() { DONE } else { NO_PLACE }
}

#[inline(always)]
fn add_to<const N: usize, const WORDS: usize, const OUTER: usize>(
    chunks: &ArrayOfMaps<Chunk<WORDS>, OUTER>,
    slot: u32,
    index: u32,
    bucket: usize,
    value_ns: u64,
) -> Option<()> {
    const { assert!(WORDS * 8 == size_of::<Histogram<N>>()) };
    let bank = (CONTROL.get(0)?.epoch & 1) as usize;
    if bucket >= N {
        return None;
    }
    let histogram: *mut Histogram<N> = chunks.get_value_ptr_mut(slot / CHUNK_SLOTS, &index)?.cast();
    // SAFETY: the element lives as long as the map; extremes may be those of another CPU where CPUs share a partition.
    let extremes = unsafe { &mut (*histogram).summary.extremes[bank] };
    extremes.inverted_min_ns = extremes.inverted_min_ns.max(!value_ns);
    extremes.max_ns = extremes.max_ns.max(value_ns);
    // SAFETY: as above; the index is checked.
    let bucket = unsafe { &raw mut (*histogram).buckets[bucket] };
    // SAFETY: as above.
    let summary = unsafe { &mut (*histogram).summary };
    // SAFETY: as above.
    unsafe { add_bucket(bucket) };
    // SAFETY: as above.
    unsafe { add(&raw mut summary.sum_ns, value_ns) };
    // SAFETY: as above.
    unsafe { add(&raw mut summary.count, 1) };
    Some(())
}

/// Whether this CPU may share its partition.
#[inline(always)]
fn is_shared() -> bool {
    frozen!(SETTINGS.partitions) < frozen!(SETTINGS.cpus)
}

/// # Safety
///
/// `place` lies in an element of a map.
#[inline(always)]
unsafe fn add(place: *mut u64, value: u64) {
    if is_shared() {
        // SAFETY: elements of maps are aligned, and nobody accesses this one other than atomically.
        unsafe { atomic_xadd::<_, _, { AtomicOrdering::Relaxed }>(place, value) };
    } else {
        // SAFETY: this CPU alone writes its partition, one program at a time.
        let place = unsafe { &mut *place };
        *place = place.wrapping_add(value);
    }
}

/// # Safety
///
/// `place` lies in an element of a map.
#[inline(always)]
unsafe fn add_bucket(place: *mut u32) {
    if is_shared() {
        // SAFETY: see `add`.
        unsafe { atomic_xadd::<_, _, { AtomicOrdering::Relaxed }>(place, 1_u32) };
    } else {
        // SAFETY: see `add`.
        let place = unsafe { &mut *place };
        *place = place.wrapping_add(1);
    }
}

/// Index in its chunk of this CPU's element for `slot`.
#[inline(always)]
fn place(slot: u32) -> u32 {
    let cpu = current_cpu();
    let partition = if is_shared() {
        cpu.checked_rem(frozen!(SETTINGS.partitions)).unwrap_or(0)
    } else {
        cpu
    };
    partition * CHUNK_SLOTS + slot % CHUNK_SLOTS
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
