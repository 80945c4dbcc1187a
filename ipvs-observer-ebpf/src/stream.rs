//! Events of single connections, while a stream is open: filtered here, sent through one ring buffer.
//!
//! Those who see what happens call this; without a stream the settings are frozen at nothing, and the verifier leaves all
//! of it out. What is kept of a connection besides its record is its `Trace`, made only for those that the filters want
//! (`trace`, `filter`).
//! Each event that is not sent is counted on its CPU with its cause, and the next one that is carries the count of the
//! lost, so that the reader can say where in the stream they are missing.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers are packed into registers and taken out again; protocols have 8 bits"
)]

mod filter;
mod stack;
mod trace;

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{EbpfContext, helpers::bpf_get_smp_processor_id, programs::ProbeContext};
use ipvs_observer_common::{
    Connection, Ending, Event, EventKind, Loss, Measure, STAGES, ServerKey, StackedEvent,
    StreamCounts, StreamEvent, StreamLoss, Trace,
};

use self::{
    filter::{Verdict, judge},
    stack::{Asked, stack_of, take_stack},
    trace::{add_packet, add_repeated, add_stage, begin_trace, note_state},
};
use crate::{
    connections::record_of,
    globals::{forget, frozen},
    headers::{packet_bytes, sender},
    kread::{
        Conn, IP_VS_TCP_S_CLOSE, IP_VS_TCP_S_CLOSE_WAIT, IP_VS_TCP_S_ESTABLISHED,
        IP_VS_TCP_S_FIN_WAIT, IP_VS_TCP_S_LAST_ACK, IP_VS_TCP_S_SYN_RECV, IP_VS_TCP_S_TIME_WAIT,
        Peer,
    },
    maps::{EVENTS, SERVER_KEYS, STREAM_COUNTS, TRACES},
    pairing::now_ns,
    transition::IP_VS_DIR_INPUT,
};

/// Does not wake the reader (`BPF_RB_NO_WAKEUP` of the uapi header `bpf.h`).
const BPF_RB_NO_WAKEUP: u64 = 1;
/// Wakes the reader (`BPF_RB_FORCE_WAKEUP`).
const BPF_RB_FORCE_WAKEUP: u64 = 2;
/// Asks for the bytes that wait (`BPF_RB_AVAIL_DATA`).
const BPF_RB_AVAIL_DATA: u64 = 0;
/// Bytes that the kernel puts before each record (`BPF_RINGBUF_HDR_SZ`).
const RING_HEADER_BYTES: u64 = 8;

/// What an exported function gives.
const DONE: u32 = 0;

/// Whether a stream is open.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    crate::STREAMS && frozen!(STREAM.kinds) != 0
}

#[inline(always)]
fn wants(kind: EventKind) -> bool {
    crate::STREAMS && frozen!(STREAM.kinds) & kind.bit() != 0
}

/// Begins to keep what `conn` needs for its events, anew where something is left of another.
#[inline(always)]
pub(crate) fn begin(conn: Conn, slot: u32) {
    if is_open() {
        begin_trace(conn.0, slot);
    }
}

/// Ends it.
#[inline(always)]
pub(crate) fn forget_trace(conn: Conn) {
    if is_open() {
        // Most connections have none where a filter is set.
        let _ = TRACES.remove(&conn.0);
    }
}

/// Counts a packet of `conn`, which is in `state` before it; 0 for what has no states.
#[inline(always)]
pub(crate) fn packet(ctx: &ProbeContext, conn: Conn, state: u16) -> Result<(), Loss> {
    if !is_open() {
        return Ok(());
    }
    let direction: u32 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    let skb: u64 = ctx.arg(2).ok_or(Loss::Unreadable)?;
    add_packet(conn.0, direction, packet_bytes(skb)?, u32::from(state));
    Ok(())
}

/// Counts a SYN that came again.
#[inline(always)]
pub(crate) fn syn_repeated(conn: Conn) {
    if is_open() {
        add_repeated(conn.0);
    }
}

/// Notes what a stage of `conn` took, and tells of it if that is too long.
#[inline(always)]
pub(crate) fn stage(conn: Conn, slot: u32, measure: Measure, value_ns: u64) {
    if is_open() {
        add_stage(conn.0, slot, measure as u32, value_ns, 0);
    }
}

