//! The one probe on the packet path: the state transition, called once for each packet of a connection in either direction.
//!
//! A record in its last phase costs a look-up, a clock and a state; headers are read only while they can still tell something.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ipvs_observer_common::{Connection, Loss, phase};

use crate::{
    connections::{self, record_of},
    forward::{is_timed, pass},
    headers::Segment,
    kread::{
        Conn, IP_VS_CONN_F_ONE_PACKET, IP_VS_TCP_S_CLOSE, IP_VS_TCP_S_FIN_WAIT,
        IP_VS_TCP_S_SYN_RECV, IP_VS_TCP_S_TIME_WAIT,
    },
    life::track,
    pairing::now_ns,
    phases::{advance, end, first_byte, first_packet, start, turn},
    record::{count_loss, count_transition, settle},
    stream,
};

/// `IP_VS_DIR_INPUT` of `include/net/ip_vs.h`: from the client.
pub(crate) const IP_VS_DIR_INPUT: u32 = 0;
/// `static void tcp_state_transition(struct ip_vs_conn *cp, int direction, const struct sk_buff *skb,
/// struct ip_vs_proto_data *pd[, unsigned int iph_len])`, 5.16 to 7.2.
#[kprobe]
fn tcp_state_transition(ctx: ProbeContext) -> u32 {
    settle(try_tcp(&ctx))
}

fn try_tcp(ctx: &ProbeContext) -> Result<(), Loss> {
    let Some((conn, record)) = packet(ctx)? else {
        return Ok(());
    };
    let now_ns = now_ns();
    go_on(ctx, record.slot, now_ns);
    let state = conn.state()?;
    stream::packet(ctx, conn, state)?;
    if matches!(
        state,
        IP_VS_TCP_S_FIN_WAIT | IP_VS_TCP_S_TIME_WAIT | IP_VS_TCP_S_CLOSE
    ) {
        return closing(ctx, conn, record, state, now_ns);
    }
    note_packet(ctx, record, state, now_ns)?;
    if record.phase >= phase::DONE {
        return Ok(());
    }
    learn(ctx, conn, record, now_ns)
}

/// Leaves a packet from the client to what measures the way that it goes on.
#[inline(always)]
fn go_on(ctx: &ProbeContext, slot: u32, now_ns: u64) {
    if is_timed()
        && from_client(ctx) == Ok(true)
        && let Err(loss) = pass(ctx, slot, now_ns)
    {
        count_loss(loss);
    }
}

/// Remembers what tells later how the connection ended.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "states and directions are small numbers"
)]
fn note_packet(
    ctx: &ProbeContext,
    record: &mut Connection,
    state: u16,
    now_ns: u64,
) -> Result<(), Loss> {
    let direction: u32 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    record.last_ns = now_ns;
    record.state = state as u8;
    record.direction = direction as u8;
    Ok(())
}

/// The prototype is that of `tcp_state_transition`.
#[kprobe]
fn udp_state_transition(ctx: ProbeContext) -> u32 {
    settle(try_udp(&ctx))
}

fn try_udp(ctx: &ProbeContext) -> Result<(), Loss> {
    let Some((conn, record)) = packet(ctx)? else {
        return Ok(());
    };
    let now_ns = now_ns();
    go_on(ctx, record.slot, now_ns);
    stream::packet(ctx, conn, 0)?;
    start(record, now_ns);
    record.last_ns = now_ns;
    match (record.phase, from_client(ctx)?) {
        (phase::NEW, true) if conn.flags()? & IP_VS_CONN_F_ONE_PACKET == 0 => {
            record.mark_ns = now_ns;
            record.request_ns = now_ns;
            record.phase = phase::RESPONSE;
        }
        (phase::RESPONSE, false) => {
            record.flags &= !Connection::HALF_OPEN;
            first_byte(conn, record, now_ns)?;
        }
        (phase::RESPONSE, true) => {
            // The replies may not pass here: a client that goes on is none of a flood.
            record.flags &= !Connection::HALF_OPEN;
            record.request_ns = now_ns;
        }
        (phase::TURNS, client) => turn(conn, record, client, now_ns)?,
        _ => {
            record.flags &= !Connection::HALF_OPEN;
            record.phase = phase::DONE;
        }
    }
    Ok(())
}

/// The prototype is that of `tcp_state_transition`.
#[kprobe]
fn sctp_state_transition(ctx: ProbeContext) -> u32 {
    settle(try_sctp(&ctx))
}

