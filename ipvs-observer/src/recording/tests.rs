//! Recordings of known windows: what is read is what was written, and what is damaged is told where.

use std::{sync::Arc, time::Duration};

use ipvs_observer_common::{EventKind, Measure};

use super::{
    Events, EventsAsked, Part, Recording, RecordingError, Writer, Written,
    columns::{Before, Packer, Unpacker},
    frame,
    histogram::Cut,
    names, shape,
    testing::{
        BEGAN_NS, Chance, NETNS, at, beginning, busy, busy_window, of_values, recorded,
        recorded_with_events, some_events, ten_connections,
    },
};
use crate::{
    ipvs::table::{Netmask, Tunnel, TunnelKind},
    model::{
        activity::Activity,
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, ServiceId},
        memory::Memory,
        sample::ServerId,
        snapshot::ProbeHealth,
        split::OwnCost,
        states::{States, Sweep},
    },
    output::json,
};

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
    sample.readings.memory = Memory {
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

    let mut packer = Packer::new();
    let mut cut = Cut::default();
    shape::window(&mut packer, &window, &mut cut).unwrap();
    let packed = packer.pack(&mut Before::nothing(names::COLUMNS));
    let places: Vec<_> = names::all().map(Some).collect();
    let mut before = Before::nothing(names::COLUMNS);
    let mut columns = Unpacker::unpack(&packed.bytes, &places, &mut before).unwrap();
    let mut cut = Cut::default();
    let again = shape::window(&mut columns, &shape::blank_window(), &mut cut);
    assert_eq!(again.unwrap(), window);
    columns.finish().unwrap();
}

#[test]
fn a_file_that_ends_anywhere_is_read_up_to_its_last_whole_window() {
    let (bytes, snapshots) = recorded(3);
    let expected: Vec<String> = snapshots.iter().map(json::encode).collect();
    let mut most = 0;
    for length in (0..bytes.len()).step_by(61) {
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

/// What was once written goes on being read, and is still written so.
#[test]
fn a_recording_of_this_version_stays_what_it_is() {
    let golden = include_bytes!("../../../tests/data/recording/run.ivo");
    let written = recorded_with_events(12);
    let (lines, cut) = read(golden).unwrap();
    let (_, snapshots) = recorded(12);
    let expected: Vec<String> = snapshots.iter().map(json::encode).collect();
    assert_eq!((lines, cut), (expected, None));
    assert_eq!(read(&written).unwrap(), read(golden).unwrap());
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
    for place in (10..bytes.len()).step_by(73) {
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
    let (bytes, _) = with_events(30);
    let mut chance = Chance::new(99);
    let mut refused = 0;
    for _ in 0..500 {
        let changed = frame::with_changed_contents(&bytes, || chance.next());
        match read(&changed) {
            Err(RecordingError::Damaged { .. }) => refused += 1,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn frames_of_other_kinds_are_passed_over() {
    let (bytes, _) = recorded(2);
    let expected = read(&bytes).unwrap();
    let other = frame::frame(77, b"an event").unwrap();
    let begin = frame::head().len();
    let with = [&bytes[..begin], &other, &bytes[begin..], &other].concat();
    assert_eq!(read(&with).unwrap(), expected);
}

/// Events in three batches: before, between and behind two windows.
fn with_events(number: u16) -> (Vec<u8>, Vec<Events>) {
    let mut beginning = beginning(3);
    beginning.events = Some(asked());
    let run = Arc::clone(&beginning.run);
    let mut writer = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
    let all = some_events(number);
    let batches: Vec<Events> = all
        .chunks(usize::from(number).div_ceil(3))
        .map(|events| Events {
            events: events.to_vec(),
            filtered: 7,
            ..Events::default()
        })
        .collect();
    writer.add_events(&batches[0]).unwrap();
    for (window, events) in busy(2).iter().zip(&batches[1..]) {
        writer.add(&run, window).unwrap();
        writer.add_events(events).unwrap();
    }
    assert_eq!(writer.written().events, u64::from(number));
    let each = writer.written().bytes_per_event().unwrap();
    // Most of them are two times of 20 and 26 bits, two numbers of bytes and a client's port.
    assert!(number < 900 || each < 27.0, "{each}");
    (writer.out().clone(), batches)
}

fn asked() -> EventsAsked {
    EventsAsked {
        kinds: vec![EventKind::Closed, EventKind::Refused],
        sample: 8,
        filters: vec!["--sample 1/8".to_owned()],
    }
}

#[test]
fn events_are_kept_beside_the_windows() {
    let (bytes, batches) = with_events(900);
    let mut recording = Recording::open(&bytes[..]).unwrap();
    assert_eq!(recording.events(), Some(&asked()));
    let mut order = String::new();
    let mut read_batches = Vec::new();
    while let Some(part) = recording.next_part().unwrap() {
        match part {
            Part::Window(_) => order.push('w'),
            Part::Events(events) => {
                order.push('e');
                read_batches.push(events);
            }
        }
    }
    assert_eq!((order.as_str(), read_batches), ("ewewe", batches));
    // Whoever wants windows gets what a recording without events has.
    let (without, _) = recorded(2);
    assert_eq!(read(&bytes).unwrap(), read(&without).unwrap());
    assert_eq!(Recording::open(&without[..]).unwrap().events(), None);
}

#[test]
fn events_are_read_up_to_the_last_whole_frame() {
    let (bytes, batches) = with_events(60);
    let mut most = 0;
    for length in (0..bytes.len()).step_by(97) {
        let Ok(mut recording) = Recording::open(&bytes[..length]) else {
            continue;
        };
        let mut whole = Vec::new();
        while let Some(part) = recording.next_part().unwrap() {
            if let Part::Events(events) = part {
                whole.push(events);
            }
        }
        assert_eq!(whole, batches[..whole.len()], "{length}");
        assert!(whole.len() >= most, "{length}");
        most = whole.len();
    }
    assert_eq!(most, 2, "the last one is never whole");
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
    let joined = [&head[..], &tail[frame::head().len()..]].concat();
    assert_eq!(read(&joined).unwrap(), read(whole.out()).unwrap());
    // And what is left of it when the first part is gone begins where that ended.
    let mut rest = Recording::open(&tail[..]).unwrap();
    assert_eq!(rest.began(), at(2));
    assert_eq!(
        rest.next_snapshot().unwrap().unwrap().window,
        Duration::from_secs(1)
    );
}

/// An hour of 1 000 servers with 10 connections/s each at 1 s is to take at most 300 MB, however wide its latencies spread:
/// the 99th percentile is 3 times the median, or 10 times. What begins the file and what its models learn in the first
/// window is counted as it is, and the window after that for each of the rest.
#[test]
fn an_hour_of_a_thousand_busy_servers_fits_in_300_mb() {
    for sigma in [0.5, 1.0] {
        let mut chance = Chance::new(1);
        let beginning = beginning(1000);
        let run = Arc::clone(&beginning.run);
        let mut writer = Writer::start(Vec::new(), beginning, BEGAN_NS).unwrap();
        let mut window = |second: u64| -> Written {
            let window = busy_window(1000, second, sigma, &mut chance);
            writer.add(&run, &window).unwrap();
            writer.written()
        };
        let (learning, learnt) = (window(1), window(2));
        let hour = learning.bytes + (learnt.bytes - learning.bytes) * 3599;
        assert_eq!(learnt.histograms - learning.histograms, 6000);
        let histograms = learnt.histogram_bytes - learning.histogram_bytes;
        let said = format!("{hour} bytes an hour, {histograms} for 6000 histograms, sigma {sigma}");
        assert!(hour <= 300_000_000, "{said}");
    }
}
