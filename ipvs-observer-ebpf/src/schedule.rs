//! Scheduling: how long the choice of a real server takes, and when there is none to choose.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Loss, Measure};

use crate::{
    kread::{Conn, Service},
    life::record_of,
    pairing::{enter, leave, now_ns},
    record::{count, observe, settle, slot_of},
};

/// `NF_DROP` of the uapi header `netfilter.h`.
const NF_DROP: u32 = 0;

/// `struct ip_vs_conn *ip_vs_schedule(struct ip_vs_service *svc, struct sk_buff *skb, …)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_schedule(ctx: ProbeContext) -> u32 {
    settle(enter(&ctx))
}

#[kretprobe]
fn ip_vs_schedule_return(ctx: RetProbeContext) -> u32 {
    settle(try_schedule_return(&ctx))
}

fn try_schedule_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let conn = Conn(ctx.ret());
    let entry = leave(ctx);
    if conn.0 == 0 {
        return Ok(());
    }
    let slot = match record_of(conn) {
        // SAFETY: the slot is written before the record is inserted; the connection cannot end before this call does.
        Some(record) => unsafe { (*record).slot },
        None if conn.is_observed()? => slot_of(&conn.server_key()?)?,
        None => return Ok(()),
    };
    count(slot, |counters| counters.scheduled += 1)?;
    observe(slot, Measure::Schedule, now_ns() - entry?.at_ns)
}

/// `int ip_vs_leave(struct ip_vs_service *svc, struct sk_buff *skb, …)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_leave(ctx: ProbeContext) -> u32 {
    settle(enter(&ctx))
}

#[kretprobe]
fn ip_vs_leave_return(ctx: RetProbeContext) -> u32 {
    settle(try_leave_return(&ctx))
}

fn try_leave_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let service = Service(leave(ctx)?.service);
    if ctx.ret::<u32>() != NF_DROP || !service.is_observed()? {
        return Ok(());
    }
    let slot = slot_of(&service.key()?)?;
    count(slot, |counters| counters.no_destination += 1)
}
