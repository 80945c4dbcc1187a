//! The drain of a real server: from the moment its weight is 0 until it has no connection left.
//!
//! Times are those of the readings that first showed a change, so that they are as exact as the windows are short.

use std::time::Duration;

use super::sample::Timestamp;
use crate::ipvs::table::{Destination, Traffic};

/// A real server that is given no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    since: Timestamp,
    is_begin_seen: bool,
    newest: Option<Traffic>,
    packets: Option<u64>,
    had_connections: bool,
    drained_at: Option<Timestamp>,
}

/// Which reading shows a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The first of the run: what it shows is older.
    First,
    /// Any later one.
    Later,
}

impl Drain {
    /// What `reading`, made `at` some time, says of a server that has seen so much `traffic`; `None` if it has a weight.
    pub fn next(
        before: Option<Self>,
        server: &Destination,
        traffic: Option<Traffic>,
        reading: Reading,
        at: Timestamp,
    ) -> Option<Self> {
        if server.weight > 0 {
            return None;
        }
        let drain = before.unwrap_or(Self {
            since: at,
            is_begin_seen: reading == Reading::Later,
            newest: traffic,
            packets: traffic.map(|_| 0),
            had_connections: false,
            drained_at: None,
        });
        Some(drain.updated(server, traffic, at))
    }

    fn updated(mut self, server: &Destination, traffic: Option<Traffic>, at: Timestamp) -> Self {
        let passed = self.newest.zip(traffic).and_then(|(old, new)| {
            let incoming = new.in_packets.checked_sub(old.in_packets)?;
            let outgoing = new.out_packets.checked_sub(old.out_packets)?;
            Some(incoming.saturating_add(outgoing))
        });
        // Once counters were zeroed the sum is not known any more.
        self.packets = self
            .packets
            .zip(passed)
            .map(|(sum, new): (u64, u64)| sum.saturating_add(new));
        self.newest = traffic;
        if server.active == 0 && server.inactive == 0 {
            self.drained_at.get_or_insert(at);
        } else {
            // A client that is remembered gets new connections all the same.
            self.drained_at = None;
            self.had_connections = true;
        }
        self
    }

    /// The reading that first showed the weight 0.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the weight became 0 during the run; else it may have been so for long.
    pub const fn is_begin_seen(&self) -> bool {
        self.is_begin_seen
    }

    /// Packets since then in both directions, as fresh as the kernel's counters; absent where these are not known or were
    /// zeroed.
    pub const fn packets(&self) -> Option<u64> {
        self.packets
    }

    /// Whether it has connections left.
    pub const fn is_draining(&self) -> bool {
        self.drained_at.is_none()
    }

    /// Whether there was anything to drain.
    pub const fn had_connections(&self) -> bool {
        self.had_connections
    }

    /// The reading that first showed no connection.
    pub const fn drained_at(&self) -> Option<Timestamp> {
        self.drained_at
    }

    /// From weight 0 to no connection; absent before, and where the beginning was not seen.
    pub fn took(&self) -> Option<Duration> {
        let drained_at = self.drained_at.filter(|_| self.is_begin_seen)?;
        Some(drained_at.monotonic.saturating_sub(self.since.monotonic))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Drain, Reading};
    use crate::{
        ipvs::table::{Destination, Traffic},
        model::{
            id::{DestinationId, ForwardingMethod},
            sample::Timestamp,
        },
    };

    fn at(second: u64) -> Timestamp {
        Timestamp {
            wall: Duration::from_secs(1_800_000_000 + second),
            monotonic: Duration::from_secs(second),
        }
    }

    fn server(weight: u32, active: u32, inactive: u32) -> Destination {
        Destination {
            id: DestinationId {
                address: [10, 0, 0, 1].into(),
                port: 80,
            },
            method: ForwardingMethod::Masquerade,
            weight,
            active,
            inactive,
            persistent: None,
            thresholds: None,
            tunnel: None,
            stats: None,
        }
    }

    fn packets(in_packets: u64, out_packets: u64) -> Traffic {
        Traffic {
            in_packets,
            out_packets,
            ..Traffic::default()
        }
    }

    const LATER: Reading = Reading::Later;

    #[test]
    fn a_server_with_a_weight_does_not_drain() {
        assert_eq!(
            Drain::next(None, &server(1, 5, 5), None, LATER, at(1)),
            None
        );
    }

    #[test]
    fn a_drain_lasts_from_weight_0_to_the_last_connection() {
        let drain = Drain::next(
            None,
            &server(0, 2, 1),
            Some(packets(100, 50)),
            LATER,
            at(10),
        );
        let drain = Drain::next(
            drain,
            &server(0, 0, 1),
            Some(packets(103, 52)),
            LATER,
            at(12),
        );
        let halfway = drain.unwrap();
        assert!(halfway.is_draining() && halfway.is_begin_seen());
        assert_eq!((halfway.packets(), halfway.took()), (Some(5), None));
        let drain = Drain::next(
            drain,
            &server(0, 0, 0),
            Some(packets(104, 52)),
            LATER,
            at(15),
        );
        let drain = Drain::next(
            drain,
            &server(0, 0, 0),
            Some(packets(104, 52)),
            LATER,
            at(20),
        );
        let drained = drain.unwrap();
        assert!(!drained.is_draining() && drained.had_connections());
        assert_eq!(drained.since(), at(10));
        assert_eq!(drained.drained_at(), Some(at(15)));
        assert_eq!(drained.took(), Some(Duration::from_secs(5)));
        assert_eq!(drained.packets(), Some(6));
        assert_eq!(
            Drain::next(drain, &server(1, 0, 0), None, LATER, at(21)),
            None
        );
    }

    #[test]
    fn how_long_a_drain_took_is_not_known_if_it_is_older_than_the_run() {
        let drain = Drain::next(None, &server(0, 1, 0), None, Reading::First, at(1));
        let drain = Drain::next(drain, &server(0, 0, 0), None, LATER, at(3)).unwrap();
        assert!(!drain.is_begin_seen());
        assert_eq!((drain.took(), drain.drained_at()), (None, Some(at(3))));
    }

    #[test]
    fn a_connection_that_comes_all_the_same_is_drained_too() {
        let drain = Drain::next(None, &server(0, 0, 0), None, LATER, at(1));
        assert!(!drain.unwrap().had_connections());
        let drain = Drain::next(drain, &server(0, 1, 0), None, LATER, at(2));
        assert!(drain.unwrap().is_draining());
        let drain = Drain::next(drain, &server(0, 0, 0), None, LATER, at(5));
        assert_eq!(drain.unwrap().took(), Some(Duration::from_secs(4)));
    }

    #[test]
    fn packets_are_not_known_once_counters_were_zeroed_or_are_missing() {
        let drain = Drain::next(None, &server(0, 1, 0), Some(packets(10, 10)), LATER, at(1));
        let zeroed = Drain::next(drain, &server(0, 1, 0), Some(packets(3, 0)), LATER, at(2));
        let later = Drain::next(zeroed, &server(0, 1, 0), Some(packets(9, 0)), LATER, at(3));
        assert_eq!(later.unwrap().packets(), None);
        let missing = Drain::next(drain, &server(0, 1, 0), None, LATER, at(2));
        assert_eq!(missing.unwrap().packets(), None);
    }
}
