//! The slowest connections and the clients of a report, in each of its formats.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipvs_observer_common::{EventKind, Measure, STAGES, StreamLoss};
use serde::Serialize;

use super::csv::field;
use crate::{
    model::{id::ForwardingMethod, sample::Timestamp},
    output::{
        object::{IdentityObject, Pairs, time},
        text::number::{count, duration_ns},
    },
    report::{
        events::{Client, EventSummary, RANKINGS, Ranking, Slow},
        summary::Summary,
    },
};

#[derive(Serialize)]
pub(super) struct EventsObject<'a> {
    kinds: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    filters: &'a [String],
    told: Pairs<&'static str, u64>,
    lost: Pairs<&'static str, u64>,
    untraced: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowest: Option<Vec<SlowObject<'a>>>,
    clients: usize,
    most: Pairs<&'static str, Vec<ClientObject>>,
}

#[derive(Serialize)]
struct SlowObject<'a> {
    time: String,
    waited_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<EndpointObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(flatten)]
    identity: Option<IdentityObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<EndpointObject>,
    outcome: &'static str,
    stages: Pairs<String, u64>,
    in_packets: u64,
    in_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_bytes: Option<u64>,
    syn_repeated: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    preexisting: bool,
}

#[derive(Serialize)]
struct EndpointObject {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct ClientObject {
    address: IpAddr,
    #[serde(flatten)]
    counts: Pairs<&'static str, u64>,
}

/// The JSON of a recording's events.
pub(super) fn object<'a>(summary: &'a Summary, events: &'a EventSummary) -> EventsObject<'a> {
    let rankings = rankings(events).map(|(name, of)| {
        let clients = events.clients(of).into_iter();
        let clients = clients.map(|(address, client)| ClientObject {
            address,
            counts: Pairs(counts(events, &client).collect()),
        });
        (name, clients.collect())
    });
    let slowest = events.slowest().iter();
    EventsObject {
        kinds: events.asked.kinds.iter().map(|kind| kind.name()).collect(),
        sample: (events.asked.sample > 1).then_some(events.asked.sample),
        filters: &events.asked.filters,
        told: Pairs(told(events).collect()),
        lost: Pairs(lost(events).collect()),
        untraced: events.untraced,
        slowest: events
            .has_ends()
            .then(|| slowest.map(|slow| slow_object(summary, slow)).collect()),
        clients: events.n_clients(),
        most: Pairs(rankings.collect()),
    }
}

fn slow_object<'a>(summary: &'a Summary, slow: &Slow) -> SlowObject<'a> {
    let Slow {
        waited_ns,
        ending,
        trace,
        event,
    } = slow;
    let is_seen = event.method.is_none_or(ForwardingMethod::has_return_path);
    let is_seen = is_seen || trace.packets[1] > 0;
    let stages = trace.stages();
    SlowObject {
        time: time(wall(summary, event.at_ns)),
        waited_ns: *waited_ns,
        client: event
            .client
            .map(|(address, port)| EndpointObject { address, port }),
        netns: summary.label(event.netns, event.service),
        service: event.service.map(|service| service.to_string()),
        identity: event.service.as_ref().map(IdentityObject::of),
        server: event.server.map(|server| EndpointObject {
            address: server.address,
            port: server.port,
        }),
        outcome: ending.name(),
        stages: Pairs(
            stages
                .map(|(stage, took_ns)| (format!("{}_ns", stage.name()), took_ns))
                .collect(),
        ),
        in_packets: trace.packets[0],
        in_bytes: trace.bytes[0],
        out_packets: is_seen.then_some(trace.packets[1]),
        out_bytes: is_seen.then_some(trace.bytes[1]),
        syn_repeated: trace.syn_repeated,
        preexisting: event.preexisting,
    }
}

