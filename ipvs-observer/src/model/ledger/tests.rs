//! What comes, goes and comes again.

use std::{sync::Arc, time::Duration};

use ipvs_observer_common::{Counters, Event, FINEST_GROUPING_BITS, Measure};

use super::Ledger;
use crate::{
    ipvs::table::{Destination, Service, Stats, Table, Thresholds},
    model::{
        activity::Activity,
        id::{DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        latency::Distribution,
        sample::{NamespaceSample, Namespaces, Readings, Sample, ServiceKey, Timestamp},
        snapshot::{Run, Snapshot},
        states::{States, Sweep},
    },
};

const CONNECT_NS: u64 = 2_000_000;

const NETNS: Netns = Netns(1);
const OTHER: Netns = Netns(2);

fn service_id() -> ServiceId {
    ServiceId::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    }
}

fn key() -> ServiceKey {
    (NETNS, service_id())
}

/// Namespaces with these tables.
fn namespaces(tables: impl IntoIterator<Item = (Netns, Table)>) -> Namespaces {
    let read = |(netns, table)| {
        let read = NamespaceSample {
            table,
            ..NamespaceSample::default()
        };
        (netns, read)
    };
    tables.into_iter().map(read).collect()
}

fn server(last_byte: u8) -> DestinationId {
    DestinationId {
        address: [10, 0, 0, last_byte].into(),
        port: 8080,
    }
}

