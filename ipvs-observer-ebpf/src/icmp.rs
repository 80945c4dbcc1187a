//! Refusals that come as ICMP errors: nobody takes the SYN or the datagram.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ipvs_observer_common::{Loss, phase};

use crate::{
    connections::record_of, headers::is_unreachable, kread::Conn, phases::refused, record::settle,
};

/// `ip_vs_nat_icmp(struct sk_buff *skb, struct ip_vs_protocol *pp, struct ip_vs_conn *cp, int inout, …)`, 6.1 to 7.2: once
/// for each error about a packet of a connection; `inout` is not zero for one from the side of the real server.
#[kprobe]
fn ip_vs_nat_icmp(ctx: ProbeContext) -> u32 {
    settle(try_nat_icmp(&ctx, false))
}

/// As `ip_vs_nat_icmp`.
#[kprobe]
fn ip_vs_nat_icmp_v6(ctx: ProbeContext) -> u32 {
    settle(try_nat_icmp(&ctx, true))
}

#[inline(always)]
fn try_nat_icmp(ctx: &ProbeContext, is_v6: bool) -> Result<(), Loss> {
    let conn = Conn(ctx.arg(2).ok_or(Loss::Unreadable)?);
    let from_server: u32 = ctx.arg(3).ok_or(Loss::Unreadable)?;
    if from_server == 0 {
        return Ok(());
    }
    let Some(record) = record_of(conn) else {
        return Ok(());
    };
    // SAFETY: see `record_of`; the caller holds the connection.
    let record = unsafe { &mut *record };
    let unanswered = if conn.is_tcp()? {
        phase::SYN
    } else {
        phase::RESPONSE
    };
    let skb: u64 = ctx.arg(0).ok_or(Loss::Unreadable)?;
    if record.phase != unanswered || !is_unreachable(skb, is_v6)? {
        return Ok(());
    }
    refused(conn, record, unanswered)
}
