//! The phases of a connection: what a packet tells of the one it is in, and which comes next.
//!
//! Everything that is counted once is counted by the packet that leaves a phase. The packets come from the probe on the
//! state transition (`transition`), the end from there and from the connection's (`life`).

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg},
    mem::offset_of,
};

use ipvs_observer_common::{Connection, Event, Loss, Measure, phase};

use crate::{
    headers::Segment,
    kread::{Conn, IP_VS_TCP_S_CLOSE_WAIT, IP_VS_TCP_S_ESTABLISHED, IP_VS_TCP_S_FIN_WAIT},
    record::{count, is_on, observe},
    stream,
    transition::IP_VS_DIR_INPUT,
};

/// Leaves the phase `from`, and says whether this packet did: of two on two CPUs one does.
#[inline(always)]
pub(crate) fn enter(record: &mut Connection, from: u32, to: u32) -> bool {
    let word = (&raw mut *record)
        .wrapping_byte_add(offset_of!(Connection, fingerprint))
        .cast::<u64>();
    let with = |phase: u32| u64::from(phase) << 32 | u64::from(record.fingerprint);
    let (old, new) = (with(from), with(to));
    // SAFETY: the fingerprint and the phase behind it are an aligned word of the record, and BPF here is little-endian.
    let (_, is_entered) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    };
    is_entered
}

