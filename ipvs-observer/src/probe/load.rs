//! Loads the object, gives it the layout and the settings, attaches what is planned and holds the links.

use std::{error::Error, io, iter};

use aya::{
    Ebpf, EbpfError, EbpfLoader, Pod,
    maps::Map,
    programs::{KProbe, Program, ProgramError, kprobe::KProbeLinkId},
};
use ipvs_observer_common::{Layout, Settings, maps};

use super::{
    LoadError,
    health::Watch,
    log::{ProgramLog, WANTED},
    mapped::MappedArray,
    plan::{Occasions, Plan, Probe},
    sizes::Sizes,
    stream,
};
use crate::{config::Wanted, model::split::OwnCost};

/// The programs, compiled by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipvs-observer-ebpf"));
/// The same, which send events of single connections too.
static STREAMING: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipvs-observer-ebpf-streaming"));

/// The loaded object with everything attached; dropping it detaches.
#[derive(Debug)]
pub(super) struct Loaded {
    ebpf: Ebpf,
    links: Vec<(Probe, Option<KProbeLinkId>)>,
    log: Option<ProgramLog>,
}

impl Loaded {
    /// Loads the object and makes its maps; nothing is attached yet.
    pub(super) fn new(
        layout: &Layout,
        settings: Settings,
        sizes: &Sizes,
        wanted: Option<&Wanted>,
        with_log: bool,
    ) -> Result<Self, LoadError> {
        let log_level = if with_log { u8::from(WANTED) } else { 0 };
        let stream_settings = wanted.map(stream::settings).unwrap_or_default();
        let mut ebpf = EbpfLoader::new()
            .override_global(maps::LAYOUT, layout, true)
            .override_global(maps::SETTINGS, &settings, true)
            .override_global(maps::STREAM, &stream_settings, wanted.is_some())
            .map_max_entries(maps::EVENTS, sizes.ring_bytes)
            .map_max_entries(maps::TRACES, sizes.traces)
            .map_max_entries(maps::STREAM_COUNTS, sizes.cpus)
            .map_max_entries(maps::STACKS, sizes.stacks)
            .override_global(aya_log::LEVEL, &log_level, true)
            .map_max_entries(maps::COUNTERS, sizes.max_chunks)
            .map_max_entries(maps::FINE, sizes.max_chunks)
            .map_max_entries(maps::MEDIUM, sizes.max_chunks)
            .map_max_entries(maps::COARSE, sizes.max_chunks)
            .map_max_entries(maps::SERVER_KEYS, sizes.max_slots())
            .map_max_entries(maps::ENDED, sizes.ended)
            .map_max_entries(maps::SWEPT, sizes.max_slots())
            .map_max_entries(maps::SLOTS, sizes.max_slots())
            .map_max_entries(maps::FREE_SLOTS, sizes.max_slots())
            .map_max_entries(maps::CPUS, sizes.cpus)
            .map_max_entries(maps::FRAMES, sizes.cpus)
            .map_max_entries(maps::CONNECTIONS, sizes.buckets)
            .load(if wanted.is_some() { STREAMING } else { OBJECT })
            .map_err(|error| object_error(error, sizes.bytes()))?;
        let log = if with_log {
            let log = ProgramLog::new(&mut ebpf);
            Some(log.map_err(|source| LoadError::Mapping {
                name: "AYA_LOGS",
                source,
            })?)
        } else {
            None
        };
        Ok(Self {
            ebpf,
            links: Vec::new(),
            log,
        })
    }

    /// The probes that are attached, in the order in which they were.
    pub(super) fn attached(&self) -> impl Iterator<Item = Probe> {
        self.links.iter().map(|(probe, _)| *probe)
    }

