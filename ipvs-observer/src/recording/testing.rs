//! Runs of known numbers, for the tests of recordings and of what is made of them.

use std::{collections::BTreeMap, f64::consts::TAU, sync::Arc, time::Duration};

use ipvs_observer_common::{Ending, Event, EventKind, FINEST_GROUPING_BITS, Measure, STAGES};

use super::{Beginning, Events, EventsAsked, Window, Writer};
use crate::{
    ipvs::table::{
        Destination, Netmask, Service, Stats, Table, Thresholds, Traffic, Tunnel, TunnelKind,
    },
    model::{
        activity::Activity,
        event::{ConnectionEvent, ConnectionTrace, What},
        id::{DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        latency::Distribution,
        ledger::Ledger,
        listing::Setting,
        sample::{NamespaceSample, Namespaces, Readings, Sample, Timestamp},
        snapshot::{Run, Snapshot},
    },
};

pub(crate) const NETNS: Netns = Netns(4_026_531_840);
pub(crate) const BEGAN_NS: u64 = 1_800_000_000_000_000_000;

/// Numbers that look like chance and are the same each time (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are enough")]
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// With the median `median_ns` and the standard deviation `sigma` of the natural logarithm (Box and Muller).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "nanoseconds below a minute"
    )]
    fn log_normal(&mut self, median_ns: u64, sigma: f64) -> u64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        let normal = (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos();
        (median_ns as f64 * (sigma * normal).exp()) as u64
    }
}

/// Events of every kind, with everything that one can have and with nothing of it.
pub(crate) fn some_events(number: u16) -> Vec<ConnectionEvent> {
    let mut chance = Chance::new(11);
    let whats = [
        What::Opened,
        What::Established,
        What::Slow(Measure::Connect, 9_000_000),
        What::Ended(Ending::Finished),
        What::Ended(Ending::ResetByServer),
        What::Ended(Ending::Refused),
        What::Ended(Ending::Unanswered),
        What::Dropped(Event::NoDestination),
    ];
    let events = (0..number).map(|place| {
        let what = whats[usize::from(place) % whats.len()];
        let connect = chance.log_normal(300_000, 1.0);
        let client = chance.log_normal(30_000_000, 1.0);
        let mut stages_ns = [None; STAGES];
        stages_ns[Measure::Connect as usize] = Some(connect);
        stages_ns[Measure::Client as usize] = Some(client);
        stages_ns[Measure::Handshake as usize] = Some(connect + client);
        let low = chance.next().to_le_bytes();
        let client = if place % 3 == 0 {
            [0x2001, 0xdb8, 0, 0, 0, 0, 7, place].into()
        } else {
            [198, 51, 100, low[0]].into()
        };
        let is_known = !matches!(what, What::Dropped(_));
        ConnectionEvent {
            at_ns: 1_000_000_000 + u64::from(place) * 100_000 + u64::from(low[1]),
            cpu: u32::from(low[2] % 4),
            lost: [0; 2],
            what,
            netns: is_known.then_some(NETNS),
            service: Some(service_id(0)),
            server: is_known.then(|| server_id(place % 3)),
            client: (place % 50 != 49).then_some((client, 1024 + place)),
            protocol: is_known.then_some(Protocol::TCP),
            method: is_known.then_some(ForwardingMethod::Masquerade),
            age_ns: is_known.then_some(u64::from(place)),
            trace: (is_known && place % 9 != 8).then_some(ConnectionTrace {
                packets: [6, 5],
                bytes: [700 + u64::from(low[3]), 40_000 + chance.next() % 9_000],
                syn_repeated: u64::from(place % 20 == 1),
                stages_ns,
                history: 0x0345,
            }),
            preexisting: place % 40 == 39,
        }
    });
    events.collect()
}

