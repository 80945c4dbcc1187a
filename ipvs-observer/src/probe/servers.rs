//! Reads the blocks of the real servers: what is new since the last reading, summed over the CPUs.
//!
//! A value that is recorded in the moment of a reading may be in a bucket and not yet among the extremes, or the other
//! way round; `Distribution` keeps the two consistent.

use std::{collections::BTreeMap, mem::offset_of};

use aya::Pod;
use ipvs_observer_common::{
    Control, Counters, Extremes, Histogram, Measure, SLOTS, ServerBlock, ServerKey,
};

use super::{decode::server_id, mapped::MappedArray};
use crate::model::{
    activity::{Activity, combine},
    latency::Distribution,
    sample::ServerId,
};

/// The blocks of all servers with what was last read of them.
#[derive(Debug)]
pub(super) struct Servers {
    blocks: MappedArray<ServerBlock>,
    keys: MappedArray<ServerKey>,
    control: MappedArray<Control>,
    cpus: usize,
    slots: usize,
    known: Vec<Option<Known>>,
}

/// What was read of one server before.
#[derive(Debug)]
struct Known {
    id: ServerId,
    counters: Counters,
    histograms: [KnownHistogram; Measure::ALL.len()],
}

/// Sums over the CPUs at the last reading; those of the buckets wrap as the buckets do.
#[derive(Debug, Default)]
struct KnownHistogram {
    count: u64,
    sum_ns: u64,
    buckets: Option<Box<[u32; SLOTS]>>,
}

impl Servers {
    pub(super) fn new(
        blocks: MappedArray<ServerBlock>,
        keys: MappedArray<ServerKey>,
        control: MappedArray<Control>,
        cpus: usize,
        slots: usize,
    ) -> Self {
        Self {
            blocks,
            keys,
            control,
            cpus,
            slots,
            known: (0..slots).map(|_| None).collect(),
        }
    }

    /// What is new of each server; those with nothing new are left out.
    pub(super) fn drain(&mut self) -> BTreeMap<ServerId, Activity> {
        let bank = self.flip_bank();
        let mut readings = BTreeMap::new();
        for slot in 0..self.slots {
            let known = &mut self.known[slot];
            if known.is_none() {
                *known = server_id(&self.keys.read(slot)).map(Known::new);
            }
            let Some(known) = known else {
                continue;
            };
            let mut blocks = Blocks {
                array: &mut self.blocks,
                cpus: self.cpus,
                slots: self.slots,
                slot,
            };
            if let Some(activity) = known.advance(&mut blocks, bank) {
                readings.insert(known.id, activity);
            }
        }
        readings
    }

    /// Sends the programs to the other bank of extremes, and says which one they leave.
    fn flip_bank(&mut self) -> usize {
        let epoch = self.control.read(0).epoch;
        let next = Control {
            epoch: epoch.wrapping_add(1),
        };
        self.control.write_at(0, 0, next);
        usize::from(epoch & 1 == 1)
    }
}

/// The blocks of one server, one for each CPU.
struct Blocks<'a> {
    array: &'a mut MappedArray<ServerBlock>,
    cpus: usize,
    slots: usize,
    slot: usize,
}

impl Blocks<'_> {
    /// What lies at `offset_bytes` in the block of each CPU.
    fn each<M: Pod>(&self, offset_bytes: usize) -> impl Iterator<Item = M> {
        self.indexes()
            .map(move |index| self.array.read_at(index, offset_bytes))
    }

    /// The same, set back to nothing.
    fn take_extremes(&mut self, offset_bytes: usize) -> Extremes {
        let mut widest = Extremes::default();
        for index in self.indexes() {
            let taken: Extremes = self.array.read_at(index, offset_bytes);
            if taken.max_ns == 0 && taken.inverted_min_ns == 0 {
                continue;
            }
            self.array
                .write_at(index, offset_bytes, Extremes::default());
            widest.inverted_min_ns = widest.inverted_min_ns.max(taken.inverted_min_ns);
            widest.max_ns = widest.max_ns.max(taken.max_ns);
        }
        widest
    }

    fn indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let (slots, slot) = (self.slots, self.slot);
        (0..self.cpus).map(move |cpu| cpu * slots + slot)
    }
}

impl Known {
    fn new(id: ServerId) -> Self {
        Self {
            id,
            counters: Counters::default(),
            histograms: Default::default(),
        }
    }

    fn advance(&mut self, blocks: &mut Blocks<'_>, bank: usize) -> Option<Activity> {
        let counters = blocks.each::<Counters>(offset_of!(ServerBlock, counters));
        let counters = counters.fold(Counters::default(), |sum, counters| {
            combine(sum, counters, u64::wrapping_add)
        });
        let mut moved = counters != self.counters;
        let mut activity = Activity::none();
        activity.counters = combine(counters, self.counters, u64::wrapping_sub);
        self.counters = counters;
        for measure in Measure::ALL {
            let histogram = &mut self.histograms[measure as usize];
            if let Some(latency) = histogram.advance(measure, blocks, bank) {
                activity.latencies[measure as usize] = latency;
                moved = true;
            }
        }
        moved.then_some(activity)
    }
}

impl KnownHistogram {
    fn advance(
        &mut self,
        measure: Measure,
        blocks: &mut Blocks<'_>,
        bank: usize,
    ) -> Option<Distribution> {
        let start = offset_of!(ServerBlock, histograms) + measure as usize * size_of::<Histogram>();
        let counts = blocks.each::<u64>(start + offset_of!(Histogram, count));
        let count = counts.fold(0, u64::wrapping_add);
        if count == self.count {
            return None;
        }
        self.count = count;
        let mut sum_ns = 0_u64;
        let mut now = [0_u32; SLOTS];
        for histogram in blocks.each::<Histogram>(start) {
            sum_ns = sum_ns.wrapping_add(histogram.sum_ns);
            for (sum, bucket) in now.iter_mut().zip(histogram.buckets) {
                *sum = sum.wrapping_add(bucket);
            }
        }
        let known = self.buckets.get_or_insert_with(|| Box::new([0; SLOTS]));
        let new = now
            .iter()
            .zip(known.iter())
            .map(|(now, known)| now.wrapping_sub(*known));
        let buckets = new
            .map(u64::from)
            .enumerate()
            .filter(|&(_, count)| count > 0)
            .collect();
        **known = now;
        let new_sum_ns = sum_ns.wrapping_sub(self.sum_ns);
        self.sum_ns = sum_ns;
        let bank = offset_of!(Histogram, extremes) + bank * size_of::<Extremes>();
        let extremes = blocks.take_extremes(start + bank);
        let extremes =
            (extremes.inverted_min_ns > 0).then_some((!extremes.inverted_min_ns, extremes.max_ns));
        Some(Distribution::new(measure, buckets, new_sum_ns, extremes))
    }
}
