//! When the next reading is due.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, sleep_until},
};

use crate::{
    config::{DEFAULT_INTERVAL, List},
    signals::Signals,
};

/// The times of readings: an interval apart, as long as they are to go on.
pub(super) struct Pace {
    pub(super) interval: Duration,
    next: Instant,
    end: Option<Instant>,
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
        let now = Instant::now();
        Self {
            interval: config.interval.unwrap_or(DEFAULT_INTERVAL),
            next: now,
            end: config.duration.map(|duration| now + duration),
        }
    }

    /// Waits for the next reading, which comes no sooner than after `rest`.
    pub(super) async fn wait(&mut self, rest: Duration, signals: &mut Signals) -> Next {
        let earliest = Instant::now() + rest;
        self.next += self.interval;
        // A reading that would be too late is left out, not made up for.
        while self.next < earliest {
            self.next += self.interval;
        }
        let end = self.end.filter(|&end| end < self.next);
        select! {
            () = signals.any() => Next::End,
            () = sleep_until(end.unwrap_or(self.next)) => {
                if end.is_some() { Next::End } else { Next::Reading }
            }
        }
    }
}
