//! Turns samples into snapshots: the one place that knows what was before.
//!
//! Rules for what comes, goes and comes again live here and nowhere else:
//! a server that the table has and the programs have not seen is shown with empty latencies;
//! one that the table has no more, or that came and went between two readings, is shown as gone, once;
//! what still happens to it then counts for its service; added again it is the same row with a new `since`.
//! A network namespace that is gone takes its services with it, and one that comes under its number is another.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use ipvs_observer_common::Measure;

use super::{
    activity::Activity,
    counters::Counters,
    drain::{Drain, Reading},
    id::{DestinationId, ForwardingMethod, Netns},
    sample::{Namespaces, Sample, ServiceKey, Timestamp},
    snapshot::{
        Completeness, DestinationRow, Director, Health, Namespace, Row, Run, ServiceRow, Snapshot,
    },
    states::{States, Sweep},
};
use crate::ipvs::table::{Destination, Service, Stats, Table};

/// Everything remembered from one sample to the next.
#[derive(Debug)]
pub struct Ledger {
    run: Arc<Run>,
    started: Timestamp,
    previous: Timestamp,
    /// What the programs saw of the host itself since the start.
    host: Activity,
    /// Those of the newest sample.
    namespaces: BTreeMap<Netns, Namespace>,
    /// Those that were there before, and are gone.
    left: BTreeSet<Netns>,
    services: BTreeMap<ServiceKey, ServiceAccount>,
    completeness: Completeness,
}

/// What is remembered of a service.
#[derive(Debug, Default)]
struct ServiceAccount {
    /// Of the service itself: what no real server of it can be given.
    own: Account,
    /// What the table last said of it, without its real servers.
    facts: Option<Service>,
    destinations: BTreeMap<DestinationId, DestinationAccount>,
}

/// What is remembered of a real server.
#[derive(Debug, Default)]
struct DestinationAccount {
    account: Account,
    /// What the table last said of it.
    facts: Option<Destination>,
    drain: Option<Drain>,
}

/// What is remembered of a service or a real server alike.
#[derive(Debug, Default)]
struct Account {
    interval: Activity,
    total: Activity,
    counters: Option<Counters>,
    since: Option<Timestamp>,
    presence: Presence,
}

/// Where a row stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    /// In the newest table.
    Present,
    /// Not in the newest table and not yet shown so.
    #[default]
    Gone,
    /// Shown as gone.
    Closed,
}

impl Ledger {
    /// Starts with the tables at `at`, before the first window.
    pub fn new(run: Arc<Run>, at: Timestamp, namespaces: Namespaces) -> Self {
        let mut ledger = Self {
            run,
            started: at,
            previous: at,
            host: Activity::none(),
            namespaces: BTreeMap::new(),
            left: BTreeSet::new(),
            services: BTreeMap::new(),
            completeness: Completeness {
                packets: Some(0),
                ..Completeness::default()
            },
        };
        ledger.note_namespaces(namespaces, Reading::First, at);
        ledger
    }

    /// The network namespaces of the newest sample.
    pub const fn namespaces(&self) -> &BTreeMap<Netns, Namespace> {
        &self.namespaces
    }

    /// From the next window on, what is measured is that of `run`.
    pub fn go_on_as(&mut self, run: Arc<Run>) {
        self.run = run;
    }

    /// The window that ends with `sample`.
    pub fn advance(&mut self, sample: Sample, is_final: bool, missed_windows: u64) -> Snapshot {
        let Sample {
            at,
            readings,
            namespaces,
            table_took,
            packets,
            own_cost,
            sweep,
        } = sample;
        let interval = Completeness {
            transitions: readings.transitions,
            packets,
            losses: readings.losses,
        };
        self.completeness.add(&interval);
        let health = Health {
            interval,
            total: self.completeness,
            torn: namespaces.values().any(|read| read.table.torn),
            table_took,
            probes: readings.probes,
            memory: readings.memory,
            sweep_took: sweep.as_ref().map(|sweep| sweep.took),
            missed_windows,
        };
        self.host.merge(&readings.host);
        let mut namespaces = self.note_namespaces(namespaces, Reading::Later, at);
        for ((netns, service_id, destination_id), activity) in readings.servers {
            let service = self.services.entry((netns, service_id)).or_default();
            let account = match destination_id {
                Some(id) => &mut service.destinations.entry(id).or_default().account,
                None => &mut service.own,
            };
            account.total.merge(&activity);
            account.interval = activity;
        }
        let rows = self.services.iter_mut();
        namespaces.extend(self.namespaces.clone());
        let is_estimating = |netns| {
            let namespace: Option<&Namespace> = namespaces.get(netns);
            namespace.is_none_or(|namespace| namespace.circumstances.frozen_by().is_none())
        };
        let services = rows
            .filter_map(|(key, service)| {
                let row = service.row(key, at, is_estimating(&key.0), sweep.as_ref())?;
                Some((*key, row))
            })
            .collect();
        let window = at.monotonic.saturating_sub(self.previous.monotonic);
        self.previous = at;
        Snapshot {
            run: Arc::clone(&self.run),
            at,
            window,
            elapsed: at.monotonic.saturating_sub(self.started.monotonic),
            is_final,
            director: Director {
                interval: readings.host,
                total: self.host.clone(),
            },
            namespaces,
            services,
            health,
            own_cost,
        }
    }

