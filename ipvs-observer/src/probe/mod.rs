//! The measuring: loads the programs, attaches them, reads what they count.
//!
//! This is the only module that knows aya. `plan` decides what is attached, `load` does it, `servers` and this file read
//! the maps, which are mapped into the agent's memory so that reading them disturbs no probe, and `decode` gives the
//! kernel's bytes their names.

mod decode;
mod live;
mod load;
mod log;
mod mapped;
mod plan;
mod servers;

use std::io;

use ipvs_observer_common::{CpuBlock, LIVE_ENTRIES, Loss, Measure, ServerBlock, Settings, maps};
use thiserror::Error;

use self::{load::Loaded, mapped::MappedArray, plan::Plan, servers::Servers};
use crate::{
    btf::resolve::Resolved,
    kernel::{Kernel, Process, ReadError},
    model::{
        sample::Readings,
        snapshot::{Events, RefusedProbe},
    },
};

pub use self::{live::LiveCounters, log::ProgramLog};

/// What a run asks of the probes.
#[derive(Clone, Debug)]
pub struct Request {
    /// Inode number of the network namespace to observe.
    pub netns: u32,
    /// Real servers and services there is room for.
    pub servers: u32,
    /// What live counters take.
    pub live: LiveRequest,
    /// Whether messages of the programs are wanted.
    pub with_log: bool,
}

/// What reading live counters takes.
#[derive(Clone, Debug)]
pub struct LiveRequest {
    /// The agent itself, for whose dumps alone the programs act.
    pub process: Process,
    /// Address of `__per_cpu_offset`, or why it is not known.
    pub per_cpu_offset: Result<u64, String>,
}

/// What the maps hold.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    servers: u32,
    cpus: u32,
    connections: u32,
}

impl Sizes {
    /// Elements of the map with a block for each server and CPU.
    fn blocks(self) -> Result<u32, LoadError> {
        let Self { servers, cpus, .. } = self;
        servers
            .checked_mul(cpus)
            .ok_or(LoadError::TooMany { servers, cpus })
    }

    const fn bytes(self) -> u64 {
        self.servers as u64 * self.cpus as u64 * size_of::<ServerBlock>() as u64
    }
}

/// Attached probes; dropping them detaches everything.
#[derive(Debug)]
pub struct Probes {
    loaded: Loaded,
    servers: Servers,
    cpus: MappedArray<CpuBlock>,
    n_cpus: usize,
    plan: Plan,
    seen: Totals,
    live: Option<LiveCounters>,
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
    /// The kernel cannot count the elements of the map.
    #[error("{servers} services and real servers on {cpus} CPUs are more than one map can hold")]
    TooMany {
        /// Places for them.
        servers: u32,
        /// CPUs that may run.
        cpus: u32,
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

impl LiveRequest {
    /// What `kernel` says of it.
    pub fn of(kernel: &Kernel) -> Result<Self, ReadError> {
        Ok(Self {
            process: kernel.process()?,
            per_cpu_offset: kernel
                .symbol("__per_cpu_offset")
                .map_err(|error| error.to_string()),
        })
    }

    fn settings(&self, netns: u32, sizes: Sizes) -> Settings {
        Settings {
            netns,
            servers: sizes.servers,
            process: self.process.id,
            cpus: sizes.cpus,
            pid_namespace_device: self.process.namespace_device,
            pid_namespace_inode: self.process.namespace_inode,
            per_cpu_offset: *self.per_cpu_offset.as_ref().unwrap_or(&0),
        }
    }

    fn restrict(&self, plan: &mut Plan) {
        if let Err(reason) = &self.per_cpu_offset {
            plan.refuse_live(reason);
        }
    }
}

/// The programs that read live counters, without any that measure; dropping them detaches.
#[derive(Debug)]
pub struct LiveProbes {
    /// Holds the links.
    _loaded: Loaded,
    counters: LiveCounters,
}

impl LiveProbes {
    /// Loads and attaches them.
    pub fn start(resolved: &Resolved, request: &LiveRequest) -> Result<Self, LoadError> {
        let possible =
            aya::util::nr_cpus().map_err(|(path, source)| LoadError::Cpus(path, source))?;
        // The object has all maps, of which only the log is used.
        let sizes = Sizes {
            servers: 1,
            cpus: possible.get(),
            connections: 1,
        };
        let mut plan = Plan::live(resolved);
        request.restrict(&mut plan);
        let settings = request.settings(0, sizes);
        let loaded = Loaded::new(&mut plan, &resolved.layout, settings, sizes, false)?;
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

fn live_counters(loaded: &Loaded) -> Result<LiveCounters, LoadError> {
    let log = loaded.map_array(maps::LIVE, LIVE_ENTRIES as usize)?;
    Ok(LiveCounters::new(log))
}

impl Probes {
    /// Loads the programs for the kernel of `resolved` and attaches those that fit it.
    pub fn start(resolved: &Resolved, request: &Request) -> Result<Self, LoadError> {
        let possible =
            aya::util::nr_cpus().map_err(|(path, source)| LoadError::Cpus(path, source))?;
        let sizes = Sizes {
            servers: request.servers,
            cpus: possible.get(),
            connections: maps::MAX_CONNECTIONS,
        };
        let settings = request.live.settings(request.netns, sizes);
        let mut plan = Plan::full(resolved);
        request.live.restrict(&mut plan);
        let loaded = Loaded::new(
            &mut plan,
            &resolved.layout,
            settings,
            sizes,
            request.with_log,
        )?;
        if plan.measures().is_empty() {
            return Err(LoadError::NothingAttached(plan.reasons()));
        }
        let n_cpus = possible.get() as usize;
        let slots = request.servers as usize;
        let servers = Servers::new(
            loaded.map_array(maps::SERVERS, n_cpus * slots)?,
            loaded.map_array(maps::SERVER_KEYS, slots)?,
            loaded.map_array(maps::CONTROL, 1)?,
            n_cpus,
            slots,
        );
        let cpus = loaded.map_array(maps::CPUS, n_cpus)?;
        let live = if plan.has_live() {
            Some(live_counters(&loaded)?)
        } else {
            None
        };
        Ok(Self {
            loaded,
            servers,
            cpus,
            n_cpus,
            plan,
            seen: Totals::default(),
            live,
        })
    }

    /// The counters that the kernel logs during a dump, where its programs are attached.
    pub const fn live(&mut self) -> Option<&mut LiveCounters> {
        self.live.as_mut()
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
        Readings {
            servers: self.servers.drain(),
            transitions,
            losses,
        }
    }

    /// The measures whose probes are attached.
    pub fn measures(&self) -> Vec<Measure> {
        self.plan.measures()
    }

    /// The kinds of events whose probes are attached.
    pub fn events(&self) -> Vec<Events> {
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

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for cpu in 0..self.n_cpus {
            let block = self.cpus.read(cpu);
            totals.transitions = totals.transitions.wrapping_add(block.transitions);
            for (sum, count) in totals.losses.iter_mut().zip(block.losses) {
                *sum = sum.wrapping_add(count);
            }
        }
        totals
    }
}
