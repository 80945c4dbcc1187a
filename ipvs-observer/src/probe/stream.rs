//! The agent's end of a stream: what the programs are told of it, their ring buffer, and what they count.

mod decode;
mod settings;

use std::{io, os::fd::OwnedFd, time::Duration};

use aya::maps::{MapData, RingBuf};
use ipvs_observer_common::{StreamCounts, maps};
use rustix::{
    event::{Timespec, epoll},
    fd::AsFd as _,
    io::Errno,
};

use super::{LoadError, load::Loaded, mapped::MappedArray};
use crate::model::event::ConnectionEvent;

pub(super) use settings::settings;

/// Part of the buffer whose filling wakes the reader before its time is up.
const WATERMARK_PART: u32 = 4;

/// Events of connections, as they wait in the ring buffer; stays whole when the probes are detached.
pub struct Events {
    ring: RingBuf<MapData>,
    /// Is told when a program wakes the reader.
    wakeups: OwnedFd,
    counts: MappedArray,
    cpus: usize,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub(super) fn new(loaded: &mut Loaded, cpus: u32) -> Result<Self, LoadError> {
        let cpus = cpus as usize;
        let counts = loaded.map_array::<StreamCounts>(maps::STREAM_COUNTS, cpus)?;
        let mapping = |source| LoadError::Mapping {
            name: maps::EVENTS,
            source,
        };
        let map = loaded.ebpf().take_map(maps::EVENTS);
        let map = map.ok_or_else(|| mapping(io::ErrorKind::NotFound.into()))?;
        let ring = RingBuf::try_from(map).map_err(|source| LoadError::Map {
            name: maps::EVENTS,
            source,
        })?;
        let wakeups = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| mapping(e.into()))?;
        // By edges: what waits below the watermark is no reason to look.
        epoll::add(
            &wakeups,
            ring.as_fd(),
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )
        .map_err(|error| mapping(error.into()))?;
        Ok(Self {
            ring,
            wakeups,
            counts,
            cpus,
        })
    }

    /// Waits until much waits to be read, or `at_most` so long.
    pub fn wait(&self, at_most: Duration) -> io::Result<()> {
        let at_most = Timespec::try_from(at_most).map_err(io::Error::other)?;
        let mut happened = [const { std::mem::MaybeUninit::uninit() }; 1];
        match epoll::wait(&self.wakeups, &mut happened, Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next event that is whole; `None` if there is none now.
    ///
    /// One of a newer kind than this program knows cannot be, since the programs are its own.
    pub fn take(&mut self) -> Option<ConnectionEvent> {
        loop {
            let record = self.ring.next()?;
            if let Some(event) = decode::event(&record) {
                return Some(event);
            }
        }
    }

    /// CPUs that may run.
    pub const fn cpus(&self) -> usize {
        self.cpus
    }

    /// What the programs on `cpu` have counted so far.
    pub fn counts(&self, cpu: usize) -> StreamCounts {
        self.counts.read_at(cpu, 0)
    }
}
