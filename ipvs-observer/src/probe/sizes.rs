//! How large the maps are: what the table, the CPUs and the measures ask for, within what the user allows. Pure.
//!
//! Where it does not fit, CPUs come to share partitions first, which costs an atomic add per value and no precision;
//! then octaves are cut more coarsely; at last real servers share the histograms of their service.

use ipvs_observer_common::{
    BUCKET_PLACES, Bucket, COARSEST_GROUPING_BITS, Counters, CpuBlock, ENDED_PLACES, Ended,
    FINEST_GROUPING_BITS, KernelStack, LIVE_ENTRIES, LiveEntry, ServerKey, StreamCounts, Summary,
    Swept, Trace, buckets,
    maps::{
        CHUNK_SLOTS, ENTRIES_PLACES, ENTRY_BYTES, FOUND_BYTES, FOUND_PLACES, FRAMES_BYTES,
        MAX_CHUNKS, STREAM_ENTRY_BYTES,
    },
};

use crate::model::memory::Memory;

/// What the user allows and the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes that the maps may take together.
    pub memory_bytes: u64,
    /// Connections that can be followed at the same time.
    pub connections: u32,
    /// CPUs that may run.
    pub cpus: u32,
    /// Histograms of each server.
    pub measures: u32,
    /// Services and real servers in the table.
    pub configured: usize,
    /// Bytes of the ring buffer of a stream, which keeps more of each connection; `None` without a stream.
    pub stream_bytes: Option<u32>,
    /// Whether the stream asks for kernel stacks.
    pub stacks: bool,
}

/// What the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// CPUs that may run.
    pub cpus: u32,
    /// Histograms of each server.
    pub measures: u32,
    /// Partitions of what is kept of a server; fewer than CPUs are shared.
    pub partitions: u32,
    /// Buckets of an octave are two to this power.
    pub grouping_bits: u32,
    /// Chunks of slots that the table asks for now.
    pub chunks: u32,
    /// Chunks that fit into the memory allowed.
    pub max_chunks: u32,
    /// Buckets for the records of connections.
    pub buckets: u32,
    /// Connections remembered after their end.
    pub ended: u32,
    /// Connections of which a stream keeps more; 1 without a stream.
    pub traces: u32,
    /// Bytes of the ring buffer: a page without a stream.
    pub ring_bytes: u32,
    /// Kernel stacks that wait to be sent: two of each CPU, and 1 where nobody asks for any.
    pub stacks: u32,
}

/// Slots beyond the table, for servers that come between two ticks and for the host itself.
const RESERVE: u64 = 32;
/// Bytes of an element of a hash map besides key and value (`struct htab_elem` in `kernel/bpf/hashtab.c`).
const HASH_ELEMENT_BYTES: u64 = 48;
/// Bytes of a bucket of a hash map (`struct bucket` in `kernel/bpf/hashtab.c`), one for each element or more.
const HASH_BUCKET_BYTES: u64 = 16;

/// A page, of which the kernel makes a ring buffer at least.
const SMALLEST_RING_BYTES: u32 = 4096;
/// What a connection takes in the map of a stream, with its key.
const TRACE_BYTES: u64 = HASH_ELEMENT_BYTES + HASH_BUCKET_BYTES + 8 + size_of::<Trace>() as u64;

impl Sizes {
    /// What is best within `limits`.
    pub(super) fn choose(limits: &Limits) -> Self {
        let mut sizes = Self {
            cpus: limits.cpus.max(1),
            measures: limits.measures,
            partitions: limits.cpus.max(1),
            grouping_bits: FINEST_GROUPING_BITS,
            chunks: 1,
            max_chunks: 1,
            buckets: buckets_for(limits.connections),
            ended: if limits.measures > 0 { ENDED_PLACES } else { 1 },
            traces: 1,
            ring_bytes: limits.stream_bytes.unwrap_or(SMALLEST_RING_BYTES),
            stacks: if limits.stacks {
                2 * limits.cpus.max(1)
            } else {
                1
            },
        };
        // Records leave at least half of the memory to what is measured.
        let per_bucket = (BUCKET_PLACES as u64 / PLACES_PER_CONNECTION) * TRACE_BYTES;
        let traced = limits.stream_bytes.map_or(0, |_| per_bucket);
        let most = limits.memory_bytes / 2 / (size_of::<Bucket>() as u64 + traced);
        sizes.buckets = u32::try_from(most)
            .unwrap_or(u32::MAX)
            .clamp(1, sizes.buckets);
        if limits.stream_bytes.is_some() {
            sizes.traces = sizes.connections().max(1);
        }
        let budget = limits
            .memory_bytes
            .saturating_sub(sizes.record_bytes() + sizes.fixed_bytes());
        let wanted = limits.configured as u64 + RESERVE;
        let fits = |sizes: &Self, slots: u64| chunks_for(slots) * sizes.chunk_bytes() <= budget;
        let found = sizes.coarser().find(|sizes| {
            // Twice the table, so that a partition of each CPU does not cost what is added later.
            fits(sizes, wanted * 2) || (sizes.partitions == 1 && fits(sizes, wanted))
        });
        if let Some(found) = found.or_else(|| sizes.coarser().last()) {
            sizes = found;
        }
        let most = (budget / sizes.chunk_bytes()).clamp(1, u64::from(MAX_CHUNKS));
        sizes.max_chunks = u32::try_from(most).unwrap_or(MAX_CHUNKS);
        sizes.chunks = u32::try_from(chunks_for(wanted).min(most)).unwrap_or(sizes.max_chunks);
        sizes
    }

