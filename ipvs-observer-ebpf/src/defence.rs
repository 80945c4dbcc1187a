//! The `drop_packet` defence: packets that find their service and are dropped before a real server is chosen.
//!
//! Attached only while `net.ipv4.vs.drop_packet` is not 0. The decision itself is inlined everywhere, so it is told by what
//! happens around it: a service is found, `ip_vs_schedule` is not called, and the packet does not go on.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Event, Loss};

use crate::{
    kread::Service,
    maps::FOUND,
    pairing::{leave, stack_pointer},
    record::{map_loss, settle},
    schedule::count_for_service,
};

/// Bytes of a kernel stack on x86-64 and aarch64, which begins at a multiple of as many (`THREAD_SIZE`); the three functions
/// call each other, and nothing between them lets another packet onto the same stack.
const STACK_BYTES: u64 = 16 * 1024;

/// `struct ip_vs_service *ip_vs_service_find(…)`, 5.16 to 7.2.
#[kretprobe]
fn defence_found(ctx: RetProbeContext) -> u32 {
    settle(try_found(&ctx))
}

fn try_found(ctx: &RetProbeContext) -> Result<(), Loss> {
    let service: u64 = ctx.ret();
    if service == 0 {
        return Ok(());
    }
    let stack = stack_pointer(ctx.regs) / STACK_BYTES;
    FOUND
        .insert(&stack, &service, 0)
        .map_err(|error| map_loss(error, Loss::EntriesFull))
}

/// `struct ip_vs_conn *ip_vs_schedule(…)`, 5.16 to 7.2: the packet has passed.
#[kprobe]
fn defence_passed(ctx: ProbeContext) -> u32 {
    let stack = stack_pointer(ctx.regs) / STACK_BYTES;
    // Nothing is there if the probe on its service was attached meanwhile.
    let _ = FOUND.remove(&stack);
    0
}

/// `int tcp_conn_schedule(…)`, and `udp_conn_schedule` and `sctp_conn_schedule`, 5.16 to 7.2: zero if the packet does not
/// go on.
#[kretprobe]
fn defence_outcome(ctx: RetProbeContext) -> u32 {
    settle(try_outcome(&ctx))
}

fn try_outcome(ctx: &RetProbeContext) -> Result<(), Loss> {
    // Only a stream asks for the packet, and remembers it.
    let skb = if crate::STREAMS {
        leave(ctx).map_or(0, |entry| entry.packet())
    } else {
        0
    };
    let stack = stack_pointer(ctx.regs) / STACK_BYTES;
    // SAFETY: a key belongs to one stack, so no other program changes the element while it is read.
    let Some(service) = unsafe { FOUND.get(&stack) }.copied() else {
        return Ok(());
    };
    let _ = FOUND.remove(&stack);
    if ctx.ret::<u32>() != 0 {
        return Ok(());
    }
    count_for_service(ctx, Service(service), skb, Event::Defence)
}
