//! Reads what the programs log while the kernel answers the agent's dump of the table: the counters of each entry.
//!
//! The log is a ring in the order of the answer. An entry that did not fit its datagram is filled again with the next
//! one, so that the log may have it twice; one whose program was kept from running is missing. Tables of several network
//! namespaces are read one after the other, and each reading leaves behind what was logged before it: an entry is always of
//! the namespace that is being read, and does not say which that is.

use std::time::Duration;

use ipvs_observer_common::{LIVE_ENTRIES, LiveEntry, maps};

use super::{
    LoadError,
    decode::{family_number, server_id},
    load::Loaded,
    mapped::MappedArray,
    plan::{Occasions, Plan},
    possible_cpus, request,
    sizes::{Limits, Sizes},
};
use crate::{
    btf::resolve::Resolved,
    ipvs::table::{Live, Traffic},
    kernel::Process,
    model::id::{DestinationId, ServiceId},
};

/// The programs that read live counters, without any that measure; dropping them detaches.
#[derive(Debug)]
pub struct LiveProbes {
    /// Holds the links.
    _loaded: Loaded,
    counters: LiveCounters,
}

impl LiveProbes {
    /// Loads and attaches them for the dumps of `process`, which is the agent itself.
    pub fn start(resolved: &Resolved, process: Process) -> Result<Self, LoadError> {
        // The object has all maps, of which only the log is used.
        let sizes = Sizes::choose(&Limits {
            memory_bytes: 0,
            connections: 1,
            cpus: possible_cpus()?,
            measures: 0,
            configured: 0,
            stream_bytes: None,
            stacks: false,
        });
        let mut plan = Plan::live(resolved);
        let settings = request::settings(process, None, &sizes, &[]);
        let mut loaded = Loaded::new(&resolved.layout, settings, &sizes, None, false)?;
        loaded.attach(&mut plan, Occasions::default());
        if !plan.has_live() {
            return Err(LoadError::NothingAttached(plan.reasons()));
        }
        let counters = live_counters(&loaded)?;
        Ok(Self {
            _loaded: loaded,
            counters,
        })
    }

    /// The counters that the kernel logs during a dump.
    pub const fn counters(&mut self) -> &mut LiveCounters {
        &mut self.counters
    }
}

/// The log of `loaded`, from its beginning.
pub(super) fn live_counters(loaded: &Loaded) -> Result<LiveCounters, LoadError> {
    let log = loaded.map_array::<LiveEntry>(maps::LIVE, LIVE_ENTRIES as usize)?;
    Ok(LiveCounters::new(log))
}

/// The log, read up to some entry.
#[derive(Debug)]
pub struct LiveCounters {
    log: MappedArray,
    /// Sequence of the entry that is read next.
    next: u64,
}

impl LiveCounters {
    pub(super) const fn new(log: MappedArray) -> Self {
        Self { log, next: 1 }
    }

    /// What a dump that begins now asks for each entry, where there is a log.
    pub fn reader(
        mut counters: Option<&mut Self>,
    ) -> impl FnMut(&ServiceId, Option<&DestinationId>) -> Option<Live> {
        if let Some(counters) = &mut counters {
            counters.begin();
        }
        move |service, destination| counters.as_mut()?.take(service, destination)
    }

    /// Leaves behind what a dump that was given up has logged.
    fn begin(&mut self) {
        let newest = (0..LIVE_ENTRIES as usize)
            .map(|index| self.log.read_at::<u64>(index, 0))
            .max();
        self.next = newest.unwrap_or_default() + 1;
    }

    /// The counters of an entry of the answer; `None` if the log lacks it. To be asked in the order of the answer.
    fn take(&mut self, service: &ServiceId, destination: Option<&DestinationId>) -> Option<Live> {
        let mut sequence = self.next;
        loop {
            let index = (sequence - 1) % u64::from(LIVE_ENTRIES);
            let entry: LiveEntry = self.log.read_at(usize::try_from(index).ok()?, 0);
            if entry.sequence < sequence {
                return None;
            }
            if entry.sequence > sequence {
                // The ring went round: what is oldest in it comes next.
                sequence = entry.sequence + 1 - u64::from(LIVE_ENTRIES);
                self.next = self.next.max(sequence);
                continue;
            }
            sequence += 1;
            if names(&entry, service, destination) {
                self.next = sequence;
                return Some(reading(&entry));
            }
        }
    }
}

fn names(entry: &LiveEntry, service: &ServiceId, destination: Option<&DestinationId>) -> bool {
    let mut key = entry.key;
    key.written = 1;
    if destination.is_some() {
        // The kernel's destination does not hold the family of its service.
        key.family = family_number(service.family());
    }
    let named = server_id(&key);
    named.is_some_and(|(_, id, server)| (id, server) == (*service, destination.copied()))
}

fn reading(entry: &LiveEntry) -> Live {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = entry.counters;
    Live {
        traffic: Traffic {
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        },
        read_at: Duration::from_nanos(entry.at_ns),
    }
}
