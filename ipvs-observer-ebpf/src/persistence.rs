//! Persistence templates: whether the one that a client has still leads to its real server.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use ipvs_observer_common::{Event, Loss};

use crate::{
    kread::Conn,
    life::count_for_connection,
    pairing::{enter, leave},
    record::settle,
};

/// `int ip_vs_check_template(struct ip_vs_conn *ct, struct ip_vs_dest *cdest)`, 5.16 to 7.2.
#[kprobe]
fn ip_vs_check_template(ctx: ProbeContext) -> u32 {
    settle(enter(&ctx, [0, 1]))
}

#[kretprobe]
fn ip_vs_check_template_return(ctx: RetProbeContext) -> u32 {
    settle(try_check_template_return(&ctx))
}

fn try_check_template_return(ctx: &RetProbeContext) -> Result<(), Loss> {
    let [template, wanted] = leave(ctx)?.kept;
    // Only what schedules takes whatever real server the template has.
    if wanted != 0 {
        return Ok(());
    }
    let event = if ctx.ret::<u32>() == 0 {
        Event::PersistenceInvalid
    } else {
        Event::PersistenceHit
    };
    count_for_connection(ctx, Conn(template), event)
}
