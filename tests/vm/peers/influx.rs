//! The lines of `list -o influx` are taken by a database that reads the protocol, and come back from
//! it as they were.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::ensure;
use ipvs_observer::{
    ipvs::table::{Info, Service, Stats, Table, Traffic, TrafficRates},
    model::{
        id::{Protocol, ServiceId},
        listing::{Listing, Source},
        sample::Timestamp,
    },
    output::list::influx,
};
use ipvs_observer_tests::{
    everything::Everything,
    ipvsadm_text::figures,
    netns::Netns,
    peers::{HttpServer, VICTORIA_METRICS},
    wait,
};
use serde_json::Value;

use super::comparison::{observer, side_by_side};

/// The fields that `ipvsadm --stats` has, in its order.
const COUNTERS: [&str; 5] = [
    "connections",
    "pkts_in",
    "pkts_out",
    "bytes_in",
    "bytes_out",
];
const RATES: [&str; 3] = ["cps", "pps_in", "pps_out"];
const MILLISECOND_NS: i64 = 1_000_000;

/// What the database keeps of a field: its name with the measurement's, its tags, its time in
/// milliseconds, and its value.
type Point = (BTreeMap<String, String>, i64, f64);

#[cfg_attr(feature = "vm", test)]
fn a_database_takes_the_lines_and_gives_them_back() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let netns = Netns::new("database").expect("a namespace can be made");
    let database = start(&netns);

    let (printed, lines) = side_by_side(
        director,
        &["-Ln", "--stats", "--exact"],
        &["list", "-o", "influx"],
    );
    let entries = figures::<5>(&printed).expect("it is a table");
    let points = keeps(&database, "plain", &lines);
    // Servers have two counts of connections as well.
    let servers = entries
        .keys()
        .filter(|(_, server)| server.is_some())
        .count();
    let fields = COUNTERS.len() + RATES.len();
    assert_eq!(points.len(), entries.len() * fields + servers * 2);
    for (index, name) in COUNTERS.iter().enumerate() {
        for (measurement, is_server) in [("ipvs_virtual_server", false), ("ipvs_real_server", true)]
        {
            let of_kind = entries
                .iter()
                .filter(|((_, server), _)| server.is_some() == is_server);
            let mut expected: Vec<_> = of_kind.map(|(_, numbers)| small(numbers[index])).collect();
            let series = format!("{measurement}_{name}");
            let of_series = points
                .iter()
                .filter(|(labels, ..)| labels["__name__"] == series);
            let mut found: Vec<_> = of_series.map(|(_, _, value)| *value).collect();
            expected.sort_by(f64::total_cmp);
            found.sort_by(f64::total_cmp);
            assert_eq!(found, expected, "{series}");
        }
    }
    let series: BTreeSet<_> = points.iter().map(|(labels, ..)| labels).collect();
    assert_eq!(series.len(), points.len(), "each has its own series");

    let lines = observer(director, &["list", "-o", "influx", "--extra-fields"]);
    keeps(&database, "extra", &lines);
    keeps(&database, "largest", &largest());
}

/// What the guest has counted.
#[track_caller]
fn small(number: u64) -> f64 {
    let number = u32::try_from(number);
    number.expect("it has not counted far").into()
}

fn start(netns: &Netns) -> HttpServer<'_> {
    let arguments = [
        "-storageDataPath=/tmp/victoria-metrics-lines",
        "-httpListenAddr=127.0.0.1:8428",
        "-retentionPeriod=100y",
        "-memory.allowedBytes=64MiB",
        "-loggerLevel=ERROR",
    ];
    HttpServer::start(netns, VICTORIA_METRICS, &arguments, 8428).expect("victoria-metrics starts")
}

