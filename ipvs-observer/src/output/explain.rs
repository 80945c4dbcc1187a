//! One JSON object that tells where the time of a service and of each of its real servers goes.

use std::net::IpAddr;

use ipvs_observer_common::Measure;
use serde::Serialize;

use super::{
    json::{LatencyObject, latency},
    object::{IdentityObject, NetnsObject, Pairs, nanoseconds, time},
};
use crate::model::{
    activity::Activity,
    latency::Percentiles,
    snapshot::Snapshot,
    split::{OwnCost, Part, Split},
};

#[derive(Serialize)]
struct ExplanationObject<'a> {
    host: &'a str,
    kernel: &'a str,
    time: String,
    elapsed_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<CostObject>,
    services: Vec<ExplainedServiceObject>,
}

#[derive(Serialize)]
struct CostObject {
    runs: u64,
    run_time_ns: u64,
    packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_packet_ns: Option<u64>,
}

#[derive(Serialize)]
struct ExplainedServiceObject {
    service: String,
    #[serde(flatten)]
    netns: Option<NetnsObject>,
    #[serde(flatten)]
    identity: IdentityObject,
    #[serde(flatten)]
    split: SplitObject,
    servers: Vec<ExplainedServerObject>,
}

#[derive(Serialize)]
struct ExplainedServerObject {
    address: IpAddr,
    port: u16,
    #[serde(flatten)]
    split: SplitObject,
}

#[derive(Serialize)]
struct SplitObject {
    means_ns: Pairs<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest: Option<&'static str>,
    latency: Pairs<&'static str, LatencyObject>,
}

/// The whole run as one line.
pub(super) fn encode(snapshot: &Snapshot) -> String {
    let mut percentiles = Percentiles::new();
    let mut split = |activity: &Activity| SplitObject::of(activity, snapshot, &mut percentiles);
    let services = snapshot.services.iter();
    let services = services.map(|((netns, id), service)| ExplainedServiceObject {
        service: id.to_string(),
        netns: NetnsObject::of(*netns, snapshot),
        identity: IdentityObject::of(id),
        split: split(&service.row.total),
        servers: service
            .destinations
            .iter()
            .map(|(id, server)| ExplainedServerObject {
                address: id.address,
                port: id.port,
                split: split(&server.row.total),
            })
            .collect(),
    });
    let object = ExplanationObject {
        host: &snapshot.run.host,
        kernel: &snapshot.run.kernel,
        time: time(snapshot.at),
        elapsed_ns: nanoseconds(snapshot.elapsed),
        services: services.collect(),
        cost: snapshot
            .own_cost
            .map(|cost| CostObject::of(cost, snapshot.health.total.transitions)),
    };
    // As in `json`.
    let mut line = serde_json::to_string(&object).unwrap_or_default();
    line.push('\n');
    line
}

impl SplitObject {
    fn of(activity: &Activity, snapshot: &Snapshot, percentiles: &mut Percentiles) -> Self {
        let split = Split::of(activity);
        let means = Part::ALL
            .into_iter()
            .filter_map(|part| Some((part.name(), split.mean_ns(part)?)));
        let measures = snapshot.run.measures.iter().copied();
        let measures = measures
            .filter(|&measure| !measure.is_of_host() && activity.latency(measure).count() > 0);
        Self {
            means_ns: Pairs(means.collect()),
            largest: split.largest().map(|(part, _)| part.name()),
            latency: Pairs(
                measures
                    .map(|measure: Measure| {
                        let distribution = activity.latency(measure);
                        (measure.name(), latency(distribution, percentiles))
                    })
                    .collect(),
            ),
        }
    }
}

impl CostObject {
    const fn of(cost: OwnCost, packets: u64) -> Self {
        Self {
            runs: cost.runs,
            run_time_ns: cost.run_time_ns,
            packets,
            per_packet_ns: cost.per_packet_ns(packets),
        }
    }
}
