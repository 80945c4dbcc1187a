//! Names of the maps and globals, so that neither side spells one twice.

/// [`crate::Counters`] of each partition and slot: arrays of [`CHUNK_SLOTS`] slots, mapped by the agent; index within one
/// `partition * CHUNK_SLOTS + slot`.
pub const COUNTERS: &str = "COUNTERS";
/// [`crate::Fine`] of each partition, slot and measure, if that is how finely octaves are cut; index
/// `(partition * CHUNK_SLOTS + slot) * measures + position`.
pub const FINE: &str = "FINE";
/// The same of [`crate::Medium`].
pub const MEDIUM: &str = "MEDIUM";
/// The same of [`crate::Coarse`].
pub const COARSE: &str = "COARSE";
/// [`crate::ServerKey`] of each slot, mapped by the agent.
pub const SERVER_KEYS: &str = "SERVER_KEYS";
/// [`crate::CpuBlock`] of each CPU, mapped by the agent.
pub const CPUS: &str = "CPUS";
/// Calls of each CPU that have not returned.
pub const FRAMES: &str = "FRAMES";
/// The one [`crate::Control`], mapped by the agent.
pub const CONTROL: &str = "CONTROL";
/// Slot of each [`crate::ServerKey`].
pub const SLOTS: &str = "SLOTS";
/// Slots that no server has yet.
pub const FREE_SLOTS: &str = "FREE_SLOTS";
/// [`crate::Bucket`]s with the [`crate::Connection`] of each `struct ip_vs_conn`, by its address.
pub const CONNECTIONS: &str = "CONNECTIONS";
/// The ring of [`crate::LiveEntry`], mapped by the agent.
pub const LIVE: &str = "LIVE";
/// [`crate::Ended`] by [`crate::ended_place`].
pub const ENDED: &str = "ENDED";
/// [`crate::Swept`] of each slot, mapped by the agent.
pub const SWEPT: &str = "SWEPT";
/// The ring buffer of [`crate::StreamEvent`].
pub const EVENTS: &str = "EVENTS";
/// [`crate::Trace`] of each `struct ip_vs_conn` that a stream wants, by its address.
pub const TRACES: &str = "TRACES";
/// [`crate::StreamCounts`] of each CPU, mapped by the agent.
pub const STREAM_COUNTS: &str = "STREAM_COUNTS";
/// Two [`crate::KernelStack`]s of each CPU that may run, on their way into events: of probes, and of the tracepoint.
pub const STACKS: &str = "STACKS";
/// The global with the [`crate::StreamSettings`].
pub const STREAM: &str = "STREAM";
/// The global with the [`crate::Settings`].
pub const SETTINGS: &str = "SETTINGS";
/// The global with the [`crate::Layout`].
pub const LAYOUT: &str = "LAYOUT";
/// Slots are given out by so many.
pub const CHUNK_SLOTS: u32 = 64;
/// Chunks that there can be.
pub const MAX_CHUNKS: u32 = 1024;
/// The slot of the host itself.
pub const HOST_SLOT: u32 = 0;
/// Calls that can be under way at the same time, of those that are paired by a hash map.
pub const ENTRIES_PLACES: u32 = 4096;
/// Bytes of what is remembered of such a call, with its key.
pub const ENTRY_BYTES: usize = 32;
/// The same while a stream is open.
pub const STREAM_ENTRY_BYTES: usize = 40;
/// Packets that can be on their way to being dropped at the same time.
pub const FOUND_PLACES: u32 = 1024;
/// Bytes of one of them, with its key.
pub const FOUND_BYTES: usize = 16;
/// Bytes of the frames of one CPU.
pub const FRAMES_BYTES: usize = 1560;
