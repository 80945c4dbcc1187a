//! One JSON object for each window.
//!
//! Every name stands here or, where `list` has it too, in [`object`](super::object), so that a renamed field of the model
//! cannot change what scripts read. What is not known is left out; durations are integers in nanoseconds; a window's
//! numbers stand beside those of the whole run in `total`.

mod states;

use std::{net::IpAddr, time::Duration};

use ipvs_observer_common::{Event, Measure};
use serde::Serialize;

use self::states::{DrainObject, StatesObject};
use super::object::{
    CountersObject, FactsObject, IdentityObject, MemoryObject, NetnsObject, Pairs, RatesObject,
    SysctlsObject, nanoseconds, sysctls, time,
};
use crate::model::{
    activity::Activity,
    circumstances::{Circumstances, oldest_copy},
    id::DestinationId,
    latency::{Distribution, Percentiles},
    rates::Rates,
    sample::ServiceKey,
    snapshot::{Completeness, DestinationRow, ProbeHealth, Row, Run, ServiceRow, Snapshot},
};

/// The snapshot as one line.
pub fn encode(snapshot: &Snapshot) -> String {
    let mut encoder = Encoder {
        snapshot,
        percentiles: Percentiles::new(),
    };
    let object = encoder.window();
    // Maps have text as keys and no value fails, so neither can this.
    let mut line = serde_json::to_string(&object).unwrap_or_default();
    line.push('\n');
    line
}

struct Encoder<'a> {
    snapshot: &'a Snapshot,
    percentiles: Percentiles,
}

#[derive(Serialize)]
struct WindowObject<'a> {
    host: &'a str,
    kernel: &'a str,
    time: String,
    window_ns: u64,
    elapsed_ns: u64,
    r#final: bool,
    health: HealthObject<'a>,
    #[serde(flatten)]
    circumstances: Option<CircumstancesObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Vec<NamespaceObject<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    director: Option<DirectorObject>,
    services: Vec<ServiceObject<'a>>,
}

/// What bears on the numbers of one network namespace.
#[derive(Serialize)]
struct CircumstancesObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_table_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sysctls: Option<SysctlsObject<'a>>,
}

#[derive(Serialize)]
struct NamespaceObject<'a> {
    #[serde(flatten)]
    netns: Option<NetnsObject>,
    #[serde(flatten)]
    circumstances: CircumstancesObject<'a>,
}

#[derive(Serialize)]
struct HealthObject<'a> {
    #[serde(flatten)]
    interval: CompletenessObject,
    total: CompletenessObject,
    table_torn: bool,
    table_took_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep_took_ns: Option<u64>,
    missed_windows: u64,
    probes: Vec<ProbeObject<'a>>,
    memory: MemoryObject,
    measures: Vec<&'static str>,
    refused_probes: Vec<RefusedObject<'a>>,
}

#[derive(Serialize)]
struct CompletenessObject {
    coverage: CoverageObject,
    losses: Pairs<&'static str, u64>,
}

#[derive(Serialize)]
struct CoverageObject {
    hits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
}

#[derive(Serialize)]
struct ProbeObject<'a> {
    probe: &'a str,
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursion_misses: Option<u64>,
}

#[derive(Serialize)]
struct RefusedObject<'a> {
    function: &'a str,
    reason: &'a str,
}

/// What is measured of the host itself.
#[derive(Serialize)]
struct DirectorObject {
    latency: Pairs<&'static str, LatencyObject>,
    total: DirectorTotalObject,
}

#[derive(Serialize)]
struct DirectorTotalObject {
    latency: Pairs<&'static str, LatencyObject>,
}

#[derive(Serialize)]
struct ServiceObject<'a> {
    service: String,
    #[serde(flatten)]
    netns: Option<NetnsObject>,
    #[serde(flatten)]
    identity: IdentityObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<&'a str>,
    #[serde(flatten)]
    row: RowObject,
    servers: Vec<ServerObject>,
}

#[derive(Serialize)]
struct ServerObject {
    address: IpAddr,
    port: u16,
    #[serde(flatten)]
    facts: Option<FactsObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<DrainObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<StatesObject>,
    #[serde(flatten)]
    row: RowObject,
}

