//! Sweeps over all connections: the kernel shows each to the agent, which reads the file of connections and throws the
//! text away.
//!
//! The program does nothing unless the agent itself reads. It costs packets nothing, but where
//! an interrupt brings one while it runs, the packet's probes are missed, and that is counted.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ipvs_observer_common::{Connection, Loss, SYN_RECV, Swept, TCP_STATES, phase};

use crate::{
    connections::record_of,
    kread::{Conn, IP_VS_CONN_F_TEMPLATE},
    life::track,
    live::is_asked_by_agent,
    maps::{CONTROL, SWEPT},
    record::settle,
    slots::slot_of_server,
};

/// `SEQ_START_TOKEN` of `include/linux/seq_file.h`: the line of titles.
const SEQ_START_TOKEN: u64 = 1;

/// `static int ip_vs_conn_seq_show(struct seq_file *seq, void *v)`, 5.16 to 7.2.
///
/// Before 7.1 the connections of all network namespaces come here, and those of others than the reader's are not printed.
#[kprobe]
fn ip_vs_conn_seq_show(ctx: ProbeContext) -> u32 {
    settle(try_show(&ctx))
}

fn try_show(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn: u64 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    if conn == SEQ_START_TOKEN || !is_asked_by_agent() {
        return Ok(());
    }
    let conn = Conn(conn);
    let control = CONTROL.get(0).ok_or(Loss::Map)?;
    if conn.flags()? & IP_VS_CONN_F_TEMPLATE != 0 || conn.observed_netns()? != Some(control.netns) {
        return Ok(());
    }
    if control.is_seeding != 0 {
        seed(conn)
    } else {
        gather(conn, control.sweep)
    }
}

/// Makes the record of a connection that is older than the agent.
///
/// One that has had no packet is just being made, and the programs that see it made or see its first packet make its
/// record.
#[inline(never)]
fn seed(conn: Conn) -> Result<(), Loss> {
    if record_of(conn).is_some() || conn.is_fresh()? {
        return Ok(());
    }
    let _ = track(conn, false);
    Ok(())
}

/// Counts the connection for its server.
#[inline(never)]
fn gather(conn: Conn, sweep: u32) -> Result<(), Loss> {
    let known = match record_of(conn) {
        // SAFETY: see `record_of`.
        Some(record) => unsafe { &mut *record },
        None => {
            &mut Connection::preexisting(slot_of_server(conn).unwrap_or(Connection::NO_SLOT), 0)
        }
    };
    let stamp = stamp(sweep);
    if known.slot == Connection::NO_SLOT || known.swept == stamp {
        return Ok(());
    }
    known.swept = stamp;
    let swept = SWEPT.get_ptr_mut(known.slot).ok_or(Loss::Map)?;
    // SAFETY: the element lives as long as the map, and one sweep is made at a time.
    let swept = unsafe { &mut *swept };
    if swept.sweep != sweep {
        *swept = EMPTY;
        swept.sweep = sweep;
    }
    add(swept, conn, known)
}

#[inline(always)]
fn add(swept: &mut Swept, conn: Conn, known: &Connection) -> Result<(), Loss> {
    let is_tcp = conn.is_tcp()?;
    let state = usize::from(conn.state()?);
    if is_tcp && state < TCP_STATES {
        swept.tcp[state] += 1;
    } else {
        swept.other += 1;
    }
    if known.flags & Connection::PREEXISTING != 0 || known.first_ns == 0 {
        swept.begun_unseen += 1;
        return Ok(());
    }
    keep_older(&mut swept.oldest_ns, known.first_ns);
    if is_tcp && state == SYN_RECV {
        keep_older(&mut swept.oldest_syn_recv_ns, known.first_ns);
    }
    // In these phases an answer is waited for: to the SYN, or to the first datagram.
    let waits = if is_tcp { phase::SYN } else { phase::RESPONSE };
    if known.phase == waits {
        swept.unanswered += 1;
    }
    Ok(())
}

/// Each sweep comes to all records, so that a small number tells this one from the one before; 0 is of no sweep.
#[inline(always)]
const fn stamp(sweep: u32) -> u8 {
    (sweep % 255) as u8 + 1
}

/// Zero is no time.
#[inline(always)]
fn keep_older(oldest_ns: &mut u64, first_ns: u64) {
    if *oldest_ns == 0 || first_ns < *oldest_ns {
        *oldest_ns = first_ns;
    }
}

/// Nothing found.
const EMPTY: Swept = Swept {
    oldest_ns: 0,
    oldest_syn_recv_ns: 0,
    sweep: 0,
    tcp: [0; TCP_STATES],
    other: 0,
    begun_unseen: 0,
    unanswered: 0,
    reserved: 0,
};
