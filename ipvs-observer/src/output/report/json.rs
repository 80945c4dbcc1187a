//! A report as one JSON object.

use std::net::IpAddr;

use ipvs_observer_common::{Event, Measure};
use serde::Serialize;

use super::{
    QUANTILES,
    events::{self, EventsObject},
    measures,
};
use crate::{
    model::{
        activity::Activity,
        latency::{Distribution, Percentiles},
    },
    output::object::{IdentityObject, Pairs, nanoseconds, time},
    report::{
        difference::{Change, Difference},
        summary::{ServiceSummary, Summary},
    },
};

#[derive(Serialize)]
struct ReportObject<'a> {
    #[serde(flatten)]
    head: HeadObject<'a>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    director: Pairs<&'static str, LatencyObject>,
    services: Vec<ServiceObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_events: Option<EventsObject<'a>>,
}

#[derive(Serialize)]
struct HeadObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<&'a str>,
    from: String,
    to: String,
    measured_ns: u64,
    windows: u64,
    missed_windows: u64,
    hits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    losses: Pairs<&'static str, u64>,
}

#[derive(Serialize)]
struct ServiceObject<'a> {
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    #[serde(flatten)]
    identity: IdentityObject,
    #[serde(flatten)]
    activity: ActivityObject,
    servers: Vec<ServerObject>,
    timeline: Vec<StepObject>,
}

#[derive(Serialize)]
struct ServerObject {
    address: IpAddr,
    port: u16,
    #[serde(flatten)]
    activity: ActivityObject,
}

#[derive(Serialize)]
struct ActivityObject {
    counters: Pairs<&'static str, u64>,
    latency: Pairs<&'static str, LatencyObject>,
}

#[derive(Serialize)]
struct LatencyObject {
    count: u64,
    sum_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ns: Option<u64>,
    #[serde(flatten)]
    percentiles: Pairs<&'static str, u64>,
    /// Lowest value of a bucket and how many values it has.
    buckets: Vec<(u64, u64)>,
}

#[derive(Serialize)]
struct StepObject {
    time: String,
    length_ns: u64,
    #[serde(flatten)]
    activity: ActivityObject,
}

#[derive(Serialize)]
struct ComparisonObject<'a> {
    before: HeadObject<'a>,
    after: HeadObject<'a>,
    rows: Vec<ComparedObject<'a>>,
    only_before: Vec<&'a str>,
    only_after: Vec<&'a str>,
}

#[derive(Serialize)]
struct ComparedObject<'a> {
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    events_per_s: Pairs<&'static str, RatesObject>,
    latency: Pairs<&'static str, Pairs<&'static str, ChangeObject>>,
}

#[derive(Serialize)]
struct RatesObject {
    before: f64,
    after: f64,
}

#[derive(Serialize)]
struct ChangeObject {
    before: u64,
    after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    significant: Option<bool>,
}

/// A recording.
pub fn encode(summary: &Summary) -> String {
    let mut percentiles = Percentiles::new();
    let services = summary.services.iter();
    let services = services.map(|service| service_object(summary, service, &mut percentiles));
    let services = services.collect();
    let host = summary
        .run
        .iter()
        .flat_map(|run| run.measures.iter().copied());
    let host = host.filter(|&one| one.is_of_host() && summary.host.latency(one).count() > 0);
    line(&ReportObject {
        head: head(summary),
        director: latencies(&summary.host, host, &mut percentiles),
        services,
        connection_events: summary
            .events
            .as_ref()
            .map(|told| events::object(summary, told)),
    })
}

/// Two recordings.
pub fn compare(difference: &Difference<'_>) -> String {
    let rows = difference.rows.iter().map(|row| ComparedObject {
        service: row.service.to_string(),
        netns: row.netns.as_deref(),
        server: row.server.map(|server| server.to_string()),
        events_per_s: Pairs(
            row.events
                .iter()
                .map(|&(event, before, after)| (event.name(), RatesObject { before, after }))
                .collect(),
        ),
        latency: Pairs(
            row.latencies
                .iter()
                .map(|(measure, changes)| {
                    (measure.name(), Pairs(changes.iter().map(change).collect()))
                })
                .collect(),
        ),
    });
    let lonely = |is_new| {
        let lonely = difference
            .lonely
            .iter()
            .filter(move |(_, its)| *its == is_new);
        lonely.map(|(name, _)| name.as_str()).collect()
    };
    line(&ComparisonObject {
        before: head(difference.before),
        after: head(difference.after),
        rows: rows.collect(),
        only_before: lonely(false),
        only_after: lonely(true),
    })
}