#[derive(Serialize)]
struct RowObject {
    gone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<CountersObject>,
    #[serde(flatten)]
    interval: ActivityObject,
    total: ActivityObject,
}

#[derive(Serialize)]
struct ActivityObject {
    rates: RatesObject,
    counters: Pairs<&'static str, u64>,
    latency: Pairs<&'static str, LatencyObject>,
}

/// A distribution.
#[derive(Serialize)]
pub(super) struct LatencyObject {
    count: u64,
    sum_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ns: Option<u64>,
    #[serde(flatten)]
    percentiles: Pairs<&'static str, u64>,
    /// Lowest value of a bucket and how many values it has.
    buckets: Vec<(u64, u64)>,
}

impl<'a> Encoder<'a> {
    fn window(&mut self) -> WindowObject<'a> {
        let snapshot = self.snapshot;
        let services = snapshot
            .services
            .iter()
            .map(|(key, service)| self.service(key, service))
            .collect();
        WindowObject {
            host: &snapshot.run.host,
            kernel: &snapshot.run.kernel,
            time: time(snapshot.at),
            window_ns: nanoseconds(snapshot.window),
            elapsed_ns: nanoseconds(snapshot.elapsed),
            r#final: snapshot.is_final,
            health: self.health(),
            circumstances: self.circumstances(),
            namespaces: self.namespaces(),
            director: self.director(),
            services,
        }
    }

    fn health(&self) -> HealthObject<'a> {
        let (health, run) = (&self.snapshot.health, &self.snapshot.run);
        let refused = run.refused_probes.iter();
        HealthObject {
            interval: completeness(&health.interval),
            total: completeness(&health.total),
            table_torn: health.torn,
            table_took_ns: nanoseconds(health.table_took),
            sweep_took_ns: health.sweep_took.map(nanoseconds),
            missed_windows: health.missed_windows,
            probes: health.probes.iter().map(probe).collect(),
            memory: MemoryObject::of(&health.memory),
            measures: run.measures.iter().map(|measure| measure.name()).collect(),
            refused_probes: refused
                .map(|probe| RefusedObject {
                    function: &probe.function,
                    reason: &probe.reason,
                })
                .collect(),
        }
    }

    /// Those of the one namespace that is observed.
    fn circumstances(&self) -> Option<CircumstancesObject<'a>> {
        let is_one = !self.snapshot.run.all_netns;
        let one = self.snapshot.namespaces.values().next().filter(|_| is_one);
        one.map(|one| CircumstancesObject::of(&one.circumstances))
    }

    /// The namespaces of the services that are shown, where several are observed.
    fn namespaces(&self) -> Option<Vec<NamespaceObject<'a>>> {
        let snapshot = self.snapshot;
        let namespaces = snapshot.namespaces_with_services().into_iter();
        let objects = namespaces.map(|(netns, namespace)| NamespaceObject {
            netns: NetnsObject::of(netns, snapshot),
            circumstances: CircumstancesObject::of(&namespace.circumstances),
        });
        snapshot.run.all_netns.then(|| objects.collect())
    }

    /// Nothing if nothing is measured of the host.
    fn director(&mut self) -> Option<DirectorObject> {
        let director = &self.snapshot.director;
        let measures = self.snapshot.run.measures.iter();
        measures.copied().find(|measure| measure.is_of_host())?;
        Some(DirectorObject {
            latency: self.latencies(&director.interval, Measure::is_of_host),
            total: DirectorTotalObject {
                latency: self.latencies(&director.total, Measure::is_of_host),
            },
        })
    }

    /// What is measured of the host, or of services and servers.
    fn latencies(
        &mut self,
        activity: &Activity,
        is_shown: impl Fn(Measure) -> bool,
    ) -> Pairs<&'static str, LatencyObject> {
        let measures = self.snapshot.run.measures.iter().copied();
        let measures = measures.filter(|&measure| is_shown(measure));
        let latencies = measures.map(|measure| {
            let distribution = activity.latency(measure);
            (measure.name(), latency(distribution, &mut self.percentiles))
        });
        Pairs(latencies.collect())
    }

    fn service(&mut self, (netns, id): &ServiceKey, service: &'a ServiceRow) -> ServiceObject<'a> {
        let namespace = self.snapshot.namespaces.get(netns);
        let oldest_copy = namespace.and_then(|one| oldest_copy(&one.circumstances.settings));
        let netns = NetnsObject::of(*netns, self.snapshot);
        let servers = service
            .destinations
            .iter()
            .map(|(id, destination)| self.server(id, destination, oldest_copy));
        ServiceObject {
            service: id.to_string(),
            netns,
            identity: IdentityObject::of(id),
            scheduler: service.facts.as_ref().map(|facts| facts.scheduler.as_str()),
            servers: servers.collect(),
            row: self.row(&service.row, oldest_copy),
        }
    }

    fn server(
        &mut self,
        id: &DestinationId,
        destination: &DestinationRow,
        oldest_copy: Option<Duration>,
    ) -> ServerObject {
        ServerObject {
            address: id.address,
            port: id.port,
            facts: destination.facts.as_ref().map(FactsObject::of),
            drain: destination.drain.as_ref().map(DrainObject::of),
            states: destination.states.as_ref().map(StatesObject::of),
            row: self.row(&destination.row, oldest_copy),
        }
    }

    /// Copies of the kernel's counters are at most `oldest_copy` old.
    fn row(&mut self, row: &Row, oldest_copy: Option<Duration>) -> RowObject {
        let (window, elapsed) = (self.snapshot.window, self.snapshot.elapsed);
        RowObject {
            gone: row.gone,
            since: row.since.map(time),
            kernel: row.traffic.as_ref().map(|traffic| {
                CountersObject::of(traffic, row.read_at, self.snapshot.at, oldest_copy)
            }),
            interval: self.activity(row, &row.interval, row.rates.as_ref(), window),
            total: self.activity(row, &row.total, row.run_rates.as_ref(), elapsed),
        }
    }

    fn activity(
        &mut self,
        row: &Row,
        activity: &Activity,
        packets: Option<&Rates>,
        span: Duration,
    ) -> ActivityObject {
        let run = &self.snapshot.run;
        let scheduled_per_s = activity.scheduled_per_s(span.as_secs_f64());
        let connections_per_s = run.known(Event::Scheduled, scheduled_per_s).flatten();
        ActivityObject {
            latency: self.latencies(activity, |measure| {
                !measure.is_of_host() && row.shows(measure)
            }),
            rates: RatesObject::of_window(connections_per_s, packets),
            counters: counters(activity, run),
        }
    }
}

