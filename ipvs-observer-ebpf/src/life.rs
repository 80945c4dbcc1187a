//! The life of a connection's record: made with the connection, taken away with it.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use ipvs_observer_common::{Connection, Loss, Measure, Program, phase};

use crate::{
    kread::{Conn, IP_VS_CONN_F_ONE_PACKET, IP_VS_CONN_F_TEMPLATE},
    maps::CONNECTIONS,
    record::{count, count_run, observe, settle, slot_of},
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
    if conn.0 == 0 || conn.flags()? & IP_VS_CONN_F_TEMPLATE != 0 || !conn.is_observed()? {
        return Ok(());
    }
    count_run(Program::ConnNew);
    let slot = slot_of(&conn.server_key()?)?;
    debug!(ctx, "connection {:x} goes to slot {}", conn.0, slot);
    track(conn, Connection::fresh(slot))
}

/// `void ip_vs_conn_expire(struct timer_list *t)`, 5.16 to 7.2.
///
/// Of one-packet connections this is the end; all others end in `ip_vs_conn_rcu_free`.
#[kprobe]
fn ip_vs_conn_expire(ctx: ProbeContext) -> u32 {
    settle(try_conn_expire(&ctx))
}

fn try_conn_expire(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn = Conn::from_timer(ctx.arg(0).ok_or(Loss::Unreadable)?);
    if conn.flags()? & IP_VS_CONN_F_ONE_PACKET == 0 {
        return Ok(());
    }
    end(conn, Program::ConnExpire)
}

/// `static void ip_vs_conn_rcu_free(struct rcu_head *head)`, 5.16 to 7.2: once for each connection that is not one-packet.
#[kprobe]
fn ip_vs_conn_rcu_free(ctx: ProbeContext) -> u32 {
    settle(try_conn_rcu_free(&ctx))
}

fn try_conn_rcu_free(ctx: &ProbeContext) -> Result<(), Loss> {
    end(
        Conn::from_rcu_head(ctx.arg(0).ok_or(Loss::Unreadable)?),
        Program::ConnRcuFree,
    )
}

/// The record of `conn`, if it has one.
#[inline(always)]
pub(crate) fn record_of(conn: Conn) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(&conn.0)
}

/// Keeps `record` for `conn` in place of any other.
#[inline(always)]
pub(crate) fn track(conn: Conn, record: Connection) -> Result<(), Loss> {
    CONNECTIONS
        .insert(&conn.0, &record, 0)
        .map_err(|_| Loss::ConnectionsFull)
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

fn end(conn: Conn, program: Program) -> Result<(), Loss> {
    let Some(record) = record_of(conn) else {
        return Ok(());
    };
    count_run(program);
    // SAFETY: the connection is unlinked, so no packet of it is in flight on another CPU.
    let record = unsafe { &mut *record };
    let unanswered = matches!(record.phase, phase::SYN | phase::SYN_ACK);
    let slot = record.slot;
    let settled = settle_duration(record);
    CONNECTIONS.remove(&conn.0).map_err(|_| Loss::Map)?;
    if unanswered {
        count(slot, |counters| counters.unanswered += 1)?;
    }
    settled
}
