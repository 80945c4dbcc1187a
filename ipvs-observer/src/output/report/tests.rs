//! Reports of known recordings.

use std::{sync::Arc, time::Duration};

use ipvs_observer_common::{EventKind, Measure};
use serde_json::Value;

use super::{csv, events, hlog, html, json, text};
use crate::{
    model::{
        activity::Activity,
        filter::Selection,
        id::{AddressFamily, ServiceId},
        snapshot::Snapshot,
    },
    output,
    recording::{
        Events, EventsAsked,
        testing::{of_values, recorded, service_id, some_events},
    },
    report::{
        difference::Difference,
        events::EventSummary,
        summary::{ServiceSummary, Summary},
    },
};

fn summary(snapshots: &[Snapshot]) -> Summary {
    let mut summary = Summary::new(crate::recording::testing::beginning(1).at);
    for snapshot in snapshots {
        summary.add(snapshot);
    }
    summary
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Number for number: what the run itself printed at its end is what is reported of its recording.
#[test]
fn a_report_says_what_the_run_said_at_its_end() {
    let (_, snapshots) = recorded(6);
    let report = parsed(&json::encode(&summary(&snapshots)));
    let end = parsed(&output::json::encode(snapshots.last().unwrap()));
    assert_eq!(report["measured_ns"], end["elapsed_ns"]);
    let (report, end) = (&report["services"][0], &end["services"][0]);
    let same = |reported: &Value, printed: &Value| {
        assert_eq!(reported["counters"], printed["total"]["counters"]);
        for (measure, latency) in reported["latency"].as_object().unwrap() {
            let printed = printed["total"]["latency"][measure].as_object().unwrap();
            assert!(printed.len() >= 9, "{printed:?}");
            for (name, value) in printed {
                assert_eq!(&latency[name], value, "{measure}.{name}");
            }
        }
    };
    same(report, end);
    let servers = report["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    for (place, server) in servers.iter().enumerate() {
        same(server, &end["servers"][place]);
    }
    let timeline = report["timeline"].as_array().unwrap();
    let scheduled: u64 = timeline
        .iter()
        .map(|step| step["counters"]["scheduled"].as_u64().unwrap())
        .sum();
    assert_eq!((timeline.len(), scheduled), (6, 180));
}

#[test]
fn a_long_time_line_keeps_its_sum() {
    let (_, snapshots) = recorded(3);
    let mut summary = summary(&[]);
    for _ in 0..300 {
        for snapshot in &snapshots {
            summary.add(snapshot);
        }
    }
    let service = &summary.services[0];
    assert!(
        (100..=240).contains(&service.steps.len()),
        "{}",
        service.steps.len()
    );
    let length: Duration = service.steps.iter().map(|step| step.length).sum();
    assert_eq!(length, Duration::from_mins(15));
    let mut sum = Activity::none();
    for step in &service.steps {
        sum.merge(&step.activity);
    }
    assert_eq!(sum, service.activity);
}

/// The same with the events of a recording.
fn with_events(kinds: &[EventKind]) -> Summary {
    let (_, snapshots) = recorded(2);
    let mut summary = summary(&snapshots);
    let asked = EventsAsked {
        kinds: kinds.to_vec(),
        sample: 4,
        filters: vec!["--sample 1/4".to_owned()],
    };
    let mut told = EventSummary::new(&asked, &Selection::default());
    told.add(Events {
        events: some_events(200),
        lost: vec![(1, [3, 0])],
        unwritten: 2,
        ..Events::default()
    });
    told.settle(summary.to, Some((summary.from, summary.to)));
    summary.events = Some(told);
    summary
}

/// Reports of everything, of little, and of nothing that is not there.
pub(in crate::output) fn reports() -> Vec<Value> {
    let mut everything = with_events(&EventKind::ALL);
    let mut run = crate::recording::testing::run();
    run.measures = Measure::ALL.to_vec();
    everything.run = Some(Arc::new(run));
    everything.services[0].netns = Some("blue".to_owned());
    everything.host.latencies[Measure::Estimator as usize] =
        of_values(Measure::Estimator, &[9_000]);
    let (_, snapshots) = recorded(1);
    let mut of_mark = summary(&snapshots);
    of_mark.services[0].id = ServiceId::FirewallMark {
        mark: 47,
        family: AddressFamily::Ipv4,
    };
    let all = [everything, with_events(&[EventKind::Opened]), of_mark];
    all.map(|summary| parsed(&json::encode(&summary))).into()
}

pub(in crate::output) fn comparisons() -> Vec<Value> {
    let (before, mut after) = (of(1_000_000, 300), of(1_300_000, 300));
    let object = |before, after| parsed(&json::compare(&Difference::new(before, after)));
    let same = object(&before, &before);
    after.services[0].netns = Some("blue".to_owned());
    let (_, snapshots) = recorded(1);
    let whole = summary(&snapshots);
    vec![object(&whole, &whole), same, object(&before, &after)]
}

#[test]
fn the_slowest_connections_and_the_busiest_clients_are_told_where_they_are_known() {
    let summary = with_events(&EventKind::ALL);
    let report = parsed(&json::encode(&summary));
    let events = &report["connection_events"];
    assert_eq!(events["sample"], 4);
    assert_eq!(events["lost"]["buffer_full"], 3);
    assert_eq!(events["lost"]["unwritten"], 2);
    assert_eq!(events["told"]["refused"], 25);
    let slowest = events["slowest"].as_array().unwrap();
    assert_eq!(slowest.len(), 20);
    let waits: Vec<u64> = slowest
        .iter()
        .map(|slow| slow["waited_ns"].as_u64().unwrap())
        .collect();
    assert!(waits.is_sorted_by(|a, b| a >= b), "{waits:?}");
    for slow in slowest {
        assert_eq!(slow["waited_ns"], slow["stages"]["handshake_ns"]);
        assert_eq!(slow["service"], "TCP 192.0.0.0:443");
    }
    let most = events["most"]["connections"].as_array().unwrap();
    assert!(most[0]["connections"].as_u64() >= most[1]["connections"].as_u64());

    let text = text::encode(&summary);
    for part in [
        "EVENTS of one connection in 4  opened 25, established 25",
        "lost buffer_full 3, unreadable 0, unwritten 2   only --sample 1/4",
        "SLOWEST, ENDED AT",
        "TCP 192.0.0.0:443 > 10.1.0.",
        "CLIENTS BY CONNECTIONS",
        "CLIENTS BY REFUSED",
        "CLIENTS BY SYN_REPEATED",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let told = summary.events.as_ref().unwrap();
    let lines = events::connections_csv(&summary, told);
    assert_eq!(lines.lines().count(), 21);
    let columns: Vec<usize> = lines.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|n| *n == columns[0]), "{lines}");
    let waited = lines.lines().nth(1).unwrap().split(',').nth(6).unwrap();
    assert_eq!(waited, waits[0].to_string());
    let clients = events::clients_csv(told);
    assert!(
        clients.starts_with("most,client,connections,refused,unanswered,syn_repeated,dropped\r\n")
    );
}

