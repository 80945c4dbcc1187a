//! What is kept of a connection for its events, beside its record.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use ipvs_observer_common::{EventKind, STAGES, Trace};

use super::{
    DONE, add, bump, counts,
    filter::{Verdict, judge},
    send, wants, what,
};
use crate::{globals::frozen, kread::Conn, maps::TRACES, transition::IP_VS_DIR_INPUT};

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn begin_trace(conn: u64, slot: u32) -> u32 {
    static EMPTY: Trace = Trace {
        packets: [0; 2],
        bytes: [0; 2],
        syn_repeated: 0,
        history: 0,
        stages_ns: [0; STAGES],
        known: 0,
    };
    let is_wanted = match Conn(conn).peer() {
        Ok(peer) => judge(&peer, slot) == Verdict::Wanted,
        // Its events are lost, each counted when it comes.
        Err(_) => false,
    };
    if !is_wanted {
        let _ = TRACES.remove(&conn);
    } else if TRACES.insert(&conn, &EMPTY, 0).is_err()
        && let Some(counts) = counts()
    {
        // SAFETY: see `counts`.
        bump(unsafe { &raw mut (*counts).untraced });
    }
    DONE
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn add_packet(conn: u64, direction: u32, bytes: u32, state: u32) -> u32 {
    if let Some(counts) = counts() {
        // SAFETY: see `counts`.
        unsafe { (*counts).conn = conn };
    }
    let Some(trace) = TRACES.get_ptr_mut(&conn) else {
        return DONE;
    };
    let from_server = usize::from(direction != IP_VS_DIR_INPUT);
    // SAFETY: the element lives until the connection ends, or is another connection's from then on.
    let packets = unsafe { &raw mut (*trace).packets[from_server] };
    // SAFETY: as above.
    let sum = unsafe { &raw mut (*trace).bytes[from_server] };
    // SAFETY: as above.
    let history = unsafe { &raw mut (*trace).history };
    bump(packets);
    add(sum, u64::from(bytes));
    note_state(history, u64::from(state));
    DONE
}

/// Of two packets on two CPUs that would note the same state one does.
#[inline(always)]
pub(super) fn note_state(history: *mut u64, state: u64) {
    // SAFETY: the place is one of a map's element.
    let old = unsafe { history.read_volatile() };
    if state == 0 || old & 0xf == state {
        return;
    }
    let new = old << 4 | (state & 0xf);
    // SAFETY: elements of maps are aligned.
    let _ = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            history, old, new,
        )
    };
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn add_repeated(conn: u64) -> u32 {
    if let Some(trace) = TRACES.get_ptr_mut(&conn) {
        // SAFETY: see `add_packet`.
        bump(unsafe { &raw mut (*trace).syn_repeated });
    }
    DONE
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn add_stage(
    conn: u64,
    slot: u32,
    measure: u32,
    value_ns: u64,
    stack: u64,
) -> u32 {
    let index = measure as usize;
    if index >= STAGES || value_ns > i64::MAX.cast_unsigned() {
        return DONE;
    }
    if let Some(trace) = TRACES.get_ptr_mut(&conn) {
        // SAFETY: see `add_packet`.
        let trace = unsafe { &mut *trace };
        let stage = &mut trace.stages_ns[index];
        // Turns come many times, everything else once.
        *stage = value_ns.max(*stage);
        trace.known |= 1 << measure;
    }
    let least_ns = frozen!(STREAM.slower_than_ns[index]);
    if wants(EventKind::Slow) && least_ns != 0 && value_ns >= least_ns {
        send(conn, 0, slot, what(EventKind::Slow, measure) | stack, value_ns);
    }
    DONE
}
