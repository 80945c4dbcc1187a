//! Recordings of known windows: what is read is what was written, and what is damaged is told where.

use std::{sync::Arc, time::Duration};

use ipvs_observer_common::{Event, FINEST_GROUPING_BITS, Measure};

use super::{Beginning, Recording, RecordingError, Window, Writer, Written};
use crate::{
    ipvs::table::{
        Destination, Netmask, Service, Stats, Table, Thresholds, Traffic, Tunnel, TunnelKind,
    },
    model::{
        activity::Activity,
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        latency::Distribution,
        ledger::Ledger,
        listing::Setting,
        sample::{NamespaceSample, Namespaces, Readings, Sample, ServerId, Timestamp},
        snapshot::{ProbeHealth, Run, Snapshot},
        split::OwnCost,
        states::{States, Sweep},
    },
    output::json,
};

const NETNS: Netns = Netns(4_026_531_840);
const BEGAN_NS: u64 = 1_800_000_000_000_000_000;

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
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        (median_ns as f64 * (sigma * normal).exp()) as u64
    }
}

/// A distribution of exact values.
pub(crate) fn of_values(measure: Measure, values: &[u64]) -> Distribution {
    let scale = measure.scale(FINEST_GROUPING_BITS);
    let mut buckets = std::collections::BTreeMap::new();
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

fn at(seconds: u64) -> Timestamp {
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
fn ten_connections(chance: &mut Chance, sigma: f64) -> Activity {
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

fn busy_window(servers: u16, seconds: u64, sigma: f64, chance: &mut Chance) -> Window {
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

/// All windows, as JSON has them.
fn read(bytes: &[u8]) -> Result<(Vec<String>, Option<u64>), RecordingError> {
    let mut recording = Recording::open(bytes)?;
    let mut lines = Vec::new();
    while let Some(snapshot) = recording.next_snapshot()? {
        lines.push(json::encode(&snapshot));
    }
    Ok((lines, recording.cut()))
}

#[test]
fn a_replay_prints_what_the_run_printed() {
    let (bytes, snapshots) = recorded(5);
    let expected: Vec<String> = snapshots.iter().map(json::encode).collect();
    assert_eq!(read(&bytes).unwrap(), (expected, None));
}

/// Everything that a sample can have, at least once.
#[test]
fn whatever_a_sample_has_is_kept() {
    let mut chance = Chance::new(3);
    let mut window = busy_window(2, 1, 1.0, &mut chance);
    let sample = &mut window.sample;
    sample.own_cost = Some(OwnCost {
        runs: 7,
        run_time_ns: 900,
    });
    sample.packets = None;
    let away: ServerId = (
        Netns(5),
        ServiceId::FirewallMark {
            mark: 47,
            family: AddressFamily::Ipv6,
        },
        Some(DestinationId {
            address: "2001:db8::7".parse().unwrap(),
            port: 53,
        }),
    );
    let mut outside = Activity::none();
    outside.latencies[Measure::Connect as usize] =
        of_values(Measure::Connect, &[3, 2_000, u64::MAX / 4]);
    sample.readings.servers.insert(away, outside.clone());
    sample
        .readings
        .servers
        .insert((away.0, away.1, None), outside);
    sample.readings.losses[3] = 9;
    sample.readings.host = ten_connections(&mut chance, 0.1);
    sample.readings.probes = vec![ProbeHealth {
        name: "tcp".into(),
        function: "tcp_state_transition".into(),
        missed: Some(0),
        recursion_misses: None,
    }];
    sample.readings.memory = crate::model::memory::Memory {
        server_bytes: 1,
        record_bytes: 2,
        fixed_bytes: 3,
        cpus: 4,
        partitions: 5,
        grouping_bits: 6,
        slots: 7,
        max_slots: 8,
        slots_used: 9,
        configured: 10,
        connections: 11,
        connections_wanted: 12,
        records_used: Some(0),
    };
    let states = States {
        oldest: Some(Duration::ZERO),
        unanswered: None,
        tcp: std::array::from_fn(|index| index as u64),
        ..States::NONE
    };
    sample.sweep = Some(Sweep {
        took: Duration::from_nanos(5),
        servers: [(away, states)].into(),
    });
    let read = sample.namespaces.get_mut(&NETNS).unwrap();
    read.namespace.name = Some("blue".to_owned());
    read.table.torn = true;
    let service = &mut read.table.services[0];
    service.engine = Some("sip".to_owned());
    service.netmask = Some(Netmask::Ipv6(64));
    service.destinations[1].tunnel = Some(Tunnel {
        kind: TunnelKind::Unknown(9),
        port: 6080,
        flags: 3,
    });
    service.destinations[1].method = ForwardingMethod::Unknown(77);
    service.destinations[1].stats = None;

    let mut packer = super::columns::Packer::new();
    let mut cut = super::histogram::Cut::default();
    super::shape::window(&mut packer, &window, &mut cut).unwrap();
    let packed = packer.pack(&mut super::columns::Before::nothing(super::names::COLUMNS));
    let places: Vec<_> = super::names::all().map(Some).collect();
    let mut before = super::columns::Before::nothing(super::names::COLUMNS);
    let mut columns =
        super::columns::Unpacker::unpack(&packed.bytes, &places, &mut before).unwrap();
    let mut cut = super::histogram::Cut::default();
    let again = super::shape::window(&mut columns, &super::shape::blank_window(), &mut cut);
    assert_eq!(again.unwrap(), window);
    columns.finish().unwrap();
}

#[test]
fn a_file_that_ends_anywhere_is_read_up_to_its_last_whole_window() {
    let (bytes, snapshots) = recorded(3);
    let expected: Vec<String> = snapshots.iter().map(json::encode).collect();
    let mut most = 0;
    for length in (0..bytes.len()).step_by(11) {
        match read(&bytes[..length]) {
            Ok((lines, cut)) => {
                assert_eq!(lines, expected[..lines.len()], "{length}");
                assert!(lines.len() >= most, "{length}");
                most = lines.len();
                assert!(cut.is_none_or(|cut| cut < length as u64), "{length}");
            }
            Err(RecordingError::Empty { offset }) => {
                assert!(most == 0 && offset <= length as u64, "{length}");
            }
            Err(error) => panic!("{length}: {error}"),
        }
    }
    assert_eq!(most, 2, "the last one is never whole");
    // Blocks that were allocated and not written.
    let mut zeros = bytes;
    zeros.extend([0; 4096]);
    let (lines, cut) = read(&zeros).unwrap();
    assert_eq!((lines, cut), (expected, Some(zeros.len() as u64 - 4096)));
}

#[test]
fn foreign_and_newer_files_are_told() {
    for foreign in [
        &b"GIF89a, or so it seems"[..],
        b"{\"host\":1}",
        b"\x89IVOxxxxxxxxxx",
    ] {
        assert!(matches!(read(foreign), Err(RecordingError::Foreign)));
    }
    let (mut bytes, _) = recorded(1);
    bytes[8] = 2;
    let error = read(&bytes).unwrap_err();
    assert!(
        matches!(error, RecordingError::Newer { version: 2 }),
        "{error}"
    );
}

#[test]
fn a_changed_byte_is_found_with_its_frame() {
    let (bytes, snapshots) = recorded(3);
    for place in (10..bytes.len()).step_by(13) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x41;
        match read(&changed) {
            Err(RecordingError::Damaged { offset, .. }) => assert!(offset <= place as u64),
            Err(RecordingError::Empty { .. }) => {}
            // The last frame, or a length that leads beyond the end, is what an end that is missing looks like.
            Ok((lines, cut)) => {
                assert!(cut.is_some_and(|cut| cut <= place as u64), "{place}");
                assert!(lines.len() < snapshots.len(), "{place}");
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// With a checksum that fits, whatever is in a frame is read or refused.
#[test]
fn no_contents_of_a_frame_can_do_harm() {
    let (bytes, _) = recorded(2);
    let mut chance = Chance::new(99);
    let mut refused = 0;
    for _ in 0..2_000 {
        let changed = super::frame::with_changed_contents(&bytes, || chance.next());
        match read(&changed) {
            Err(RecordingError::Damaged { .. }) => refused += 1,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn frames_of_other_kinds_are_passed_over() {
    let (bytes, _) = recorded(2);
    let expected = read(&bytes).unwrap();
    let other = super::frame::frame(77, b"an event").unwrap();
    let begin = super::frame::head().len();
    let with = [&bytes[..begin], &other, &bytes[begin..], &other].concat();
    assert_eq!(read(&with).unwrap(), expected);
}

#[test]
fn a_run_can_go_on_in_another_part() {
    let beginning = beginning(3);
    let windows = busy(4);
    let run = Arc::clone(&beginning.run);
    let mut whole = Writer::start(Vec::new(), beginning.clone(), BEGAN_NS).unwrap();
    let mut first = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
    for window in &windows {
        whole.add(&run, window).unwrap();
    }
    for window in &windows[..2] {
        first.add(&run, window).unwrap();
    }
    let head = first.out().clone();
    let mut second = Writer::start(Vec::new(), first.into_beginning(), BEGAN_NS).unwrap();
    for window in &windows[2..] {
        second.add(&run, window).unwrap();
    }
    let tail = second.out();
    let joined = [&head[..], &tail[super::frame::head().len()..]].concat();
    assert_eq!(read(&joined).unwrap(), read(whole.out()).unwrap());
    // And what is left of it when the first part is gone begins where that ended.
    let mut rest = Recording::open(&tail[..]).unwrap();
    assert_eq!(rest.began(), at(2));
    assert_eq!(
        rest.next_snapshot().unwrap().unwrap().window,
        Duration::from_secs(1)
    );
}

/// An hour of 1 000 servers with 10 connections/s each at 1 s is to take at most 300 MB. Windows cost the same one after the
/// other, so that of each some are written and the rest is multiplied.
#[test]
fn an_hour_of_a_thousand_busy_servers_fits_in_300_mb() {
    const WINDOWS: u64 = 3;
    // The 99th percentile is 3 times the median, or 10 times: each value then surprises by a bit more.
    for (sigma, most) in [(0.5, 300_000_000), (1.0, 330_000_000)] {
        let mut chance = Chance::new(1);
        let beginning = beginning(1000);
        let run = Arc::clone(&beginning.run);
        let mut writer = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
        let start: Written = writer.written();
        for second in 1..=WINDOWS {
            let window = busy_window(1000, second, sigma, &mut chance);
            writer.add(&run, &window).unwrap();
        }
        let written = writer.written();
        assert_eq!(written.histograms, WINDOWS * 1000 * 6);
        let hour = start.bytes + (written.bytes - start.bytes) * 3600 / WINDOWS;
        let each = written.bytes_per_histogram().unwrap();
        let said = format!("{hour} bytes an hour, {each:.2} for each histogram, sigma {sigma}");
        assert!(hour <= most, "{said}");
    }
}