/// As [`stage`] of the choice of a server, which took so long in the call that `ctx` leaves.
#[inline(always)]
pub(crate) fn scheduled(ctx: &impl EbpfContext, conn: Conn, slot: u32, value_ns: u64) {
    if !is_open() {
        return;
    }
    let least_ns = frozen!(STREAM.slower_than_ns[Measure::Schedule as usize]);
    let is_told = wants(EventKind::Slow) && least_ns != 0 && value_ns >= least_ns;
    let stack = if is_told { take_stack(ctx, 0) } else { 0 };
    add_stage(conn.0, slot, Measure::Schedule as u32, value_ns, stack);
}

/// A connection was made.
#[inline(always)]
pub(crate) fn opened(conn: Conn, slot: u32) {
    if wants(EventKind::Opened) {
        send(conn.0, 0, slot, what(EventKind::Opened, 0), 0);
    }
}

/// Its handshake is complete.
#[inline(always)]
pub(crate) fn established(conn: Conn, slot: u32) {
    if wants(EventKind::Established) {
        send(conn.0, 0, slot, what(EventKind::Established, 0), 0);
    }
}

/// It was refused, which is its end here, whatever is left of it in IPVS.
#[inline(always)]
pub(crate) fn refused(conn: Conn, record: &mut Connection) {
    if !is_open() {
        return;
    }
    record.flags |= Connection::TOLD;
    if wants(EventKind::Refused) {
        let what = what(EventKind::Refused, Ending::Refused as u32);
        send(conn.0, 0, record.slot, what, 0);
    }
}

/// Nobody completed its handshake.
#[inline(always)]
pub(crate) fn unanswered(conn: Conn, slot: u32) {
    if wants(EventKind::Unanswered) {
        let what = what(EventKind::Unanswered, Ending::Unanswered as u32);
        send(conn.0, 0, slot, what, 0);
    }
}

/// It has ended.
#[inline(always)]
pub(crate) fn closed(conn: Conn, record: &Connection) {
    if wants(EventKind::Closed) && record.flags & Connection::TOLD == 0 {
        let how = (u32::from(record.state) << 1) | u32::from(record.direction & 1);
        send_closed(conn.0, record.slot, how);
    }
}

/// A packet of `conn`, or without one the packet `skb`, was dropped; 0 where either is not known.
#[inline(always)]
pub(crate) fn dropped(ctx: &impl EbpfContext, conn: u64, skb: u64, slot: u32, reason: Event) {
    dropped_from(ctx, 0, conn, skb, slot, reason);
}

/// As [`dropped`], by the code at `location`, where a tracepoint says so.
#[inline(always)]
pub(crate) fn dropped_from(
    ctx: &impl EbpfContext,
    location: u64,
    conn: u64,
    skb: u64,
    slot: u32,
    reason: Event,
) {
    if wants(EventKind::Dropped) && reason.is_drop() {
        let what = what(EventKind::Dropped, reason as u32) | take_stack(ctx, location);
        send(conn, skb, slot, what, 0);
    }
}

/// The connection of the newest packet on this CPU; 0 if none is remembered.
#[inline(always)]
pub(crate) fn newest_conn() -> u64 {
    if !is_open() {
        return 0;
    }
    // SAFETY: see `counts`.
    counts().map_or(0, |counts| unsafe { (*counts).conn })
}

#[inline(always)]
fn what(kind: EventKind, detail: u32) -> u64 {
    u64::from(detail) << 32 | u64::from(kind as u32)
}

/// `how` is the state before the newest packet, and in the lowest bit that packet's direction.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_closed(conn: u64, slot: u32, how: u32) -> u32 {
    let Ok(ending) = ending(Conn(conn), how) else {
        lose(StreamLoss::Unreadable);
        return DONE;
    };
    send(conn, 0, slot, what(EventKind::Closed, ending as u32), 0)
}