/// A distribution of exact values.
pub(crate) fn of_values(measure: Measure, values: &[u64]) -> Distribution {
    let scale = measure.scale(FINEST_GROUPING_BITS);
    let mut buckets = BTreeMap::new();
    for &value in values {
        *buckets.entry(scale.bucket_of(value)).or_insert(0) += 1;
    }
    let extremes = values.iter().min().zip(values.iter().max());
    Distribution::new(
        measure,
        FINEST_GROUPING_BITS,
        buckets.into_iter().collect(),
        values.iter().sum(),
        extremes.map(|(min, max)| (*min, *max)),
    )
}

pub(crate) fn run() -> Run {
    Run {
        host: "director1".to_owned(),
        kernel: "6.12.1-test".to_owned(),
        measures: Measure::ALL
            .into_iter()
            .filter(|one| one.is_default())
            .collect(),
        events: Event::ALL.to_vec(),
        refused_probes: Vec::new(),
        no_live: None,
        all_netns: false,
    }
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp {
        wall: Duration::from_nanos(BEGAN_NS) + Duration::from_secs(seconds),
        monotonic: Duration::from_nanos(987_654_321) + Duration::from_secs(seconds),
    }
}

pub(crate) fn service_id(number: u16) -> ServiceId {
    let [high, low] = number.to_be_bytes();
    ServiceId::Address {
        protocol: Protocol::TCP,
        address: [192, 0, high, low].into(),
        port: 443,
    }
}

fn server_id(number: u16) -> DestinationId {
    let [high, low] = number.to_be_bytes();
    DestinationId {
        address: [10, 1, high, low].into(),
        port: 8443,
    }
}

/// A table of so many servers in services of 100, with live counters as they are at `seconds`.
fn tables(servers: u16, seconds: u64, chance: &mut Chance) -> Namespaces {
    let mut read_at = at(seconds).monotonic;
    let mut stats = |number: u64| {
        read_at += Duration::from_nanos(900 + chance.next() % 400);
        let packets = seconds * (100 + number % 7);
        Some(Stats {
            traffic: Traffic {
                connections: seconds * 10,
                in_packets: packets,
                out_packets: packets - packets / 9,
                in_bytes: packets * 90 + chance.next() % 900,
                out_bytes: packets * 1200 + chance.next() % 20_000,
            },
            rates: None,
            read_at: Some(read_at),
        })
    };
    let services = (0..servers.div_ceil(100)).map(|service| {
        let numbers = service * 100..servers.min(service * 100 + 100);
        let destinations = numbers.map(|number| Destination {
            id: server_id(number),
            method: ForwardingMethod::Masquerade,
            weight: 100,
            active: u32::from(number % 5),
            inactive: 1000 + u32::from(number % 11),
            persistent: Some(0),
            thresholds: Some(Thresholds::default()),
            tunnel: Some(Tunnel {
                kind: TunnelKind::IpIp,
                port: 0,
                flags: 0,
            }),
            stats: stats(number.into()),
        });
        let destinations = destinations.collect();
        Service {
            id: service_id(service),
            scheduler: "wlc".to_owned(),
            flags: 2,
            timeout_s: Some(0),
            netmask: Some(Netmask::Ipv4([255, 255, 255, 255].into())),
            engine: None,
            stats: stats(service.into()),
            destinations,
        }
    });
    let mut read = NamespaceSample {
        table: Table {
            services: services.collect(),
            torn: false,
        },
        ..NamespaceSample::default()
    };
    read.namespace.circumstances.settings = vec![Setting {
        name: "conntrack".to_owned(),
        value: "1".to_owned(),
    }];
    read.namespace.circumstances.connection_table_size = Some(4096);
    [(NETNS, read)].into()
}

