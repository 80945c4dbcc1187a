//! Every map of the programs; names and layouts are those of `ipvs-observer-common`.
//!
//! What the agent reads at each tick lies in arrays that it maps into its memory, with a partition for each CPU:
//! a per-CPU map cannot be mapped, and each bpf(2) read of one keeps the probes of that CPU from running for a moment.

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE},
    btf_maps::{self, ArrayOfMaps},
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use ipvs_observer_common::{
    Bucket, Coarse, Control, Counters, CpuBlock, Ended, Fine, KernelStack, LIVE_ENTRIES, LiveEntry, Medium,
    ServerKey, StreamCounts, Swept, Trace,
    maps::{ENTRIES_PLACES, ENTRY_BYTES, FOUND_BYTES, FOUND_PLACES, FRAMES_BYTES, MAX_CHUNKS, STREAM_ENTRY_BYTES},
};

use crate::{frames::CpuFrames, pairing::Entry};

const OUTER: usize = MAX_CHUNKS as usize;
/// The agent makes each chunk as large as its partitions ask for.
const INNER: usize = (BPF_F_MMAPABLE | BPF_F_INNER_MAP) as usize;

/// A chunk of elements of `N` words. Before 6.2 the kernel takes chunks only if their template is not declared to hold
/// a structure (`timer_off` in `bpf_map_meta_equal`), since the agent's own arrays are declared to hold nothing.
pub(crate) type Chunk<const N: usize> = btf_maps::Array<[u64; N], 1, INNER>;

// What the agent says that they take.
const _: () = assert!(size_of::<u64>() + size_of::<Entry>() == ENTRY_BYTES + PACKET_BYTES);
const _: () = assert!(2 * size_of::<u64>() == FOUND_BYTES);
const _: () = assert!(size_of::<CpuFrames>() == FRAMES_BYTES);

/// Of the packet that an entry remembers.
const PACKET_BYTES: usize = if crate::STREAMS {
    STREAM_ENTRY_BYTES - ENTRY_BYTES
} else {
    0
};

const fn words<T>() -> usize {
    size_of::<T>() / size_of::<u64>()
}

/// Chunks of [`Counters`], which the agent adds as the table grows.
#[btf_map]
pub(crate) static COUNTERS: ArrayOfMaps<Chunk<{ words::<Counters>() }>, OUTER> = ArrayOfMaps::new();

/// As [`COUNTERS`], of [`Fine`] histograms if octaves are cut so finely; empty otherwise, as the next two.
#[btf_map]
pub(crate) static FINE: ArrayOfMaps<Chunk<{ words::<Fine>() }>, OUTER> = ArrayOfMaps::new();

/// See [`FINE`].
#[btf_map]
pub(crate) static MEDIUM: ArrayOfMaps<Chunk<{ words::<Medium>() }>, OUTER> = ArrayOfMaps::new();

/// See [`FINE`].
#[btf_map]
pub(crate) static COARSE: ArrayOfMaps<Chunk<{ words::<Coarse>() }>, OUTER> = ArrayOfMaps::new();

/// Slots; written when a slot is given to a server.
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

/// See `Bucket`: `connections` finds and makes records there.
#[map]
pub(crate) static CONNECTIONS: Array<Bucket> = Array::with_max_entries(1, 0);

/// Calls that have not returned: at most one for each task and interrupt level that is inside a function that is paired.
#[map]
pub(crate) static ENTRIES: HashMap<u64, Entry> = HashMap::with_max_entries(ENTRIES_PLACES, 0);

/// Services found for packets of which it is not known yet what becomes; by the stack that they are on.
#[map]
pub(crate) static FOUND: LruHashMap<u64, u64> = LruHashMap::with_max_entries(FOUND_PLACES, 0);

/// CPUs that may run.
#[map]
pub(crate) static FRAMES: Array<CpuFrames> = Array::with_max_entries(1, 0);

/// Written only while the agent itself dumps the table.
#[map]
pub(crate) static LIVE: Array<LiveEntry> = Array::with_max_entries(LIVE_ENTRIES, BPF_F_MMAPABLE);

/// Entries ever written to [`LIVE`].
#[map]
pub(crate) static LIVE_WRITTEN: Array<u64> = Array::with_max_entries(1, 0);

/// Holds nothing: by where the kernel keeps its element on each CPU, `kread` finds what else is kept per CPU.
#[map]
pub(crate) static PER_CPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Slots; written only while the agent itself reads the file of connections.
#[map]
pub(crate) static SWEPT: Array<Swept> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// A page and one element unless a stream is open, as the next.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// See [`EVENTS`].
#[map]
pub(crate) static TRACES: HashMap<u64, Trace> = HashMap::with_max_entries(1, 0);

/// CPUs that may run.
#[map]
pub(crate) static STREAM_COUNTS: Array<StreamCounts> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Two of each CPU that may run; one element unless stacks are asked for.
#[map]
pub(crate) static STACKS: Array<KernelStack> = Array::with_max_entries(1, 0);

/// Written where a connection ends, read by packets that have none.
#[map]
pub(crate) static ENDED: Array<Ended> = Array::with_max_entries(1, 0);
