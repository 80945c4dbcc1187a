//! Changes of the table, on their way into a stream: rare, so that they may own what they say.

use super::super::list::changes::{SidesObject, kind, whose};
use crate::model::{
    changes::Change,
    command::{Command, Deed, Named, Phase, Process},
    id::{DestinationId, Netns, ServiceId},
    listing::Source,
};

/// A service or a real server was added, removed or edited, or counters were zeroed, or all was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// When the reading that shows it began, or when the command that did it was over, on `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The CPU of the command, where it is told by that.
    pub(super) cpu: Option<u32>,
    /// Where.
    pub netns: Netns,
    pub(super) kind: &'static str,
    /// Which service; none if it is about all.
    pub service: Option<ServiceId>,
    /// Which of its real servers; none if it is about the service itself.
    pub server: Option<DestinationId>,
    /// Who did it, where that is certain.
    pub process: Option<Process>,
    /// `old` and `new`, as members of a JSON object.
    pub(super) settings: String,
}

impl TableChange {
    /// What `change` says of the table of `netns`.
    pub fn of(change: &Change<'_>, netns: Netns, at_ns: u64) -> Self {
        let (service, server) = whose(change);
        let settings = serde_json::to_string(&SidesObject::of(change, Source::Netlink));
        Self {
            at_ns,
            cpu: None,
            netns,
            kind: kind(change),
            service: Some(service),
            server,
            process: None,
            // Numbers and texts under names that are texts: there is nothing that JSON could not say.
            settings: settings.unwrap_or_default(),
        }
    }

    /// What a command did that the table does not show, or not as one; `None` for all others.
    pub fn by(command: &Command) -> Option<Self> {
        let kind = match (command.what, command.phase) {
            (Deed::Flush, Phase::Done) => "flushed",
            (Deed::Zero, Phase::Done) => "zeroed",
            _ => return None,
        };
        let service = match (command.what, command.service) {
            (Deed::Flush, _) | (_, Named::None) => None,
            (_, Named::Service(service)) => Some(service),
            // It is not all, and nobody knows which.
            (_, Named::Unreadable) => return None,
        };
        Some(Self {
            at_ns: command.at_ns,
            cpu: Some(command.cpu),
            netns: command.netns,
            kind,
            service,
            server: None,
            process: Some(command.process),
            settings: String::new(),
        })
    }

    /// Whether something is gone.
    pub fn is_removal(&self) -> bool {
        self.kind == "removed"
    }

    /// Whether something is new.
    pub fn is_addition(&self) -> bool {
        self.kind == "added"
    }
}
