//! What the programs saw of one virtual service or real server over some span.

use std::array;

use ipvs_observer_common::{Counters, Event, Measure};

use super::latency::Distribution;

/// Events and latencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Events.
    pub counters: Counters,
    /// A distribution of each measure, in the order of [`Measure::ALL`].
    pub latencies: [Distribution; Measure::ALL.len()],
}

impl Activity {
    /// Nothing seen.
    pub fn none() -> Self {
        Self {
            counters: Counters::default(),
            latencies: Measure::ALL.map(Distribution::empty),
        }
    }

    /// The distribution of `measure`.
    pub fn latency(&self, measure: Measure) -> &Distribution {
        &self.latencies[measure as usize]
    }

    /// Adds what `other` saw.
    pub fn merge(&mut self, other: &Self) {
        self.counters = combine(self.counters, other.counters, |a, b| a + b);
        for (latency, other) in self.latencies.iter_mut().zip(&other.latencies) {
            latency.merge(other);
        }
    }

    /// Connections scheduled per second of a window; `None` for a window without length.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate needs no more than 53 bits"
    )]
    pub fn scheduled_per_s(&self, window_s: f64) -> Option<f64> {
        (window_s > 0.0).then(|| self.counters.get(Event::Scheduled) as f64 / window_s)
    }

    /// Packets that IPVS dropped, for the reasons that are counted.
    pub fn dropped(&self) -> u64 {
        let drops = Event::ALL.into_iter().filter(|event| event.is_drop());
        drops.map(|event| self.counters.get(event)).sum()
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::none()
    }
}

/// Applies `with` to each counter of `a` and its like in `b`.
pub fn combine(a: Counters, b: Counters, with: impl Fn(u64, u64) -> u64) -> Counters {
    Counters(array::from_fn(|index| with(a.0[index], b.0[index])))
}
