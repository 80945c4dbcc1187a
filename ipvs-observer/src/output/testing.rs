//! A snapshot of known numbers, made the way real ones are, for the tests of every format.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ipvs_observer_common::{Counters, Event, FINEST_GROUPING_BITS, Loss, Measure};

use crate::{
    ipvs::table::{Destination, Service, Stats, Table, Thresholds, Traffic},
    model::{
        activity::Activity,
        circumstances::Circumstances,
        drain::{Drain, Reading},
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        latency::Distribution,
        ledger::Ledger,
        listing::Setting,
        memory::Memory,
        sample::{NamespaceSample, Namespaces, Readings, Sample, ServiceKey, Timestamp},
        snapshot::{Namespace, ProbeHealth, RefusedProbe, Run, Snapshot},
        states::States,
    },
};

const NETNS: Netns = Netns(4_026_531_840);

/// The service with an address.
pub(super) fn web() -> ServiceKey {
    let id = ServiceId::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    (NETNS, id)
}

/// The service with a mark.
pub(super) fn marked() -> ServiceKey {
    let id = ServiceId::FirewallMark {
        mark: 47,
        family: AddressFamily::Ipv6,
    };
    (NETNS, id)
}

/// Real server `number` of [`web`].
pub(super) fn server(number: u16) -> DestinationId {
    let [high, low] = number.to_be_bytes();
    DestinationId {
        address: [10, 0, high, low].into(),
        port: 8080,
    }
}

/// Values that are recorded `times` each.
pub(super) fn distribution(measure: Measure, values_ns: &[u64], times: u64) -> Distribution {
    let mut buckets = BTreeMap::new();
    for &value in values_ns {
        *buckets
            .entry(measure.scale(FINEST_GROUPING_BITS).bucket_of(value))
            .or_insert(0) += times;
    }
    let extremes = values_ns
        .iter()
        .copied()
        .min()
        .zip(values_ns.iter().copied().max());
    let sum_ns = values_ns.iter().sum::<u64>() * times;
    let buckets = buckets.into_iter().collect();
    Distribution::new(measure, FINEST_GROUPING_BITS, buckets, sum_ns, extremes)
}

/// A window of 2 s in which server 1 of `n_servers` had 100 connections and server 2 some refusals.
pub(super) fn window(n_servers: u16) -> Snapshot {
    snapshot(n_servers, false)
}

/// The same as the end of the run.
pub(super) fn whole_run(n_servers: u16) -> Snapshot {
    snapshot(n_servers, true)
}

/// The same in one of several namespaces, `blue`, and a quiet service with the same address in one without a name.
pub(super) fn of_all_netns() -> Snapshot {
    let mut snapshot = window(2);
    let mut run = Run::clone(&snapshot.run);
    run.all_netns = true;
    snapshot.run = Arc::new(run);
    let namespace = snapshot.namespaces.get_mut(&NETNS).unwrap();
    let unnamed = namespace.clone();
    namespace.name = Some("blue".to_owned());
    let (_, web_id) = web();
    let mut quiet = snapshot.services[&web()].clone();
    let rows = quiet
        .destinations
        .values_mut()
        .map(|server| &mut server.row);
    for row in rows.chain([&mut quiet.row]) {
        (row.interval, row.total) = (Activity::none(), Activity::none());
    }
    let other = Netns(4_026_532_201);
    snapshot.namespaces.insert(other, unnamed);
    snapshot.services.insert((other, web_id), quiet);
    snapshot
}

/// The same of one server that has drained for 3 s, with so many connections left.
pub(super) fn draining(connections: u32) -> Snapshot {
    let mut snapshot = window(1);
    snapshot.health.sweep_took = Some(Duration::from_millis(1));
    let rows = snapshot.services.get_mut(&web()).unwrap();
    let row = rows.destinations.get_mut(&server(1)).unwrap();
    let facts = row.facts.as_mut().unwrap();
    (facts.weight, facts.active, facts.inactive) = (0, 3, 0);
    let traffic = |in_packets| {
        Some(Traffic {
            in_packets,
            ..Traffic::default()
        })
    };
    row.drain = Drain::next(None, facts, traffic(0), Reading::Later, at(1));
    facts.active = connections;
    row.drain = Drain::next(row.drain, facts, traffic(120), Reading::Later, at(4));
    let mut states = States {
        unanswered: Some(1),
        oldest: Some(Duration::from_secs(90)),
        oldest_syn_recv: Some(Duration::from_millis(1500)),
        begun_unseen: 1,
        ..States::NONE
    };
    // ESTABLISHED and SYN_RECV.
    (states.tcp[1], states.tcp[3]) = (2, 1);
    row.states = Some(if connections > 0 {
        states
    } else {
        States::NONE
    });
    snapshot
}

