//! Two summaries side by side, and which of the changes can be told from chance.

use ipvs_observer_common::{Event, Measure};

use super::summary::{ServiceSummary, Summary};
use crate::model::{
    activity::Activity,
    condition::{Condition, Figure, Subject},
    id::{DestinationId, ServiceId},
    latency::Percentiles,
};

/// The figures of a latency that are compared.
pub const FIGURES: [(Figure, &str, &str); 8] = [
    (Figure::Count, "count", "COUNT"),
    (Figure::Mean, "mean_ns", "MEAN"),
    (Figure::Quantile(0.5), "p50_ns", "P50"),
    (Figure::Quantile(0.9), "p90_ns", "P90"),
    (Figure::Quantile(0.99), "p99_ns", "P99"),
    (Figure::Quantile(0.999), "p999_ns", "P99.9"),
    (Figure::Quantile(0.9999), "p9999_ns", "P99.99"),
    (Figure::Max, "max_ns", "MAX"),
];

/// Two runs.
#[derive(Debug)]
pub struct Difference<'a> {
    /// The first.
    pub before: &'a Summary,
    /// The second.
    pub after: &'a Summary,
    /// What is in both.
    pub rows: Vec<Row>,
    /// What is in one of them alone: its name, and whether it is new.
    pub lonely: Vec<(String, bool)>,
}

/// A service, or a real server of it, in both runs.
#[derive(Debug)]
pub struct Row {
    /// The network namespace, where several were observed.
    pub netns: Option<String>,
    /// The service.
    pub service: ServiceId,
    /// The real server, unless it is the service itself.
    pub server: Option<DestinationId>,
    /// Latencies with values in both.
    pub latencies: Vec<(Measure, Vec<Change>)>,
    /// Events per second that happened in either.
    pub events: Vec<(Event, f64, f64)>,
    before: Activity,
    after: Activity,
}

/// A figure in both runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Its place in [`FIGURES`].
    pub name: &'static str,
    /// In nanoseconds, or as a number.
    pub before: u64,
    /// The same.
    pub after: u64,
    /// In percent of that from before; absent where that is 0.
    pub percent: Option<f64>,
    /// Whether it is more than buckets and chance make: the 95 % confidence intervals of both, widened to their buckets, do
    /// not meet. Absent for what is no percentile.
    pub is_told: Option<bool>,
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Of whom.
    pub name: String,
    /// In percent.
    pub percent: f64,
    /// Whether that can be told from chance.
    pub is_told: bool,
}

impl<'a> Difference<'a> {
    /// From `before` to `after`.
    pub fn new(before: &'a Summary, after: &'a Summary) -> Self {
        let mut percentiles = Percentiles::new();
        let mut rows = Vec::new();
        let mut lonely = Vec::new();
        let seconds = (before.measured.as_secs_f64(), after.measured.as_secs_f64());
        for old in &before.services {
            let Some(new) = after.services.iter().find(|new| is_same(old, new)) else {
                lonely.push((old.name(), false));
                continue;
            };
            let mut row = |server, before: &Activity, after: &Activity| Row {
                netns: old.netns.clone(),
                service: old.id,
                server,
                latencies: latencies(before, after, &mut percentiles),
                events: events(before, after, seconds),
                before: before.clone(),
                after: after.clone(),
            };
            rows.push(row(None, &old.activity, &new.activity));
            for (&id, activity) in &old.servers {
                match new.servers.get(&id) {
                    Some(new) => rows.push(row(Some(id), activity, new)),
                    None => lonely.push((format!("{} -> {id}", old.name()), false)),
                }
            }
            let added = new
                .servers
                .keys()
                .filter(|id| !old.servers.contains_key(*id));
            lonely.extend(added.map(|id| (format!("{} -> {id}", new.name()), true)));
        }
        let is_added = |new: &&ServiceSummary| !before.services.iter().any(|old| is_same(old, new));
        lonely.extend(
            after
                .services
                .iter()
                .filter(is_added)
                .map(|new| (new.name(), true)),
        );
        Self {
            before,
            after,
            rows,
            lonely,
        }
    }

