//! Sweeps over all connections, from the agent's side: says what a sweep is for, lets the kernel show every connection to
//! the program, and reads what it has gathered.
//!
//! The program runs while this thread reads the file of connections, so that what it has written is there afterwards.

use std::{mem::offset_of, time::Duration};

use ipvs_observer_common::{Control, Swept};

use super::mapped::MappedArray;
use crate::model::{id::Netns, states::States};

/// To be told the network namespace whose file is read next: before 7.1 the kernel shows the connections of all, and only
/// those of this one are meant.
pub type Entering<'a> = &'a mut (dyn FnMut(Netns) + Send);

/// Makes one sweep at a time.
#[derive(Debug)]
pub(super) struct Sweeper {
    swept: MappedArray,
    control: MappedArray,
    /// Sweeps made so far.
    sweep: u32,
}

impl Sweeper {
    pub(super) const fn new(swept: MappedArray, control: MappedArray) -> Self {
        Self {
            swept,
            control,
            sweep: 0,
        }
    }

    /// Makes a record of each connection that `show` makes the kernel show and that has none.
    pub(super) fn seed<E>(
        &mut self,
        show: impl FnOnce(Entering<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.set_seeding(1);
        let shown = self.show(show);
        self.set_seeding(0);
        shown
    }

    /// Gathers each connection that `show` makes the kernel show.
    pub(super) fn gather<E>(
        &mut self,
        show: impl FnOnce(Entering<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // 0 is the sweep of records that none has counted.
        self.sweep = self.sweep.wrapping_add(1).max(1);
        let offset = offset_of!(Control, sweep);
        self.control.write_at(0, offset, self.sweep);
        self.show(show)
    }

    fn show<E>(&mut self, show: impl FnOnce(Entering<'_>) -> Result<(), E>) -> Result<(), E> {
        let offset = offset_of!(Control, netns);
        show(&mut |netns| self.control.write_at(0, offset, netns.0))
    }

    /// What the newest sweep, begun at `began` on `CLOCK_MONOTONIC`, has found of the server in `slot`, if anything.
    pub(super) fn found(&self, slot: usize, began: Duration) -> Option<States> {
        let swept: Swept = self.swept.read_at(slot, 0);
        (swept.sweep == self.sweep).then(|| states(&swept, began))
    }

    fn set_seeding(&mut self, is_seeding: u32) {
        let offset = offset_of!(Control, is_seeding);
        self.control.write_at(0, offset, is_seeding);
    }
}

fn states(swept: &Swept, began: Duration) -> States {
    let age = |first_ns| {
        // A connection that has begun during the sweep has no age yet.
        (first_ns > 0).then(|| began.saturating_sub(Duration::from_nanos(first_ns)))
    };
    States {
        tcp: swept.tcp.map(u64::from),
        other: swept.other.into(),
        begun_unseen: swept.begun_unseen.into(),
        unanswered: Some(swept.unanswered.into()),
        oldest: age(swept.oldest_ns),
        oldest_syn_recv: age(swept.oldest_syn_recv_ns),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipvs_observer_common::Swept;

    use super::states;
    use crate::model::states::States;

    #[test]
    fn ages_are_known_only_where_a_beginning_was_seen() {
        let began = Duration::from_nanos(1_000);
        let swept = Swept {
            oldest_ns: 400,
            begun_unseen: 2,
            unanswered: 1,
            ..Swept::default()
        };
        let found = states(&swept, began);
        assert_eq!(found.oldest, Some(Duration::from_nanos(600)));
        assert_eq!((found.oldest_syn_recv, found.begun_unseen), (None, 2));
        assert_eq!(states(&Swept::default(), began), States::NONE);
        let newer = Swept {
            oldest_ns: 1_001,
            ..swept
        };
        assert_eq!(states(&newer, began).oldest, Some(Duration::ZERO));
    }
}
