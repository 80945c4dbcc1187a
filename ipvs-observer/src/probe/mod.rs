//! The measuring: loads the programs, attaches them, reads what they count.
//!
//! This is the only module that knows aya. `plan` decides what is attached, `load` does it, `servers` and this file read
//! the maps, which are mapped into the agent's memory so that reading them disturbs no probe, and `decode` gives the
//! kernel's bytes their names.

mod chunks;
mod decode;
mod health;
mod info;
mod live;
mod load;
mod log;
mod mapped;
mod plan;
mod request;
mod servers;
mod sizes;
mod slots;
mod stream;
mod survey;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    time::Duration,
};

use aya::sys::{Stats, enable_stats};
use ipvs_observer_common::{Control, CpuBlock, Event, Loss, Measure, ServerKey, Swept, maps};
use thiserror::Error;

use self::{
    chunks::Chunks,
    health::Watch,
    live::live_counters,
    load::Loaded,
    mapped::MappedArray,
    plan::{Occasions, Plan},
    servers::Servers,
    sizes::{Limits, Sizes},
    sweep::Sweeper,
};
use crate::{
    btf::resolve::Resolved,
    model::{
        circumstances::Circumstances,
        memory::Memory,
        sample::{Namespaces, Readings, ServerId},
        snapshot::RefusedProbe,
        split::OwnCost,
        states::States,
    },
};

pub use self::{
    live::{LiveCounters, LiveProbes},
    log::ProgramLog,
    request::Request,
    stream::{Events, Record},
    survey::{Outlook, ProbeOutlook, Survey, functions, planned_memory, survey, unexamined},
    sweep::Entering,
};

/// Attached probes; dropping them detaches everything.
#[derive(Debug)]
pub struct Probes {
    loaded: Loaded,
    servers: Servers,
    cpus: MappedArray,
    sizes: Sizes,
    plan: Plan,
    measures: Vec<Measure>,
    seen: Totals,
    live: Option<LiveCounters>,
    watch: Watch,
    connections_wanted: u32,
    configured: usize,
    /// The kernel counts run time for as long as it is open.
    run_time: Option<OwnedFd>,
    sweeper: Option<Sweeper>,
}

/// What the programs counted of themselves since they are attached.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    transitions: u64,
    losses: [u64; Loss::ALL.len()],
}