    /// The same with less and less memory for a slot.
    fn coarser(self) -> impl Iterator<Item = Self> {
        let bits = (COARSEST_GROUPING_BITS..=FINEST_GROUPING_BITS).rev();
        bits.flat_map(move |grouping_bits| {
            let partitions = std::iter::successors(Some(self.partitions), |&partitions| {
                (partitions > 1).then_some(partitions.div_ceil(2))
            });
            // Cutting more coarsely is for when one partition is too much already.
            let partitions =
                partitions.filter(move |&n| grouping_bits == FINEST_GROUPING_BITS || n == 1);
            partitions.map(move |partitions| Self {
                partitions,
                grouping_bits,
                ..self
            })
        })
    }

    /// Bytes of one chunk of slots, with the places that its slots have in other maps.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.own_chunk_bytes() + place_bytes() * u64::from(CHUNK_SLOTS)
    }

    /// Bytes of one chunk of slots alone.
    fn own_chunk_bytes(&self) -> u64 {
        let slot = self.measures as usize * self.histogram_bytes() + size_of::<Counters>();
        slot as u64 * u64::from(self.partitions) * u64::from(CHUNK_SLOTS)
    }

    /// Bytes of one measure of one server in one partition.
    pub(super) fn histogram_bytes(&self) -> usize {
        size_of::<Summary>() + buckets(self.grouping_bits) * size_of::<u32>()
    }

    /// Bytes of all chunks that there are from the start, and of the places of all slots that there can be.
    pub(super) fn server_bytes(&self) -> u64 {
        self.own_chunk_bytes() * u64::from(self.chunks)
            + place_bytes() * u64::from(self.max_slots())
    }

    /// Bytes of the records of connections.
    pub(super) fn record_bytes(&self) -> u64 {
        let traces = if self.traces > 1 {
            u64::from(self.traces) * TRACE_BYTES
        } else {
            0
        };
        u64::from(self.buckets) * size_of::<Bucket>() as u64 + traces
    }

    /// Connections of which none is turned away.
    pub(super) fn connections(&self) -> u32 {
        let places = u64::from(self.buckets) * BUCKET_PLACES as u64;
        u32::try_from(places / PLACES_PER_CONNECTION).unwrap_or(u32::MAX)
    }

    /// Bytes that depend on neither servers nor connections.
    fn fixed_bytes(&self) -> u64 {
        let cpu = (size_of::<CpuBlock>() + FRAMES_BYTES + size_of::<StreamCounts>()) as u64;
        let live = size_of::<LiveEntry>() as u64 * u64::from(LIVE_ENTRIES);
        let ended = size_of::<Ended>() as u64 * u64::from(self.ended);
        let entry_bytes = if self.traces > 1 {
            STREAM_ENTRY_BYTES
        } else {
            ENTRY_BYTES
        };
        let entries = hash_bytes(ENTRIES_PLACES, entry_bytes);
        let found = hash_bytes(FOUND_PLACES, FOUND_BYTES);
        let ring = u64::from(self.ring_bytes);
        let stacks = size_of::<KernelStack>() as u64 * u64::from(self.stacks);
        cpu * u64::from(self.cpus) + live + ended + entries + found + ring + stacks
    }

    /// Bytes of all maps from the start.
    pub(super) fn bytes(&self) -> u64 {
        self.server_bytes() + self.record_bytes() + self.fixed_bytes()
    }

    /// The same for people who have `configured` services and real servers and wanted so many records; nothing is
    /// used yet.
    pub(super) fn memory(&self, connections_wanted: u32, configured: usize) -> Memory {
        Memory {
            server_bytes: self.server_bytes(),
            record_bytes: self.record_bytes(),
            fixed_bytes: self.fixed_bytes(),
            cpus: self.cpus,
            partitions: self.partitions,
            grouping_bits: self.grouping_bits,
            slots: self.chunks * CHUNK_SLOTS,
            max_slots: self.max_slots(),
            slots_used: 0,
            configured,
            connections: self.connections(),
            connections_wanted,
            records_used: None,
        }
    }

    /// Slots that there can be.
    pub(super) fn max_slots(&self) -> u32 {
        self.max_chunks * CHUNK_SLOTS
    }
}

/// One place of so many is used when records are as many as asked for (see `best_place` of the programs).
const PLACES_PER_CONNECTION: u64 = 2;

