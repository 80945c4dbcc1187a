//! What `report` prints of a summary or of the difference of two.

pub mod csv;
pub mod events;
pub mod html;
pub mod json;
pub mod text;

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
    let mut log = HistogramLog::new();
    let Some(run) = &summary.run else {
        return Vec::new();
    };
    let mut lines = HistogramLog::header(run, summary.from).into_bytes();
    let length = summary.to.monotonic.saturating_sub(summary.from.monotonic);
    let mut add = |name: &str, activity: &Activity| {
        let measures = run.measures.iter().copied();
        log.add(
            &mut lines,
            name,
            activity,
            measures,
            std::time::Duration::ZERO,
            length,
        );
    };
    add("director", &summary.host);
    for service in &summary.services {
        let name = |server| tag(service.netns.as_deref(), &(Netns(0), service.id, server));
        add(&name(None), &service.activity);
        for (&id, activity) in &service.servers {
            add(&name(Some(id)), activity);
        }
    }
    lines
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
