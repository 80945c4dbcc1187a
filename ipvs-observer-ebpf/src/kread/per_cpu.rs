//! What the kernel keeps per CPU: live counters, and how those of another CPU are found.
//!
//! `per_cpu_ptr` adds to a per-CPU pointer a number that each CPU has (`__per_cpu_offset`), the same for all pointers. So
//! two things that are kept per CPU are as far apart on every CPU as their per-CPU pointers are. One of them is the
//! element of a map of ours: its per-CPU pointer stands in the map, and a helper tells its address on any CPU.

use aya_ebpf::{cty::c_void, helpers::generated::bpf_map_lookup_percpu_elem};
use ipvs_observer_common::Loss;

use super::{read, read_at};
use crate::{globals::frozen, maps::PER_CPU};

/// Bound of the walk over CPUs, for the verifier: Debian's kernels are built for as many.
const MAX_CPUS: u32 = 8192;

/// Live counters: connections, packets in and out, bytes in and out.
pub(crate) type CounterValues = [u64; 5];

/// Sums the counters of the structure at `owner` over all CPUs, and takes away where they stood when they were zeroed.
#[inline(always)]
pub(crate) fn live_counters(owner: u64, cpustats: u32, zero: u32) -> Result<CounterValues, Loss> {
    let cpustats: u64 = read(owner, cpustats)?;
    let counters = cpustats + u64::from(frozen!(LAYOUT.cpu_counters.offset));
    let behind_element = counters.wrapping_sub(element_pointer()?);
    let cpus = frozen!(SETTINGS.cpus);
    let mut sum: CounterValues = [0; 5];
    for cpu in 0..MAX_CPUS {
        if cpu >= cpus {
            break;
        }
        let values: CounterValues = read_at(element_on(cpu)?.wrapping_add(behind_element))?;
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum = sum.wrapping_add(value);
        }
    }
    let zero: CounterValues = read(owner, zero)?;
    for (sum, zero) in sum.iter_mut().zip(zero) {
        *sum = sum.wrapping_sub(zero);
    }
    Ok(sum)
}

/// The per-CPU pointer to the element of [`PER_CPU`].
#[inline(always)]
fn element_pointer() -> Result<u64, Loss> {
    let map = number((&raw const PER_CPU).cast())?;
    read(map, frozen!(LAYOUT.bpf_array_pptrs.offset))
}

/// Where the element of [`PER_CPU`] is on `cpu`.
#[inline(always)]
fn element_on(cpu: u32) -> Result<u64, Loss> {
    let map = (&raw const PER_CPU).cast_mut().cast();
    let key = 0_u32;
    // SAFETY: the map has such keys, and this one is initialised.
    let element = unsafe { bpf_map_lookup_percpu_elem(map, (&raw const key).cast(), cpu) };
    if element.is_null() {
        return Err(Loss::Map);
    }
    number(element)
}

/// An address as a number. The verifier refuses most arithmetic with what it knows to be a pointer; of the bytes that a
/// helper reads, here those of `pointer` itself, it knows nothing.
#[inline(always)]
fn number(pointer: *const c_void) -> Result<u64, Loss> {
    read_at((&raw const pointer) as u64)
}