    /// Takes in the newest tables; gives the namespaces that there were before.
    fn note_namespaces(
        &mut self,
        read: Namespaces,
        reading: Reading,
        at: Timestamp,
    ) -> BTreeMap<Netns, Namespace> {
        let before = mem::take(&mut self.namespaces);
        // What another with the number of a new one has left is not the new one's.
        let is_other = |netns: &Netns| self.left.contains(netns) && read.contains_key(netns);
        self.services.retain(|(netns, _), _| !is_other(netns));
        self.left.retain(|netns| !read.contains_key(netns));
        let gone = before.keys().filter(|netns| !read.contains_key(netns));
        self.left.extend(gone);
        for ((netns, _), service) in &mut self.services {
            // What is missing from a torn table may well be there.
            if !read.get(netns).is_some_and(|read| read.table.torn) {
                service.leave();
            }
        }
        for (netns, read) in read {
            self.note_table(netns, read.table, reading, at);
            self.namespaces.insert(netns, read.namespace);
        }
        before
    }

    fn note_table(&mut self, netns: Netns, table: Table, reading: Reading, at: Timestamp) {
        for mut facts in table.services {
            let service = self.services.entry((netns, facts.id)).or_default();
            service.own.enter(facts.stats, at);
            for facts in mem::take(&mut facts.destinations) {
                let destination = service.destinations.entry(facts.id).or_default();
                if destination.account.presence == Presence::Closed {
                    destination.drain = None;
                }
                destination.account.enter(facts.stats, at);
                let traffic = destination.account.counters.as_ref();
                let traffic = traffic.map(Counters::newest);
                destination.drain = Drain::next(destination.drain, &facts, traffic, reading, at);
                destination.facts = Some(facts);
            }
            service.facts = Some(facts);
        }
    }
}

impl ServiceAccount {
    fn leave(&mut self) {
        self.own.leave();
        for destination in self.destinations.values_mut() {
            destination.account.leave();
        }
    }

    /// The service's row with those of its real servers, whose activity it sums up; `None` once it was shown as gone.
    fn row(
        &mut self,
        key: &ServiceKey,
        at: Timestamp,
        estimation: bool,
        sweep: Option<&Sweep>,
    ) -> Option<ServiceRow> {
        let mut interval = mem::take(&mut self.own.interval);
        let mut total = self.own.total.clone();
        let mut destinations = BTreeMap::new();
        let mut has_return_path = self.destinations.is_empty();
        for (id, destination) in &mut self.destinations {
            let its_interval = mem::take(&mut destination.account.interval);
            interval.merge(&its_interval);
            total.merge(&destination.account.total);
            if destination.account.presence == Presence::Closed {
                continue;
            }
            let its_total = destination.account.total.clone();
            let method = destination.facts.map(|facts| facts.method);
            let replies = method.is_none_or(ForwardingMethod::has_return_path);
            has_return_path |= replies;
            let row = destination
                .account
                .row(its_interval, its_total, replies, at, estimation);
            destinations.insert(
                *id,
                DestinationRow {
                    facts: destination.facts,
                    drain: destination.drain.filter(|_| !row.gone),
                    states: sweep
                        .filter(|_| !row.gone)
                        .and_then(|sweep| destination.states(key, *id, sweep)),
                    row,
                },
            );
        }
        if self.own.presence == Presence::Closed && destinations.is_empty() {
            return None;
        }
        Some(ServiceRow {
            facts: self.facts.clone(),
            row: self
                .own
                .row(interval, total, has_return_path, at, estimation),
            destinations,
        })
    }
}

impl DestinationAccount {
    /// What `sweep` has found of it; nothing found is no connection.
    fn states(
        &self,
        (netns, service): &ServiceKey,
        id: DestinationId,
        sweep: &Sweep,
    ) -> Option<States> {
        let found = sweep.servers.get(&(*netns, *service, Some(id)));
        let states = found.copied().unwrap_or(States::NONE);
        Some(states.known(service, self.facts.as_ref()?))
    }
}

impl Account {
    fn enter(&mut self, stats: Option<Stats>, at: Timestamp) {
        if self.since.is_none() || self.presence == Presence::Closed {
            self.since = Some(at);
            self.counters = None;
        }
        self.presence = Presence::Present;
        self.counters = stats.map(|stats| match self.counters.take() {
            Some(counters) => counters.updated(stats, at.monotonic),
            None => Counters::new(stats, at.monotonic),
        });
    }

    fn leave(&mut self) {
        if self.presence == Presence::Present {
            self.presence = Presence::Gone;
        }
    }

    /// `replies` is whether they pass the director by the forwarding method; others do where it is the real server's gateway.
    fn row(
        &mut self,
        interval: Activity,
        total: Activity,
        replies: bool,
        at: Timestamp,
        estimation: bool,
    ) -> Row {
        let of_replies = |measure: &Measure| measure.needs_return_path();
        let mut measures = Measure::ALL.into_iter().filter(of_replies);
        let has_return_path = replies || measures.any(|measure| total.latency(measure).count() > 0);
        let gone = self.presence != Presence::Present;
        if gone {
            self.presence = Presence::Closed;
        }
        Row {
            gone,
            has_return_path,
            since: self.since,
            interval,
            total,
            traffic: self.counters.as_ref().map(Counters::newest),
            read_at: self.counters.as_ref().and_then(Counters::read_at),
            rates: self
                .counters
                .as_ref()
                .filter(|_| !gone)
                .and_then(|counters| counters.rates(at.monotonic, estimation)),
            run_rates: self
                .counters
                .as_ref()
                .and_then(|counters| counters.run_rates(at.monotonic)),
        }
    }
}

#[cfg(test)]
mod tests;