/// Learns what a packet tells of the phase that its connection is in.
#[inline(always)]
pub(crate) fn advance(
    conn: Conn,
    record: &mut Connection,
    from_client: bool,
    segment: &Segment,
    now_ns: u64,
) -> Result<(), Loss> {
    let phase = record.phase;
    match (phase, from_client) {
        (phase::NEW, true) => first_packet(record, segment, now_ns),
        (phase::SYN, false) => answer(conn, record, segment, now_ns),
        (phase::SYN | phase::SYN_ACK, true) if segment.is_syn() => {
            stream::syn_repeated(conn);
            count(record.slot, Event::SynRepeated)
        }
        (phase::SYN | phase::SYN_ACK, true) if segment.is_reset() => {
            record.phase = phase::DONE;
            Ok(())
        }
        (phase::SYN | phase::SYN_ACK, true) => {
            client_answer(conn, record, phase, segment.payload_bytes > 0, now_ns)
        }
        (phase::REQUEST, true) if segment.payload_bytes > 0 => {
            request(record, now_ns);
            Ok(())
        }
        (phase::REQUEST, false) if segment.payload_bytes > 0 => {
            if enter(record, phase::REQUEST, last_phase()) {
                count(record.slot, Event::ServerFirst)
            } else {
                Ok(())
            }
        }
        (phase::RESPONSE, false) if segment.payload_bytes > 0 => first_byte(conn, record, now_ns),
        (phase::RESPONSE, true) if segment.payload_bytes > 0 => {
            record.request_ns = now_ns;
            Ok(())
        }
        (phase::TURNS, client) if segment.payload_bytes > 0 => turn(conn, record, client, now_ns),
        (phase::NEW, false) => {
            start(record, now_ns);
            record.flags &= !Connection::HALF_OPEN;
            record.phase = last_phase();
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) fn first_packet(
    record: &mut Connection,
    segment: &Segment,
    now_ns: u64,
) -> Result<(), Loss> {
    start(record, now_ns);
    if !segment.is_syn() {
        record.flags &= !Connection::HALF_OPEN;
        record.phase = phase::DONE;
        return Ok(());
    }
    record.phase = phase::SYN;
    if segment.payload_bytes > 0 {
        record.flags |= Connection::DATA_IN_SYN;
        count(record.slot, Event::DataInSyn)?;
    }
    Ok(())
}

/// The real server's answer to the SYN.
fn answer(conn: Conn, record: &mut Connection, segment: &Segment, now_ns: u64) -> Result<(), Loss> {
    if segment.is_reset() {
        return refused(conn, record, phase::SYN);
    }
    if !segment.is_syn_ack() || !enter(record, phase::SYN, phase::SYN_ACK) {
        return Ok(());
    }
    record.mark_ns = now_ns;
    took(conn, record, Measure::Connect, now_ns - record.first_ns)
}

/// Counts a connection that its server will not have, or that cannot reach it.
pub(crate) fn refused(conn: Conn, record: &mut Connection, phase: u32) -> Result<(), Loss> {
    if enter(record, phase, phase::DONE) {
        stream::refused(conn, record);
        count(record.slot, Event::Refused)
    } else {
        Ok(())
    }
}

/// What the client sends after its SYN and is neither another one nor a reset; without a return path this is the first
/// that is seen of the handshake's end.
///
/// The ACK and the request that follows it can be here at the same time, and either completes the handshake.
fn client_answer(
    conn: Conn,
    record: &mut Connection,
    phase: u32,
    has_payload: bool,
    now_ns: u64,
) -> Result<(), Loss> {
    let has_return_path = phase == phase::SYN_ACK;
    let syn_ack_ns = record.mark_ns;
    let next = if !has_return_path {
        phase::DONE
    } else if record.flags & Connection::DATA_IN_SYN != 0 {
        last_phase()
    } else {
        phase::REQUEST
    };
    if enter(record, phase, next) {
        record.flags &= !Connection::HALF_OPEN;
        count(record.slot, Event::Established)?;
        took(conn, record, Measure::Handshake, now_ns - record.first_ns)?;
        if has_return_path {
            took(conn, record, Measure::Client, now_ns - syn_ack_ns)?;
        }
        stream::established(conn, record.slot);
    }
    if has_payload {
        request(record, now_ns);
    }
    Ok(())
}

/// The client's first payload, which waits for the response from now on.
fn request(record: &mut Connection, now_ns: u64) {
    if enter(record, phase::REQUEST, phase::RESPONSE) {
        record.mark_ns = now_ns;
        record.request_ns = now_ns;
    }
}

/// The server's first payload after a request.
pub(crate) fn first_byte(conn: Conn, record: &mut Connection, now_ns: u64) -> Result<(), Loss> {
    if enter(record, phase::RESPONSE, last_phase()) {
        took(conn, record, Measure::FirstByte, now_ns - record.mark_ns)?;
    }
    turn(conn, record, false, now_ns)
}

/// A packet with payload of a connection whose turns are timed.
#[inline(always)]
pub(crate) fn turn(
    conn: Conn,
    record: &mut Connection,
    from_client: bool,
    now_ns: u64,
) -> Result<(), Loss> {
    if from_client {
        record.request_ns = now_ns;
        return Ok(());
    }
    if record.request_ns == 0 {
        return Ok(());
    }
    let took_ns = now_ns - record.request_ns;
    record.request_ns = 0;
    if is_on(Measure::Response) {
        took(conn, record, Measure::Response, took_ns)
    } else {
        Ok(())
    }
}

/// Records what a stage took.
#[inline(always)]
fn took(conn: Conn, record: &Connection, measure: Measure, value_ns: u64) -> Result<(), Loss> {
    stream::stage(conn, record.slot, measure, value_ns);
    observe(record.slot, measure, value_ns)
}

/// What comes after the first response.
#[inline(always)]
fn last_phase() -> u32 {
    if is_on(Measure::Response) {
        phase::TURNS
    } else {
        phase::DONE
    }
}

#[inline(always)]
pub(crate) fn start(record: &mut Connection, now_ns: u64) {
    if record.first_ns == 0 {
        record.first_ns = now_ns;
    }
}

/// Counts how a connection ended and how long it took, once; `is_closed` tells a TCP connection in `CLOSE`.
pub(crate) fn end(conn: Conn, record: &mut Connection, is_closed: bool) -> Result<(), Loss> {
    let phase = record.phase;
    if phase == phase::ENDED || !enter(record, phase, phase::ENDED) {
        return Ok(());
    }
    let reset = if is_closed {
        count_reset(record)
    } else {
        Ok(())
    };
    if record.flags & Connection::PREEXISTING == 0 && record.first_ns != 0 {
        took(
            conn,
            record,
            Measure::Duration,
            record.last_ns - record.first_ns,
        )?;
    }
    stream::closed(conn, record);
    reset
}

/// Counts the RST that closed an established connection.
///
/// The newest packet was the one that led from `record.state` to `CLOSE`; from `LAST_ACK` the last ACK leads there too.
#[inline(always)]
fn count_reset(record: &Connection) -> Result<(), Loss> {
    let was_open = matches!(
        u16::from(record.state),
        IP_VS_TCP_S_ESTABLISHED | IP_VS_TCP_S_FIN_WAIT | IP_VS_TCP_S_CLOSE_WAIT
    );
    if !was_open {
        return Ok(());
    }
    if u32::from(record.direction) == IP_VS_DIR_INPUT {
        count(record.slot, Event::ResetByClient)
    } else {
        count(record.slot, Event::ResetByServer)
    }
}
