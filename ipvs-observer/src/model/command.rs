//! A command that changes IPVS's table, and the process that gives it.

use super::id::{Netns, ServiceId};

/// What was told of a call when it began, or when it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// On `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The CPU that saw it.
    pub cpu: u32,
    /// As of a [`super::event::ConnectionEvent`].
    pub lost: [u32; 2],
    /// The same at both times, and of no call beside it.
    pub call: u64,
    /// When it was told.
    pub phase: Phase,
    /// Who gives it.
    pub process: Process,
    /// Where.
    pub netns: Netns,
    /// What it does.
    pub what: Deed,
    /// Which service it names, and none where it names none.
    pub service: Named,
}

/// When a call is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the table can have changed by it.
    Begun,
    /// When it is over and has done what it was told.
    Done,
    /// When it is over and has failed.
    Failed,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number in the first PID namespace.
    pub id: u32,
    /// Its `comm`, with zeros behind it.
    name: [u8; 16],
}

impl Process {
    /// A process with this `comm`.
    pub const fn new(id: u32, name: [u8; 16]) -> Self {
        Self { id, name }
    }

    /// Its `comm`.
    pub fn name(&self) -> String {
        let bytes = self.name.split(|&byte| byte == 0).next();
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Adds a service.
    AddService,
    /// Edits a service.
    EditService,
    /// Removes a service with its real servers.
    RemoveService,
    /// Adds a real server.
    AddServer,
    /// Edits a real server.
    EditServer,
    /// Removes a real server.
    RemoveServer,
    /// Removes all services.
    Flush,
    /// Zeroes the counters of one service, or of all.
    Zero,
}

/// The service that a command names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// None.
    None,
    /// This one.
    Service(ServiceId),
    /// One that cannot be read.
    Unreadable,
}
