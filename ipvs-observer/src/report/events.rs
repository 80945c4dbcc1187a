//! What the events of single connections in a recording come to: the slowest ones, and the clients with the most.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use ipvs_observer_common::{Ending, EventKind, Measure, StreamLoss};

use crate::{
    model::{
        event::{ConnectionEvent, ConnectionTrace, What},
        filter::Selection,
        sample::Timestamp,
    },
    recording::{Events, EventsAsked, nanoseconds},
};

/// Connections and clients that are told of.
const MOST: usize = 20;

/// Events of a span.
#[derive(Clone, Debug)]
pub struct EventSummary {
    /// Which were recorded.
    pub asked: EventsAsked,
    /// How many of each kind there are, by its name.
    pub told: BTreeMap<&'static str, u64>,
    /// What was lost, by [`StreamLoss`].
    pub lost: [u64; StreamLoss::ALL.len()],
    /// What the disk was too slow for.
    pub unwritten: u64,
    /// Connections whose events lack packets and bytes.
    pub untraced: u64,
    slowest: Vec<Slow>,
    clients: BTreeMap<IpAddr, Client>,
    selection: Selection,
    /// Events of a window that is not there yet.
    pending: Vec<ConnectionEvent>,
}

/// A connection by how long its client waited.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// See [`waited_ns`].
    pub waited_ns: u64,
    /// How it ended.
    pub ending: Ending,
    /// What was counted of it.
    pub trace: ConnectionTrace,
    /// The event of its end.
    pub event: ConnectionEvent,
}

/// What a client did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Connections that ended, or, where no ends were recorded, were opened.
    pub connections: u64,
    /// Of these, those that were refused.
    pub refused: u64,
    /// Of these, those whose handshake expired.
    pub unanswered: u64,
    /// SYNs that came again.
    pub syn_repeated: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// A name, and what it stands for.
