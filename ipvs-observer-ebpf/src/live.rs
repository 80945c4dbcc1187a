//! Live counters: what the kernel counts per CPU, of which netlink repeats a copy that is up to two seconds old.
//!
//! The programs run while the kernel writes a service or destination into the answer to a dump, and do nothing unless
//! the agent itself asked for it. They cost packets nothing, but where an interrupt brings one while they run, the packet's
//! probes are missed, and that is counted.

use aya_ebpf::{
    bindings::bpf_pidns_info, helpers::bpf_get_ns_current_pid_tgid, macros::kprobe,
    programs::ProbeContext,
};
use ipvs_observer_common::{LIVE_ENTRIES, LiveEntry, Loss, ServerKey};

use crate::{
    globals::frozen,
    kread::{CounterValues, Dest, Service, live_counters},
    maps::{LIVE, LIVE_WRITTEN},
    pairing::now_ns,
    record::settle,
};

/// `static int ip_vs_genl_fill_service(struct sk_buff *skb, struct ip_vs_service *svc)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_genl_fill_service(ctx: ProbeContext) -> u32 {
    settle(try_fill_service(&ctx))
}

fn try_fill_service(ctx: &ProbeContext) -> Result<(), Loss> {
    if !is_asked_by_agent() {
        return Ok(());
    }
    let service = Service(ctx.arg(1).ok_or(Loss::Unreadable)?);
    let counters = live_counters(
        service.0,
        frozen!(LAYOUT.service_stats.cpustats.offset),
        frozen!(LAYOUT.service_stats.zero.offset),
    )?;
    let entry = next_entry()?;
    let mut key = ServerKey::unnamed(0);
    service.name(&mut key)?;
    // SAFETY: see `next_entry`.
    unsafe { (*entry).key = key };
    publish(entry, counters)
}

/// `static int ip_vs_genl_fill_dest(struct sk_buff *skb, struct ip_vs_dest *dest)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_genl_fill_dest(ctx: ProbeContext) -> u32 {
    settle(try_fill_dest(&ctx))
}

fn try_fill_dest(ctx: &ProbeContext) -> Result<(), Loss> {
    if !is_asked_by_agent() {
        return Ok(());
    }
    let dest = Dest(ctx.arg(1).ok_or(Loss::Unreadable)?);
    let counters = live_counters(
        dest.0,
        frozen!(LAYOUT.dest_stats.cpustats.offset),
        frozen!(LAYOUT.dest_stats.zero.offset),
    )?;
    let entry = next_entry()?;
    let mut key = ServerKey::unnamed(0);
    dest.name(&mut key)?;
    // SAFETY: see `next_entry`.
    unsafe { (*entry).key = key };
    publish(entry, counters)
}

/// Bytes of the helper's answer.
const IDS_BYTES: u32 = 8;
const _: () = assert!(size_of::<bpf_pidns_info>() == IDS_BYTES as usize);

/// Whether this is a system call of the agent: a dump is filled while its owner sends or receives, a file while its
/// owner reads.
#[inline(always)]
pub(crate) fn is_asked_by_agent() -> bool {
    let device = frozen!(SETTINGS.pid_namespace_device);
    let inode = frozen!(SETTINGS.pid_namespace_inode);
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the buffer is writable and of the size that is named.
    let status = unsafe { bpf_get_ns_current_pid_tgid(device, inode, &raw mut ids, IDS_BYTES) };
    status == 0 && ids.tgid == frozen!(SETTINGS.process)
}

/// The entry that comes next: the agent dumps one table at a time, so nobody else writes it.
#[inline(always)]
fn next_entry() -> Result<*mut LiveEntry, Loss> {
    let written = LIVE_WRITTEN.get(0).ok_or(Loss::Map)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an index into the ring is less than its length"
    )]
    let index = (*written % u64::from(LIVE_ENTRIES)) as u32;
    LIVE.get_ptr_mut(index).ok_or(Loss::Map)
}

/// Completes the entry that [`next_entry`] gave.
#[inline(always)]
fn publish(entry: *mut LiveEntry, counters: CounterValues) -> Result<(), Loss> {
    let written = LIVE_WRITTEN.get_ptr_mut(0).ok_or(Loss::Map)?;
    // SAFETY: the element is the map's, and nobody else writes it.
    let sequence = unsafe { *written } + 1;
    // SAFETY: as above.
    unsafe { *written = sequence };
    // SAFETY: see `next_entry`.
    unsafe { (*entry).counters = counters };
    // SAFETY: see `next_entry`.
    unsafe { (*entry).at_ns = now_ns() };
    // SAFETY: see `next_entry`.
    let mark = unsafe { &raw mut (*entry).sequence };
    // SAFETY: see `next_entry`; volatile, so that the mark is written last.
    unsafe { mark.write_volatile(sequence) };
    Ok(())
}