impl<'a> CircumstancesObject<'a> {
    fn of(circumstances: &'a Circumstances) -> Self {
        Self {
            connection_table_size: circumstances.connection_table_size,
            sysctls: sysctls(&circumstances.settings),
        }
    }
}

fn counters(activity: &Activity, run: &Run) -> Pairs<&'static str, u64> {
    let events = run.events.iter();
    let counts = events.map(|&event| (event.name(), activity.counters.get(event)));
    let dropped = run.known_drops(("dropped", activity.dropped()));
    Pairs(dropped.into_iter().chain(counts).collect())
}

pub(super) fn latency(distribution: &Distribution, percentiles: &mut Percentiles) -> LatencyObject {
    let shown = percentiles.of(distribution).into_iter().flatten();
    LatencyObject {
        count: distribution.count(),
        sum_ns: distribution.sum_ns(),
        min_ns: distribution.min_ns(),
        max_ns: distribution.max_ns(),
        percentiles: Pairs(
            Percentiles::SHOWN
                .into_iter()
                .map(|(_, name)| name)
                .zip(shown)
                .collect(),
        ),
        buckets: distribution.buckets().collect(),
    }
}

fn probe(health: &ProbeHealth) -> ProbeObject<'_> {
    ProbeObject {
        probe: &health.name,
        function: &health.function,
        missed: health.missed,
        recursion_misses: health.recursion_misses,
    }
}

fn completeness(completeness: &Completeness) -> CompletenessObject {
    CompletenessObject {
        coverage: CoverageObject {
            hits: completeness.transitions,
            packets: completeness.packets,
        },
        losses: Pairs(
            completeness
                .losses()
                .map(|(loss, count)| (loss.name(), count))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