pub type Ranking = (&'static str, fn(&Client) -> u64);

/// What clients are ranked by.
pub const RANKINGS: [Ranking; 3] = [
    ("connections", |client| client.connections),
    ("refused", |client| client.refused),
    ("syn_repeated", |client| client.syn_repeated),
];

impl EventSummary {
    /// Of no event yet; of those that `selection` has there will be some.
    pub fn new(asked: &EventsAsked, selection: &Selection) -> Self {
        Self {
            asked: asked.clone(),
            told: BTreeMap::new(),
            lost: [0; StreamLoss::ALL.len()],
            unwritten: 0,
            untraced: 0,
            slowest: Vec::new(),
            clients: BTreeMap::new(),
            selection: selection.clone(),
            pending: Vec::new(),
        }
    }

    /// Adds events of windows that may be there already, or not yet.
    pub fn add(&mut self, events: Events) {
        self.pending.extend(events.events);
        for (_, causes) in events.lost {
            for (sum, cause) in self.lost.iter_mut().zip(causes) {
                *sum += cause;
            }
        }
        self.unwritten += events.unwritten;
        self.untraced += events.untraced;
    }

    /// Settles the events until `at`: those of the span `from` to `to` count, others do not.
    pub fn settle(&mut self, at: Timestamp, span: Option<(Timestamp, Timestamp)>) {
        let at_ns = nanoseconds(at.monotonic);
        let span = span.map(|(from, to)| nanoseconds(from.monotonic)..=nanoseconds(to.monotonic));
        for event in std::mem::take(&mut self.pending) {
            if event.at_ns > at_ns {
                self.pending.push(event);
            } else if span
                .as_ref()
                .is_some_and(|span| span.contains(&event.at_ns))
            {
                self.count(&event);
            }
        }
    }

    /// Whether ends of connections were recorded.
    pub fn has_ends(&self) -> bool {
        self.has(EventKind::Closed)
    }

    /// Whether events of this kind were recorded.
    pub fn has(&self, kind: EventKind) -> bool {
        self.asked.kinds.contains(&kind)
    }

    /// The connections whose clients waited for longest, these first.
    pub fn slowest(&self) -> &[Slow] {
        &self.slowest
    }

    /// How many clients there are.
    pub fn n_clients(&self) -> usize {
        self.clients.len()
    }

    /// The clients with the most of something, of which each has some.
    pub fn clients(&self, of: fn(&Client) -> u64) -> Vec<(IpAddr, Client)> {
        let clients = self.clients.iter().filter(|(_, client)| of(client) > 0);
        let mut clients: Vec<_> = clients.map(|(ip, client)| (*ip, *client)).collect();
        clients.sort_by_key(|(ip, client)| (Reverse(of(client)), *ip));
        clients.truncate(MOST);
        clients
    }

    fn count(&mut self, event: &ConnectionEvent) {
        if !self.is_wanted(event) {
            return;
        }
        *self.told.entry(event.what.name()).or_default() += 1;
        if let (What::Ended(ending), Some(trace)) = (event.what, event.trace) {
            self.keep_slow(event, ending, trace);
        }
        let opens = self.has(EventKind::Opened) && !self.has_ends();
        let Some((ip, _)) = event.client else { return };
        let client = self.clients.entry(ip).or_default();
        match event.what {
            What::Opened if opens => client.connections += 1,
            What::Ended(ending) => {
                client.connections += 1;
                client.refused += u64::from(ending == Ending::Refused);
                client.unanswered += u64::from(ending == Ending::Unanswered);
                client.syn_repeated += event.trace.map_or(0, |trace| trace.syn_repeated);
            }
            What::Dropped(_) => client.dropped += 1,
            What::Opened | What::Established | What::Slow(..) => {}
        }
    }

    fn is_wanted(&self, event: &ConnectionEvent) -> bool {
        if self.selection == Selection::default() {
            return true;
        }
        let Some(service) = event.service else {
            return false;
        };
        let has_server = match event.server {
            Some(server) => self.selection.has_server(&service, &server),
            None => self.selection.servers.is_empty(),
        };
        self.selection.has_service(&service) && has_server
    }

    fn keep_slow(&mut self, event: &ConnectionEvent, ending: Ending, trace: ConnectionTrace) {
        let Some(waited_ns) = waited_ns(&trace) else {
            return;
        };
        let place = self
            .slowest
            .partition_point(|slower| slower.waited_ns >= waited_ns);
        if place < MOST {
            let slow = Slow {
                waited_ns,
                ending,
                trace,
                event: *event,
            };
            self.slowest.insert(place, slow);
            self.slowest.truncate(MOST);
        }
    }
}

/// How long a client waited: for its handshake, and then for the first byte or, where that took longer, the longest
/// response. How long it thought does not count, so this is not the duration.
fn waited_ns(trace: &ConnectionTrace) -> Option<u64> {
    let of = |measure: Measure| trace.stages_ns[measure as usize];
    let handshake = of(Measure::Handshake).or_else(|| of(Measure::Connect));
    let answer = of(Measure::FirstByte).max(of(Measure::Response));
    let known = handshake.is_some() || answer.is_some();
    known.then(|| {
        handshake
            .unwrap_or_default()
            .saturating_add(answer.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::{Ending, EventKind};

    use super::{EventSummary, RANKINGS};
    use crate::{
        model::{
            event::{ConnectionEvent, What},
            filter::{Selection, ServerFilter},
        },
        recording::{
            Events, EventsAsked,
            testing::{at, some_events},
        },
    };

    fn summed(events: &[ConnectionEvent], selection: &Selection) -> EventSummary {
        let asked = EventsAsked {
            kinds: EventKind::ALL.to_vec(),
            sample: 1,
            filters: Vec::new(),
        };
        let mut summary = EventSummary::new(&asked, selection);
        summary.add(Events {
            events: events.to_vec(),
            ..Events::default()
        });
        summary.settle(at(9), Some((at(0), at(9))));
        summary
    }

    fn told(summary: &EventSummary) -> u64 {
        summary.told.values().sum()
    }

    #[test]
    fn the_slowest_come_first_and_no_others() {
        let events = some_events(400);
        let summary = summed(&events, &Selection::default());
        let mut expected: Vec<u64> = events
            .iter()
            .filter(|event| matches!(event.what, What::Ended(_)))
            .filter_map(|event| event.trace?.stages_ns[3])
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let slowest: Vec<u64> = summary.slowest().iter().map(|one| one.waited_ns).collect();
        assert_eq!(slowest, expected[..20]);
        assert_eq!(told(&summary), 400);
    }

    #[test]
    fn clients_are_ranked_by_what_they_did() {
        let mut events = some_events(8);
        let client = |last: u8| Some(([198, 51, 100, last].into(), 1024));
        let mut told = Vec::new();
        for (event, last) in events.iter_mut().zip(0_u8..) {
            event.client = client(last % 2);
            if let What::Ended(ending) = event.what {
                let repeated = event.trace.map_or(0, |trace| trace.syn_repeated);
                told.push((last % 2, ending == Ending::Refused, repeated));
            }
        }
        let summary = summed(&events, &Selection::default());
        for ((name, of), count) in RANKINGS.into_iter().zip([
            (|_| 1) as fn(&(u8, bool, u64)) -> u64,
            |told| u64::from(told.1),
            |told| told.2,
        ]) {
            let sum =
                |last: u8| -> u64 { told.iter().filter(|one| one.0 == last).map(count).sum() };
            let mut expected = [(sum(0), 0), (sum(1), 1)];
            expected.sort_by_key(|&(count, last)| (std::cmp::Reverse(count), last));
            let expected: Vec<_> = expected
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, last)| (client(last).unwrap().0, count))
                .collect();
            let found: Vec<_> = summary
                .clients(of)
                .into_iter()
                .map(|(ip, client)| (ip, of(&client)))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(summary.n_clients(), 2);
    }

    #[test]
    fn events_count_by_span_and_by_whom() {
        // All of them lie in the second second of the run, of which the first is 987 654 321 ns after the start.
        let events = some_events(30);
        let asked = EventsAsked {
            kinds: vec![EventKind::Closed],
            sample: 1,
            filters: Vec::new(),
        };
        let mut summary = EventSummary::new(&asked, &Selection::default());
        let batch = || Events {
            events: events.clone(),
            ..Events::default()
        };
        summary.add(batch());
        summary.settle(at(0), Some((at(0), at(0))));
        assert_eq!(told(&summary), 0, "their window is not there yet");
        summary.settle(at(1), Some((at(0), at(1))));
        assert_eq!(told(&summary), 30);
        summary.add(batch());
        summary.settle(at(2), Some((at(1), at(2))));
        assert_eq!(told(&summary), 30, "they are not in the span");
        let selection = Selection {
            services: Vec::new(),
            servers: vec![ServerFilter::parse("10.1.0.1:8443").unwrap()],
        };
        let of_server = events.iter().filter(|event| {
            let server = event.server.map(|server| server.to_string());
            server.as_deref() == Some("10.1.0.1:8443")
        });
        assert_eq!(told(&summed(&events, &selection)), of_server.count() as u64);
    }
}
