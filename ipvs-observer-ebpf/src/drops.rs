//! Packets of connections that IPVS knows and drops all the same.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, generated::bpf_snprintf},
    macros::{kprobe, kretprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext, RetProbeContext},
};
use ipvs_observer_common::{Event, Loss};

use crate::{
    headers::Packet,
    kread::{Conn, IP_VS_CONN_F_NFCT, IP_VS_TCP_S_CLOSE, IP_VS_TCP_S_TIME_WAIT},
    life::count_for_connection,
    pairing::{enter, leave},
    record::{count, settle, take_newest},
    stream,
};

/// `void ip_vs_conn_expire_now(struct ip_vs_conn *cp)`, 5.16 to 7.2.
///
/// `ip_vs_in_hook` calls it to begin a connection anew, and has taken `IP_VS_CONN_F_NFCT` away then, unless the packet
/// belongs to the conntrack entry of the old connection: that packet it drops.
#[kprobe]
fn ip_vs_conn_expire_now(ctx: ProbeContext) -> u32 {
    settle(try_expire_now(&ctx))
}

fn try_expire_now(ctx: &ProbeContext) -> Result<(), Loss> {
    let conn = Conn(ctx.arg(0).ok_or(Loss::Unreadable)?);
    if conn.flags()? & IP_VS_CONN_F_NFCT == 0 || is_sync_daemon() {
        return Ok(());
    }
    let dest = conn.dest()?;
    let event = if dest.0 == 0 || dest.is_available()? {
        Event::ReusedPort
    } else {
        Event::DestinationUnavailable
    };
    count_for_connection(ctx, conn, event)
}

/// Whether this is a thread that takes connections over from another director, which replaces those that differ.
#[inline(always)]
fn is_sync_daemon() -> bool {
    matches!(
        bpf_get_current_comm(),
        Ok([b'i', b'p', b'v', b's', b'-', b'b', b':', ..])
    )
}

/// `struct ip_vs_conn *ip_vs_conn_in_get_proto(struct netns_ipvs *ipvs, int af, const struct sk_buff *skb,
/// const struct ip_vs_iphdr *iph)`, 5.16 to 7.2: once for each packet from a client, so that it is attached only while a
/// real server that was removed still has connections, and these do not end at their next packet
/// (`net.ipv4.vs.expire_nodest_conn`).
#[kprobe]
fn unavailable(ctx: ProbeContext) -> u32 {
    settle(enter(&ctx, [2, 3]))
}

#[kretprobe]
fn unavailable_return(ctx: RetProbeContext) -> u32 {
    settle(try_unavailable_return(&ctx))
}

fn try_unavailable_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    // The two probes come and go one after the other: without an entry it was not there yet, or no more.
    let Ok(entry) = leave(ctx) else {
        return Ok(());
    };
    let [skb, iphdr] = entry.kept;
    let conn = Conn(ctx.ret());
    if conn.0 == 0 {
        return Ok(());
    }
    let dest = conn.dest()?;
    if dest.0 == 0 || dest.is_available()? {
        return Ok(());
    }
    let packet = Packet { skb, iphdr };
    if packet.is_icmp()? || begins_anew(conn, packet)? {
        return Ok(());
    }
    count_for_connection(ctx, conn, Event::DestinationUnavailable)
}

/// Whether the packet is a SYN for which IPVS gives up the old connection and makes one to another real server.
#[inline(always)]
fn begins_anew(conn: Conn, packet: Packet) -> Result<bool, Loss> {
    let is_over =
        conn.is_tcp()? && matches!(conn.state()?, IP_VS_TCP_S_TIME_WAIT | IP_VS_TCP_S_CLOSE);
    Ok(is_over && packet.segment()?.is_syn())
}

/// `skb:kfree_skb (struct sk_buff *skb, void *location, …)`, 2.6.30 to 7.2: a packet is dropped by the code at `location`.
///
/// A forwarding function itself drops a packet behind its state transition where it cannot be forwarded; what the way out
/// drops is dropped by others. This program can interrupt those of kprobes, so that it counts what none of them does, and
/// no loss.
#[raw_tracepoint(tracepoint = "kfree_skb")]
fn kfree_skb(ctx: RawTracePointContext) -> i32 {
    let location = ctx.arg(1);
    if let Some(slot) = take_newest(ctx.arg(0))
        && is_of_ip_vs(location)
    {
        let conn = stream::newest_conn();
        stream::dropped_from(&ctx, location, conn, 0, slot, Event::Unroutable);
        let _ = count(slot, Event::Unroutable);
    }
    0
}

/// Whether the code at `location` is one of the functions of `ip_vs` that have its name.
#[inline(always)]
fn is_of_ip_vs(location: u64) -> bool {
    /// The name of the function, without an offset.
    static FORMAT: [u8; 4] = *b"%ps\0";
    const NAME_BYTES: u32 = 32;
    const ARGUMENT_BYTES: u32 = 8;
    let mut name = [0_u8; NAME_BYTES as usize];
    // SAFETY: the helper writes no more than the size given, and reads one argument as large as said.
    let length = unsafe {
        bpf_snprintf(
            name.as_mut_ptr().cast(),
            NAME_BYTES,
            FORMAT.as_ptr().cast(),
            (&raw const location).cast_mut().cast(),
            ARGUMENT_BYTES,
        )
    };
    length > 0 && matches!(name, [b'i', b'p', b'_', b'v', b's', b'_', ..])
}