/// The probes cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel refuses programs or maps for want of privilege.
    #[error(
        "not permitted to load BPF programs: run as root, or give the process CAP_BPF and CAP_PERFMON"
    )]
    NotPermitted,
    /// The object or a map of it was refused.
    #[error("cannot load the eBPF programs and their maps of {map_bytes} bytes")]
    Object {
        /// What the maps of the servers take.
        map_bytes: u64,
        /// Why.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// A map is not what it should be.
    #[error("cannot use the map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: aya::maps::MapError,
    },
    /// A map cannot be mapped.
    #[error("cannot map {name} into memory")]
    Mapping {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The number of CPUs cannot be read.
    #[error("cannot read the number of CPUs from {0}")]
    Cpus(&'static str, #[source] io::Error),
    /// No probe that measures anything could be attached.
    #[error("no probe can be attached: {0}")]
    NothingAttached(String),
}

fn possible_cpus() -> Result<u32, LoadError> {
    let possible = aya::util::nr_cpus();
    let possible = possible.map_err(|(path, source)| LoadError::Cpus(path, source))?;
    Ok(possible.get())
}

impl Probes {
    /// Loads the programs for the kernel of `resolved` and attaches those that fit it.
    pub fn start(resolved: &Resolved, request: &Request) -> Result<Self, LoadError> {
        let mut plan = Plan::full(resolved, &request.measures);
        if let Some(wanted) = &request.stream {
            plan.add_stream(resolved, wanted.config);
        }
        let measures = plan.measures(&request.measures);
        let sizes = Sizes::choose(&Limits {
            memory_bytes: request.memory_bytes,
            connections: request.connections,
            cpus: possible_cpus()?,
            measures: u32::try_from(measures.len()).unwrap_or(u32::MAX),
            configured: request.configured,
            stream_bytes: request.stream.as_ref().map(|wanted| wanted.buffer_bytes),
            stacks: request.stream.as_ref().is_some_and(|wanted| wanted.stacks),
        });
        let settings = request::settings(request.process, request.netns, &sizes, &measures);
        let mut loaded = Loaded::new(
            &resolved.layout,
            settings,
            &sizes,
            request.stream.as_ref(),
            request.with_log,
        )?;
        let mut servers = Servers::new(
            Chunks::new(sizes),
            loaded.map_array::<ServerKey>(maps::SERVER_KEYS, sizes.max_slots() as usize)?,
            loaded.map_array::<Control>(maps::CONTROL, 1)?,
            measures.clone(),
        );
        servers.grow_to(loaded.ebpf(), sizes.chunks)?;
        loaded.attach(&mut plan, Occasions::default());
        if plan.measures(&measures).is_empty() {
            return Err(LoadError::NothingAttached(plan.reasons()));
        }
        let cpus = loaded.map_array::<CpuBlock>(maps::CPUS, sizes.cpus as usize)?;
        let live = if plan.has_live() {
            Some(live_counters(&loaded)?)
        } else {
            None
        };
        let watch = loaded.watch();
        let sweeper = if plan.has_sweep() {
            Some(Sweeper::new(
                loaded.map_array::<Swept>(maps::SWEPT, sizes.max_slots() as usize)?,
                loaded.map_array::<Control>(maps::CONTROL, 1)?,
            ))
        } else {
            None
        };
        Ok(Self {
            loaded,
            servers,
            cpus,
            sizes,
            plan,
            measures,
            seen: Totals::default(),
            live,
            watch,
            connections_wanted: request.connections,
            configured: request.configured,
            run_time: None,
            sweeper,
        })
    }

    /// Follows the tables: gives slots to their services, makes room for their servers, takes back what others leave.
    pub fn follow(&mut self, namespaces: &Namespaces) -> Result<(), LoadError> {
        let mut ids: BTreeSet<ServerId> = BTreeSet::new();
        for (&netns, read) in namespaces {
            for service in &read.table.services {
                let servers = service.destinations.iter();
                ids.extend(servers.map(|server| (netns, service.id, Some(server.id))));
                ids.insert((netns, service.id, None));
            }
        }
        self.configured = ids.len();
        let torn = namespaces.iter().filter(|(_, read)| read.table.torn);
        let torn = torn.map(|(&netns, _)| netns).collect();
        self.servers.follow(self.loaded.ebpf(), &ids, &torn)
    }

    /// Attaches what is seldom asked for where circumstances, a table or a sweep ask for it, and detaches it elsewhere.
    ///
    /// Gives what was refused by that.
    pub fn adapt(&mut self, namespaces: &Namespaces, is_sweeping: bool) -> &[RefusedProbe] {
        let circumstances = || {
            namespaces
                .values()
                .map(|read| &read.namespace.circumstances)
        };
        let occasions = Occasions {
            removed: self.servers.have_left()
                && circumstances().any(Circumstances::keeps_connections),
            defence: circumstances().any(Circumstances::may_drop_packets),
            sweep: is_sweeping,
        };
        let before: Vec<_> = self.loaded.attached().collect();
        let refused = self.plan.refused.len();
        self.loaded.attach(&mut self.plan, occasions);
        if !self.loaded.attached().eq(before) {
            self.watch = self.loaded.watch();
        }
        &self.plan.refused[refused..]
    }

    /// What the maps hold and take.
    pub fn memory(&self) -> Memory {
        let (slots, slots_used) = self.servers.slots();
        let sizes = Sizes {
            chunks: slots / maps::CHUNK_SLOTS,
            ..self.sizes
        };
        Memory {
            slots_used,
            records_used: Some(self.servers.records()),
            ..sizes.memory(self.connections_wanted, self.configured)
        }
    }

    /// The counters that the kernel logs during a dump, where its programs are attached.
    pub const fn live(&mut self) -> Option<&mut LiveCounters> {
        self.live.as_mut()
    }

    /// Makes a record of each connection that `show` makes the kernel show and that has none; `None` where no program
    /// can look on. Those of a sweep are attached before ([`Self::adapt`]).
    pub fn seed<E>(
        &mut self,
        show: impl FnOnce(Entering<'_>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        self.plan.has_sweep().then_some(())?;
        Some(self.sweeper.as_mut()?.seed(show))
    }

    /// The connections of each server among those that `show` makes the kernel show from `began` on, on
    /// `CLOCK_MONOTONIC`; `None` where no program looks on.
    pub fn sweep<E>(
        &mut self,
        began: Duration,
        show: impl FnOnce(Entering<'_>) -> Result<(), E>,
    ) -> Option<Result<BTreeMap<ServerId, States>, E>> {
        self.plan.has_sweep().then_some(())?;
        let sweeper = self.sweeper.as_mut()?;
        if let Err(error) = sweeper.gather(show) {
            return Some(Err(error));
        }
        let mut servers: BTreeMap<ServerId, States> = BTreeMap::new();
        for (slot, id) in self.servers.ids() {
            if let Some(states) = sweeper.found(slot, began) {
                // A server that came again while its old slot was on the way back has two.
                servers.entry(id).or_insert(States::NONE).merge(&states);
            }
        }
        Some(Ok(servers))
    }

    /// What the programs saw since the last call.
    pub fn drain(&mut self) -> Readings {
        let totals = self.totals();
        let mut losses = totals.losses;
        for (loss, seen) in losses.iter_mut().zip(self.seen.losses) {
            *loss = loss.wrapping_sub(seen);
        }
        let transitions = totals.transitions.wrapping_sub(self.seen.transitions);
        self.seen = totals;
        let (host, servers) = self.servers.drain();
        Readings {
            host,
            servers,
            transitions,
            losses,
            probes: self.watch.read(),
            memory: self.memory(),
        }
    }

    /// Has the kernel count what the programs take, until this is dropped.
    ///
    /// It costs each run of every program on this host two readings of a clock. A kernel that does not do it leaves the
    /// cost unknown.
    pub fn count_own_cost(&mut self) {
        self.run_time = enable_stats(Stats::RunTime)
            .inspect_err(|error| ::log::info!("the cost of the programs is not counted: {error}"))
            .ok();
    }

    /// What the programs took since [`Self::count_own_cost`].
    pub fn own_cost(&self) -> Option<OwnCost> {
        self.run_time.as_ref().map(|_| self.loaded.own_cost())
    }

    /// The measures whose probes are attached.
    pub fn measures(&self) -> Vec<Measure> {
        self.plan.measures(&self.measures)
    }

    /// The events whose probes are attached.
    pub fn events(&self) -> Vec<Event> {
        self.plan.events()
    }

    /// The probes that are not attached.
    pub fn refused(&self) -> Vec<RefusedProbe> {
        self.plan.refused.clone()
    }

    /// Why counters cannot be read live, if they cannot.
    pub fn no_live(&self) -> Option<String> {
        self.plan.no_live.clone()
    }

    /// The messages of the programs, where they were asked for.
    pub fn take_log(&mut self) -> Option<ProgramLog> {
        self.loaded.take_log()
    }

    /// Whether each command that changes the table is seen.
    pub fn has_commands(&self) -> bool {
        self.plan.has_commands()
    }

    /// The events of single connections, once, where a stream was asked for.
    pub fn take_events(&mut self) -> Result<Events, LoadError> {
        Events::new(&mut self.loaded, self.sizes.cpus)
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for cpu in 0..self.sizes.cpus as usize {
            let block: CpuBlock = self.cpus.read_at(cpu, 0);
            totals.transitions = totals.transitions.wrapping_add(block.transitions);
            for (sum, count) in totals.losses.iter_mut().zip(block.losses) {
                *sum = sum.wrapping_add(count);
            }
        }
        totals
    }
}
