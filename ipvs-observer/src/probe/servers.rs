//! Reads what is kept of the real servers: what is new since the last reading, summed over the partitions.
//!
//! A value that is recorded in the moment of a reading may be in a bucket and not yet among the extremes, or the other
//! way round; `Distribution` keeps the two consistent.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::offset_of,
};

use aya::Ebpf;
use ipvs_observer_common::{
    Control, Counters, Event, Extremes, Measure, ServerKey, Summary, buckets,
    maps::{CHUNK_SLOTS, HOST_SLOT},
};

use super::{
    LoadError,
    chunks::Chunks,
    decode::{server_id, service_key},
    mapped::MappedArray,
    slots,
};
use crate::{
    error::one_line,
    model::{
        activity::{Activity, combine},
        id::Netns,
        latency::Distribution,
        sample::ServerId,
    },
};

/// The slots of all servers with what was last read of them.
#[derive(Debug)]
pub(super) struct Servers {
    chunks: Chunks,
    keys: MappedArray,
    control: MappedArray,
    /// The measures that have a histogram, in the order of their positions.
    measures: Vec<Measure>,
    known: Vec<Known>,
    have_left: bool,
}

/// What was read of one slot before.
#[derive(Debug, Default)]
struct Known {
    /// Whose slot it is; none if nobody's.
    id: Option<ServerId>,
    counters: Counters,
    histograms: Vec<KnownHistogram>,
    /// Where it stands on the way back to the free ones.
    leaving: Leaving,
}

/// How a slot comes back: a program that has just looked it up may still write into it for a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leaving {
    /// In use, or free.
    #[default]
    No,
    /// Its server is gone and no connection is left.
    Idle,
    /// The programs find it no more.
    Unlinked,
}

/// Sums over the partitions at the last reading; those of the buckets wrap as the buckets do.
#[derive(Debug, Default)]
struct KnownHistogram {
    count: u64,
    sum_ns: u64,
    buckets: Option<Box<[u32]>>,
}

impl Servers {
    pub(super) const fn new(
        chunks: Chunks,
        keys: MappedArray,
        control: MappedArray,
        measures: Vec<Measure>,
    ) -> Self {
        Self {
            chunks,
            keys,
            control,
            measures,
            known: Vec::new(),
            have_left: false,
        }
    }

    /// What is new of the host, and of each server; those with nothing new are left out.
    pub(super) fn drain(&mut self) -> (Activity, BTreeMap<ServerId, Activity>) {
        let bank = self.flip_bank();
        let mut readings: BTreeMap<ServerId, Activity> = BTreeMap::new();
        self.known.resize_with(self.chunks.slots(), Known::default);
        let host_slot = HOST_SLOT as usize;
        let host = self.known.get_mut(host_slot);
        let host =
            host.and_then(|known| known.advance(&mut self.chunks, host_slot, &self.measures, bank));
        for slot in host_slot + 1..self.known.len() {
            let known = &mut self.known[slot];
            if known.id.is_none() {
                // The mark before the rest, which it was written after.
                let written: u16 = self.keys.read_at(slot, offset_of!(ServerKey, written));
                let key: ServerKey = self.keys.read_at(slot, 0);
                known.id = if written == 0 { None } else { server_id(&key) };
            }
            let Some(id) = known.id else {
                continue;
            };
            if let Some(activity) = known.advance(&mut self.chunks, slot, &self.measures, bank) {
                // A server that came again while its old slot was on the way back has two.
                readings.entry(id).or_default().merge(&activity);
            }
        }
        (host.unwrap_or_default(), readings)
    }

    /// Slots that there are, and how many of them are used, that of the host among them.
    pub(super) fn slots(&self) -> (u32, u32) {
        let used = self.known.iter().filter(|known| known.id.is_some()).count() + 1;
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        (number(self.chunks.slots()), number(used))
    }

    /// Records of connections that were made and have not ended, as of the last reading.
    pub(super) fn records(&self) -> u64 {
        self.known.iter().fold(0, |sum: u64, known| {
            let made = known.counters.get(Event::RecordMade);
            sum.wrapping_add(made.wrapping_sub(known.counters.get(Event::RecordEnded)))
        })
    }

    /// Sees to it that services and the next servers find a slot, and takes back those of servers that are not in
    /// `table` any more; of the namespaces `torn` the table may lack some.
    pub(super) fn follow(
        &mut self,
        ebpf: &mut Ebpf,
        table: &BTreeSet<ServerId>,
        torn: &BTreeSet<Netns>,
    ) -> Result<(), LoadError> {
        self.grow(ebpf, table.len());
        let known: BTreeSet<_> = self.known.iter().filter_map(|known| known.id).collect();
        for id @ (netns, service, _) in table.iter().filter(|(.., server)| server.is_none()) {
            if !known.contains(id) {
                slots::assign(ebpf, &mut self.keys, service_key(&(*netns, *service)))?;
            }
        }
        let is_gone = |id: &ServerId| !table.contains(id) && !torn.contains(&id.0);
        self.recycle(ebpf, is_gone)
    }

    /// Whether a real server that is not in the table any more still has connections.
    pub(super) const fn have_left(&self) -> bool {
        self.have_left
    }

