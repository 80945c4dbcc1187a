//! The memory of the servers: chunks of slots, made as the table grows and mapped into the agent's memory.

use std::io;

use aya::{
    Ebpf, Pod,
    maps::{ArrayOfMaps, MapData, MapError},
};
use ipvs_observer_common::{
    Coarse, Counters, Fine, Medium, Summary,
    maps::{self, CHUNK_SLOTS, HOST_SLOT},
};

use super::{LoadError, mapped::MappedArray, sizes::Sizes, slots};

/// `BPF_MAP_TYPE_ARRAY` of the uapi header `bpf.h`.
const BPF_MAP_TYPE_ARRAY: u32 = 2;
/// Arrays are indexed by `u32`.
const KEY_BYTES: u32 = 4;
/// `BPF_F_MMAPABLE` of the uapi header `bpf.h`.
const BPF_F_MMAPABLE: u32 = 1 << 10;
/// `BPF_F_INNER_MAP` of the uapi header `bpf.h`: chunks need not be as large as their template.
const BPF_F_INNER_MAP: u32 = 1 << 12;

/// The mapped chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    sizes: Sizes,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    counters: MappedArray,
    /// None if nothing is measured.
    histograms: Option<MappedArray>,
}

impl Chunks {
    /// None yet.
    pub(super) const fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            chunks: Vec::new(),
        }
    }

    /// Slots that there are.
    pub(super) fn slots(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS as usize
    }

    /// Whether the memory allowed has room for another.
    pub(super) fn can_grow(&self) -> bool {
        self.chunks.len() < self.sizes.max_chunks as usize
    }

    /// Stays as large as it is.
    pub(super) fn stop_growing(&mut self) {
        self.sizes.max_chunks = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
    }

    /// Adds a chunk and gives its slots to the programs.
    pub(super) fn grow(&mut self, ebpf: &mut Ebpf) -> Result<(), LoadError> {
        let first = u32::try_from(self.slots()).unwrap_or(u32::MAX);
        let index = first / CHUNK_SLOTS;
        let elements = CHUNK_SLOTS * self.sizes.partitions;
        let counters = add::<Counters>(ebpf, maps::COUNTERS, index, elements)?;
        let histograms = match elements * self.sizes.measures {
            0 => None,
            elements => Some(match self.sizes.grouping_bits {
                5 => add::<Fine>(ebpf, maps::FINE, index, elements),
                4 => add::<Medium>(ebpf, maps::MEDIUM, index, elements),
                _ => add::<Coarse>(ebpf, maps::COARSE, index, elements),
            }?),
        };
        self.chunks.push(Chunk {
            counters,
            histograms,
        });
        for slot in first..first + CHUNK_SLOTS {
            if slot != HOST_SLOT {
                slots::give(ebpf, slot)?;
            }
        }
        Ok(())
    }

    /// The counters of `slot` in each partition.
    pub(super) fn counters(&self, slot: usize) -> impl Iterator<Item = Counters> {
        let (chunk, places) = self.places(slot);
        places.filter_map(move |place| Some(chunk?.counters.read_at(place, 0)))
    }

    /// The histograms at `position` of `slot`, one for each partition.
    pub(super) fn histograms(
        &self,
        slot: usize,
        position: usize,
    ) -> impl Iterator<Item = View<'_>> {
        let (chunk, places) = self.places(slot);
        let histograms = chunk.and_then(|chunk| chunk.histograms.as_ref());
        let measures = self.sizes.measures as usize;
        places.filter_map(move |place| {
            Some(View {
                array: histograms?,
                index: place * measures + position,
            })
        })
    }

    /// Writes `value` at `offset_bytes` into the histogram at `position` of `slot` in each partition.
    pub(super) fn write_each<M: Pod>(
        &mut self,
        slot: usize,
        position: usize,
        offset_bytes: usize,
        value: M,
    ) {
        let measures = self.sizes.measures as usize;
        let (_, places) = self.places(slot);
        let chunk = self.chunks.get_mut(slot / CHUNK_SLOTS as usize);
        if let Some(histograms) = chunk.and_then(|chunk| chunk.histograms.as_mut()) {
            for place in places {
                histograms.write_at(place * measures + position, offset_bytes, value);
            }
        }
    }

    /// How the octaves are cut.
    pub(super) const fn grouping_bits(&self) -> u32 {
        self.sizes.grouping_bits
    }

    fn places(&self, slot: usize) -> (Option<&Chunk>, impl Iterator<Item = usize> + use<>) {
        let chunk_slots = CHUNK_SLOTS as usize;
        let inside = slot % chunk_slots;
        let partitions = 0..self.sizes.partitions as usize;
        (
            self.chunks.get(slot / chunk_slots),
            partitions.map(move |partition| partition * chunk_slots + inside),
        )
    }
}

/// A histogram in one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    array: &'a MappedArray,
    index: usize,
}

impl View<'_> {
    /// What does not depend on the buckets.
    pub(super) fn summary(&self) -> Summary {
        self.array.read_at(self.index, 0)
    }

    /// Adds the buckets to `sums`, which has as many; they wrap.
    pub(super) fn add_buckets(&self, sums: &mut [u32]) {
        let mut offset_bytes = size_of::<Summary>();
        for sum in sums {
            *sum = sum.wrapping_add(self.array.read_at(self.index, offset_bytes));
            offset_bytes += size_of::<u32>();
        }
    }
}

fn absent(name: &str) -> MapError {
    MapError::InvalidName {
        name: name.to_owned(),
    }
}

/// Puts an array of `elements` into place `index` of the map of maps `name`.
fn add<T: Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    index: u32,
    elements: u32,
) -> Result<MappedArray, LoadError> {
    let error = |source| LoadError::Map { name, source };
    let element_bytes = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    let definition = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY,
        KEY_BYTES,
        element_bytes,
        elements,
        BPF_F_MMAPABLE | BPF_F_INNER_MAP,
    );
    let array = MapData::create(definition, name, None).map_err(error)?;
    let outer = ebpf.map_mut(name).ok_or_else(|| error(absent(name)))?;
    let mut outer: ArrayOfMaps<_, MapData> = outer.try_into().map_err(error)?;
    outer.set(index, &array, 0).map_err(error)?;
    let mapping = |source: io::Error| LoadError::Mapping { name, source };
    let elements = elements as usize;
    MappedArray::new(array.fd(), elements, size_of::<T>()).map_err(mapping)
}
