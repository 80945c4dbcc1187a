//! Arrays of the programs, mapped into the agent's memory: reading one is no system call and keeps no probe from running.
#![expect(
    unsafe_code,
    reason = "memory that the kernel writes can only be reached by pointer"
)]

use std::{io, os::fd::AsFd, ptr};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The kernel rounds each element of an array up to this (`array_map_alloc` in `kernel/bpf/arraymap.c`).
const ELEMENT_ALIGNMENT_BYTES: usize = 8;

/// All elements of a `BPF_F_MMAPABLE` array.
#[derive(Debug)]
pub(super) struct MappedArray {
    start: *mut u8,
    elements: usize,
    stride_bytes: usize,
}

// SAFETY: the mapping is owned, and every access to it is volatile.
unsafe impl Send for MappedArray {}

impl MappedArray {
    /// Maps the array behind `map`, which has `elements` of `element_bytes`.
    pub(super) fn new(map: impl AsFd, elements: usize, element_bytes: usize) -> io::Result<Self> {
        let stride_bytes = element_bytes.next_multiple_of(ELEMENT_ALIGNMENT_BYTES);
        let length = stride_bytes * elements;
        // SAFETY: the kernel chooses the address, so no other memory is touched.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            elements,
            stride_bytes,
        })
    }

    /// A copy of what lies at `offset_bytes` in the element `index`: most elements are too large to be copied whole.
    pub(super) fn read_at<M: Pod>(&self, index: usize, offset_bytes: usize) -> M {
        let member: *mut M = self.member(index, offset_bytes);
        // SAFETY: `member` is mapped and aligned, any bit pattern is an `M`, and the programs may write it meanwhile.
        unsafe { member.read_volatile() }
    }

    /// Replaces what lies at `offset_bytes` in the element `index`.
    pub(super) fn write_at<M: Pod>(&mut self, index: usize, offset_bytes: usize, value: M) {
        let member: *mut M = self.member(index, offset_bytes);
        // SAFETY: `member` is mapped and aligned, and the programs may read it meanwhile.
        unsafe { member.write_volatile(value) };
    }

    fn member<M>(&self, index: usize, offset_bytes: usize) -> *mut M {
        let inside = index < self.elements && offset_bytes + size_of::<M>() <= self.stride_bytes;
        assert!(
            inside && offset_bytes.is_multiple_of(align_of::<M>()),
            "a member of an element of the array"
        );
        // SAFETY: the place is checked to lie inside the mapping; the stride keeps elements aligned.
        unsafe { self.start.add(index * self.stride_bytes + offset_bytes) }.cast()
    }
}

impl Drop for MappedArray {
    fn drop(&mut self) {
        let length = self.stride_bytes * self.elements;
        // SAFETY: the mapping was made with this length and nothing points into it any more.
        // It cannot fail then, and there would be nothing to do about it.
        let _ = unsafe { munmap(self.start.cast(), length) };
    }
}
