//! `list -o prometheus`, `-o openmetrics` and `-o netdata` agree with each other, with `ipvsadm`, and with
//! `node_exporter` wherever that is right.

use std::collections::BTreeMap;

use ipvs_observer_tests::{
    everything::Everything,
    ipvsadm_text::figures,
    netns::Netns,
    peers::{self, HttpServer, NODE_EXPORTER, PROMTOOL},
    proc_ipvs,
};

use super::comparison::{ipvsadm, observer};

/// The families of all services, in the order of `ipvsadm --stats`.
const TOTALS: [&str; 5] = [
    "node_ipvs_connections_total",
    "node_ipvs_incoming_packets_total",
    "node_ipvs_outgoing_packets_total",
    "node_ipvs_incoming_bytes_total",
    "node_ipvs_outgoing_bytes_total",
];
/// What Netdata's charts are made of, in the same order.
const DIMENSIONS: [(&str, &str); 5] = [
    ("sockets", "connections"),
    ("packets", "received"),
    ("packets", "sent"),
    ("net", "received"),
    ("net", "sent"),
];
/// The port of the SCTP service and of its real server, which `node_exporter` takes for one of the
/// service before it.
const SCTP_PORT: &str = "remote_port=\"3868\"";

#[cfg_attr(feature = "vm", test)]
fn metrics_are_those_of_node_exporter_where_it_is_right() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let exporter = HttpServer::start(
        director,
        NODE_EXPORTER,
        &[
            "--collector.disable-defaults",
            "--collector.ipvs",
            "--log.level=error",
            "--web.listen-address=127.0.0.1:9100",
        ],
        9100,
    )
    .expect("node_exporter starts");

    let ours = observer(director, &["list", "-o", "prometheus"]);
    let theirs = exporter.get("/metrics").expect("it answers");
    assert_eq!(theirs.status, 200);
    for text in [&ours, &theirs.body] {
        assert_linted(director, text);
    }

    let found = samples(&ours);
    let [wrong, right] = split(samples(&theirs.body), |series| series.contains(SCTP_PORT));
    let [added, same] = split(found.clone(), |series| series.contains(SCTP_PORT));
    assert_eq!(same, right);
    let server = |service: &str, weight: u32| {
        let labels = format!("{service},remote_address=\"10.2.1.2\",{SCTP_PORT}");
        let families = [
            ("connections_active", 0),
            ("connections_inactive", 0),
            ("weight", weight),
        ];
        let samples = families.map(|(family, value)| {
            let series = format!("node_ipvs_backend_{family}{{{labels}}}");
            (normal(&series), value.to_string())
        });
        BTreeMap::from(samples)
    };
    let its_own = "local_address=\"10.9.0.1\",local_port=\"3868\",proto=\"SCTP\",local_mark=\"\"";
    assert_eq!(added, server(its_own, 1));
    assert_eq!(wrong.len(), added.len(), "{wrong:?}");
    assert!(
        wrong.keys().all(|series| !series.contains("SCTP")),
        "{wrong:?}"
    );

    let sums = sums(director);
    let totals = TOTALS.map(|family| found.get(family).cloned());
    assert_eq!(totals, sums.map(|sum| Some(sum.to_string())));

    let openmetrics = observer(director, &["list", "-o", "openmetrics"]);
    assert!(openmetrics.ends_with("\n# EOF\n"), "{openmetrics}");
    assert_eq!(samples(&openmetrics), found);

    assert_charts(director, sums);
}

/// Netdata has the live counters, which are those copied while nothing passes.
#[track_caller]
fn assert_charts(director: &Netns, sums: [u64; 5]) {
    let live = director
        .proc_net("ip_vs_stats_percpu")
        .expect("it can be read");
    let live = proc_ipvs::packets_per_cpu(&live).expect("the kernel writes it");
    assert_eq!([live.incoming, live.outgoing], [sums[1], sums[2]]);

    // As Netdata starts it, but with an end.
    let printed = observer(director, &["list", "-o", "netdata", "1", "-d", "1500ms"]);
    let mut chart = "";
    let mut values = BTreeMap::<_, Vec<u64>>::new();
    for line in printed.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["BEGIN", name, ..] => chart = name,
            ["SET", dimension, "=", value] => {
                let value = value.parse().expect("it is a number");
                values.entry((chart, dimension)).or_default().push(value);
            }
            _ => {}
        }
    }
    let expected = DIMENSIONS
        .iter()
        .zip(sums)
        .map(|((chart, dimension), sum)| {
            (
                (format!("ipvs_observer.{chart}"), (*dimension).to_owned()),
                vec![sum],
            )
        });
    let found = values.into_iter().map(|((chart, dimension), mut values)| {
        values.dedup();
        ((chart.to_owned(), dimension.to_owned()), values)
    });
    assert_eq!(
        found.collect::<BTreeMap<_, _>>(),
        expected.collect(),
        "{printed}"
    );
    for context in ["ipvs.sockets", "ipvs.packets", "ipvs.net"] {
        let lines = printed.lines().filter(|line| line.starts_with("CHART "));
        let of_context = lines.filter(|line| line.split(' ').any(|word| word == context));
        assert_eq!(of_context.count(), 1, "{context} in:\n{printed}");
    }
}

/// Fails if promtool has anything to say.
#[track_caller]
fn assert_linted(netns: &Netns, metrics: &str) {
    let outcome = peers::run(netns, PROMTOOL, &["check", "metrics"], metrics);
    let outcome = outcome.expect("promtool runs");
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?} of:\n{metrics}");
    assert_eq!((&*outcome.stdout, &*outcome.stderr), ("", ""), "{metrics}");
}

/// The five counters of all services together.
fn sums(director: &Netns) -> [u64; 5] {
    let statistics = ipvsadm(director, &["-Ln", "--stats", "--exact"]);
    let figures = figures::<5>(&statistics).expect("it is a table");
    let mut sums = [0; 5];
    for ((_, server), numbers) in figures {
        if server.is_none() {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += number;
            }
        }
    }
    sums
}

/// The samples of IPVS: what stands before the value, with labels in the order of their names.
fn samples(metrics: &str) -> BTreeMap<String, String> {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("node_ipvs_"));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("it has a value");
        let value: f64 = value.parse().expect("it is a number");
        (normal(series), value.to_string())
    });
    let list: Vec<_> = samples.collect();
    let length = list.len();
    let samples: BTreeMap<_, _> = list.into_iter().collect();
    assert_eq!(samples.len(), length, "a series is there twice:\n{metrics}");
    samples
}

fn normal(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// Those that `is_wanted` says, and the others.
fn split(
    samples: BTreeMap<String, String>,
    is_wanted: impl Fn(&str) -> bool,
) -> [BTreeMap<String, String>; 2] {
    let (wanted, others) = samples
        .into_iter()
        .partition(|(series, _)| is_wanted(series));
    [wanted, others]
}
