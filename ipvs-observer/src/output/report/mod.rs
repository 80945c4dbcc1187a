//! What `report` prints of a summary or of the difference of two.

pub mod csv;
pub mod events;
pub mod html;
pub mod json;
pub mod text;

use std::time::Duration;

use ipvs_observer_common::Measure;

use super::hlog::{HistogramLog, tag};
use crate::{
    model::{activity::Activity, id::Netns},
    report::summary::{ServiceSummary, Summary},
};

/// The quantiles of a report, with their names in JSON and for people.
const QUANTILES: [(f64, &str, &str); 5] = [
    (0.5, "p50_ns", "P50"),
    (0.9, "p90_ns", "P90"),
    (0.99, "p99_ns", "P99"),
    (0.999, "p999_ns", "P99.9"),
    (0.9999, "p9999_ns", "P99.99"),
];

/// The whole span as one interval of a log of histograms.
pub fn hlog(summary: &Summary) -> Vec<u8> {
    let mut lines = hlog_header(summary);
    hlog_interval(summary, "", Duration::ZERO, &mut lines);
    lines
}

/// Two spans as one interval each, with tags that begin with `before/` and `after/`.
pub fn hlog_of_two(before: &Summary, after: &Summary) -> Vec<u8> {
    let mut lines = hlog_header(before);
    let later = after.from.wall.saturating_sub(before.from.wall);
    hlog_interval(before, "before/", Duration::ZERO, &mut lines);
    hlog_interval(after, "after/", later, &mut lines);
    lines
}

fn hlog_header(summary: &Summary) -> Vec<u8> {
    let run = summary.run.as_ref();
    run.map_or_else(Vec::new, |run| {
        HistogramLog::header(run, summary.from).into_bytes()
    })
}

fn hlog_interval(summary: &Summary, prefix: &str, start: Duration, lines: &mut Vec<u8>) {
    let Some(run) = &summary.run else {
        return;
    };
    let mut log = HistogramLog::new();
    let length = summary.to.monotonic.saturating_sub(summary.from.monotonic);
    let mut add = |name: &str, activity: &Activity| {
        let measures = run.measures.iter().copied();
        let name = format!("{prefix}{name}");
        log.add(lines, &name, activity, measures, start, length);
    };
    add("director", &summary.host);
    for service in &summary.services {
        let name = |server| tag(service.netns.as_deref(), &(Netns(0), service.id, server));
        add(&name(None), &service.activity);
        for (&id, activity) in &service.servers {
            add(&name(Some(id)), activity);
        }
    }
}

/// Measures of a service or server that have values.
fn measures<'a>(
    summary: &'a Summary,
    service: &'a ServiceSummary,
    activity: &'a Activity,
) -> impl Iterator<Item = Measure> + 'a {
    let measures = summary
        .run
        .iter()
        .flat_map(|run| run.measures.iter().copied());
    measures.filter(|&measure| {
        let is_seen = service.has_return_path || !measure.needs_return_path();
        is_seen && activity.latency(measure).count() > 0
    })
}

#[cfg(test)]
pub(super) mod tests;
