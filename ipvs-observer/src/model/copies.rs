//! Packet and byte rates from counters that the kernel copies only now and then.
//!
//! IPVS refreshes what netlink gives every two seconds, so two readings that are equal say nothing yet.
//! A rate is taken between two copies that differ, over the time between the readings that first showed them.

use std::time::Duration;

use super::rates::Rates;
use crate::ipvs::table::Traffic;

/// How often the kernel makes a copy: two seconds in `ip_vs_est.c` of every version up to 7.2.
pub(super) const PERIOD: Duration = Duration::from_secs(2);
/// A copy that has not changed for two of the kernel's periods says that there was no traffic.
const SILENCE: Duration = Duration::from_secs(4);

/// The copies seen of one service or real server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies {
    newest: Traffic,
    /// The reading that first showed it.
    seen_at: Duration,
    /// The last reading that showed it.
    confirmed_at: Duration,
    rates: Option<Rates>,
    /// The first change and when it was seen. The very first copy may be up to a period older than its reading, so no
    /// rate is taken from it.
    first_change: Option<(Traffic, Duration)>,
}

impl Copies {
    pub(crate) fn new(traffic: Traffic, now: Duration) -> Self {
        Self {
            newest: traffic,
            seen_at: now,
            confirmed_at: now,
            rates: None,
            first_change: None,
        }
    }

    /// With what a reading at `now` shows.
    pub(crate) fn updated(self, traffic: Traffic, now: Duration) -> Self {
        if traffic == self.newest {
            return Self {
                confirmed_at: now,
                ..self
            };
        }
        let elapsed = now.saturating_sub(self.refreshed_at());
        let known = self.first_change.filter(|_| !elapsed.is_zero());
        let rates =
            known.and_then(|_| Rates::between(&self.newest, &traffic, elapsed, Duration::ZERO));
        Self {
            newest: traffic,
            seen_at: now,
            confirmed_at: now,
            rates,
            // Counters that went back begin anew.
            first_change: self
                .first_change
                .filter(|_| rates.is_some())
                .or(Some((traffic, now))),
        }
    }

    /// The newest copy.
    pub(crate) const fn newest(&self) -> Traffic {
        self.newest
    }

    /// When the kernel last made the copy, counted in periods: while nothing passes it makes the same one again.
    fn refreshed_at(&self) -> Duration {
        let unchanged = self.confirmed_at.saturating_sub(self.seen_at);
        let periods = unchanged.as_nanos() / PERIOD.as_nanos();
        self.seen_at + PERIOD * u32::try_from(periods).unwrap_or(u32::MAX)
    }

    /// The rates as they are known at `now`; `None` while two copies have not been seen or the kernel makes none.
    pub(crate) fn rates(&self, now: Duration, estimation: bool) -> Option<Rates> {
        let age = now.saturating_sub(self.seen_at);
        if !estimation {
            return None;
        }
        if age >= SILENCE {
            return Some(Rates { age, ..Rates::NONE });
        }
        self.rates.map(|rates| Rates { age, ..rates })
    }

    /// The rates from the first change to the newest copy.
    pub(crate) fn run_rates(&self, now: Duration) -> Option<Rates> {
        let (first, at) = self.first_change?;
        let elapsed = self.refreshed_at().saturating_sub(at);
        let age = now.saturating_sub(self.seen_at);
        Rates::between(&first, &self.newest, elapsed, age)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Copies;
    use crate::ipvs::table::Traffic;

    fn packets(in_packets: u64) -> Traffic {
        Traffic {
            in_packets,
            ..Traffic::default()
        }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_rate_spans_the_time_between_two_copies_that_differ() {
        let copies = Copies::new(packets(100), s(0));
        let copies = copies.updated(packets(300), s(1));
        assert_eq!(
            copies.rates(s(1), true),
            None,
            "the age of the first copy is not known"
        );
        let copies = copies.updated(packets(300), s(2));
        let copies = copies.updated(packets(1300), s(3));
        let rates = copies.rates(s(4), true).unwrap();
        assert!((rates.in_packets - 500.0).abs() < 1e-9);
        assert_eq!(rates.age, s(1));
    }

    #[test]
    fn silence_is_a_rate_of_zero_only_after_two_periods_and_never_without_estimation() {
        let copies = Copies::new(packets(100), s(0));
        assert_eq!(copies.rates(s(3), true), None);
        assert!(copies.rates(s(4), true).unwrap().in_packets.abs() < f64::EPSILON);
        assert_eq!(copies.rates(s(9), false), None);
    }

    #[test]
    fn traffic_after_a_silence_is_not_spread_over_the_silence() {
        let copies = Copies::new(packets(100), s(0));
        let copies = copies.updated(packets(200), s(2));
        let copies = (3..12).fold(copies, |copies, second| {
            copies.updated(packets(200), s(second))
        });
        let copies = copies.updated(packets(700), s(12));
        assert!((copies.rates(s(12), true).unwrap().in_packets - 250.0).abs() < 1e-9);
    }

    #[test]
    fn the_whole_run_is_from_the_first_change_to_the_newest_copy() {
        let copies = Copies::new(packets(100), s(0));
        let copies = copies.updated(packets(300), s(1));
        assert_eq!(copies.run_rates(s(1)), None);
        let copies = copies.updated(packets(700), s(3));
        let copies = copies.updated(packets(900), s(5));
        assert!((copies.run_rates(s(6)).unwrap().in_packets - 150.0).abs() < 1e-9);
    }

    #[test]
    fn a_counter_that_goes_back_gives_no_rate() {
        let copies = Copies::new(packets(100), s(0));
        let copies = copies.updated(packets(200), s(2));
        let copies = copies.updated(packets(5), s(4));
        assert_eq!(copies.rates(s(4), true), None);
        let copies = copies.updated(packets(25), s(6));
        assert!((copies.rates(s(6), true).unwrap().in_packets - 10.0).abs() < 1e-9);
    }
}
