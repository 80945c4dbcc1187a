//! Constants of the run, set by the agent before the object is loaded and frozen then.
//!
//! Reads are volatile, since the compiler must not take the values that stand here for the ones that the agent puts in their place.
//! They go member by member: the whole layout would fill the stack of a program.

use core::sync::atomic::AtomicU64;

use ipvs_observer_common::{
    ClientPrefix, CommandLayout, ConnLayout, DestLayout, Field, Layout, PATTERNS, Pattern, STAGES, ServiceLayout,
    Settings, SkbLayout, StatsLayout, StatusLayout, StreamSettings,
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
        cport: UNSET,
        vport: UNSET,
        caddr: UNSET,
        protocol: UNSET,
        fwmark: UNSET,
        flags: UNSET,
        state: UNSET,
        in_pkts: UNSET,
        refcnt: UNSET,
        n_control: UNSET,
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
    bpf_array_pptrs: UNSET,
    status: StatusLayout {
        available: UNSET,
        flags: UNSET,
        weight: UNSET,
        n_list: UNSET,
        destinations: UNSET,
    },
    iphdr_flags: UNSET,
    iphdr_len: UNSET,
    command: CommandLayout {
        sender: UNSET,
        socket_net: UNSET,
        header: UNSET,
        attributes: UNSET,
    },
    tcp_transition_has_iph_len: 0,
    reserved: 0,
};

/// The settings of the run.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    netns: 0,
    partitions: 0,
    process: 0,
    cpus: 0,
    pid_namespace_device: 0,
    pid_namespace_inode: 0,
    grouping_bits: 0,
    measures: 0,
    buckets: 0,
    reserved: 0,
    positions: [0; 16],
};

const NO_PATTERN: Pattern = Pattern {
    address: [0; 4],
    firewall_mark: 0,
    family: 0,
    protocol: 0,
    port: 0,
    ports: 0,
};

/// What a stream asks for.
#[unsafe(no_mangle)]
pub(crate) static STREAM: StreamSettings = StreamSettings {
    slower_than_ns: [0; STAGES],
    watermark_bytes: 0,
    kinds: 0,
    endings: 0,
    sample: 0,
    is_slow_only: 0,
    protocols: 0,
    clients: 0,
    services: 0,
    servers: 0,
    stacks: 0,
    reserved: 0,
    client: [ClientPrefix {
        address: [0; 4],
        mask: [0; 4],
    }; PATTERNS],
    client_family: [0; PATTERNS],
    service: [NO_PATTERN; PATTERNS],
    server: [NO_PATTERN; PATTERNS],
};

/// Never written, but not frozen either, so that the verifier takes it for any number.
#[unsafe(no_mangle)]
static NOTHING: AtomicU64 = AtomicU64::new(0);

/// `value`, which the verifier takes for any number from here on.
///
/// Where many values that it knows meet, it would otherwise follow each of them by itself, in every combination.
#[inline(always)]
pub(crate) fn forget(value: u64) -> u64 {
    // SAFETY: the static is aligned and initialised; volatile, so that the compiler does not know the value either.
    let nothing = unsafe { NOTHING.as_ptr().read_volatile() };
    value.wrapping_add(nothing)
}

/// Reads one member of a global.
macro_rules! frozen {
    ($global:ident $(. $member:ident)+ $([$index:expr])?) => {{
        // SAFETY: the global is initialised, aligned and never written while a program runs.
        unsafe { (&raw const $crate::globals::$global $(. $member)+ $([$index])?).read_volatile() }
    }};
}
pub(crate) use frozen;
