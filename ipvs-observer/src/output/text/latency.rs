//! The latencies of one row, two measures beside each other: what the network and the client do, then the rest.

use ipvs_observer_common::Measure;

use super::number::{count, duration_ns};
use crate::model::{activity::Activity, latency::Percentiles};

/// The measures of a server as they stand: from a slow connection's first suspects to its last.
const LINES: [(Measure, Option<Measure>); 5] = [
    (Measure::Connect, Some(Measure::FirstByte)),
    (Measure::Client, Some(Measure::Duration)),
    (Measure::Handshake, Some(Measure::Schedule)),
    (Measure::Response, Some(Measure::Xmit)),
    (Measure::Hook, None),
];

/// The line above the first row.
pub(super) fn titles() -> String {
    let titles = cell(
        "LATENCY",
        ["COUNT", "P50", "P90", "P99", "P99.9", "MAX"].map(ToOwned::to_owned),
    );
    pair(&titles, &titles)
}

/// The lines of `activity`; none if no measure has a value.
pub(super) fn lines(
    activity: &Activity,
    measures: &[Measure],
    percentiles: &mut Percentiles,
) -> Vec<String> {
    if activity
        .latencies
        .iter()
        .all(|latency| latency.count() == 0)
    {
        return Vec::new();
    }
    let mut shown = |measure| {
        if measures.contains(&measure) {
            values(activity, measure, percentiles)
        } else {
            String::new()
        }
    };
    let lines = LINES.iter().map(|&(left, right)| {
        let right = right.map(&mut shown).unwrap_or_default();
        pair(&shown(left), &right)
    });
    lines.filter(|line| !line.trim().is_empty()).collect()
}

/// What is measured of the host itself.
pub(super) fn of_host(
    activity: &Activity,
    measures: &[Measure],
    percentiles: &mut Percentiles,
) -> Vec<String> {
    let measures = measures.iter().copied();
    let measures = measures.filter(|measure| measure.is_of_host());
    let lines = measures.map(|measure| {
        let latency = activity.latency(measure);
        let calls = format!("{} {} calls", measure.name(), count(latency.count()));
        match (percentiles.of(latency), latency.max_ns()) {
            (Some([p50, _, p99, _]), Some(max)) => format!(
                "{calls}   p50 {}   p99 {}   max {}",
                duration_ns(p50),
                duration_ns(p99),
                duration_ns(max)
            ),
            _ => calls,
        }
    });
    lines.collect()
}

fn values(activity: &Activity, measure: Measure, percentiles: &mut Percentiles) -> String {
    let latency = activity.latency(measure);
    let [p50, p90, p99, p999] = match percentiles.of(latency) {
        Some(values) => values.map(duration_ns),
        None => [(); 4].map(|()| "-".to_owned()),
    };
    let max = latency.max_ns().map_or_else(|| "-".to_owned(), duration_ns);
    cell(
        measure.name(),
        [count(latency.count()), p50, p90, p99, p999, max],
    )
}

fn cell(name: &str, values: [String; 6]) -> String {
    let [count, p50, p90, p99, p999, max] = values;
    format!("{name:<10} {count:>6} {p50:>7} {p90:>7} {p99:>7} {p999:>7} {max:>7}")
}

fn pair(left: &str, right: &str) -> String {
    format!("     {left:<57} {right}")
}
