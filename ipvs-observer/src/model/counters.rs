//! The kernel's counters of one service or real server over time, and the rates that follow.
//!
//! Counters that are read live give a rate for each window; of those that the kernel copies only now and then, `copies`
//! makes what can be made. Live counters take the place of copies and are not replaced by copies again: an older number
//! after a newer one would look like a reset.

use std::time::Duration;

use super::{copies::Copies, rates::Rates};
use crate::ipvs::table::{Live, Stats, Traffic};

/// What was read of the counters so far.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counters {
    /// Only copies.
    Copied(Copies),
    /// Live readings.
    Live(Series),
}

/// Live readings without a reset between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    first: Live,
    previous: Option<Live>,
    newest: Live,
}

impl Counters {
    pub(crate) fn new(stats: Stats, now: Duration) -> Self {
        match live(stats) {
            Some(reading) => Self::Live(Series::new(reading)),
            None => Self::Copied(Copies::new(stats.traffic, now)),
        }
    }

    /// With what a reading of the table at `now` shows.
    pub(crate) fn updated(self, stats: Stats, now: Duration) -> Self {
        match (self, live(stats)) {
            (Self::Live(series), Some(reading)) => Self::Live(series.updated(reading)),
            (Self::Live(series), None) => Self::Live(series),
            (Self::Copied(_), Some(reading)) => Self::Live(Series::new(reading)),
            (Self::Copied(copies), None) => Self::Copied(copies.updated(stats.traffic, now)),
        }
    }

    /// The newest reading.
    pub(crate) const fn newest(&self) -> Traffic {
        match self {
            Self::Copied(copies) => copies.newest(),
            Self::Live(series) => series.newest.traffic,
        }
    }

    /// When the newest reading was made, if it was live.
    pub(crate) const fn read_at(&self) -> Option<Duration> {
        match self {
            Self::Copied(_) => None,
            Self::Live(series) => Some(series.newest.read_at),
        }
    }

    /// The rates as they are known at `now`.
    pub(crate) fn rates(&self, now: Duration, estimation: bool) -> Option<Rates> {
        match self {
            Self::Copied(copies) => copies.rates(now, estimation),
            Self::Live(series) => series.between(series.previous?, now),
        }
    }

    /// The rates over the whole run.
    pub(crate) fn run_rates(&self, now: Duration) -> Option<Rates> {
        match self {
            Self::Copied(copies) => copies.run_rates(now),
            Self::Live(series) => series.between(series.first, now),
        }
    }
}

impl Series {
    const fn new(reading: Live) -> Self {
        Self {
            first: reading,
            previous: None,
            newest: reading,
        }
    }

    fn updated(self, reading: Live) -> Self {
        let series = Self {
            previous: Some(self.newest),
            newest: reading,
            ..self
        };
        if series.between(self.newest, reading.read_at).is_some() {
            series
        } else {
            // Zeroed, or made anew.
            Self::new(reading)
        }
    }

    fn between(&self, old: Live, now: Duration) -> Option<Rates> {
        let elapsed = self.newest.read_at.checked_sub(old.read_at)?;
        let age = now.saturating_sub(self.newest.read_at);
        Rates::between(&old.traffic, &self.newest.traffic, elapsed, age)
    }
}

fn live(stats: Stats) -> Option<Live> {
    Some(Live {
        traffic: stats.traffic,
        read_at: stats.read_at?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Counters;
    use crate::ipvs::table::{Stats, Traffic};

    fn stats(in_packets: u64, read_at_ms: Option<u64>) -> Stats {
        Stats {
            traffic: Traffic {
                in_packets,
                ..Traffic::default()
            },
            rates: None,
            read_at: read_at_ms.map(Duration::from_millis),
        }
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn in_rate(counters: Counters, now: Duration) -> Option<f64> {
        Some(counters.rates(now, false)?.in_packets)
    }

    #[test]
    fn live_counters_give_the_rate_between_their_own_times_whatever_the_estimator_does() {
        let counters = Counters::new(stats(100, Some(1_001)), ms(1_000));
        assert_eq!(counters.rates(ms(1_000), true), None);
        let counters = counters.updated(stats(150, Some(1_101)), ms(1_100));
        assert_eq!(in_rate(counters, ms(1_200)), Some(500.0));
        let rates = counters.rates(ms(1_200), false).unwrap();
        assert_eq!(rates.age, ms(99));
        let counters = counters.updated(stats(150, Some(1_201)), ms(1_200));
        assert_eq!(in_rate(counters, ms(1_200)), Some(0.0));
        let run = counters.run_rates(ms(1_200)).unwrap();
        assert!((run.in_packets - 250.0).abs() < 1e-9);
    }

    #[test]
    fn a_live_reading_that_is_missing_is_no_reset() {
        let counters = Counters::new(stats(100, Some(1_000)), ms(1_000));
        let counters = counters.updated(stats(40, None), ms(2_000));
        assert_eq!(counters.newest().in_packets, 100);
        let counters = counters.updated(stats(300, Some(3_000)), ms(3_000));
        assert_eq!(in_rate(counters, ms(3_000)), Some(100.0));
    }

    #[test]
    fn zeroed_counters_begin_anew() {
        let counters = Counters::new(stats(100, Some(1_000)), ms(1_000));
        let counters = counters.updated(stats(7, Some(2_000)), ms(2_000));
        assert_eq!(in_rate(counters, ms(2_000)), None);
        assert_eq!(counters.newest().in_packets, 7);
        let counters = counters.updated(stats(17, Some(3_000)), ms(3_000));
        assert_eq!(in_rate(counters, ms(3_000)), Some(10.0));
    }

    #[test]
    fn the_first_live_reading_takes_the_place_of_copies() {
        let counters = Counters::new(stats(100, None), ms(1_000));
        assert_eq!(counters.read_at(), None);
        let counters = counters.updated(stats(900, Some(2_000)), ms(2_000));
        assert_eq!(counters.read_at(), Some(ms(2_000)));
        assert_eq!(in_rate(counters, ms(2_000)), None);
    }
}