fn line(object: &impl Serialize) -> String {
    // Maps have text as keys and no value fails, so neither can this.
    let mut line = serde_json::to_string(object).unwrap_or_default();
    line.push('\n');
    line
}

fn change(change: &Change) -> (&'static str, ChangeObject) {
    let object = ChangeObject {
        before: change.before,
        after: change.after,
        change_percent: change.percent,
        significant: change.is_told,
    };
    (change.name, object)
}

fn head(summary: &Summary) -> HeadObject<'_> {
    let losses = summary.health.losses();
    HeadObject {
        host: summary.run.as_ref().map(|run| run.host.as_str()),
        kernel: summary.run.as_ref().map(|run| run.kernel.as_str()),
        from: time(summary.from),
        to: time(summary.to),
        measured_ns: nanoseconds(summary.measured),
        windows: summary.windows,
        missed_windows: summary.missed_windows,
        hits: summary.health.transitions,
        packets: summary.health.packets,
        losses: Pairs(losses.map(|(loss, count)| (loss.name(), count)).collect()),
    }
}

fn service_object<'a>(
    summary: &Summary,
    service: &'a ServiceSummary,
    percentiles: &mut Percentiles,
) -> ServiceObject<'a> {
    let servers = service.servers.iter();
    let servers = servers.map(|(id, activity)| ServerObject {
        address: id.address,
        port: id.port,
        activity: object(summary, service, activity, percentiles),
    });
    let servers = servers.collect();
    let steps = service.steps.iter().map(|step| StepObject {
        time: time(step.at),
        length_ns: nanoseconds(step.length),
        activity: object(summary, service, &step.activity, percentiles),
    });
    let timeline = steps.collect();
    ServiceObject {
        service: service.id.to_string(),
        netns: service.netns.as_deref(),
        identity: IdentityObject::of(&service.id),
        activity: object(summary, service, &service.activity, percentiles),
        servers,
        timeline,
    }
}

fn object(
    summary: &Summary,
    service: &ServiceSummary,
    activity: &Activity,
    percentiles: &mut Percentiles,
) -> ActivityObject {
    let events = summary
        .run
        .iter()
        .flat_map(|run| run.events.iter().copied());
    let counts = events.map(|event: Event| (event.name(), activity.counters.get(event)));
    let dropped = summary
        .run
        .as_ref()
        .and_then(|run| run.known_drops(("dropped", activity.dropped())));
    ActivityObject {
        counters: Pairs(dropped.into_iter().chain(counts).collect()),
        latency: latencies(activity, measures(summary, service, activity), percentiles),
    }
}

fn latencies(
    activity: &Activity,
    measures: impl Iterator<Item = Measure>,
    percentiles: &mut Percentiles,
) -> Pairs<&'static str, LatencyObject> {
    let latencies = measures.map(|measure| {
        (
            measure.name(),
            latency(activity.latency(measure), percentiles),
        )
    });
    Pairs(latencies.collect())
}

fn latency(distribution: &Distribution, percentiles: &mut Percentiles) -> LatencyObject {
    let values = percentiles.at(distribution, QUANTILES.map(|(quantile, ..)| quantile));
    let names = QUANTILES.into_iter().map(|(_, name, _)| name);
    LatencyObject {
        count: distribution.count(),
        sum_ns: distribution.sum_ns(),
        mean_ns: distribution.mean_ns(),
        min_ns: distribution.min_ns(),
        max_ns: distribution.max_ns(),
        percentiles: Pairs(names.zip(values.into_iter().flatten()).collect()),
        buckets: distribution.buckets().collect(),
    }
}
