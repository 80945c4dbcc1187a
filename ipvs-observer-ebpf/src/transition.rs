//! The one probe on the packet path: the state transition, called once for each packet of a connection in either direction.
//!
//! A record in its last phase costs a look-up, a clock and a state; headers are read only while they can still tell something.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ipvs_observer_common::{Connection, Event, Loss, Measure, phase};

use crate::{
    connections::{self, record_of},
    forward::{is_timed, pass},
    headers::Segment,
    kread::{
        Conn, IP_VS_CONN_F_ONE_PACKET, IP_VS_TCP_S_CLOSE, IP_VS_TCP_S_CLOSE_WAIT,
        IP_VS_TCP_S_ESTABLISHED, IP_VS_TCP_S_FIN_WAIT, IP_VS_TCP_S_SYN_RECV, IP_VS_TCP_S_TIME_WAIT,
    },
    life::{settle_duration, track},
    pairing::now_ns,
    record::{count, count_loss, count_transition, is_on, observe, settle},
};

/// `IP_VS_DIR_INPUT` of `include/net/ip_vs.h`: from the client.
const IP_VS_DIR_INPUT: u32 = 0;
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
    if matches!(
        state,
        IP_VS_TCP_S_FIN_WAIT | IP_VS_TCP_S_TIME_WAIT | IP_VS_TCP_S_CLOSE
    ) {
        return closing(ctx, record, state, now_ns);
    }
    note_packet(ctx, record, state, now_ns)?;
    if record.phase == phase::DONE {
        return Ok(());
    }
    learn(ctx, record, now_ns)
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
            first_byte(record, now_ns)?;
        }
        (phase::RESPONSE, true) => {
            // The replies may not pass here: a client that goes on is none of a flood.
            record.flags &= !Connection::HALF_OPEN;
            record.request_ns = now_ns;
        }
        (phase::TURNS, client) => turn(record, client, now_ns)?,
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
    let Some((_, record)) = packet(ctx)? else {
        return Ok(());
    };
    let now_ns = now_ns();
    go_on(ctx, record.slot, now_ns);
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
    // SAFETY: the record lives until the connection is freed, which waits for the packets in flight;
    // two packets of one connection on two CPUs may race here, and then the later store stands.
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
    // One that began without room is known as lost; each of its packets comes here.
    if is_fresh || connections::have_room(conn) {
        let _ = track(conn, is_fresh);
    }
    Ok(())
}

/// Learns what the packet tells before the last phase.
#[inline(always)]
fn learn(ctx: &ProbeContext, record: &mut Connection, now_ns: u64) -> Result<(), Loss> {
    let segment = Segment::read(ctx)?;
    advance(record, from_client(ctx)?, &segment, now_ns)
}

#[inline(always)]
fn advance(
    record: &mut Connection,
    from_client: bool,
    segment: &Segment,
    now_ns: u64,
) -> Result<(), Loss> {
    match (record.phase, from_client) {
        (phase::NEW, true) => first_packet(record, segment, now_ns),
        (phase::SYN, false) => answer(record, segment, now_ns),
        (phase::SYN | phase::SYN_ACK, true) => client_answer(record, segment, now_ns),
        (phase::REQUEST, true) if segment.payload_bytes > 0 => {
            request(record, now_ns);
            Ok(())
        }
        (phase::REQUEST, false) if segment.payload_bytes > 0 => {
            record.phase = last_phase();
            count(record.slot, Event::ServerFirst)
        }
        (phase::RESPONSE, false) if segment.payload_bytes > 0 => first_byte(record, now_ns),
        (phase::RESPONSE, true) if segment.payload_bytes > 0 => {
            record.request_ns = now_ns;
            Ok(())
        }
        (phase::TURNS, client) if segment.payload_bytes > 0 => turn(record, client, now_ns),
        (phase::NEW, false) => {
            start(record, now_ns);
            record.flags &= !Connection::HALF_OPEN;
            record.phase = last_phase();
            Ok(())
        }
        _ => Ok(()),
    }
}