fn snapshot(n_servers: u16, is_final: bool) -> Snapshot {
    let run = Run {
        host: "director1".to_owned(),
        kernel: "6.12.1-test".to_owned(),
        measures: default_measures(),
        events: Event::ALL.to_vec(),
        refused_probes: vec![RefusedProbe {
            function: "sctp_state_transition".to_owned(),
            reason: "this kernel has no function sctp_state_transition".to_owned(),
        }],
        no_live: None,
        all_netns: false,
    };
    let mut losses = [0; Loss::ALL.len()];
    losses[Loss::HeaderUnreadable as usize] = 3;
    let mut ledger = Ledger::new(Arc::new(run), at(0), table(n_servers, 0));
    ledger.advance(quiet_sample(at(2), table(n_servers, 400)), false, 0);
    let sample = Sample {
        readings: Readings {
            host: Activity::none(),
            servers: BTreeMap::from([
                ((NETNS, web().1, Some(server(1))), busy()),
                ((NETNS, web().1, Some(server(2))), refusing()),
                ((NETNS, marked().1, None), dropping()),
            ]),
            transitions: 1198,
            losses,
            probes: vec![
                ProbeHealth {
                    name: "tcp_state_transition".into(),
                    function: "tcp_state_transition".into(),
                    missed: Some(0),
                    recursion_misses: Some(2),
                },
                ProbeHealth {
                    name: "ip_vs_schedule_return".into(),
                    function: "ip_vs_schedule".into(),
                    missed: Some(0),
                    recursion_misses: Some(0),
                },
            ],
            memory: memory(),
        },
        packets: Some(1200),
        ..quiet_sample(at(4), table(n_servers, 1400))
    };
    ledger.advance(sample, is_final, 1)
}

/// Maps that are smaller than they should be in every way.
pub(super) const fn memory() -> Memory {
    Memory {
        server_bytes: 12 << 20,
        record_bytes: 3 << 20,
        fixed_bytes: 1 << 20,
        cpus: 8,
        partitions: 1,
        grouping_bits: 3,
        slots: 64,
        max_slots: 64,
        slots_used: 64,
        configured: 1002,
        connections: 4096,
        connections_wanted: 524_288,
        records_used: Some(17),
    }
}

fn quiet_sample(at: Timestamp, namespaces: Namespaces) -> Sample {
    Sample {
        at,
        readings: Readings::default(),
        namespaces,
        table_took: Duration::from_millis(3),
        packets: Some(0),
        own_cost: None,
        sweep: None,
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp {
        wall: Duration::from_secs(1_800_000_000 + second),
        monotonic: Duration::from_secs(second),
    }
}

/// What is measured unless somebody says otherwise.
fn default_measures() -> Vec<Measure> {
    let all = Measure::ALL.into_iter();
    all.filter(|measure| measure.is_default()).collect()
}

fn counters(events: &[(Event, u64)]) -> Counters {
    let mut counters = Counters::default();
    for &(event, count) in events {
        counters.0[event as usize] = count;
    }
    counters
}

fn busy() -> Activity {
    let mut activity = Activity::none();
    activity.counters = counters(&[
        (Event::Scheduled, 100),
        (Event::Established, 99),
        (Event::SynRepeated, 1),
    ]);
    for (measure, values_ns) in [
        (Measure::Schedule, [1_000, 1_500]),
        (Measure::Connect, [200_000, 250_000]),
        (Measure::Client, [40_000_000, 41_000_000]),
        (Measure::Handshake, [40_200_000, 41_250_000]),
        (Measure::FirstByte, [20_000_000, 21_000_000]),
    ] {
        activity.latencies[measure as usize] = distribution(measure, &values_ns, 50);
    }
    activity
}

fn refusing() -> Activity {
    let mut activity = Activity::none();
    activity.counters = counters(&[(Event::Scheduled, 7), (Event::Refused, 7)]);
    activity
}

fn dropping() -> Activity {
    let mut activity = Activity::none();
    activity.counters = counters(&[(Event::NoDestination, 5)]);
    activity
}

fn table(n_servers: u16, in_packets: u64) -> Namespaces {
    let traffic = Traffic {
        connections: 10,
        in_packets,
        out_packets: in_packets / 2,
        in_bytes: in_packets * 60,
        out_bytes: in_packets * 1400,
    };
    let stats = Some(Stats {
        traffic,
        ..Stats::default()
    });
    let destination = |id| Destination {
        id,
        method: ForwardingMethod::Masquerade,
        weight: 1,
        active: 3,
        inactive: 40,
        persistent: Some(0),
        thresholds: Some(Thresholds::default()),
        tunnel: None,
        stats,
    };
    let service = |id, destinations| Service {
        id,
        scheduler: "wlc".to_owned(),
        flags: 0,
        timeout_s: Some(0),
        netmask: None,
        engine: None,
        stats,
        destinations,
    };
    let servers = (1..=n_servers)
        .map(|number| destination(server(number)))
        .collect();
    let circumstances = Circumstances {
        settings: vec![Setting {
            name: "run_estimation".to_owned(),
            value: "1".to_owned(),
        }],
        connection_table_size: Some(4096),
    };
    let read = NamespaceSample {
        namespace: Namespace {
            name: None,
            circumstances,
        },
        table: Table {
            services: vec![service(web().1, servers), service(marked().1, Vec::new())],
            torn: false,
        },
    };
    [(NETNS, read)].into()
}