    fn recycle(
        &mut self,
        ebpf: &mut Ebpf,
        is_gone: impl Fn(&ServerId) -> bool,
    ) -> Result<(), LoadError> {
        self.have_left = false;
        for slot in HOST_SLOT + 1..u32::try_from(self.known.len()).unwrap_or(u32::MAX) {
            let known = &mut self.known[slot as usize];
            let Some(id) = known.id else {
                continue;
            };
            let made = known.counters.get(Event::RecordMade);
            // What is read of two CPUs is not of one instant, so that an end may come before its beginning.
            let tracked = made.saturating_sub(known.counters.get(Event::RecordEnded));
            let is_gone = is_gone(&id);
            let is_idle = tracked == 0 && is_gone;
            self.have_left |= tracked > 0 && is_gone;
            match (known.leaving, is_idle) {
                (Leaving::No, true) => known.leaving = Leaving::Idle,
                (Leaving::Idle, true) => {
                    let key: ServerKey = self.keys.read_at(slot as usize, 0);
                    slots::unlink(ebpf, key, slot)?;
                    known.leaving = Leaving::Unlinked;
                }
                (Leaving::Unlinked, _) if tracked == 0 => {
                    let unwritten = 0_u16;
                    let offset = offset_of!(ServerKey, written);
                    self.keys.write_at(slot as usize, offset, unwritten);
                    known.id = None;
                    known.leaving = Leaving::No;
                    slots::give(ebpf, slot)?;
                }
                (Leaving::Idle, false) => known.leaving = Leaving::No,
                (Leaving::No, false) | (Leaving::Unlinked, _) => {}
            }
        }
        Ok(())
    }

    /// Adds chunks until a good part of one is free besides `configured` slots, as far as memory allows.
    fn grow(&mut self, ebpf: &mut Ebpf, configured: usize) {
        const RESERVE: usize = CHUNK_SLOTS as usize / 2;
        let used = self.known.iter().filter(|known| known.id.is_some()).count();
        while used.max(configured) + RESERVE > self.chunks.slots() && self.chunks.can_grow() {
            if let Err(error) = self.chunks.grow(ebpf) {
                self.chunks.stop_growing();
                log::warn!(
                    "more real servers count in their services from now on: {}",
                    one_line(&error)
                );
            }
        }
    }

    /// Adds chunks until there are `chunks`, as far as memory allows.
    pub(super) fn grow_to(&mut self, ebpf: &mut Ebpf, chunks: u32) -> Result<(), LoadError> {
        while self.chunks.slots() < (chunks * CHUNK_SLOTS) as usize && self.chunks.can_grow() {
            self.chunks.grow(ebpf)?;
        }
        Ok(())
    }

    /// Whose each slot is, the programs' newest gifts among them.
    pub(super) fn ids(&self) -> impl Iterator<Item = (usize, ServerId)> {
        (HOST_SLOT as usize + 1..self.chunks.slots()).filter_map(|slot| {
            let known = self.known.get(slot).and_then(|known| known.id);
            let id = known.or_else(|| server_id(&self.keys.read_at(slot, 0)))?;
            Some((slot, id))
        })
    }

    /// Sends the programs to the other bank of extremes, and says which one they leave.
    fn flip_bank(&mut self) -> usize {
        let control: Control = self.control.read_at(0, 0);
        let next = Control {
            epoch: control.epoch.wrapping_add(1),
            ..control
        };
        self.control.write_at(0, 0, next);
        usize::from(control.epoch & 1 == 1)
    }
}

impl Known {
    fn advance(
        &mut self,
        chunks: &mut Chunks,
        slot: usize,
        measures: &[Measure],
        bank: usize,
    ) -> Option<Activity> {
        let counters = chunks
            .counters(slot)
            .fold(Counters::default(), |sum, counters| {
                combine(sum, counters, u64::wrapping_add)
            });
        let mut moved = counters != self.counters;
        let mut activity = Activity::none();
        activity.counters = combine(counters, self.counters, u64::wrapping_sub);
        self.counters = counters;
        self.histograms
            .resize_with(measures.len(), Default::default);
        for (position, &measure) in measures.iter().enumerate() {
            let place = (slot, position);
            let latency = self.histograms[position].advance(measure, chunks, place, bank);
            if let Some(latency) = latency {
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
        chunks: &mut Chunks,
        (slot, position): (usize, usize),
        bank: usize,
    ) -> Option<Distribution> {
        let summaries = || chunks.histograms(slot, position).map(|view| view.summary());
        let count = summaries().fold(0, |sum: u64, summary| sum.wrapping_add(summary.count));
        if count == self.count {
            return None;
        }
        self.count = count;
        let grouping_bits = chunks.grouping_bits();
        let mut now = vec![0_u32; buckets(grouping_bits)];
        let (mut sum_ns, mut extremes) = (0_u64, Extremes::default());
        for view in chunks.histograms(slot, position) {
            view.add_buckets(&mut now);
            let summary = view.summary();
            sum_ns = sum_ns.wrapping_add(summary.sum_ns);
            let taken = summary.extremes[bank];
            extremes.inverted_min_ns = extremes.inverted_min_ns.max(taken.inverted_min_ns);
            extremes.max_ns = extremes.max_ns.max(taken.max_ns);
        }
        let offset = offset_of!(Summary, extremes) + bank * size_of::<Extremes>();
        chunks.write_each(slot, position, offset, Extremes::default());
        let known = self
            .buckets
            .get_or_insert_with(|| vec![0; now.len()].into_boxed_slice());
        let new = now
            .iter()
            .zip(known.iter())
            .map(|(now, known)| now.wrapping_sub(*known));
        let values = new
            .map(u64::from)
            .enumerate()
            .filter(|&(_, count)| count > 0)
            .collect();
        *known = now.into_boxed_slice();
        let new_sum_ns = sum_ns.wrapping_sub(self.sum_ns);
        self.sum_ns = sum_ns;
        let extremes =
            (extremes.inverted_min_ns > 0).then_some((!extremes.inverted_min_ns, extremes.max_ns));
        let distribution = Distribution::new(measure, grouping_bits, values, new_sum_ns, extremes);
        Some(distribution)
    }
}
