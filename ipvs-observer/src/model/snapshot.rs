//! What outputs are given: maps and table merged, for one window and for the whole run.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use ipvs_observer_common::{Event, Loss, Measure};

use super::{
    activity::Activity,
    circumstances::{Bite, Circumstances},
    drain::Drain,
    filter::Selection,
    id::{DestinationId, Netns},
    memory::Memory,
    rates::Rates,
    sample::{ServiceKey, Timestamp},
    split::OwnCost,
    states::States,
};
use crate::ipvs::table::{Destination, Service, Traffic};

/// One window of observation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What does not change during a run.
    pub run: Arc<Run>,
    /// The end of the window.
    pub at: Timestamp,
    /// Between the two readings of the maps.
    pub window: Duration,
    /// Since the first reading.
    pub elapsed: Duration,
    /// Whether this is the last one, made for the sake of the totals.
    pub is_final: bool,
    /// What is measured of the host itself.
    pub director: Director,
    /// The network namespaces that were looked at, and those that are shown for the last time.
    pub namespaces: BTreeMap<Netns, Namespace>,
    /// Services, by identity.
    pub services: BTreeMap<ServiceKey, ServiceRow>,
    /// How far the numbers can be trusted.
    pub health: Health,
    /// What the programs themselves took since the start, where that is counted.
    pub own_cost: Option<OwnCost>,
}

impl Snapshot {
    /// The circumstances that cost something, and where.
    pub fn bites(&self) -> Vec<(Netns, Bite)> {
        let namespaces = self.namespaces.iter();
        let bites = namespaces.flat_map(|(&netns, namespace)| {
            let bites = namespace.circumstances.bites(self.connections(netns));
            bites.into_iter().map(move |bite| (netns, bite))
        });
        bites.collect()
    }

    /// Connections of all real servers in `netns`.
    fn connections(&self, netns: Netns) -> u64 {
        let services = self.services.iter();
        let servers = services
            .filter(|&(&(its_netns, _), _)| its_netns == netns)
            .flat_map(|(_, service)| service.destinations.values());
        servers
            .filter(|server| !server.row.gone)
            .filter_map(|server| server.facts)
            .map(|facts| u64::from(facts.active) + u64::from(facts.inactive))
            .sum()
    }

    /// The network namespaces that have a service to show.
    pub fn namespaces_with_services(&self) -> BTreeMap<Netns, &Namespace> {
        let services = self.services.keys();
        let netns = services.map(|&(netns, _)| netns);
        netns
            .filter_map(|netns| Some((netns, self.namespaces.get(&netns)?)))
            .collect()
    }

    /// What rows of `netns` are labelled with, its name or its number; nothing where one namespace is observed.
    pub fn label(&self, netns: Netns) -> Option<String> {
        let namespace = self.namespaces.get(&netns);
        let name = namespace.and_then(|namespace| namespace.name.clone());
        let label = || name.unwrap_or_else(|| netns.to_string());
        self.run.all_netns.then(label)
    }

    /// Leaves out what is not wanted; a service that stays keeps the sums over all of its real servers.
    pub fn select(&mut self, selection: &Selection) {
        self.services.retain(|(_, id), _| selection.has_service(id));
        if selection.servers.is_empty() {
            return;
        }
        for ((_, service), row) in &mut self.services {
            row.destinations
                .retain(|id, _| selection.has_server(service, id));
        }
        self.services.retain(|_, row| !row.destinations.is_empty());
    }
}

/// A network namespace that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// That of the file that stands for it, as `ip netns` makes one; absent without any, or where one namespace is observed.
    pub name: Option<String>,
    /// Its settings that bear on the numbers.
    pub circumstances: Circumstances,
}

/// Facts of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Measures whose probes are attached.
    pub measures: Vec<Measure>,
    /// Events whose probes are attached.
    pub events: Vec<Event>,
    /// Probes that are not attached.
    pub refused_probes: Vec<RefusedProbe>,
    /// Why the kernel's counters are copies and not live, if they are.
    pub no_live: Option<String>,
    /// Whether all network namespaces are observed, so that rows are labelled by theirs.
    pub all_netns: bool,
}

impl Run {
    /// `value`, if `event` is counted at all.
    pub fn known<T>(&self, event: Event, value: T) -> Option<T> {
        self.events.contains(&event).then_some(value)
    }

    /// `value`, if any reason of a drop is counted.
    pub fn known_drops<T>(&self, value: T) -> Option<T> {
        self.events
            .iter()
            .any(|event| event.is_drop())
            .then_some(value)
    }
}

