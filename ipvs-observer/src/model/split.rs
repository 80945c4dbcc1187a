//! Where the time of a service or a real server goes: to networks, to the director, to the application.
//!
//! The four parts are means, since means can be subtracted and percentiles cannot: what the application takes is what is
//! left of `first_byte` without one way to the server and back, which `connect` is.

use ipvs_observer_common::Measure;

use super::activity::Activity;

/// Who takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Between client and director, there and back: `client`.
    ClientNetwork,
    /// This host, for each packet from a client: `hook`.
    Director,
    /// Between director and real server, there and back: `connect`.
    ServerNetwork,
    /// The rest of `first_byte`.
    ServerApplication,
}

impl Part {
    /// Every part in the order of a packet's way.
    pub const ALL: [Self; 4] = [
        Self::ClientNetwork,
        Self::Director,
        Self::ServerNetwork,
        Self::ServerApplication,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientNetwork => "client_network",
            Self::Director => "director",
            Self::ServerNetwork => "server_network",
            Self::ServerApplication => "server_application",
        }
    }
}

/// The mean of each part; none where it cannot be seen or nothing came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split([Option<u64>; Part::ALL.len()]);

impl Split {
    /// That of what was seen.
    pub fn of(activity: &Activity) -> Self {
        let mean_ns = |measure| activity.latency(measure).mean_ns();
        let network_ns = mean_ns(Measure::Connect);
        let response_ns = mean_ns(Measure::FirstByte);
        // An application that takes less than its network varies is not told from one that takes nothing.
        let application_ns = response_ns
            .zip(network_ns)
            .map(|(response, network)| response.saturating_sub(network));
        Self([
            mean_ns(Measure::Client),
            mean_ns(Measure::Hook),
            network_ns,
            application_ns,
        ])
    }

    /// The mean of `part`.
    pub const fn mean_ns(&self, part: Part) -> Option<u64> {
        self.0[part as usize]
    }

    /// The largest part, and its share of all that are known in percent.
    pub fn largest(&self) -> Option<(Part, u64)> {
        let known = Part::ALL
            .into_iter()
            .filter_map(|part| Some((part, self.mean_ns(part)?)));
        let (part, mean_ns) = known.clone().max_by_key(|&(_, mean_ns)| mean_ns)?;
        let sum_ns: u64 = known.map(|(_, mean_ns)| mean_ns).sum();
        let percent = mean_ns.saturating_mul(100).checked_div(sum_ns)?;
        Some((part, percent))
    }
}

/// What the programs took while they were looked at, as the kernel counts it (`BPF_ENABLE_STATS`): without the way into them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnCost {
    /// How often a program ran.
    pub runs: u64,
    /// For how long, in nanoseconds.
    pub run_time_ns: u64,
}

impl OwnCost {
    /// Nanoseconds for each of so many packets.
    pub const fn per_packet_ns(&self, packets: u64) -> Option<u64> {
        self.run_time_ns.checked_div(packets)
    }
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::{FINEST_GROUPING_BITS, Measure};

    use super::{OwnCost, Part, Split};
    use crate::model::{activity::Activity, latency::Distribution};

    fn activity(means_ns: &[(Measure, u64)]) -> Activity {
        let mut activity = Activity::none();
        for &(measure, mean_ns) in means_ns {
            let scale = measure.scale(FINEST_GROUPING_BITS);
            activity.latencies[measure as usize] = Distribution::new(
                measure,
                FINEST_GROUPING_BITS,
                vec![(scale.bucket_of(mean_ns), 2)],
                2 * mean_ns,
                Some((mean_ns, mean_ns)),
            );
        }
        activity
    }

    #[test]
    fn the_application_has_what_the_network_leaves() {
        let split = Split::of(&activity(&[
            (Measure::Client, 500_000),
            (Measure::Hook, 10_000),
            (Measure::Connect, 100_000),
            (Measure::FirstByte, 490_000),
        ]));
        assert_eq!(split.mean_ns(Part::ServerApplication), Some(390_000));
        assert_eq!(split.largest(), Some((Part::ClientNetwork, 50)));
    }

    #[test]
    fn what_is_not_seen_is_not_nothing() {
        let split = Split::of(&activity(&[(Measure::Hook, 10_000)]));
        assert_eq!(split.mean_ns(Part::ServerNetwork), None);
        assert_eq!(split.mean_ns(Part::ServerApplication), None);
        assert_eq!(split.largest(), Some((Part::Director, 100)));
        assert_eq!(Split::of(&Activity::none()).largest(), None);
    }

    #[test]
    fn an_application_is_never_faster_than_nothing() {
        let split = Split::of(&activity(&[
            (Measure::Connect, 100_000),
            (Measure::FirstByte, 90_000),
        ]));
        assert_eq!(split.mean_ns(Part::ServerApplication), Some(0));
    }

    #[test]
    fn the_cost_of_no_packet_is_not_known() {
        let cost = OwnCost {
            runs: 6,
            run_time_ns: 900,
        };
        assert_eq!(cost.per_packet_ns(3), Some(300));
        assert_eq!(cost.per_packet_ns(0), None);
    }
}
