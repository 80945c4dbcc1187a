//! The agent's end of a stream: what the programs are told of it, their ring buffer, and what they count.

mod command;
mod decode;
mod settings;

use std::{io, os::fd::OwnedFd, time::Duration};

use aya::maps::{Map, MapData, RingBuf};
use ipvs_observer_common::{CommandEvent, STACK_FRAMES, StreamCounts, maps};
use rustix::{
    event::{Timespec, epoll},
    fd::AsFd as _,
    io::Errno,
};

use super::{LoadError, load::Loaded, mapped::MappedArray};
use crate::model::{command::Command, event::ConnectionEvent};

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
    /// Of the newest record.
    stack: Vec<u64>,
}

/// What a record of the ring buffer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every record is an event, for which nothing may be allocated"
)]
pub enum Record {
    /// Of a connection.
    Event(ConnectionEvent),
    /// Of a change of the table.
    Command(Command),
}

impl Record {
    /// `None` for bytes that these programs cannot have sent.
    #[inline(always)]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match <&[u8; size_of::<CommandEvent>()]>::try_from(bytes) {
            Ok(bytes) => command::command(bytes).map(Self::Command),
            Err(_) => decode::event(bytes).map(Self::Event),
        }
    }
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
        let map = loaded.ebpf().take_map(maps::EVENTS);
        let map = map.ok_or_else(|| LoadError::Mapping {
            name: maps::EVENTS,
            source: io::ErrorKind::NotFound.into(),
        })?;
        Self::over(map, counts, cpus)
    }

    /// What waits in `ring`, of CPUs that count in the array `counts`: for whoever fills them without these programs.
    pub fn of(ring: Map, counts: &MapData, cpus: usize) -> Result<Self, LoadError> {
        let counts = MappedArray::new(counts.fd(), cpus, size_of::<StreamCounts>());
        let counts = counts.map_err(|source| LoadError::Mapping {
            name: maps::STREAM_COUNTS,
            source,
        })?;
        Self::over(ring, counts, cpus)
    }

    fn over(ring: Map, counts: MappedArray, cpus: usize) -> Result<Self, LoadError> {
        let mapping = |source| LoadError::Mapping {
            name: maps::EVENTS,
            source,
        };
        let ring = RingBuf::try_from(ring).map_err(|source| LoadError::Map {
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
            stack: Vec::with_capacity(STACK_FRAMES),
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

    /// The next record that is whole; `None` if there is none now.
    ///
    /// One of a newer kind than this program knows cannot be, since the programs are its own.
    #[inline(always)]
    pub fn take(&mut self) -> Option<Record> {
        loop {
            let bytes = self.ring.next()?;
            if let Some(record) = Record::of(&bytes) {
                decode::stack(&bytes, &mut self.stack);
                return Some(record);
            }
        }
    }

    /// The kernel stack of the record that was taken last: addresses of code, innermost first; empty if it has none.
    pub fn stack(&self) -> &[u64] {
        &self.stack
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