/// Ten connections of one server, each with its own latencies.
pub(crate) fn ten_connections(chance: &mut Chance, sigma: f64) -> Activity {
    let mut activity = Activity::none();
    activity.counters.0[Event::Scheduled as usize] = 10;
    activity.counters.0[Event::Established as usize] = 10;
    activity.counters.0[Event::RecordMade as usize] = 10;
    activity.counters.0[Event::RecordEnded as usize] = 10;
    let mut values = [const { Vec::new() }; Measure::ALL.len()];
    for _ in 0..10 {
        let connect = chance.log_normal(300_000, sigma);
        let client = chance.log_normal(30_000_000, sigma);
        for (measure, value) in [
            (Measure::Schedule, chance.log_normal(3_000, sigma)),
            (Measure::Connect, connect),
            (Measure::Client, client),
            (Measure::Handshake, connect + client),
            (Measure::FirstByte, chance.log_normal(8_000_000, sigma)),
            (Measure::Duration, chance.log_normal(200_000_000, sigma)),
        ] {
            values[measure as usize].push(value);
        }
    }
    for measure in Measure::ALL {
        if !values[measure as usize].is_empty() {
            activity.latencies[measure as usize] = of_values(measure, &values[measure as usize]);
        }
    }
    activity
}

pub(crate) fn busy_window(servers: u16, seconds: u64, sigma: f64, chance: &mut Chance) -> Window {
    let busy = (0..servers).map(|number| {
        let id = (NETNS, service_id(number / 100), Some(server_id(number)));
        (id, ten_connections(chance, sigma))
    });
    let busy = busy.collect();
    Window {
        sample: Sample {
            at: at(seconds),
            readings: Readings {
                servers: busy,
                transitions: u64::from(servers) * 100,
                ..Readings::default()
            },
            namespaces: tables(servers, seconds, chance),
            table_took: Duration::from_nanos(2_000_000 + chance.next() % 100_000),
            packets: Some(u64::from(servers) * 100),
            own_cost: None,
            sweep: None,
        },
        is_final: false,
        missed_windows: 0,
    }
}

pub(crate) fn beginning(servers: u16) -> Beginning {
    Beginning {
        run: Arc::new(run()),
        at: at(0),
        namespaces: tables(servers, 0, &mut Chance::new(7)),
        real_servers: Vec::new(),
        events: None,
    }
}

/// So many windows of three servers, the last of them the end.
pub(crate) fn busy(windows: u64) -> Vec<Window> {
    let mut chance = Chance::new(42);
    let windows = (1..=windows).map(|second| {
        let window = busy_window(3, second, 0.5, &mut chance);
        Window {
            is_final: second == windows,
            ..window
        }
    });
    windows.collect()
}

/// Three servers, `windows` windows of 1 s; the last is the end of the run.
pub(crate) fn recorded(windows: u64) -> (Vec<u8>, Vec<Snapshot>) {
    let beginning = beginning(3);
    let mut ledger = Ledger::new(
        Arc::clone(&beginning.run),
        beginning.at,
        beginning.namespaces.clone(),
    );
    let run = Arc::clone(&beginning.run);
    let mut writer = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
    let mut snapshots = Vec::new();
    for window in busy(windows) {
        writer.add(&run, &window).unwrap();
        let Window {
            sample,
            is_final,
            missed_windows,
        } = window;
        snapshots.push(ledger.advance(sample, is_final, missed_windows));
    }
    (writer.out().clone(), snapshots)
}

/// The same with events of three servers, 60 to each window.
pub(crate) fn recorded_with_events(windows: u64) -> Vec<u8> {
    let mut beginning = beginning(3);
    beginning.events = Some(EventsAsked {
        kinds: EventKind::ALL.to_vec(),
        sample: 1,
        filters: Vec::new(),
    });
    let run = Arc::clone(&beginning.run);
    let mut writer = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
    for (window, second) in busy(windows).iter().zip(0_u64..) {
        let mut events = some_events(60);
        for event in &mut events {
            event.at_ns += second * 1_000_000_000;
        }
        let events = Events {
            events,
            ..Events::default()
        };
        writer.add_events(&events).unwrap();
        writer.add(&run, window).unwrap();
    }
    writer.out().clone()
}