fn try_sctp(ctx: &ProbeContext) -> Result<(), Loss> {
    let Some((conn, record)) = packet(ctx)? else {
        return Ok(());
    };
    let now_ns = now_ns();
    go_on(ctx, record.slot, now_ns);
    stream::packet(ctx, conn, 0)?;
    if record.first_ns != 0 || !from_client(ctx)? {
        record.flags &= !Connection::HALF_OPEN;
    }
    start(record, now_ns);
    record.phase = phase::DONE;
    record.last_ns = now_ns;
    Ok(())
}

/// The connection of this packet and its record, made now if the connection is older than the probes.
///
/// `None` for another network namespace.
#[inline(always)]
fn packet(ctx: &ProbeContext) -> Result<Option<(Conn, &'static mut Connection)>, Loss> {
    let conn = Conn(ctx.arg(0).ok_or(Loss::Unreadable)?);
    let skb: u64 = ctx.arg(2).ok_or(Loss::Unreadable)?;
    let mut record = record_of(conn);
    if record.is_none() {
        if conn.observed_netns()?.is_none() {
            go_on(ctx, Connection::NO_SLOT, 0);
            return Ok(None);
        }
        if let Err(loss) = adopt(conn, from_client(ctx)?) {
            count_loss(loss);
        }
        record = record_of(conn);
    }
    let Some(record) = record else {
        count_transition(skb, Connection::NO_SLOT);
        go_on(ctx, Connection::NO_SLOT, 0);
        return Ok(None);
    };
    // SAFETY: the record lives until the connection is freed, which waits for the packets in flight. Of two packets on two
    // CPUs one leaves the phase (`phases::enter`); of all else the later store stands.
    let record = unsafe { &mut *record };
    count_transition(skb, record.slot);
    Ok(Some((conn, record)))
}

/// Makes the record that a packet does not find.
///
/// A half-open connection without one has made room for another, or is older than the agent: it gets none until its
/// client goes on. A function of its own must return what fits one register: the verifier knows no other.
#[inline(never)]
fn adopt(conn: Conn, from_client: bool) -> Result<(), Loss> {
    let is_fresh = conn.is_fresh()?;
    if !is_fresh && !from_client && conn.state()? == IP_VS_TCP_S_SYN_RECV && conn.is_tcp()? {
        return Ok(());
    }
    // One that began without room was counted as lost then, and each of its packets comes here.
    if connections::have_room(conn) {
        let _ = track(conn, is_fresh);
    }
    Ok(())
}

/// Learns what the packet tells before the last phase.
#[inline(always)]
fn learn(ctx: &ProbeContext, conn: Conn, record: &mut Connection, now_ns: u64) -> Result<(), Loss> {
    let segment = Segment::read(ctx)?;
    advance(conn, record, from_client(ctx)?, &segment, now_ns)
}

/// A packet of a connection of which at least one side has had enough.
///
/// A SYN opens the same `ip_vs_conn` again where it is persistent, or `net.ipv4.vs.conn_reuse_mode` is 0, or IPVS does not
/// see the replies, without which it leaves `FIN_WAIT` for nothing else: that is a connection of its own.
#[inline(never)]
fn closing(
    ctx: &ProbeContext,
    conn: Conn,
    record: &mut Connection,
    state: u16,
    now_ns: u64,
) -> Result<(), Loss> {
    let is_half_closed = state == IP_VS_TCP_S_FIN_WAIT;
    let from_client = from_client(ctx)?;
    if from_client || (is_half_closed && record.phase < phase::DONE) {
        let segment = Segment::read(ctx)?;
        if from_client && segment.is_syn() {
            return reopen(conn, record, state, &segment, now_ns);
        }
        if is_half_closed {
            note_packet(ctx, record, state, now_ns)?;
            return advance(conn, record, from_client, &segment, now_ns);
        }
    }
    if is_half_closed {
        return note_packet(ctx, record, state, now_ns);
    }
    record.last_ns = now_ns;
    end(conn, record, state == IP_VS_TCP_S_CLOSE)
}

/// Begins the next connection of the same client and ports.
#[inline(always)]
fn reopen(
    conn: Conn,
    record: &mut Connection,
    state: u16,
    segment: &Segment,
    now_ns: u64,
) -> Result<(), Loss> {
    end(conn, record, state == IP_VS_TCP_S_CLOSE)?;
    *record = Connection::fresh(record.slot, record.fingerprint);
    record.flags |= Connection::HALF_OPEN;
    stream::begin(conn, record.slot);
    stream::opened(conn, record.slot);
    first_packet(record, segment, now_ns)?;
    record.last_ns = now_ns;
    Ok(())
}

#[inline(always)]
fn from_client(ctx: &ProbeContext) -> Result<bool, Loss> {
    let direction: u32 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    Ok(direction == IP_VS_DIR_INPUT)
}
