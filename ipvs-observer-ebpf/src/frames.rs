//! Calls that have not returned, where a hash map would cost more than what is measured: a few frames for each CPU.
//!
//! A frame is found by the stack pointer of its call and holds it. What nests on a CPU (a hook inside a forwarding
//! function, an interrupt over a task) has other stack pointers and so its own frames; a call that returns on another CPU
//! does not find its frame, one whose frame was taken by another does not either, and both are counted.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use ipvs_observer_common::Loss;

use crate::maps::FRAMES;

/// Frames of each kind that a CPU has; a power of two.
const FRAMES_OF_A_KIND: usize = 16;

/// What is remembered of a call until it returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Of the call; 0 if the frame is free.
    pub(crate) stack_pointer: u64,
    /// Time of the call.
    pub(crate) at_ns: u64,
    /// Whose time it is, or `Connection::NO_SLOT`.
    pub(crate) slot: u32,
    /// Keeps the size a multiple of eight.
    pub(crate) reserved: u32,
    /// Of the call that was the newest of its kind before, which it is again when this one returns.
    outer: u64,
}

impl Frame {
    /// What is to be remembered of a call.
    #[inline(always)]
    pub(crate) const fn new(stack_pointer: u64, at_ns: u64, slot: u32) -> Self {
        Self {
            stack_pointer,
            at_ns,
            slot,
            reserved: 0,
            outer: 0,
        }
    }
}

/// The frames of one CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CpuFrames {
    /// Stack pointer of the newest call of each kind.
    newest: [u64; Place::KINDS],
    frames: [Frame; Place::KINDS * FRAMES_OF_A_KIND],
}

/// The frames of one kind of call.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl Place {
    const KINDS: usize = 3;
    /// Forwarding functions.
    pub(crate) const XMIT: Self = Self(0);
    /// `ip_vs_in_hook`.
    pub(crate) const HOOK: Self = Self(1);
    /// The estimator.
    pub(crate) const ESTIMATOR: Self = Self(2);

    /// Remembers a call.
    #[inline(always)]
    pub(crate) fn put(self, mut frame: Frame) -> Result<(), Loss> {
        let frames = own()?;
        if self.0 == Self::HOOK.0 {
            // SAFETY: see `own`; indices are in range by their making.
            let newest = unsafe { &mut (*frames).newest[self.0] };
            frame.outer = *newest;
            *newest = frame.stack_pointer;
        }
        let first = self.index(frame.stack_pointer);
        // SAFETY: see `own`; indices are in range by their making.
        let taken = unsafe { (*frames).frames[first].stack_pointer };
        let index = if taken == 0 || taken == frame.stack_pointer {
            first
        } else {
            first ^ 1
        };
        // SAFETY: as above.
        unsafe { (*frames).frames[index] = frame };
        Ok(())
    }

    /// Takes back what is remembered of the call with this stack pointer.
    #[inline(always)]
    pub(crate) fn take(self, stack_pointer: u64) -> Result<Frame, Loss> {
        let frame = self.find(stack_pointer)?;
        // SAFETY: see `own`.
        let taken = unsafe { *frame };
        // SAFETY: as above.
        unsafe { (*frame).stack_pointer = 0 };
        if self.0 == Self::HOOK.0 {
            let frames = own()?;
            // SAFETY: as above.
            let newest = unsafe { &mut (*frames).newest[self.0] };
            // It is not where another task has begun a call that has not returned.
            if *newest == stack_pointer {
                *newest = taken.outer;
            }
        }
        Ok(taken)
    }

    /// Gives the newest call to `slot`, if it is the one that has made the call with this stack pointer from a frame of at
    /// most so many bytes.
    ///
    /// An interrupt that came between the two has put its own calls above and taken them back. It is not the newest where
    /// another task came between them, and then belongs to nobody.
    #[inline(always)]
    pub(crate) fn give(self, stack_pointer: u64, frame_bytes: u64, slot: u32) -> Result<(), Loss> {
        let frames = own()?;
        // SAFETY: see `own`.
        let newest = unsafe { (*frames).newest[self.0] };
        if newest.wrapping_sub(stack_pointer) > frame_bytes {
            return Err(Loss::Unpaired);
        }
        let frame = self.find(newest)?;
        // SAFETY: as above.
        unsafe { (*frame).slot = slot };
        Ok(())
    }

    #[inline(always)]
    fn find(self, stack_pointer: u64) -> Result<*mut Frame, Loss> {
        let frames = own()?;
        let first = self.index(stack_pointer);
        // SAFETY: see `own`; indices are in range by their making.
        let frame = unsafe { &raw mut (*frames).frames[first] };
        // SAFETY: as above.
        if unsafe { (*frame).stack_pointer } == stack_pointer {
            return Ok(frame);
        }
        // SAFETY: as above.
        let frame = unsafe { &raw mut (*frames).frames[first ^ 1] };
        // SAFETY: as above.
        if unsafe { (*frame).stack_pointer } == stack_pointer {
            return Ok(frame);
        }
        Err(Loss::Unpaired)
    }

    #[inline(always)]
    fn index(self, stack_pointer: u64) -> usize {
        /// Odd and irregular, so that calls at a fixed distance do not share a frame.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = stack_pointer.wrapping_mul(SPREAD) >> 56;
        (self.0 * FRAMES_OF_A_KIND) | (hash as usize & (FRAMES_OF_A_KIND - 1))
    }
}

/// This CPU's frames: a CPU runs one kprobe program at a time, so nobody else writes them meanwhile.
#[inline(always)]
fn own() -> Result<*mut CpuFrames, Loss> {
    // SAFETY: the helper has no argument and no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    FRAMES.get_ptr_mut(cpu).ok_or(Loss::Map)
}