fn table(servers: &[u8]) -> Table {
    let stats = Some(Stats::default());
    let destination = |id| Destination {
        id,
        method: ForwardingMethod::Masquerade,
        weight: 1,
        active: 3,
        inactive: 0,
        persistent: Some(0),
        thresholds: Some(Thresholds::default()),
        tunnel: None,
        stats,
    };
    let service = Service {
        id: service_id(),
        scheduler: "rr".to_owned(),
        flags: 0,
        timeout_s: Some(0),
        netmask: None,
        engine: None,
        stats,
        destinations: servers
            .iter()
            .map(|&last| destination(server(last)))
            .collect(),
    };
    Table {
        services: vec![service],
        torn: false,
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp {
        wall: Duration::from_secs(1_000_000 + second),
        monotonic: Duration::from_secs(second),
    }
}

fn connections(count: u64) -> Activity {
    let mut activity = Activity::none();
    activity.counters = Counters::default();
    activity.counters.0[Event::Scheduled as usize] = count;
    let bucket = Measure::Connect
        .scale(FINEST_GROUPING_BITS)
        .bucket_of(CONNECT_NS);
    activity.latencies[Measure::Connect as usize] = Distribution::new(
        Measure::Connect,
        FINEST_GROUPING_BITS,
        vec![(bucket, count)],
        count * CONNECT_NS,
        Some((CONNECT_NS, CONNECT_NS)),
    );
    activity
}

fn ledger(servers: &[u8]) -> Ledger {
    let run = Run {
        host: "director".to_owned(),
        kernel: "6.12".to_owned(),
        measures: Measure::ALL.to_vec(),
        events: Event::ALL.to_vec(),
        refused_probes: Vec::new(),
        no_live: None,
        all_netns: false,
    };
    Ledger::new(Arc::new(run), at(0), namespaces([(NETNS, table(servers))]))
}

fn tick(ledger: &mut Ledger, second: u64, servers: &[u8], seen: &[(u8, u64)]) -> Snapshot {
    let servers_seen = seen.iter().map(|&(last, count)| {
        (
            (NETNS, service_id(), Some(server(last))),
            connections(count),
        )
    });
    let sample = Sample {
        at: at(second),
        readings: Readings {
            servers: servers_seen.collect(),
            ..Readings::default()
        },
        namespaces: namespaces([(NETNS, table(servers))]),
        table_took: Duration::from_millis(3),
        packets: Some(0),
        own_cost: None,
        sweep: None,
    };
    ledger.advance(sample, false, 0)
}

#[test]
fn a_server_without_traffic_is_shown_with_empty_latencies() {
    let snapshot = tick(&mut ledger(&[1, 2]), 1, &[1, 2], &[(1, 5)]);
    let rows = &snapshot.services[&key()].destinations;
    assert_eq!(
        rows[&server(1)].row.interval.counters.get(Event::Scheduled),
        5
    );
    assert_eq!(rows[&server(2)].row.interval, Activity::none());
    assert!(!rows[&server(2)].row.gone);
    assert_eq!(rows[&server(2)].facts.unwrap().active, 3);
}

#[test]
fn a_service_is_the_merge_of_its_servers_over_the_window_and_the_run() {
    let mut ledger = ledger(&[1, 2]);
    tick(&mut ledger, 1, &[1, 2], &[(1, 5), (2, 7)]);
    let snapshot = tick(&mut ledger, 3, &[1, 2], &[(2, 1)]);
    let row = &snapshot.services[&key()].row;
    assert_eq!(row.interval.latency(Measure::Connect).count(), 1);
    assert_eq!(row.total.latency(Measure::Connect).count(), 13);
    assert_eq!(
        row.total.latency(Measure::Connect).sum_ns(),
        13 * CONNECT_NS
    );
    assert_eq!(row.total.counters.get(Event::Scheduled), 13);
    assert_eq!(
        (snapshot.window, snapshot.elapsed),
        (Duration::from_secs(2), Duration::from_secs(3))
    );
}

#[test]
fn a_server_that_goes_is_shown_once_more_and_then_counts_for_its_service() {
    let mut ledger = ledger(&[1, 2]);
    tick(&mut ledger, 1, &[1, 2], &[(2, 4)]);
    let going = tick(&mut ledger, 2, &[1], &[(2, 1)]);
    let last = &going.services[&key()].destinations[&server(2)];
    assert!(last.row.gone);
    assert_eq!(last.row.total.counters.get(Event::Scheduled), 5);
    assert_eq!(last.facts.unwrap().weight, 1);
    let after = tick(&mut ledger, 3, &[1], &[(2, 2)]);
    let service = &after.services[&key()];
    assert!(!service.destinations.contains_key(&server(2)));
    assert_eq!(service.row.interval.counters.get(Event::Scheduled), 2);
    assert_eq!(service.row.total.counters.get(Event::Scheduled), 7);
}

#[test]
fn a_server_that_comes_again_is_the_same_row_with_a_new_since() {
    let mut ledger = ledger(&[1, 2]);
    tick(&mut ledger, 1, &[1, 2], &[(2, 4)]);
    tick(&mut ledger, 2, &[1], &[]);
    let again = tick(&mut ledger, 3, &[1, 2], &[(2, 1)]);
    let row = &again.services[&key()].destinations[&server(2)].row;
    assert!(!row.gone);
    assert_eq!(row.since, Some(at(3)));
    assert_eq!(row.total.counters.get(Event::Scheduled), 5);
}

#[test]
fn a_server_that_came_and_went_between_two_tables_is_shown_once() {
    let mut ledger = ledger(&[1]);
    let snapshot = tick(&mut ledger, 1, &[1], &[(9, 3)]);
    let row = &snapshot.services[&key()].destinations[&server(9)];
    assert!(row.row.gone && row.facts.is_none() && row.row.since.is_none());
    assert_eq!(row.row.interval.counters.get(Event::Scheduled), 3);
    let after = tick(&mut ledger, 2, &[1], &[]);
    assert!(!after.services[&key()].destinations.contains_key(&server(9)));
}

#[test]
fn nothing_is_gone_by_the_word_of_a_torn_table() {
    let mut ledger = ledger(&[1, 2]);
    let sample = Sample {
        at: at(1),
        readings: Readings::default(),
        table_took: Duration::from_millis(3),
        namespaces: namespaces([(
            NETNS,
            Table {
                torn: true,
                ..table(&[1])
            },
        )]),
        packets: Some(0),
        own_cost: None,
        sweep: None,
    };
    let snapshot = ledger.advance(sample, false, 0);
    assert!(snapshot.health.torn);
    assert!(!snapshot.services[&key()].destinations[&server(2)].row.gone);
}

#[test]
fn without_replies_at_the_director_what_they_tell_is_not_shown() {
    let mut ledger = ledger(&[]);
    let direct = |ledger: &mut Ledger, second, seen: Option<Activity>| {
        let mut table = table(&[1]);
        table.services[0].destinations[0].method = ForwardingMethod::DirectRoute;
        let servers = seen.map(|activity| ((NETNS, service_id(), Some(server(1))), activity));
        let sample = Sample {
            at: at(second),
            readings: Readings {
                servers: servers.into_iter().collect(),
                ..Readings::default()
            },
            namespaces: namespaces([(NETNS, table)]),
            table_took: Duration::ZERO,
            packets: Some(0),
            own_cost: None,
            sweep: None,
        };
        let snapshot = ledger.advance(sample, false, 0);
        let service = &snapshot.services[&key()];
        let server = &service.destinations[&server(1)];
        [&service.row, &server.row]
            .map(|row| [Measure::Connect, Measure::Handshake].map(|measure| row.shows(measure)))
    };
    assert_eq!(direct(&mut ledger, 1, None), [[false, true]; 2]);
    // The director may be the gateway of the real server all the same.
    let seen = Some(connections(1));
    assert_eq!(direct(&mut ledger, 2, seen), [[true, true]; 2]);
    assert_eq!(direct(&mut ledger, 3, None), [[true, true]; 2]);
}

#[test]
fn connections_that_were_looked_at_stand_with_their_server_and_none_found_is_none() {
    let mut ledger = ledger(&[1, 2]);
    let found = States {
        other: 4,
        ..States::NONE
    };
    let sample = Sample {
        at: at(1),
        readings: Readings::default(),
        namespaces: namespaces([(NETNS, table(&[1, 2]))]),
        table_took: Duration::from_millis(3),
        packets: Some(0),
        own_cost: None,
        sweep: Some(Sweep {
            took: Duration::from_millis(2),
            servers: [((NETNS, service_id(), Some(server(1))), found)].into(),
        }),
    };
    let snapshot = ledger.advance(sample, false, 0);
    assert_eq!(snapshot.health.sweep_took, Some(Duration::from_millis(2)));
    let rows = &snapshot.services[&key()].destinations;
    assert_eq!(rows[&server(1)].states, Some(found));
    assert_eq!(rows[&server(2)].states, Some(States::NONE));
    let unswept = tick(&mut ledger, 2, &[1, 2], &[]);
    let row = &unswept.services[&key()].destinations[&server(1)];
    assert_eq!((row.states, unswept.health.sweep_took), (None, None));
}

#[test]
fn a_server_that_comes_again_drains_anew() {
    let with_weight_0 = || {
        let mut table = table(&[1]);
        table.services[0].destinations[0].weight = 0;
        table
    };
    let advance = |ledger: &mut Ledger, second, table| {
        let sample = Sample {
            at: at(second),
            readings: Readings::default(),
            namespaces: namespaces([(NETNS, table)]),
            table_took: Duration::ZERO,
            packets: Some(0),
            own_cost: None,
            sweep: None,
        };
        let snapshot = ledger.advance(sample, false, 0);
        let service = snapshot.services.get(&key()).cloned();
        service.and_then(|service| service.destinations.get(&server(1))?.drain)
    };
    let mut ledger = ledger(&[1]);
    let drain = advance(&mut ledger, 1, with_weight_0()).unwrap();
    assert_eq!((drain.since(), drain.is_begin_seen()), (at(1), true));
    assert_eq!(advance(&mut ledger, 2, table(&[])), None, "it is gone");
    assert_eq!(advance(&mut ledger, 3, table(&[])), None);
    let again = advance(&mut ledger, 4, with_weight_0()).unwrap();
    assert_eq!(again.since(), at(4));
}

/// A window in which each of these namespaces has one server, which had so many connections.
fn tick_all(ledger: &mut Ledger, second: u64, seen: &[(Netns, u64)]) -> Snapshot {
    let servers_seen = seen
        .iter()
        .map(|&(netns, count)| ((netns, service_id(), Some(server(1))), connections(count)));
    let sample = Sample {
        at: at(second),
        readings: Readings {
            servers: servers_seen.collect(),
            ..Readings::default()
        },
        namespaces: namespaces(seen.iter().map(|&(netns, _)| (netns, table(&[1])))),
        table_took: Duration::ZERO,
        packets: Some(0),
        own_cost: None,
        sweep: None,
    };
    ledger.advance(sample, false, 0)
}

#[test]
fn services_with_the_same_address_in_two_namespaces_are_two() {
    let mut ledger = ledger(&[1]);
    tick_all(&mut ledger, 1, &[(NETNS, 5), (OTHER, 7)]);
    let snapshot = tick_all(&mut ledger, 2, &[(NETNS, 0), (OTHER, 1)]);
    let scheduled = |netns| {
        let service = &snapshot.services[&(netns, service_id())];
        let server = &service.destinations[&server(1)];
        [&service.row, &server.row].map(|row| row.total.counters.get(Event::Scheduled))
    };
    assert_eq!((scheduled(NETNS), scheduled(OTHER)), ([5, 5], [8, 8]));
}

#[test]
fn a_namespace_takes_its_services_with_it_and_its_number_can_be_that_of_another() {
    let mut ledger = ledger(&[1]);
    tick_all(&mut ledger, 1, &[(NETNS, 5), (OTHER, 7)]);
    let going = tick_all(&mut ledger, 2, &[(NETNS, 1)]);
    let other = (OTHER, service_id());
    assert!(going.services[&other].row.gone);
    assert!(
        going.namespaces.contains_key(&OTHER),
        "it is named once more"
    );
    assert!(!going.services[&key()].row.gone);
    let after = tick_all(&mut ledger, 3, &[(NETNS, 1)]);
    assert!(!after.services.contains_key(&other));
    assert!(!after.namespaces.contains_key(&OTHER));
    let anew = tick_all(&mut ledger, 4, &[(NETNS, 1), (OTHER, 2)]);
    let row = &anew.services[&other].row;
    assert_eq!(row.total.counters.get(Event::Scheduled), 2);
    assert_eq!(row.since, Some(at(4)));
    let same = &anew.services[&key()].row;
    assert_eq!(same.total.counters.get(Event::Scheduled), 8);
}

#[test]
fn what_came_before_its_namespace_was_found_counts() {
    let mut ledger = ledger(&[1]);
    let mut early = Sample {
        at: at(1),
        readings: Readings::default(),
        namespaces: namespaces([(NETNS, table(&[1]))]),
        table_took: Duration::ZERO,
        packets: None,
        own_cost: None,
        sweep: None,
    };
    let id = (OTHER, service_id(), Some(server(1)));
    early.readings.servers.insert(id, connections(3));
    ledger.advance(early, false, 0);
    let found = tick_all(&mut ledger, 2, &[(NETNS, 0), (OTHER, 4)]);
    let row = &found.services[&(OTHER, service_id())].row;
    assert_eq!(row.total.counters.get(Event::Scheduled), 7);
}