/// The events of a recording for people.
pub(super) fn text(summary: &Summary, events: &EventSummary, text: &mut String) {
    let sample = match events.asked.sample {
        0 | 1 => String::new(),
        sample => format!(" of one connection in {sample}"),
    };
    let numbers = |pairs: &mut dyn Iterator<Item = (&'static str, u64)>| {
        let pairs = pairs.map(|(name, number)| format!("{name} {number}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    put(
        text,
        &format!(
            "\nEVENTS{sample}  {}   lost {}{}",
            numbers(&mut told(events)),
            numbers(&mut lost(events)),
            filters(events),
        ),
    );
    if events.has_ends() {
        slowest(summary, events, text);
    }
    for (name, of) in rankings(events) {
        let clients = events.clients(of);
        if clients.is_empty() {
            continue;
        }
        let title = format!("CLIENTS BY {}", name.to_uppercase());
        let titles = counts(events, &Client::default());
        let titles = titles.map(|(name, _)| format!("{:>13}", name.to_uppercase()));
        put(
            text,
            &format!("\n{title:<40}{}", titles.collect::<String>()),
        );
        for (address, client) in clients {
            let cells = counts(events, &client);
            let cells = cells.map(|(_, number)| format!("{:>13}", count(number)));
            put(
                text,
                &format!("{:<40}{}", address.to_string(), cells.collect::<String>()),
            );
        }
    }
}

fn filters(events: &EventSummary) -> String {
    if events.asked.filters.is_empty() {
        String::new()
    } else {
        format!("   only {}", events.asked.filters.join(" "))
    }
}

fn slowest(summary: &Summary, events: &EventSummary, text: &mut String) {
    if events.slowest().is_empty() {
        return;
    }
    let titles = stages().map(|stage| format!("{:>11}", stage.name().to_uppercase()));
    put(
        text,
        &format!(
            "\n{:<31}{:>8}{}  {:<15}  CLIENT > SERVICE > SERVER",
            "SLOWEST, ENDED AT",
            "WAITED",
            titles.collect::<String>(),
            "OUTCOME"
        ),
    );
    for slow in events.slowest() {
        let cells = stages().map(|stage| {
            let took_ns = slow.trace.stages_ns[stage as usize];
            let cell = took_ns.map_or_else(|| "-".to_owned(), duration_ns);
            format!("{cell:>11}")
        });
        let [client, service, server] = who(summary, slow);
        put(
            text,
            &format!(
                "{:<31}{:>8}{}  {:<15}  {client} > {service} > {server}",
                time(wall(summary, slow.event.at_ns)),
                duration_ns(slow.waited_ns),
                cells.collect::<String>(),
                slow.ending.name(),
            ),
        );
    }
}

/// The connections whose clients waited for longest, as comma-separated values.
pub fn connections_csv(summary: &Summary, events: &EventSummary) -> String {
    let names = stages().map(|stage| format!(",{}_ns", stage.name()));
    let names: String = names.collect();
    let mut text = format!(
        "time,netns,client,service,server,outcome,waited_ns{names},in_packets,in_bytes,out_packets,out_bytes,syn_repeated\r\n"
    );
    for slow in events.slowest() {
        let object = slow_object(summary, slow);
        let [client, service, server] = who(summary, slow).map(|name| match name.as_str() {
            "-" => String::new(),
            _ => field(&name),
        });
        let or_nothing =
            |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let took = slow.trace.stages_ns.into_iter().map(or_nothing);
        let fields = [
            object.time.clone(),
            field(object.netns.unwrap_or_default()),
            client,
            service,
            server,
            object.outcome.to_owned(),
            object.waited_ns.to_string(),
        ];
        let counts = [
            object.in_packets.to_string(),
            object.in_bytes.to_string(),
            or_nothing(object.out_packets),
            or_nothing(object.out_bytes),
            object.syn_repeated.to_string(),
        ];
        let fields: Vec<String> = fields.into_iter().chain(took).chain(counts).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// The clients with the most of each, as comma-separated values.
pub fn clients_csv(events: &EventSummary) -> String {
    let names = counts(events, &Client::default()).map(|(name, _)| name);
    let names: Vec<&str> = names.collect();
    let mut text = format!("most,client,{}\r\n", names.join(","));
    for (name, of) in rankings(events) {
        for (address, client) in events.clients(of) {
            let numbers = counts(events, &client).map(|(_, number)| number.to_string());
            let numbers: Vec<String> = numbers.collect();
            let line = format!("{name},{address},{}\r\n", numbers.join(","));
            text.push_str(&line);
        }
    }
    text
}

/// What is known of clients by the kinds that were recorded.
fn counts(
    events: &EventSummary,
    client: &Client,
) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    let has = |kind| events.has(kind);
    let has_any = events.has_ends() || has(EventKind::Opened);
    let has_traces = events.has_ends();
    [
        (has_any, "connections", client.connections),
        (has(EventKind::Refused), "refused", client.refused),
        (has(EventKind::Unanswered), "unanswered", client.unanswered),
        (has_traces, "syn_repeated", client.syn_repeated),
        (has(EventKind::Dropped), "dropped", client.dropped),
    ]
    .into_iter()
    .filter_map(|(is_known, name, number)| is_known.then_some((name, number)))
}

/// The rankings by what is known.
fn rankings(events: &EventSummary) -> impl Iterator<Item = Ranking> + use<> {
    let known: Vec<&str> = counts(events, &Client::default())
        .map(|(name, _)| name)
        .collect();
    RANKINGS
        .into_iter()
        .filter(move |(name, _)| known.contains(name))
}

fn told(events: &EventSummary) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let told = |kind: &EventKind| events.told.get(kind.name()).copied().unwrap_or_default();
    let kinds = events.asked.kinds.iter();
    kinds.map(move |kind| (kind.name(), told(kind)))
}

fn lost(events: &EventSummary) -> impl Iterator<Item = (&'static str, u64)> {
    let causes = StreamLoss::ALL.into_iter().map(StreamLoss::name);
    let unwritten = ("unwritten", events.unwritten);
    causes.zip(events.lost).chain([unwritten])
}

fn stages() -> impl Iterator<Item = Measure> {
    Measure::ALL.into_iter().take(STAGES)
}

fn who(summary: &Summary, slow: &Slow) -> [String; 3] {
    let event = &slow.event;
    let none = || "-".to_owned();
    let label = summary.label(event.netns, event.service);
    let label = label.map_or_else(String::new, |label| format!("{label} "));
    let client = event.client;
    [
        client.map_or_else(none, |(ip, port)| SocketAddr::new(ip, port).to_string()),
        event
            .service
            .map_or_else(none, |service| format!("{label}{service}")),
        event.server.map_or_else(none, |server| server.to_string()),
    ]
}

/// A time within the span, by its beginning on both clocks.
fn wall(summary: &Summary, at_ns: u64) -> Timestamp {
    let monotonic = Duration::from_nanos(at_ns);
    let since = monotonic.saturating_sub(summary.from.monotonic);
    Timestamp {
        wall: summary.from.wall + since,
        monotonic,
    }
}

fn put(text: &mut String, line: &str) {
    // Writing into memory does not fail.
    writeln!(text, "{}", line.trim_end()).unwrap_or_default();
}
