//! Forwarding: how long a packet takes through the director.
//!
//! A kprobe costs as much as what it would measure here, so that nothing is attached to the entry of a forwarding function:
//! `ip_vs_in_hook` calls the state transition and then the forwarding function, both from its own frame and without
//! arguments on the stack, so that both begin with the same stack pointer. The transition leaves the time and the server
//! under it. What begins without a transition (ICMP errors on their way to a server, AH and ESP) is a return without its
//! beginning.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Connection, Loss, Measure, maps::HOST_SLOT};

use crate::{
    frames::{Frame, Place},
    pairing::{now_ns, stack_pointer, stack_pointer_of_call},
    record::{is_on, observe, settle},
};

/// Bytes that the frame of `ip_vs_in_hook` may have between its entry and the calls that it makes.
const IN_HOOK_FRAME_BYTES: u64 = 2048;

/// Whether packets are timed on their way through the director.
#[inline(always)]
pub(crate) fn is_timed() -> bool {
    is_on(Measure::Xmit) || is_on(Measure::Hook)
}

/// Leaves a packet from the client, which reached its state transition at `at_ns`, to the functions around it.
#[inline(always)]
pub(crate) fn pass(ctx: &ProbeContext, slot: u32, at_ns: u64) -> Result<(), Loss> {
    let stack_pointer = stack_pointer(ctx.regs);
    if is_on(Measure::Xmit) {
        Place::XMIT.put(Frame::new(stack_pointer, at_ns, slot))?;
    }
    if is_on(Measure::Hook) {
        Place::HOOK.give(stack_pointer, IN_HOOK_FRAME_BYTES, slot)?;
    }
    Ok(())
}

/// `int ip_vs_nat_xmit(struct sk_buff *skb, struct ip_vs_conn *cp, …)` and its like, 5.16 to 7.2.
#[kretprobe]
fn xmit_return(ctx: RetProbeContext) -> u32 {
    settle(ended(&ctx, Place::XMIT, Measure::Xmit))
}

/// `unsigned int ip_vs_in_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)`, 5.16 to 7.2.
///
/// It sees all packets of the host, of which those with a state transition are IPVS's.
#[kprobe]
fn ip_vs_in_hook(ctx: ProbeContext) -> u32 {
    settle(begun(&ctx, Place::HOOK, Connection::NO_SLOT))
}

#[kretprobe]
fn ip_vs_in_hook_return(ctx: RetProbeContext) -> u32 {
    settle(ended(&ctx, Place::HOOK, Measure::Hook))
}

/// `static void estimation_timer(struct timer_list *t)` up to 6.1, then
/// `static void ip_vs_chain_estimation(struct hlist_head *chain)`, to 7.2.
#[kprobe]
fn estimator(ctx: ProbeContext) -> u32 {
    settle(begun(&ctx, Place::ESTIMATOR, HOST_SLOT))
}

#[kretprobe]
fn estimator_return(ctx: RetProbeContext) -> u32 {
    settle(ended(&ctx, Place::ESTIMATOR, Measure::Estimator))
}

#[inline(always)]
fn begun(ctx: &ProbeContext, place: Place, slot: u32) -> Result<(), Loss> {
    place.put(Frame::new(stack_pointer(ctx.regs), now_ns(), slot))
}

#[inline(always)]
fn ended(ctx: &RetProbeContext, place: Place, measure: Measure) -> Result<(), Loss> {
    let frame = place.take(stack_pointer_of_call(ctx.regs))?;
    if frame.slot == Connection::NO_SLOT {
        return Ok(());
    }
    let took_ns = now_ns() - frame.at_ns;
    // What is older was left by a return that was missed.
    if took_ns >= measure.range().end_ns() {
        return Err(Loss::Unpaired);
    }
    observe(frame.slot, measure, took_ns)
}
