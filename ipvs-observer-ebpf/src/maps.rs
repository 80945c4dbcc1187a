//! Every map of the programs; names and layouts are those of `ipvs-observer-common`.
//!
//! What the agent reads at each tick lies in arrays that it maps into its memory, with a partition for each CPU:
//! a per-CPU map cannot be mapped, and each bpf(2) read of one keeps the probes of that CPU from running for a moment.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, Queue},
};
use ipvs_observer_common::{
    Connection, Control, CpuBlock, LIVE_ENTRIES, LiveEntry, ServerBlock, ServerKey,
    maps::MAX_CONNECTIONS,
};

use crate::pairing::Entry;

/// Slots × CPUs; the agent sets the size from the table and the number of CPUs.
#[map]
pub(crate) static SERVERS: Array<ServerBlock> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Slots; written once, when a slot is given to a server.
#[map]
pub(crate) static SERVER_KEYS: Array<ServerKey> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// CPUs that may run.
#[map]
pub(crate) static CPUS: Array<CpuBlock> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One element, so that the agent can change the epoch without a system call.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// As many as slots.
#[map]
pub(crate) static SLOTS: HashMap<ServerKey, u32> = HashMap::with_max_entries(1, 0);

/// Filled by the agent; a queue because two CPUs may ask for a slot at the same time.
#[map]
pub(crate) static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(1, 0);

/// Preallocated, since allocation inside a probe is not safe before 6.1.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> =
    HashMap::with_max_entries(MAX_CONNECTIONS, 0);

/// Calls that have not returned: at most one for each task and interrupt level that is inside `ip_vs_schedule` or `ip_vs_leave`.
#[map]
pub(crate) static ENTRIES: HashMap<u64, Entry> = HashMap::with_max_entries(4096, 0);

/// Written only while the agent itself dumps the table.
#[map]
pub(crate) static LIVE: Array<LiveEntry> = Array::with_max_entries(LIVE_ENTRIES, BPF_F_MMAPABLE);

/// Entries ever written to [`LIVE`].
#[map]
pub(crate) static LIVE_WRITTEN: Array<u64> = Array::with_max_entries(1, 0);
