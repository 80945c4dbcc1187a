//! Packets of clients that come for a connection which has just ended.
//!
//! Only packets without a connection are looked at: those of living ones pay nothing, and one that ends pays the writing
//! of where it stood.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use ipvs_observer_common::{Connection, Ended, Event, Loss, ServerKey, ended_place};

use crate::{
    headers::Orphan,
    kread::observed_netns,
    maps::{ENDED, SERVER_KEYS},
    pairing::now_ns,
    record::{count, settle},
};

/// What came before this is no more called just ended.
const JUST_NS: u64 = 60_000_000_000;
/// `IPPROTO_TCP` of the uapi header `in.h`.
const IPPROTO_TCP: u16 = 6;

/// Remembers that a connection of the server in `slot` has ended.
#[inline(always)]
pub(crate) fn remember(fingerprint: u32, slot: u32) -> Result<(), Loss> {
    if slot == Connection::NO_SLOT {
        return Ok(());
    }
    let key = SERVER_KEYS.get(slot).ok_or(Loss::Map)?;
    let ended = Ended {
        at_ns: now_ns(),
        fingerprint,
        slot,
        server: endpoint(key),
        reserved: 0,
    };
    let place = ENDED
        .get_ptr_mut(ended_place(fingerprint))
        .ok_or(Loss::Map)?;
    // SAFETY: the element is the map's; of two ends that meet here one or a mixture of both stays, which names nobody
    // or one of them.
    unsafe { place.write(ended) };
    Ok(())
}

/// `static int tcp_conn_schedule(struct netns_ipvs *ipvs, int af, struct sk_buff *skb, …)`, 5.16 to 7.2: called for each
/// packet from a client that has no connection.
#[kprobe]
fn late_packet(ctx: ProbeContext) -> u32 {
    settle(try_late(&ctx))
}

fn try_late(ctx: &ProbeContext) -> Result<(), Loss> {
    let family: u32 = ctx.arg(1).ok_or(Loss::Unreadable)?;
    let skb: u64 = ctx.arg(2).ok_or(Loss::Unreadable)?;
    let Some(orphan) = Orphan::read(skb, family)? else {
        return Ok(());
    };
    let ended = ENDED
        .get(ended_place(orphan.fingerprint))
        .ok_or(Loss::Map)?;
    if ended.fingerprint != orphan.fingerprint || now_ns().saturating_sub(ended.at_ns) > JUST_NS {
        return Ok(());
    }
    let netns_ipvs: u64 = ctx.arg(0).ok_or(Loss::Unreadable)?;
    let Some(netns) = observed_netns(netns_ipvs)? else {
        return Ok(());
    };
    let key = SERVER_KEYS.get(ended.slot).ok_or(Loss::Map)?;
    if key.written == 0 || key.netns != netns || endpoint(key) != ended.server {
        return Ok(());
    }
    let is_of_service = key.firewall_mark != 0
        || (key.protocol == IPPROTO_TCP
            && u128::from_le_bytes(key.virtual_address)
                == u128::from_le_bytes(orphan.virtual_address));
    if !is_of_service {
        return Ok(());
    }
    count(ended.slot, Event::Late)
}

/// Tells the servers that a slot may have had one after the other apart.
#[inline(always)]
fn endpoint(key: &ServerKey) -> u32 {
    /// Odd, so that no bit is lost.
    const SPREAD: u32 = 0x9e37_79b1;
    let (words, _) = key.address.as_chunks::<4>();
    words.iter().fold(u32::from(key.port), |hash, word| {
        (hash.rotate_left(5) ^ u32::from_le_bytes(*word)).wrapping_mul(SPREAD)
    })
}
