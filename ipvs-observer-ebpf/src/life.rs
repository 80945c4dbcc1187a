//! The life of a connection's record: made with the connection, taken away with it.

use aya_ebpf::{
    EbpfContext,
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use ipvs_observer_common::{Connection, Event, Loss, Measure, phase};

use crate::{
    connections::{self, record_of},
    kread::{
        Conn, IP_VS_CONN_F_ONE_PACKET, IP_VS_CONN_F_SYNC, IP_VS_CONN_F_TEMPLATE, IP_VS_TCP_S_CLOSE,
        IP_VS_TCP_S_SYN_RECV,
    },
    late::remember,
    pairing::now_ns,
    phases::{end, enter},
    record::{count, count_loss, is_on, settle},
    slots::{UNOBSERVED, observed, slot_of_server},
    stream,
};

/// `struct ip_vs_conn *ip_vs_conn_new(const struct ip_vs_conn_param *p, …)`, 5.16 to 7.2.
///
/// A record made here replaces one that a missed end has left at the same address.
#[kretprobe]
fn ip_vs_conn_new(ctx: RetProbeContext) -> u32 {
    settle(try_conn_new(&ctx))
}

fn try_conn_new(ctx: &RetProbeContext) -> Result<(), Loss> {
    let conn = Conn(ctx.ret());
    if conn.0 == 0 {
        return Ok(());
    }
    let flags = conn.flags()?;
    // Neither is a new connection: of one that the sync daemon made, the first packet makes the record.
    let other = if flags & IP_VS_CONN_F_SYNC != 0 {
        Event::Synchronised
    } else if flags & IP_VS_CONN_F_TEMPLATE != 0 {
        Event::PersistenceMiss
    } else {
        let Some(slot) = track(conn, true) else {
            forget_stale(conn);
            return Ok(());
        };
        debug!(ctx, "connection {:x} goes to slot {}", conn.0, slot);
        if flags & IP_VS_CONN_F_ONE_PACKET != 0 {
            return count(slot, Event::OnePacket);
        }
        stream::opened(conn, slot);
        return Ok(());
    };
    forget_stale(conn);
    // Templates that the sync daemon made are no miss of anybody.
    if flags & IP_VS_CONN_F_SYNC != 0 && flags & IP_VS_CONN_F_TEMPLATE != 0 {
        return Ok(());
    }
    count_for_connection(ctx, conn, other)
}

/// Takes away what a missed end has left at the address of a connection that gets no record now.
#[inline(always)]
fn forget_stale(conn: Conn) {
    if record_of(conn).is_some() {
        count_loss(Loss::Stale);
        connections::remove(conn);
    }
}

/// `void ip_vs_conn_expire(struct timer_list *t)`, 5.16 to 7.2.
///
/// Of one-packet connections this is the end, and they have no duration; all others end in `ip_vs_conn_rcu_free`.
#[kprobe]
fn ip_vs_conn_expire(ctx: ProbeContext) -> u32 {
    settle(try_conn_expire(&ctx))
}

fn try_conn_expire(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn = Conn::from_timer(ctx.arg(0).ok_or(Loss::Unreadable)?);
    let flags = conn.flags()?;
    let record = record_of(conn);
    if flags & IP_VS_CONN_F_ONE_PACKET != 0 {
        if record.is_some() {
            connections::remove(conn);
            stream::forget_trace(conn);
        }
        return Ok(());
    }
    match record {
        // SAFETY: the record lives until the connection is freed, or until a half-open one makes room.
        Some(record) => expired_unanswered(conn, unsafe { &mut *record }),
        None if flags & IP_VS_CONN_F_TEMPLATE == 0 => expired_unseen(conn),
        None => Ok(()),
    }
}

/// Counts a handshake that nobody has completed, now and not when the connection is freed: in between its record can make
/// room for another. It was no connection that could have a duration, and a flood of them would have most of all durations.
#[inline(always)]
fn expired_unanswered(conn: Conn, record: &mut Connection) -> Result<(), Loss> {
    if !is_unanswered(record) || !conn.is_unused()? || record.fingerprint != conn.fingerprint()? {
        return Ok(());
    }
    let phase = record.phase;
    if enter(record, phase, phase::ENDED) {
        stream::unanswered(conn, record.slot);
        count(record.slot, Event::Unanswered)
    } else {
        Ok(())
    }
}

#[inline(always)]
const fn is_unanswered(record: &Connection) -> bool {
    matches!(record.phase, phase::SYN | phase::SYN_ACK)
}

/// A half-open connection whose record made room for another, which was counted then, was not answered all the same.
#[inline(never)]
fn expired_unseen(conn: Conn) -> Result<(), Loss> {
    if conn.state()? != IP_VS_TCP_S_SYN_RECV || !conn.is_tcp()? || !conn.is_unused()? {
        return Ok(());
    }
    let Some(slot) = slot_of_server(conn) else {
        return Ok(());
    };
    stream::unanswered(conn, slot);
    count(slot, Event::Unanswered)
}

/// `static void ip_vs_conn_rcu_free(struct rcu_head *head)`, 5.16 to 7.2: once for each connection that is not one-packet.
#[kprobe]
fn ip_vs_conn_rcu_free(ctx: ProbeContext) -> u32 {
    settle(try_conn_rcu_free(&ctx))
}

fn try_conn_rcu_free(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn = Conn::from_rcu_head(ctx.arg(0).ok_or(Loss::Unreadable)?);
    let Some(record) = record_of(conn) else {
        stream::forget_trace(conn);
        return Ok(());
    };
    // SAFETY: the connection is unlinked, so no packet of it is in flight on another CPU.
    let record = unsafe { &mut *record };
    let slot = record.slot;
    let fingerprint = conn.fingerprint()?;
    if record.fingerprint != fingerprint
        && record.fingerprint != fingerprint ^ conn.late_client_port()?
    {
        count_loss(Loss::Stale);
        connections::remove(conn);
        return Ok(());
    }
    let ended = if is_unanswered(record) {
        stream::unanswered(conn, slot);
        count(slot, Event::Unanswered)
    } else {
        end(
            conn,
            record,
            conn.state()? == IP_VS_TCP_S_CLOSE && conn.is_tcp()?,
        )
    };
    let remembered = remember(record.fingerprint, slot);
    connections::remove(conn);
    stream::forget_trace(conn);
    ended.and(remembered)
}

/// The slot of the server that `conn` goes to; none if its network namespace is not observed.
#[inline(always)]
pub(crate) fn slot_of_connection(conn: Conn) -> Option<u32> {
    match record_of(conn) {
        // SAFETY: the slot is written before the record is inserted; the caller holds the connection.
        Some(record) => Some(unsafe { (*record).slot }),
        None => slot_of_server(conn),
    }
}

/// Counts `event`, which the program of `ctx` has seen, for the server that `conn` goes to.
#[inline(always)]
pub(crate) fn count_for_connection(
    ctx: &impl EbpfContext,
    conn: Conn,
    event: Event,
) -> Result<(), Loss> {
    match slot_of_connection(conn) {
        Some(slot) => {
            stream::dropped(ctx, conn.0, 0, slot, event);
            count(slot, event)
        }
        None => Ok(()),
    }
}

/// Makes a record for `conn` in place of any other, and gives its slot; `None` in a network namespace that is not observed.
///
/// A connection that cannot be given to a server gets a record all the same, so that it is a loss only once.
#[inline(always)]
pub(crate) fn track(conn: Conn, is_fresh: bool) -> Option<u32> {
    observed(make_record(conn.0, u32::from(is_fresh)))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn make_record(conn: u64, is_fresh: u32) -> u64 {
    let conn = Conn(conn);
    let Some(slot) = slot_of_server(conn) else {
        return UNOBSERVED;
    };
    if let Err(loss) = try_make_record(conn, slot, is_fresh != 0 && slot != Connection::NO_SLOT) {
        count_loss(loss);
    }
    u64::from(slot)
}

#[inline(always)]
fn try_make_record(conn: Conn, slot: u32, is_new: bool) -> Result<(), Loss> {
    let fingerprint = conn.fingerprint()?;
    let mut record = if is_new {
        Connection::fresh(slot, fingerprint)
    } else {
        Connection::preexisting(slot, fingerprint)
    };
    if is_on(Measure::Response) && !is_new {
        record.phase = phase::TURNS;
    }
    if is_new {
        record.flags |= Connection::HALF_OPEN;
    }
    record.last_ns = now_ns();
    stream::begin(conn, slot);
    connections::insert(conn, &record)?;
    count(slot, Event::RecordMade)?;
    // Not before: without room for a record every packet comes here.
    if !is_new {
        count(slot, Event::Preexisting)?;
    }
    Ok(())
}
