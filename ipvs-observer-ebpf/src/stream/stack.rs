//! The kernel stack of what an event tells of, while somebody asks for it.
//!
//! Only the program itself has the context that the kernel takes a stack by, and only `send` knows whether the event is
//! sent, so that a stack waits in an element of its CPU in between. The tracepoint can interrupt a probe and has another.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_stack};
use ipvs_observer_common::{KernelStack, STACK_FRAMES};

use super::current_cpu;
use crate::{globals::frozen, maps::STACKS};

/// Of what `send` is told: a stack was asked for.
const ASKED: u64 = 1 << 8;
/// It was the tracepoint's.
const OF_TRACEPOINT: u64 = 1 << 9;
const FRAMES_BYTES: u32 = (STACK_FRAMES * size_of::<u64>()) as u32;

/// The stack of an event.
pub(super) enum Asked {
    /// Nobody asked for it, or it can have none.
    Nothing,
    /// The kernel gave none.
    Missing,
    /// It waits there.
    Taken(*const KernelStack),
}

/// Takes the stack of `ctx`, if stacks are asked for, and gives the bits that tell `send` of it; `from` is where a tracepoint
/// says that it was reached, and 0 for a probe.
#[inline(always)]
pub(super) fn take_stack(ctx: &impl EbpfContext, from: u64) -> u64 {
    if frozen!(STREAM.stacks) == 0 {
        return 0;
    }
    let way = if from == 0 { ASKED } else { ASKED | OF_TRACEPOINT };
    let Some(stack) = STACKS.get_ptr_mut(place(way)) else {
        return way;
    };
    // SAFETY: an element of a map, which this CPU's programs of one kind write alone: neither kind interrupts itself.
    let stack = unsafe { &mut *stack };
    stack.from = from;
    // SAFETY: the context is the program's own, and the place as large as said.
    let bytes = unsafe {
        bpf_get_stack(
            ctx.as_ptr(),
            stack.frames.as_mut_ptr().cast(),
            FRAMES_BYTES,
            0,
        )
    };
    stack.bytes = u64::try_from(bytes).unwrap_or(0);
    way
}

/// What [`take_stack`] has left, by its bits in `what`.
#[inline(always)]
pub(super) fn stack_of(what: u64) -> Asked {
    if frozen!(STREAM.stacks) == 0 || what & ASKED == 0 {
        return Asked::Nothing;
    }
    match STACKS.get_ptr(place(what)) {
        // SAFETY: see `take_stack`.
        Some(stack) if unsafe { (*stack).bytes } != 0 => Asked::Taken(stack),
        _ => Asked::Missing,
    }
}

#[inline(always)]
fn place(way: u64) -> u32 {
    current_cpu() * 2 + u32::from(way & OF_TRACEPOINT != 0)
}