#[inline(always)]
fn ending(conn: Conn, how: u32) -> Result<Ending, Loss> {
    if !conn.is_tcp()? {
        return Ok(Ending::Expired);
    }
    let state = conn.state()?;
    if let Some(trace) = TRACES.get_ptr_mut(&conn.0) {
        // SAFETY: see `add_packet`.
        note_state(unsafe { &raw mut (*trace).history }, u64::from(state));
    }
    let before = (how >> 1) as u16;
    // From the other states the last ACK leads to CLOSE too.
    let was_open = matches!(
        before,
        IP_VS_TCP_S_ESTABLISHED
            | IP_VS_TCP_S_SYN_RECV
            | IP_VS_TCP_S_FIN_WAIT
            | IP_VS_TCP_S_CLOSE_WAIT
    );
    Ok(match state {
        IP_VS_TCP_S_CLOSE if was_open && how & 1 == IP_VS_DIR_INPUT => Ending::ResetByClient,
        IP_VS_TCP_S_CLOSE if was_open => Ending::ResetByServer,
        IP_VS_TCP_S_CLOSE
        | IP_VS_TCP_S_CLOSE_WAIT
        | IP_VS_TCP_S_FIN_WAIT
        | IP_VS_TCP_S_LAST_ACK
        | IP_VS_TCP_S_TIME_WAIT => Ending::Finished,
        _ => Ending::Expired,
    })
}

/// Sends an event, or counts why it is not sent; `what` is its kind, its detail, and how its stack was taken.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send(conn: u64, skb: u64, slot: u32, what: u64, value_ns: u64) -> u32 {
    let Some(counts) = counts() else {
        return DONE;
    };
    let peer = if conn != 0 {
        Conn(conn).peer()
    } else {
        sender(skb)
    };
    let Ok(peer) = peer else {
        lose(StreamLoss::Unreadable);
        return DONE;
    };
    let peer = peer.forgotten();
    match judge(&peer, slot) {
        Verdict::Wanted => {}
        Verdict::Filtered => {
            // SAFETY: see `counts`.
            bump(unsafe { &raw mut (*counts).filtered });
            return DONE;
        }
        Verdict::Sampled => {
            // SAFETY: as above.
            bump(unsafe { &raw mut (*counts).sampled });
            return DONE;
        }
    }
    let (kind, detail) = (u32::from(what as u8), (what >> 32) as u32);
    let trace = TRACES.get_ptr(&conn);
    if !has_ending(kind, detail) || !is_slow(kind, trace) {
        // SAFETY: as above.
        bump(unsafe { &raw mut (*counts).filtered });
        return DONE;
    }
    let method = if conn == 0 {
        StreamEvent::NO_METHOD
    } else {
        Conn(conn).method().unwrap_or(StreamEvent::NO_METHOD)
    };
    let facts = Facts {
        peer,
        times: forgotten(times(conn)),
        method: forget(u64::from(method)) as u8,
        slot,
        kind,
        detail,
        value_ns,
        // SAFETY: as above.
        lost: unsafe { (*counts).lost },
        trace,
    };
    match stack_of(what) {
        Asked::Nothing => send_plain(&facts),
        Asked::Taken(stack) => {
            let Some(mut entry) = EVENTS.reserve::<StackedEvent>(0) else {
                lose(StreamLoss::BufferFull);
                return DONE;
            };
            // SAFETY: the entry is as large as it says, and every member is written.
            let stacked = unsafe { &mut *entry.as_mut_ptr() };
            facts.write(&mut stacked.event);
            // SAFETY: an element of a map, which this CPU's programs of its kind write alone.
            stacked.stack = unsafe { *stack };
            entry.submit(wakeup(size_of::<StackedEvent>()));
        }
        Asked::Missing => {
            // SAFETY: as above.
            bump(unsafe { &raw mut (*counts).stackless });
            send_plain(&facts);
        }
    }
    DONE
}

#[inline(always)]
fn send_plain(facts: &Facts) {
    let Some(mut entry) = EVENTS.reserve::<StreamEvent>(0) else {
        lose(StreamLoss::BufferFull);
        return;
    };
    // SAFETY: the entry is as large as an event, and every member is written.
    facts.write(unsafe { &mut *entry.as_mut_ptr() });
    entry.submit(wakeup(size_of::<StreamEvent>()));
}

/// What an event tells.
struct Facts {
    peer: Peer,
    /// See [`times`].
    times: (u64, u64, u8),
    method: u8,
    slot: u32,
    kind: u32,
    detail: u32,
    value_ns: u64,
    lost: [u64; StreamLoss::ALL.len()],
    trace: Option<*const Trace>,
}

