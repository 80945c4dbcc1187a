//! Meets the return of a function with its entry.
//!
//! The key is the stack pointer of the call: no two calls that have not returned share one,
//! whether they nest on a CPU, belong to different tasks or move between CPUs.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::bpf_ktime_get_ns,
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Loss, Range};

use crate::{maps::ENTRIES, record::map_loss};

/// What is remembered of a call until it returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Time of the call.
    pub(crate) at_ns: u64,
    /// Two of its arguments, as its probe chose.
    pub(crate) kept: [u64; 2],
    /// The packet of the call, for the events of a stream.
    packet: [u64; PACKETS],
}

/// A run without a stream remembers no packet.
const PACKETS: usize = if crate::STREAMS { 1 } else { 0 };

impl Entry {
    /// The packet that [`enter_with_packet`] remembered; 0 without a stream.
    #[inline(always)]
    pub(crate) fn packet(&self) -> u64 {
        self.packet.first().copied().unwrap_or(0)
    }
}

/// Remembers the call that `ctx` enters, and its arguments at two positions.
#[inline(always)]
pub(crate) fn enter(ctx: &ProbeContext, kept: [usize; 2]) -> Result<(), Loss> {
    enter_with(ctx, kept, [0; PACKETS])
}

/// As [`enter`], and remembers the packet at the position `packet` while a stream is open.
#[inline(always)]
pub(crate) fn enter_with_packet(
    ctx: &ProbeContext,
    kept: [usize; 2],
    packet: usize,
) -> Result<(), Loss> {
    let mut packets = [0; PACKETS];
    if let Some(kept) = packets.first_mut() {
        *kept = ctx.arg(packet).ok_or(Loss::Unreadable)?;
    }
    enter_with(ctx, kept, packets)
}

#[inline(always)]
fn enter_with(
    ctx: &ProbeContext,
    kept: [usize; 2],
    packet: [u64; PACKETS],
) -> Result<(), Loss> {
    let key = stack_pointer(ctx.regs);
    let argument = |position| ctx.arg(position).ok_or(Loss::Unreadable);
    let entry = Entry {
        at_ns: now_ns(),
        kept: [argument(kept[0])?, argument(kept[1])?],
        packet,
    };
    ENTRIES
        .insert(&key, &entry, 0)
        .map_err(|error| map_loss(error, Loss::EntriesFull))
}

/// Takes back what [`enter`] remembered of the call that `ctx` leaves.
#[inline(always)]
pub(crate) fn leave(ctx: &RetProbeContext) -> Result<Entry, Loss> {
    let key = stack_pointer_of_call(ctx.regs);
    // SAFETY: a key belongs to one call, so no other program changes the element while it is read.
    let entry = unsafe { ENTRIES.get(&key) }
        .copied()
        .ok_or(Loss::Unpaired)?;
    ENTRIES
        .remove(&key)
        .map_err(|error| map_loss(error, Loss::Unpaired))?;
    // What is older was left by a return that was missed.
    if now_ns() - entry.at_ns >= Range::DIRECTOR.end_ns() {
        return Err(Loss::Unpaired);
    }
    Ok(entry)
}

/// `CLOCK_MONOTONIC`.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper has no argument and no precondition.
    unsafe { bpf_ktime_get_ns() }
}

/// A return on x86-64 takes the return address off the stack.
#[cfg(bpf_target_arch = "x86_64")]
const POPPED_BY_RETURN_BYTES: u64 = 8;
#[cfg(not(bpf_target_arch = "x86_64"))]
const POPPED_BY_RETURN_BYTES: u64 = 0;

/// Where the stack began for the call that these registers leave.
#[inline(always)]
pub(crate) fn stack_pointer_of_call(regs: *mut pt_regs) -> u64 {
    stack_pointer(regs).wrapping_sub(POPPED_BY_RETURN_BYTES)
}

/// Where the stack begins for the call that these registers enter.
#[inline(always)]
pub(crate) fn stack_pointer(regs: *mut pt_regs) -> u64 {
    // SAFETY: the context of a probe points to its saved registers, which live as long as the program runs.
    let regs = unsafe { &*regs };
    #[cfg(bpf_target_arch = "x86_64")]
    let pointer = regs.rsp;
    #[cfg(not(bpf_target_arch = "x86_64"))]
    let pointer = regs.sp;
    pointer
}