fn first_packet(record: &mut Connection, segment: &Segment, now_ns: u64) -> Result<(), Loss> {
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
fn answer(record: &mut Connection, segment: &Segment, now_ns: u64) -> Result<(), Loss> {
    if segment.is_reset() {
        record.phase = phase::DONE;
        return count(record.slot, Event::Refused);
    }
    if !segment.is_syn_ack() {
        return Ok(());
    }
    record.mark_ns = now_ns;
    record.phase = phase::SYN_ACK;
    observe(record.slot, Measure::Connect, now_ns - record.first_ns)
}

/// What the client sends after its SYN; without a return path this is the first that is seen of the handshake's end.
fn client_answer(record: &mut Connection, segment: &Segment, now_ns: u64) -> Result<(), Loss> {
    if segment.is_syn() {
        return count(record.slot, Event::SynRepeated);
    }
    if segment.is_reset() {
        record.phase = phase::DONE;
        return Ok(());
    }
    let return_path = record.phase == phase::SYN_ACK;
    let syn_ack_ns = record.mark_ns;
    if !return_path {
        record.phase = phase::DONE;
    } else if record.flags & Connection::DATA_IN_SYN != 0 {
        record.phase = last_phase();
    } else if segment.payload_bytes > 0 {
        request(record, now_ns);
    } else {
        record.phase = phase::REQUEST;
    }
    record.flags |= Connection::ESTABLISHED;
    record.flags &= !Connection::HALF_OPEN;
    count(record.slot, Event::Established)?;
    observe(record.slot, Measure::Handshake, now_ns - record.first_ns)?;
    if return_path {
        observe(record.slot, Measure::Client, now_ns - syn_ack_ns)?;
    }
    Ok(())
}

fn request(record: &mut Connection, now_ns: u64) {
    record.mark_ns = now_ns;
    record.request_ns = now_ns;
    record.phase = phase::RESPONSE;
}

fn first_byte(record: &mut Connection, now_ns: u64) -> Result<(), Loss> {
    record.phase = last_phase();
    observe(record.slot, Measure::FirstByte, now_ns - record.mark_ns)?;
    turn(record, false, now_ns)
}

/// A packet with payload of a connection whose turns are timed.
#[inline(always)]
fn turn(record: &mut Connection, from_client: bool, now_ns: u64) -> Result<(), Loss> {
    if from_client {
        record.request_ns = now_ns;
        return Ok(());
    }
    if record.request_ns == 0 {
        return Ok(());
    }
    let took_ns = now_ns - record.request_ns;
    record.request_ns = 0;
    observe(record.slot, Measure::Response, took_ns)
}

/// What comes after the first response.
#[inline(always)]
fn last_phase() -> u8 {
    if is_on(Measure::Response) {
        phase::TURNS
    } else {
        phase::DONE
    }
}

/// A packet of a connection of which at least one side has had enough.
///
/// A SYN opens the same `ip_vs_conn` again where it is persistent, or `net.ipv4.vs.conn_reuse_mode` is 0, or IPVS does not
/// see the replies, without which it leaves `FIN_WAIT` for nothing else: that is a connection of its own.
#[inline(never)]
fn closing(
    ctx: &ProbeContext,
    record: &mut Connection,
    state: u16,
    now_ns: u64,
) -> Result<(), Loss> {
    if state == IP_VS_TCP_S_CLOSE {
        count_reset(record)?;
    }
    let is_half_closed = state == IP_VS_TCP_S_FIN_WAIT;
    let from_client = from_client(ctx)?;
    if from_client || (is_half_closed && record.phase != phase::DONE) {
        let segment = Segment::read(ctx)?;
        if from_client && segment.is_syn() {
            return reopen(record, &segment, now_ns);
        }
        if is_half_closed {
            note_packet(ctx, record, state, now_ns)?;
            return advance(record, from_client, &segment, now_ns);
        }
    }
    note_packet(ctx, record, state, now_ns)?;
    if is_half_closed {
        return Ok(());
    }
    settle_duration(record)
}

/// Begins the next connection of the same client and ports.
#[inline(always)]
fn reopen(record: &mut Connection, segment: &Segment, now_ns: u64) -> Result<(), Loss> {
    settle_duration(record)?;
    *record = Connection::fresh(record.slot, record.fingerprint);
    record.flags |= Connection::HALF_OPEN;
    first_packet(record, segment, now_ns)?;
    record.last_ns = now_ns;
    Ok(())
}

/// Counts the RST that closed an established connection, once.
///
/// The newest packet was the one that led from `record.state` to `CLOSE`; from `LAST_ACK` the last ACK leads there too.
#[inline(always)]
pub(crate) fn count_reset(record: &mut Connection) -> Result<(), Loss> {
    let was_open = matches!(
        u16::from(record.state),
        IP_VS_TCP_S_ESTABLISHED | IP_VS_TCP_S_FIN_WAIT | IP_VS_TCP_S_CLOSE_WAIT
    );
    if !was_open || record.flags & Connection::RESET != 0 {
        return Ok(());
    }
    record.flags |= Connection::RESET;
    if u32::from(record.direction) == IP_VS_DIR_INPUT {
        count(record.slot, Event::ResetByClient)
    } else {
        count(record.slot, Event::ResetByServer)
    }
}

#[inline(always)]
fn start(record: &mut Connection, now_ns: u64) {
    if record.first_ns == 0 {
        record.first_ns = now_ns;
    }
}

#[inline(always)]
fn from_client(ctx: &ProbeContext) -> Result<bool, Loss> {
    let direction: u32 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    Ok(direction == IP_VS_DIR_INPUT)
}