/// How often an attached probe did not run, since it was attached; absent where the kernel does not count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeHealth {
    /// The probe, of which a function can have one at its entry and one at its return.
    pub name: Cow<'static, str>,
    /// The kernel function.
    pub function: Cow<'static, str>,
    /// Another probe was being handled on that CPU, or too many calls had not returned.
    pub missed: Option<u64>,
    /// The CPU was inside another program, or inside a bpf(2) call that touches a map.
    pub recursion_misses: Option<u64>,
}

impl ProbeHealth {
    /// All runs that are known to be missing.
    pub fn not_run(&self) -> u64 {
        self.missed.unwrap_or(0) + self.recursion_misses.unwrap_or(0)
    }
}

/// A probe that is not attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProbe {
    /// The kernel function.
    pub function: String,
    /// Why it cannot be probed.
    pub reason: String,
}

/// What is known of the host itself.
#[derive(Clone, Debug)]
pub struct Director {
    /// What the programs saw in the window.
    pub interval: Activity,
    /// What the programs saw since the start.
    pub total: Activity,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct ServiceRow {
    /// What IPVS says of it; its last words if it is gone.
    pub facts: Option<Service>,
    /// What all of its servers have in common.
    pub row: Row,
    /// Its real servers, by identity.
    pub destinations: BTreeMap<DestinationId, DestinationRow>,
}

/// A real server of a virtual service.
#[derive(Clone, Debug)]
pub struct DestinationRow {
    /// What IPVS says of it; its last words if it is gone.
    pub facts: Option<Destination>,
    /// Its drain, while its weight is 0.
    pub drain: Option<Drain>,
    /// Its connections, if they were looked at.
    pub states: Option<States>,
    /// What it has in common with a service.
    pub row: Row,
}

/// What is known of a service or a real server alike.
#[derive(Clone, Debug)]
pub struct Row {
    /// Shown for the last time: it is in the table no more.
    pub gone: bool,
    /// When it was first in the table, or again after it was gone; absent if it never was.
    pub since: Option<Timestamp>,
    /// Whether replies pass the director, by the forwarding method or because some did.
    pub has_return_path: bool,
    /// What the programs saw in the window.
    pub interval: Activity,
    /// What the programs saw since the start.
    pub total: Activity,
    /// The kernel's counters.
    pub traffic: Option<Traffic>,
    /// When they were read live, on `CLOCK_MONOTONIC`; absent for copies that the kernel makes every 2 s.
    pub read_at: Option<Duration>,
    /// Packet and byte rates now.
    pub rates: Option<Rates>,
    /// Packet and byte rates over the run.
    pub run_rates: Option<Rates>,
}

impl Row {
    /// Whether `measure` can have values here: without a return path some cannot, which is not the same as none.
    pub fn shows(&self, measure: Measure) -> bool {
        self.has_return_path || !measure.needs_return_path()
    }
}

/// How complete the measuring was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// In the window.
    pub interval: Completeness,
    /// Since the start.
    pub total: Completeness,
    /// Whether entries of a table may be missing or old: it changed under every attempt to read it, or could not be read.
    pub torn: bool,
    /// How long reading the tables took.
    pub table_took: Duration,
    /// What attached probes missed.
    pub probes: Vec<ProbeHealth>,
    /// What the maps hold and take.
    pub memory: Memory,
    /// How long looking at all connections took, if that was done.
    pub sweep_took: Option<Duration>,
    /// Windows that an output missed because it was slow, since the start.
    pub missed_windows: u64,
}

/// What was seen and what was lost over some span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Packets of the observed namespaces that reached a state transition.
    pub transitions: u64,
    /// Packets that IPVS counted; absent if its per-CPU counters cannot be read, or went with their namespace.
    pub packets: Option<u64>,
    /// Events given up, by [`Loss`].
    pub losses: [u64; Loss::ALL.len()],
}

impl Completeness {
    /// All events given up.
    pub fn lost(&self) -> u64 {
        self.losses.iter().sum()
    }

    /// The losses that happened.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, u64)> {
        Loss::ALL
            .into_iter()
            .zip(self.losses)
            .filter(|&(_, count)| count > 0)
    }

    /// The part of the packets that the probes saw, in percent; a little off while packets pass between two readings.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a percentage needs no more than 53 bits"
    )]
    pub fn coverage_percent(&self) -> Option<f64> {
        let packets = self.packets.filter(|&packets| packets > 0)?;
        Some(self.transitions as f64 * 100.0 / packets as f64)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.transitions += other.transitions;
        self.packets = match (self.packets, other.packets) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            _ => None,
        };
        for (sum, count) in self.losses.iter_mut().zip(other.losses) {
            *sum += count;
        }
    }
}