#[test]
fn what_was_not_recorded_of_connections_is_absent() {
    let (_, snapshots) = recorded(2);
    let without = summary(&snapshots);
    let report = parsed(&json::encode(&without));
    assert_eq!(report.get("connection_events"), None);
    assert!(!text::encode(&without).contains("EVENTS"));
    let opened = with_events(&[EventKind::Opened]);
    let report = parsed(&json::encode(&opened));
    let events = &report["connection_events"];
    assert_eq!(events.get("slowest"), None);
    assert_eq!(events["most"]["connections"][0].get("refused"), None);
    assert_eq!(events["most"].get("refused"), None);
    assert!(!text::encode(&opened).contains("SLOWEST"));
}

#[test]
fn csv_has_a_line_for_each_measure_of_each() {
    let (_, snapshots) = recorded(2);
    let text = csv::encode(&summary(&snapshots));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 4 * 6);
    assert!(
        lines.iter().all(|line| line.split(',').count() == 13),
        "{text}"
    );
    let report = parsed(&json::encode(&summary(&snapshots)));
    let p99 = &report["services"][0]["latency"]["connect"]["p99_ns"];
    let connect = lines
        .iter()
        .find(|line| line.starts_with(",TCP 192.0.0.0:443,,connect,60,"));
    assert_eq!(connect.unwrap().split(',').nth(9).unwrap(), p99.to_string());
}