impl Facts {
    #[inline(always)]
    fn write(&self, event: &mut StreamEvent) {
        let (first_ns, last_ns, is_preexisting) = self.times;
        event.at_ns = now_ns();
        event.lost = [self.lost[0] as u32, self.lost[1] as u32];
        event.first_ns = first_ns;
        event.last_ns = last_ns;
        event.value_ns = self.value_ns;
        event.client = self.peer.address;
        event.client_family = self.peer.family;
        event.client_port = self.peer.port;
        event.protocol = self.peer.protocol;
        event.kind = self.kind;
        event.detail = self.detail;
        event.cpu = current_cpu();
        event.method = self.method;
        event.flags = is_preexisting;
        match self.trace {
            Some(trace) => {
                // SAFETY: see `add_packet`; others may write it meanwhile.
                event.trace = unsafe { *trace };
                event.flags |= StreamEvent::HAS_TRACE;
            }
            None => event.trace = Trace::default(),
        }
        match SERVER_KEYS.get(self.slot) {
            Some(key) => event.server = *key,
            None => event.server = ServerKey::unnamed(0),
        }
    }
}

/// What the record of `conn` knows: the times of its first and newest packet, and [`StreamEvent::PREEXISTING`].
#[inline(always)]
fn times(conn: u64) -> (u64, u64, u8) {
    if conn == 0 {
        return (0, 0, 0);
    }
    match record_of(Conn(conn)) {
        Some(record) => {
            // SAFETY: see `record_of`; the caller holds the connection.
            let record = unsafe { &*record };
            let is_preexisting = if record.flags & Connection::PREEXISTING == 0 {
                0
            } else {
                StreamEvent::PREEXISTING
            };
            (record.first_ns, record.last_ns, is_preexisting)
        }
        None => (0, 0, 0),
    }
}

/// Up to Linux 6.1 the verifier takes each constant that these can be for another way through all that follows.
#[inline(always)]
fn forgotten((first_ns, last_ns, flag): (u64, u64, u8)) -> (u64, u64, u8) {
    (forget(first_ns), forget(last_ns), forget(u64::from(flag)) as u8)
}

/// Wakes the reader when so much waits behind a record of `bytes`; it looks by itself after the time that it chose.
#[inline(always)]
pub(crate) fn wakeup(bytes: usize) -> u64 {
    let waiting = EVENTS.query(BPF_RB_AVAIL_DATA);
    let watermark = frozen!(STREAM.watermark_bytes);
    let own = bytes as u64 + RING_HEADER_BYTES;
    // Once, since a reader that is slow is awake already.
    if waiting >= watermark && waiting - own < watermark {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }
}

/// Whether the endings that are asked for have this event.
#[inline(always)]
fn has_ending(kind: u32, detail: u32) -> bool {
    let endings = frozen!(STREAM.endings);
    let is_end = kind == EventKind::Closed as u32
        || kind == EventKind::Refused as u32
        || kind == EventKind::Unanswered as u32;
    endings == 0 || (is_end && endings & (1 << (detail & 31)) != 0)
}

/// Whether a stage of the connection took as long as is asked for.
#[inline(always)]
fn is_slow(kind: u32, trace: Option<*const Trace>) -> bool {
    if frozen!(STREAM.is_slow_only) == 0 || kind == EventKind::Slow as u32 {
        return true;
    }
    let Some(trace) = trace else {
        return false;
    };
    let mut is_slow = false;
    for index in 0..STAGES {
        let least_ns = frozen!(STREAM.slower_than_ns[index]);
        // SAFETY: see `add_packet`.
        let took_ns = unsafe { (*trace).stages_ns[index] };
        // A stage that is not known took 0.
        is_slow |= least_ns != 0 && took_ns >= least_ns;
    }
    is_slow
}

#[inline(always)]
pub(crate) fn lose(loss: StreamLoss) {
    if let Some(counts) = counts() {
        // SAFETY: see `counts`.
        bump(unsafe { &raw mut (*counts).lost[loss as usize] });
    }
}

/// This CPU's counts, which live as long as the map. A tracepoint can interrupt a probe, so that adds are atomic.
#[inline(always)]
pub(crate) fn counts() -> Option<*mut StreamCounts> {
    STREAM_COUNTS.get_ptr_mut(current_cpu())
}

#[inline(always)]
fn bump(place: *mut u64) {
    add(place, 1);
}

#[inline(always)]
fn add(place: *mut u64, value: u64) {
    // SAFETY: all places here are aligned ones in elements of maps.
    unsafe { atomic_xadd::<_, _, { AtomicOrdering::Relaxed }>(place, value) };
}

#[inline(always)]
pub(crate) fn current_cpu() -> u32 {
    // SAFETY: the helper has no argument and no precondition.
    unsafe { bpf_get_smp_processor_id() }
}
