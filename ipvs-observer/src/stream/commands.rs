//! Whose command a change of the table was: of all that were under way while the table came to be otherwise, those that
//! can have done it. Pure.
//!
//! A change is somebody's only where nobody else can have made it: each command is known from before it can change
//! anything, and where records were lost nothing is said.

use std::collections::VecDeque;

use crate::{
    model::command::{Command, Deed, Named, Phase, Process},
    output::stream::TableChange,
};

/// Calls that are remembered; changes are looked for a second later.
const REMEMBERED: usize = 4096;

/// A change of the table, and between which times it was made.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) change: TableChange,
    /// The reading before began then, on `CLOCK_MONOTONIC`.
    pub(super) since_ns: u64,
    /// The reading that shows it was over then.
    pub(super) until_ns: u64,
}

/// The commands of late.
#[derive(Debug)]
pub(super) struct Commands {
    calls: VecDeque<Call>,
    /// From when on all of them are known.
    known_from_ns: u64,
}

#[derive(Debug)]
struct Call {
    begun: Command,
    ended_ns: Option<u64>,
}

impl Commands {
    /// All are known from `from_ns` on.
    pub(super) const fn known_from(from_ns: u64) -> Self {
        Self {
            calls: VecDeque::new(),
            known_from_ns: from_ns,
        }
    }

    /// Notes what was told of a call.
    pub(super) fn note(&mut self, command: &Command) {
        let is_same = |call: &Call| {
            call.begun.call == command.call
                && call.begun.process == command.process
                && call.ended_ns.is_none()
        };
        let place = self.calls.iter().rposition(is_same);
        match (command.phase, place) {
            (Phase::Begun, _) => {
                while self.calls.len() >= REMEMBERED {
                    self.forget_oldest();
                }
                self.calls.push_back(Call {
                    begun: *command,
                    ended_ns: None,
                });
            }
            (Phase::Done, Some(place)) => self.calls[place].ended_ns = Some(command.at_ns),
            (Phase::Failed, Some(place)) => {
                self.calls.remove(place);
            }
            // It began before the probes were there, or its beginning is forgotten.
            (Phase::Done | Phase::Failed, None) => {
                self.known_from_ns = self.known_from_ns.max(command.at_ns);
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(call) = self.calls.pop_front() {
            let end_ns = call.ended_ns.unwrap_or(u64::MAX);
            self.known_from_ns = self.known_from_ns.max(end_ns);
        }
    }

    /// Some may be missing that were told before `at_ns`.
    pub(super) fn lost_before(&mut self, at_ns: u64) {
        self.known_from_ns = self.known_from_ns.max(at_ns);
        self.calls.retain(|call| call.ended_ns.is_none());
    }

    /// Who made the change, where nobody else can have.
    pub(super) fn process(&self, seen: &Seen) -> Option<Process> {
        if seen.since_ns < self.known_from_ns {
            return None;
        }
        let mut calls = self
            .during(seen)
            .filter(|call| can_make(call, &seen.change));
        let process = calls.next()?.process;
        calls.all(|call| call.process == process).then_some(process)
    }

    /// Whether the change is told of already: something is gone since all is.
    pub(super) fn is_of_flush(&self, seen: &Seen) -> bool {
        let mut calls = self.during(seen);
        seen.change.is_removal()
            && calls.any(|call| call.what == Deed::Flush && call.netns == seen.change.netns)
    }

    fn during(&self, seen: &Seen) -> impl Iterator<Item = &Command> {
        let calls = self.calls.iter().filter(|call| {
            let end_ns = call.ended_ns.unwrap_or(u64::MAX);
            call.begun.at_ns <= seen.until_ns && end_ns >= seen.since_ns
        });
        calls.map(|call| &call.begun)
    }
}

/// Whether the command can be what, or a part of what, led to the change.
///
/// Something that was removed and added again between two readings was edited, or did not change.
fn can_make(command: &Command, change: &TableChange) -> bool {
    let is_service = change.server.is_none();
    let can = match command.what {
        Deed::Zero => false,
        Deed::Flush | Deed::RemoveService => !change.is_addition(),
        Deed::AddService | Deed::EditService => is_service && !change.is_removal(),
        Deed::AddServer | Deed::EditServer => !is_service && !change.is_removal(),
        Deed::RemoveServer => !is_service && !change.is_addition(),
    };
    let is_named = match command.service {
        Named::Service(service) => change.service == Some(service),
        Named::None | Named::Unreadable => true,
    };
    can && is_named && command.netns == change.netns
}

#[cfg(test)]
mod tests;