#[test]
fn text_has_percentiles_outcomes_and_a_time_line() {
    let (_, snapshots) = recorded(2);
    let text = text::encode(&summary(&snapshots));
    for part in [
        "director1  Linux 6.12.1-test  2027-01-15T08:00:00.000000000Z to 2027-01-15T08:00:02.000000000Z  2 windows",
        "TCP 192.0.0.0:443\n     30 connections/s, scheduled 60, established 60",
        "  -> 10.1.0.2:8443\n     10 connections/s, scheduled 20",
        "LATENCY       COUNT    MEAN     P50     P90     P99   P99.9  P99.99     MAX",
        "2027-01-15T08:00:01.000000000Z      30        0        0",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn texts_leave_out_what_the_programs_count_of_themselves() {
    let (_, snapshots) = recorded(2);
    let summary = summary(&snapshots);
    let compared = text::compare(&Difference::new(&summary, &summary));
    assert!(
        compared.contains("scheduled 30 -> 30/s, established 30 -> 30/s\n"),
        "{compared}"
    );
    for text in [text::encode(&summary), compared] {
        assert!(!text.contains("record_"), "{text}");
    }
}

/// One service with so many values of `connect` around a median.
fn of(median_ns: u64, values: u64) -> Summary {
    let (_, snapshots) = recorded(1);
    let mut summary = summary(&snapshots);
    let values: Vec<u64> = (0..values)
        .map(|one| median_ns + one * 37_501 % (median_ns / 4))
        .collect();
    let mut activity = Activity::none();
    activity.latencies[Measure::Connect as usize] = of_values(Measure::Connect, &values);
    let service: &mut ServiceSummary = &mut summary.services[0];
    service.activity = activity;
    service.servers.clear();
    summary
}

fn told(before: &Summary, after: &Summary) -> Vec<(&'static str, Option<bool>)> {
    let difference = Difference::new(before, after);
    let (measure, changes) = &difference.rows[0].latencies[0];
    assert_eq!(*measure, Measure::Connect);
    changes
        .iter()
        .map(|change| (change.name, change.is_told))
        .collect()
}

#[test]
fn a_change_is_marked_where_resolution_and_sample_size_can_tell_it() {
    let (some, many) = (of(1_000_000, 30), of(1_000_000, 20_000));
    let mark = |before: &Summary, after: &Summary, name| {
        let all = told(before, after);
        all.into_iter().find(|(its, _)| *its == name).unwrap().1
    };
    // A change of 10 % in 20 000 values, and the same in 30 of which the 99th percentile is no more than the largest.
    assert_eq!(mark(&many, &of(1_100_000, 20_000), "p99_ns"), Some(true));
    assert_eq!(mark(&some, &of(1_100_000, 30), "p99_ns"), Some(false));
    assert_eq!(mark(&some, &of(1_500_000, 30), "p50_ns"), Some(true));
    // Less than a bucket is wide.
    assert_eq!(mark(&many, &of(1_005_000, 20_000), "p50_ns"), Some(false));
    assert_eq!(mark(&many, &many, "p99_ns"), Some(false));
    assert_eq!(mark(&many, &some, "mean_ns"), None);
}

#[test]
fn a_condition_on_two_runs_holds_only_where_it_can_be_told() {
    let (before, after) = (of(1_000_000, 20_000), of(1_300_000, 20_000));
    let difference = Difference::new(&before, &after);
    let broken = difference.broken(&"connect.p99 > +10%".parse().unwrap());
    assert_eq!(broken.len(), 1);
    assert!(broken[0].is_told && broken[0].name == service_id(0).to_string());
    assert_eq!(
        difference.broken(&"connect.p99 > +40%".parse().unwrap()),
        []
    );
    let (before, after) = (of(1_000_000, 5), of(1_300_000, 5));
    let difference = Difference::new(&before, &after);
    let broken = difference.broken(&"connect.p99 > +10%".parse().unwrap());
    assert!(!broken[0].is_told);
    let object = parsed(&json::compare(&difference));
    assert_eq!(
        object["rows"][0]["latency"]["connect"]["p99_ns"]["significant"],
        false
    );
    assert!(text::compare(&difference).contains("change"));
    assert_eq!(csv::compare(&difference).lines().count(), 1 + 8);
}

#[test]
fn a_log_of_histograms_has_the_percentiles_of_the_report() {
    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };
    let (_, snapshots) = recorded(6);
    let summary = summary(&snapshots);
    let log = hlog(&summary);
    let report = parsed(&json::encode(&summary));
    let mut found = 0;
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else {
            continue;
        };
        let tag = interval.tag().unwrap().as_str().to_owned();
        let Some(measure) = tag.strip_prefix("TCP:192.0.0.0:443/") else {
            continue;
        };
        let bytes = base64(interval.encoded_histogram());
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        let expected = &report["services"][0]["latency"][measure];
        assert_eq!(expected["count"], read.len());
        for (quantile, name) in [(0.5, "p50_ns"), (0.99, "p99_ns"), (0.9999, "p9999_ns")] {
            let value = expected[name].as_u64().unwrap();
            assert!(
                read.equivalent(read.value_at_quantile(quantile), value),
                "{tag} {name}"
            );
        }
        found += 1;
    }
    assert_eq!(found, 6);
}

/// RFC 4648.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let mut bytes = Vec::new();
    let (mut bits, mut n_bits) = (0_usize, 0);
    for digit in digits {
        (bits, n_bits) = (bits << 6 | digit, n_bits + 6);
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits & 0xff).try_into().unwrap());
        }
    }
    bytes
}

#[test]
fn two_recordings_share_a_log_and_a_page() {
    let (before, after) = (of(1_000_000, 300), of(1_300_000, 300));
    let log = String::from_utf8(super::hlog_of_two(&before, &after)).unwrap();
    let tags: Vec<&str> = log
        .lines()
        .filter_map(|line| line.strip_prefix("Tag=")?.split(',').next())
        .collect();
    let expected = ["before", "after"].map(|when| format!("{when}/TCP:192.0.0.0:443/connect"));
    assert_eq!(tags, expected);
    let difference = Difference::new(&before, &after);
    let page = html::comparison(&difference);
    for part in [
        json::encode(&before),
        json::encode(&after),
        json::compare(&difference),
    ] {
        assert!(page.contains(part.trim_end()));
    }
}

#[test]
fn a_page_holds_its_data_and_asks_for_nothing_else() {
    let (_, mut snapshots) = recorded(2);
    let mut run = crate::recording::testing::run();
    run.host = "</script><b>".to_owned();
    for snapshot in &mut snapshots {
        snapshot.run = Arc::new(run.clone());
    }
    let page = html::page(&summary(&snapshots));
    assert!(page.contains("\\u003c/script>\\u003cb>") && !page.contains("</script><b>"));
    for address in ["http://", "https://", "src=", "@import", "url("] {
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains(address), "{address}");
    }
}
