//! Constants of the run, set by the agent before the object is loaded and frozen then.
//!
//! Reads are volatile, since the compiler must not take the values that stand here for the ones that the agent puts in their place.
//! They go member by member: the whole layout would fill the stack of a program.

use ipvs_observer_common::{
    ConnLayout, DestLayout, Field, Layout, ServiceLayout, Settings, SkbLayout, StatsLayout,
};

const UNSET: Field = Field { offset: 0, size: 0 };
const UNSET_STATS: StatsLayout = StatsLayout {
    cpustats: UNSET,
    zero: UNSET,
};

/// The kernel's layout.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout {
    conn: ConnLayout {
        af: UNSET,
        flags: UNSET,
        state: UNSET,
        in_pkts: UNSET,
        dest: UNSET,
        ipvs: UNSET,
        timer: UNSET,
        callback_head: UNSET,
    },
    dest: DestLayout {
        af: UNSET,
        port: UNSET,
        addr: UNSET,
        protocol: UNSET,
        vport: UNSET,
        vaddr: UNSET,
        vfwmark: UNSET,
    },
    service: ServiceLayout {
        af: UNSET,
        protocol: UNSET,
        addr: UNSET,
        port: UNSET,
        fwmark: UNSET,
        ipvs: UNSET,
    },
    netns_ipvs_net: UNSET,
    net_inum: UNSET,
    skb: SkbLayout {
        len: UNSET,
        data_len: UNSET,
        data: UNSET,
    },
    dest_stats: UNSET_STATS,
    service_stats: UNSET_STATS,
    cpu_counters: UNSET,
    tcp_transition_has_iph_len: 0,
    reserved: 0,
};

/// The settings of the run.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    netns: 0,
    servers: 0,
    process: 0,
    cpus: 0,
    pid_namespace_device: 0,
    pid_namespace_inode: 0,
    per_cpu_offset: 0,
};

/// Reads one member of a global.
macro_rules! frozen {
    ($global:ident $(. $member:ident)+) => {{
        // SAFETY: the global is initialised, aligned and never written while a program runs.
        unsafe { (&raw const $crate::globals::$global $(. $member)+).read_volatile() }
    }};
}
pub(crate) use frozen;
