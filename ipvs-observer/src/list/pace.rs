//! When the next reading is due, and whether there is to be one.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use crate::{
    clock,
    config::{DEFAULT_INTERVAL, List},
};

/// Tells of a signal: there has been one when nobody can send any more.
pub(super) struct Stop(pub(super) Receiver<()>);

impl Stop {
    /// Waits for `time`, or until there has been a signal.
    pub(super) fn wait(&self, time: Duration) -> Next {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Next::Reading,
            Err(RecvTimeoutError::Disconnected) | Ok(()) => Next::End,
        }
    }
}

/// The times of readings: an interval apart, as long as they are to go on.
pub(super) struct Pace {
    interval: Duration,
    /// On the monotonic clock, as is the end.
    next: Duration,
    end: Option<Duration>,
}

/// What comes when the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another reading.
    Reading,
    /// The end.
    End,
}

impl Pace {
    /// Begins with a reading now.
    pub(super) fn new(config: &List) -> Self {
        let now = clock::now().monotonic;
        Self {
            interval: config.interval.unwrap_or(DEFAULT_INTERVAL),
            next: now,
            end: config.duration.map(|duration| now.saturating_add(duration)),
        }
    }

    /// Waits for the next reading, which comes no sooner than after `rest`.
    pub(super) fn wait(&mut self, rest: Duration, stop: &Stop) -> Next {
        let now = clock::now().monotonic;
        let earliest = now + rest;
        self.next += self.interval;
        // A reading that would be too late is left out, not made up for.
        while self.next < earliest {
            self.next += self.interval;
        }
        let end = self.end.filter(|&end| end < self.next);
        match stop.wait(end.unwrap_or(self.next).saturating_sub(now)) {
            Next::Reading if end.is_none() => Next::Reading,
            Next::Reading | Next::End => Next::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_signal_ends_every_wait_also_one_that_begins_later() {
        let (signal, stop) = mpsc::channel();
        let stop = Stop(stop);
        assert_eq!(stop.wait(Duration::from_millis(1)), Next::Reading);
        drop(signal);
        for _ in 0..2 {
            assert_eq!(stop.wait(Duration::from_hours(1)), Next::End);
        }
    }
}