    /// What can be asked about them until the next is attached or detached.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(&self.ebpf, self.attached())
    }

    /// Attaches the probes of `plan` that `occasions` ask for and detaches the others; one that the kernel does not take is
    /// refused there and the others go on.
    pub(super) fn attach(&mut self, plan: &mut Plan, occasions: Occasions) {
        for index in (0..self.links.len()).rev() {
            if !occasions.ask_for(self.links[index].0) {
                let (probe, link) = self.links.remove(index);
                if let Err(error) = detach(&mut self.ebpf, probe, link) {
                    log::debug!("cannot detach {}: {}", probe.name, chain(&error));
                }
            }
        }
        for probe in plan.probes.clone() {
            let is_attached = self.links.iter().any(|(attached, _)| *attached == probe);
            if is_attached || !occasions.ask_for(probe) {
                continue;
            }
            match attach(&mut self.ebpf, probe) {
                Ok(link) => self.links.push((probe, link)),
                Err(error) => {
                    log::debug!("cannot attach {}: {}", probe.name, chain(&error));
                    plan.refuse(probe, summary(&error));
                }
            }
        }
    }

    /// Maps the array `name`, which has `elements`.
    pub(super) fn map_array<T: Pod>(
        &self,
        name: &'static str,
        elements: usize,
    ) -> Result<MappedArray, LoadError> {
        let mapping = |source| LoadError::Mapping { name, source };
        match self.ebpf.map(name) {
            Some(Map::Array(map)) => {
                MappedArray::new(map.fd(), elements, size_of::<T>()).map_err(mapping)
            }
            Some(_) | None => Err(mapping(io::Error::new(
                io::ErrorKind::NotFound,
                "the object has no such array",
            ))),
        }
    }

    /// The object, whose maps the agent fills.
    pub(super) const fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// How often the programs ran and for how long, while somebody has the kernel count that.
    pub(super) fn own_cost(&self) -> OwnCost {
        let infos = self.ebpf.programs();
        let infos = infos.filter_map(|(_, program)| program.info().ok());
        infos.fold(OwnCost::default(), |sum, info| OwnCost {
            runs: sum.runs + info.run_count(),
            run_time_ns: sum.run_time_ns
                + u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn take_log(&mut self) -> Option<ProgramLog> {
        self.log.take()
    }
}

/// Gives the link of what may be detached again; links are held by the program, which `Ebpf` holds.
fn attach(ebpf: &mut Ebpf, probe: Probe) -> Result<Option<KProbeLinkId>, ProgramError> {
    match ebpf.program_mut(probe.name) {
        Some(Program::KProbe(program)) => {
            // The same program may go to several functions, and come back.
            if program.fd().is_err() {
                program.load()?;
            }
            let info = program.info().ok();
            if let Some(count) = info.and_then(|info| info.verified_instruction_count()) {
                log::debug!("{}: {count} instructions verified", probe.name);
            }
            program.attach(probe.function, 0).map(Some)
        }
        Some(Program::RawTracePoint(program)) => {
            program.load()?;
            program.attach(probe.function)?;
            Ok(None)
        }
        Some(_) | None => Err(ProgramError::NotLoaded),
    }
}

fn detach(ebpf: &mut Ebpf, probe: Probe, link: Option<KProbeLinkId>) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(probe.name);
    let program: &mut KProbe = program.ok_or(ProgramError::NotLoaded)?.try_into()?;
    link.map_or(Ok(()), |link| program.detach(link))
}

fn object_error(error: EbpfError, map_bytes: u64) -> LoadError {
    if chain_has(&error, io::ErrorKind::PermissionDenied) {
        LoadError::NotPermitted
    } else {
        LoadError::Object {
            map_bytes,
            source: Box::new(error),
        }
    }
}

fn chain_has(error: &(dyn Error + 'static), kind: io::ErrorKind) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == kind)
    })
}

/// The error and its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The first cause in one line: a verifier's log is for the log, not for a table's header.
fn summary(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, .. } = error {
        return format!("the kernel's verifier refused the program ({io_error}; -vv shows why)");
    }
    chain(error).lines().next().unwrap_or_default().to_owned()
}
