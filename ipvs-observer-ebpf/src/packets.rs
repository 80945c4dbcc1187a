//! What only a stream asks for: the packets of the calls that the defence may drop.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};

use crate::{pairing::enter_with_packet, record::settle};

/// `int tcp_conn_schedule(struct netns_ipvs *ipvs, int af, struct sk_buff *skb, …)`, and `udp_conn_schedule` and
/// `sctp_conn_schedule`, 5.16 to 7.2; `defence_outcome` takes back what this remembers.
#[kprobe]
fn defence_packet(ctx: ProbeContext) -> u32 {
    settle(enter_with_packet(&ctx, [0, 1], 2))
}