    /// The services of which `condition` holds.
    pub fn broken(&self, condition: &Condition) -> Vec<Broken> {
        let mut percentiles = Percentiles::new();
        let services = self.rows.iter().filter(|row| row.server.is_none());
        services
            .filter_map(|row| {
                let subject = condition.subject();
                let (percent, is_told) = match subject {
                    Subject::Latency(measure, figure) => {
                        let (before, after) =
                            (row.before.latency(measure), row.after.latency(measure));
                        let old = figure.of(before, &mut percentiles)?;
                        let new = figure.of(after, &mut percentiles)?;
                        let told = match figure {
                            Figure::Quantile(quantile) => {
                                is_told(&row.before, &row.after, measure, quantile)
                            }
                            Figure::Count | Figure::Mean | Figure::Min | Figure::Max => true,
                        };
                        (percent(old, new)?, told)
                    }
                    Subject::Event(_) | Subject::Dropped => {
                        let old = subject.value(&row.before, &mut percentiles)?;
                        let new = subject.value(&row.after, &mut percentiles)?;
                        let old = per_second(old, self.before.measured.as_secs_f64());
                        let new = per_second(new, self.after.measured.as_secs_f64());
                        // From nothing to something is more than any percentage.
                        let change = if old > 0.0 {
                            (new - old) * 100.0 / old
                        } else if new > 0.0 {
                            f64::INFINITY
                        } else {
                            0.0
                        };
                        (change, true)
                    }
                };
                condition.holds_for_change(percent).then(|| Broken {
                    name: row.name(),
                    percent,
                    is_told,
                })
            })
            .collect()
    }
}

impl Row {
    /// What people call it.
    pub fn name(&self) -> String {
        let netns = self
            .netns
            .as_ref()
            .map_or_else(String::new, |netns| format!("{netns} "));
        match self.server {
            Some(server) => format!("{netns}{} -> {server}", self.service),
            None => format!("{netns}{}", self.service),
        }
    }
}

fn is_same(one: &ServiceSummary, two: &ServiceSummary) -> bool {
    (one.id, &one.netns) == (two.id, &two.netns)
}

fn latencies(
    before: &Activity,
    after: &Activity,
    percentiles: &mut Percentiles,
) -> Vec<(Measure, Vec<Change>)> {
    let measures = Measure::ALL.into_iter();
    let measures = measures.filter(|&measure| {
        before.latency(measure).count() > 0 && after.latency(measure).count() > 0
    });
    let compared = measures.map(|measure| {
        let changes = FIGURES.iter().filter_map(|&(figure, name, _)| {
            let old = figure.of(before.latency(measure), percentiles)?;
            let new = figure.of(after.latency(measure), percentiles)?;
            Some(Change {
                name,
                before: old,
                after: new,
                percent: percent(old, new),
                is_told: match figure {
                    Figure::Quantile(quantile) => Some(is_told(before, after, measure, quantile)),
                    Figure::Count | Figure::Mean | Figure::Min | Figure::Max => None,
                },
            })
        });
        (measure, changes.collect())
    });
    compared.collect()
}

fn is_told(before: &Activity, after: &Activity, measure: Measure, quantile: f64) -> bool {
    let old = before.latency(measure).confidence_ns(quantile);
    let new = after.latency(measure).confidence_ns(quantile);
    old.zip(new)
        .is_some_and(|(old, new)| old.1 < new.0 || new.1 < old.0)
}

fn events(before: &Activity, after: &Activity, seconds: (f64, f64)) -> Vec<(Event, f64, f64)> {
    let all = Event::ALL.into_iter().map(|event| {
        let old = per_second(before.counters.get(event), seconds.0);
        let new = per_second(after.counters.get(event), seconds.1);
        (event, old, new)
    });
    all.filter(|&(_, old, new)| old > 0.0 || new > 0.0)
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate needs no more than 53 bits"
)]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage needs no more than 53 bits"
)]
fn percent(before: u64, after: u64) -> Option<f64> {
    (before > 0).then(|| (after as f64 - before as f64) * 100.0 / before as f64)
}