/// Bytes that a slot has in the maps of all slots, which do not grow.
const fn place_bytes() -> u64 {
    let key = size_of::<ServerKey>();
    let number = size_of::<u32>();
    // The key is that of a hash map and lies in an array; the number is the former's value and waits in a queue.
    (2 * key + 2 * number + size_of::<Swept>()) as u64 + HASH_ELEMENT_BYTES + HASH_BUCKET_BYTES
}

/// Bytes of a hash map whose places, with key and value of so many bytes, are a power of two.
fn hash_bytes(places: u32, bytes: usize) -> u64 {
    u64::from(places) * (HASH_ELEMENT_BYTES + HASH_BUCKET_BYTES + bytes as u64)
}

fn buckets_for(connections: u32) -> u32 {
    let places = u64::from(connections) * PLACES_PER_CONNECTION;
    let buckets = places.div_ceil(BUCKET_PLACES as u64).max(1);
    u32::try_from(buckets).unwrap_or(u32::MAX)
}

fn chunks_for(slots: u64) -> u64 {
    slots.div_ceil(u64::from(CHUNK_SLOTS))
}

#[cfg(test)]
mod tests {
    use super::{Limits, Sizes};

    const MIB: u64 = 1 << 20;

    fn limits(configured: usize, cpus: u32) -> Limits {
        Limits {
            memory_bytes: 256 * MIB,
            connections: 1 << 19,
            cpus,
            measures: 6,
            configured,
            stream_bytes: None,
            stacks: false,
        }
    }

    #[test]
    fn a_thousand_servers_on_eight_cpus_fit_into_two_hundred_mebibytes() {
        let sizes = Sizes {
            partitions: 8,
            grouping_bits: 5,
            chunks: 17,
            ..Sizes::choose(&limits(1000, 8))
        };
        assert!(
            sizes.server_bytes() <= 200 * MIB,
            "{}",
            sizes.server_bytes()
        );
    }

    #[test]
    fn a_million_connections_fit_into_a_hundred_and_twenty_eight_mebibytes() {
        let sizes = Sizes::choose(&Limits {
            connections: 1_000_000,
            ..limits(1, 1)
        });
        assert!(sizes.connections() >= 1_000_000);
        assert!(
            sizes.record_bytes() <= 128 * MIB,
            "{}",
            sizes.record_bytes()
        );
    }

    #[test]
    fn what_a_stream_keeps_of_connections_is_part_of_their_memory() {
        let sizes = Sizes::choose(&Limits {
            stream_bytes: Some(8 << 20),
            ..limits(10, 2)
        });
        assert_eq!(sizes.traces, sizes.connections());
        assert!(sizes.record_bytes() <= 128 * MIB, "{sizes:?}");
        assert!(sizes.connections() > 400_000, "{sizes:?}");
    }

    #[test]
    fn stacks_take_memory_only_where_somebody_asks_for_them() {
        let without = Limits {
            stream_bytes: Some(8 << 20),
            ..limits(10, 4)
        };
        let with = Limits {
            stacks: true,
            ..without
        };
        let [without, with] = [without, with].map(|limits| Sizes::choose(&limits));
        assert_eq!((without.stacks, with.stacks), (1, 8));
        assert_eq!(with.fixed_bytes() - without.fixed_bytes(), 7 * 400);
    }

    #[test]
    fn a_small_director_has_a_partition_for_each_cpu() {
        let sizes = Sizes::choose(&limits(10, 4));
        assert_eq!(
            (sizes.partitions, sizes.grouping_bits, sizes.chunks),
            (4, 5, 1)
        );
        assert!(sizes.max_chunks >= 10, "{sizes:?}");
    }

    #[test]
    fn many_cpus_share_partitions_before_anything_is_cut_coarsely() {
        let sizes = Sizes::choose(&limits(1000, 64));
        assert!(sizes.partitions < 64, "{sizes:?}");
        assert_eq!(sizes.grouping_bits, 5);
        assert!(sizes.bytes() <= 256 * MIB);
        assert!(u64::from(sizes.chunks) * 64 >= 1000);
    }

    #[test]
    fn many_servers_are_cut_coarsely_and_then_share() {
        let coarse = Sizes::choose(&limits(12_000, 64));
        assert_eq!(coarse.partitions, 1);
        assert!(coarse.grouping_bits < 5, "{coarse:?}");
        assert!(coarse.bytes() <= 256 * MIB);
        let shared = Sizes::choose(&limits(100_000, 64));
        assert_eq!((shared.partitions, shared.grouping_bits), (1, 3));
        assert!(u64::from(shared.max_slots()) < 100_000);
        assert!(shared.bytes() <= 256 * MIB);
    }

    #[test]
    fn little_memory_is_halved_between_records_and_servers() {
        let sizes = Sizes::choose(&Limits {
            memory_bytes: 16 * MIB,
            ..limits(10, 2)
        });
        assert!(sizes.record_bytes() <= 8 * MIB, "{sizes:?}");
        assert!(sizes.bytes() <= 16 * MIB, "{sizes:?}");
    }
}
