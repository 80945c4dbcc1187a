//! Scheduling: how long the choice of a real server takes, and when there is none to choose or no room for a connection.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Event, Loss, Measure};

use crate::{
    kread::{Conn, Service, read_at},
    life::slot_of_connection,
    pairing::{Entry, enter, enter_with_packet, leave, now_ns},
    record::{count, observe, settle},
    slots::slot_of_service,
    stream,
};

/// `NF_DROP` of the uapi header `netfilter.h`.
const NF_DROP: u32 = 0;

/// `struct ip_vs_conn *ip_vs_schedule(struct ip_vs_service *svc, struct sk_buff *skb, struct ip_vs_proto_data *pd,
/// int *ignored, …)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_schedule(ctx: ProbeContext) -> u32 {
    settle(enter_with_packet(&ctx, [0, 3], 1))
}

#[kretprobe]
fn ip_vs_schedule_return(ctx: RetProbeContext) -> u32 {
    settle(try_schedule_return(&ctx))
}

fn try_schedule_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let conn = Conn(ctx.ret());
    let entry = leave(ctx);
    if conn.0 == 0 {
        return not_scheduled(ctx, entry?);
    }
    let Some(slot) = slot_of_connection(conn) else {
        return Ok(());
    };
    count(slot, Event::Scheduled)?;
    let took_ns = now_ns() - entry?.at_ns;
    stream::scheduled(ctx, conn, slot, took_ns);
    observe(slot, Measure::Schedule, took_ns)
}

/// Without a connection the caller drops the packet at once if `ignored` is negative; else `ip_vs_leave` decides.
fn not_scheduled(ctx: &RetProbeContext, entry: Entry) -> Result<(), Loss> {
    let [service, ignored] = entry.kept;
    let ignored: i32 = read_at(ignored)?;
    if ignored >= 0 {
        return Ok(());
    }
    count_for_service(ctx, Service(service), entry.packet(), Event::NoConnection)
}

/// Counts for `service` itself that the packet `skb` was dropped, as the return of `ctx` tells; 0 where it is not known any
/// more.
pub(crate) fn count_for_service(
    ctx: &RetProbeContext,
    service: Service,
    skb: u64,
    event: Event,
) -> Result<(), Loss> {
    match slot_of_service(service) {
        Some(slot) => {
            stream::dropped(ctx, 0, skb, slot, event);
            count(slot, event)
        }
        None => Ok(()),
    }
}

/// `int ip_vs_leave(struct ip_vs_service *svc, struct sk_buff *skb, …)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_leave(ctx: ProbeContext) -> u32 {
    settle(enter(&ctx, [0, 1]))
}

#[kretprobe]
fn ip_vs_leave_return(ctx: RetProbeContext) -> u32 {
    settle(try_leave_return(&ctx))
}

fn try_leave_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let [service, skb] = leave(ctx)?.kept;
    if ctx.ret::<u32>() != NF_DROP {
        return Ok(());
    }
    let service = Service(service);
    let reason = if service.is_overloaded()? {
        Event::Overloaded
    } else {
        Event::NoDestination
    };
    count_for_service(ctx, service, skb, reason)
}
