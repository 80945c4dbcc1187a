//! The life of a connection's record: made with the connection, taken away with it.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use ipvs_observer_common::{Connection, Loss, Measure, phase};

use crate::{
    kread::{Conn, IP_VS_CONN_F_ONE_PACKET, IP_VS_CONN_F_SYNC, IP_VS_CONN_F_TEMPLATE},
    maps::CONNECTIONS,
    record::{count, count_loss, map_loss, observe, settle, slot_of},
};

/// `struct ip_vs_conn *ip_vs_conn_new(const struct ip_vs_conn_param *p, …)`, 5.16 to 7.2.
///
/// A record made here replaces one that a missed end has left at the same address.
#[kretprobe]
fn ip_vs_conn_new(ctx: RetProbeContext) -> u32 {
    settle(try_conn_new(&ctx))
}

fn try_conn_new(ctx: &RetProbeContext) -> Result<(), Loss> {
    /// Not a connection, or one that is not new: its first packet tells.
    const OTHERS: u32 = IP_VS_CONN_F_TEMPLATE | IP_VS_CONN_F_SYNC;
    let conn = Conn(ctx.ret());
    if conn.0 == 0 || conn.flags()? & OTHERS != 0 || !conn.is_observed()? {
        return Ok(());
    }
    let slot = track(conn, true)?;
    debug!(ctx, "connection {:x} goes to slot {}", conn.0, slot);
    Ok(())
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
    if conn.flags()? & IP_VS_CONN_F_ONE_PACKET == 0 || record_of(conn).is_none() {
        return Ok(());
    }
    CONNECTIONS
        .remove(&conn.0)
        .map_err(|error| map_loss(error, Loss::Map))
}

/// `static void ip_vs_conn_rcu_free(struct rcu_head *head)`, 5.16 to 7.2: once for each connection that is not one-packet.
#[kprobe]
fn ip_vs_conn_rcu_free(ctx: ProbeContext) -> u32 {
    settle(try_conn_rcu_free(&ctx))
}

fn try_conn_rcu_free(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn = Conn::from_rcu_head(ctx.arg(0).ok_or(Loss::Unreadable)?);
    let Some(record) = record_of(conn) else {
        return Ok(());
    };
    // SAFETY: the connection is unlinked, so no packet of it is in flight on another CPU.
    let record = unsafe { &mut *record };
    let unanswered = matches!(record.phase, phase::SYN | phase::SYN_ACK);
    let slot = record.slot;
    let settled = settle_duration(record);
    CONNECTIONS
        .remove(&conn.0)
        .map_err(|error| map_loss(error, Loss::Map))?;
    if unanswered {
        count(slot, |counters| counters.unanswered += 1)?;
    }
    settled
}

/// The record of `conn`, if it has one.
#[inline(always)]
pub(crate) fn record_of(conn: Conn) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(&conn.0)
}

/// Makes a record for `conn` in place of any other, and gives its slot.
///
/// A connection that cannot be given to a server is a loss; it gets a record all the same, so that it is one only once.
#[inline(always)]
pub(crate) fn track(conn: Conn, is_fresh: bool) -> Result<u32, Loss> {
    let slot = match conn.server_key().and_then(|key| slot_of(&key)) {
        Ok(slot) => slot,
        Err(loss) => {
            count_loss(loss);
            Connection::NO_SLOT
        }
    };
    let is_new = is_fresh && slot != Connection::NO_SLOT;
    let record = if is_new {
        Connection::fresh(slot)
    } else {
        Connection::preexisting(slot)
    };
    CONNECTIONS
        .insert(&conn.0, &record, 0)
        .map_err(|error| map_loss(error, Loss::ConnectionsFull))?;
    // Not before: without room for a record every packet comes here.
    if !is_new {
        count(slot, |counters| counters.preexisting += 1)?;
    }
    Ok(slot)
}

/// Records the duration of a connection, once.
#[inline(always)]
pub(crate) fn settle_duration(record: &mut Connection) -> Result<(), Loss> {
    const NOTHING_TO_RECORD: u8 = Connection::SETTLED | Connection::PREEXISTING;
    if record.flags & NOTHING_TO_RECORD != 0 || record.first_ns == 0 {
        return Ok(());
    }
    record.flags |= Connection::SETTLED;
    observe(
        record.slot,
        Measure::Duration,
        record.last_ns - record.first_ns,
    )
}