/// Writes lines to the database, and fails unless it has of them all the numbers and only those.
/// The label `batch` tells them from others.
#[track_caller]
fn keeps(database: &HttpServer<'_>, batch: &str, lines: &str) -> Vec<Point> {
    let path = format!("/write?extra_label=batch={batch}");
    let written = database.post(&path, lines).expect("it answers");
    assert_eq!(written.status, 204, "{written:?} to:\n{lines}");
    let path = format!("/api/v1/export?match[]={{batch=\"{batch}\"}}");
    let mut expected: Vec<_> = lines.lines().flat_map(points).collect();
    for (labels, ..) in &mut expected {
        labels.insert("batch".to_owned(), batch.to_owned());
    }
    // A flush that is under way already is not waited for by the next one.
    let what = format!("the points of the batch {batch}");
    let exported = wait::until(&what, wait::PATIENCE, || {
        let flushed = database.get("/internal/force_flush")?;
        ensure!(flushed.status == 200, "{flushed:?}");
        let exported = database.get(&path)?;
        ensure!(exported.status == 200, "{exported:?}");
        Ok((exported.body.lines().count() >= expected.len()).then_some(exported.body))
    });
    let exported = exported.expect("the database has them all");
    let mut found: Vec<_> = exported.lines().map(point).collect();
    for points in [&mut expected, &mut found] {
        points.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    }
    assert_eq!(found.len(), expected.len(), "{exported}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    found
}

/// What a line says: MEASUREMENT,TAG=VALUE,… FIELD=VALUE,… TIME, without any blank escaped. A text
/// is a number to the database, and that is 0.
#[track_caller]
fn points(line: &str) -> Vec<Point> {
    let parts: Vec<_> = line.split(' ').collect();
    let [names, fields, time_ns] = parts[..] else {
        unreachable!("not three parts: {line}")
    };
    let (measurement, tags) = names.split_once(',').expect("it has tags");
    let tags: BTreeMap<_, _> = tags.split(',').map(pair).collect();
    let time_ns: i64 = time_ns.parse().expect("it is a time");
    let points = fields.split(',').map(pair).map(|(name, value)| {
        let mut labels = tags.clone();
        labels.insert("__name__".to_owned(), format!("{measurement}_{name}"));
        let value = value
            .strip_suffix('i')
            .map_or(0.0, |integer| integer.parse().expect("it is an integer"));
        (labels, time_ns / MILLISECOND_NS, value)
    });
    points.collect()
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').expect("it has a value");
    (name.to_owned(), value.to_owned())
}

/// A line of what the database exports.
#[track_caller]
fn point(line: &str) -> Point {
    let object: Value = serde_json::from_str(line).expect("it is JSON");
    let labels = object["metric"].as_object().expect("it has labels");
    let labels = labels.iter().map(|(name, value)| {
        let value = value.as_str().expect("it is a text");
        (name.clone(), value.to_owned())
    });
    let only = |list: &str| {
        let list = object[list].as_array().expect("it is a list");
        assert_eq!(list.len(), 1, "{line}");
        list[0].clone()
    };
    let time_ms = only("timestamps").as_i64().expect("it is a time");
    let value = only("values").as_f64().expect("it is a number");
    (labels.collect(), time_ms, value)
}

/// Counters that no guest can count to: the database keeps what a double can hold of them.
fn largest() -> String {
    let traffic = Traffic {
        connections: u64::MAX,
        in_packets: i64::MAX.cast_unsigned(),
        out_packets: 1 << 53,
        in_bytes: (1 << 53) - 1,
        out_bytes: u64::from(u32::MAX) + 1,
    };
    let service = Service {
        id: ServiceId::Address {
            protocol: Protocol::TCP,
            address: [192, 0, 2, 1].into(),
            port: 80,
        },
        scheduler: "rr".to_owned(),
        flags: 0,
        timeout_s: None,
        netmask: None,
        engine: None,
        stats: Some(Stats {
            traffic,
            rates: Some(TrafficRates::default()),
            read_at: None,
        }),
        destinations: Vec::new(),
    };
    let listing = Listing {
        at: Timestamp {
            wall: Duration::from_secs(1_700_000_000),
            monotonic: Duration::ZERO,
        },
        took: Duration::ZERO,
        host: "host".to_owned(),
        kernel: "kernel".to_owned(),
        netns: None,
        source: Source::Netlink,
        info: Info {
            version: 0x1_02_01,
            connection_table_size: 4096,
        },
        table: Table {
            services: vec![service],
            torn: false,
        },
        timeouts: None,
        daemons: None,
        totals: None,
        copied_totals: None,
        settings: Vec::new(),
        connections: None,
    };
    let mut line = Vec::new();
    influx::encode(&listing, false, &mut line).expect("a Vec takes everything");
    String::from_utf8(line).expect("it is text")
}
