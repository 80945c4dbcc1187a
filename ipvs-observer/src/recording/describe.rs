//! The description at the head of a recording: facts of the run and the names of all columns, as JSON.

use std::collections::BTreeMap;

use ipvs_observer_common::{Event, EventKind, Measure};
use serde::{Deserialize, Serialize};

use super::{
    Beginning,
    columns::Flaw,
    events::EventsAsked,
    names::{self, Column},
};
use crate::model::snapshot::{RefusedProbe, Run};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    agent: String,
    /// When the run began, in nanoseconds since 1970, which tells it from others.
    pub(super) began_ns: u64,
    host: String,
    kernel: String,
    all_netns: bool,
    measures: Vec<MeasureDescription>,
    events: Vec<String>,
    refused_probes: Vec<RefusedDescription>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_live: Option<String>,
    #[serde(default)]
    pub(super) real_servers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_events: Option<EventsDescription>,
    columns: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MeasureDescription {
    name: String,
    /// The lowest value of its histograms is two to this power, in nanoseconds.
    base: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EventsDescription {
    kinds: Vec<String>,
    sample: u32,
    filters: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedDescription {
    function: String,
    reason: String,
}

impl Description {
    pub(super) fn of(beginning: &Beginning, began_ns: u64) -> Self {
        let run = &beginning.run;
        let measures = run.measures.iter().map(|measure| MeasureDescription {
            name: measure.name().to_owned(),
            base: measure.range().base(),
        });
        let refused = run.refused_probes.iter().map(|probe| RefusedDescription {
            function: probe.function.clone(),
            reason: probe.reason.clone(),
        });
        Self {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            began_ns,
            host: run.host.clone(),
            kernel: run.kernel.clone(),
            all_netns: run.all_netns,
            measures: measures.collect(),
            events: run
                .events
                .iter()
                .map(|event| event.name().to_owned())
                .collect(),
            refused_probes: refused.collect(),
            no_live: run.no_live.clone(),
            real_servers: beginning.real_servers.clone(),
            connection_events: beginning.events.as_ref().map(|asked| EventsDescription {
                kinds: asked
                    .kinds
                    .iter()
                    .map(|kind| kind.name().to_owned())
                    .collect(),
                sample: asked.sample,
                filters: asked.filters.clone(),
            }),
            columns: names::all().map(Column::name).collect(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Nothing in it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        serde_json::from_slice(bytes).map_err(|_error| "its description cannot be read")
    }

    /// The column of each number that the file uses.
    pub(super) fn places(&self) -> Vec<Option<Column>> {
        let known: BTreeMap<String, Column> = names::all().map(|one| (one.name(), one)).collect();
        let names = self.columns.iter();
        names.map(|name| known.get(name).copied()).collect()
    }

    /// The events that were asked for; a kind that this program does not know is left out.
    pub(super) fn events_asked(&self) -> Option<EventsAsked> {
        let asked = self.connection_events.as_ref()?;
        let is_kept = |kind: &EventKind| asked.kinds.iter().any(|name| name == kind.name());
        Some(EventsAsked {
            kinds: EventKind::ALL.into_iter().filter(is_kept).collect(),
            sample: asked.sample,
            filters: asked.filters.clone(),
        })
    }

    /// What this program knows of the run; a measure that it does not know is left out.
    pub(super) fn run(&self) -> Result<Run, Flaw> {
        let mut measures = Vec::new();
        for measure in Measure::ALL {
            let described = self.measures.iter().find(|its| its.name == measure.name());
            let Some(described) = described else { continue };
            if described.base != measure.range().base() {
                return Err("a measure has another range than here");
            }
            measures.push(measure);
        }
        let is_counted = |event: &Event| self.events.iter().any(|name| name == event.name());
        let refused = self.refused_probes.iter().map(|probe| RefusedProbe {
            function: probe.function.clone(),
            reason: probe.reason.clone(),
        });
        Ok(Run {
            host: self.host.clone(),
            kernel: self.kernel.clone(),
            measures,
            events: Event::ALL.into_iter().filter(is_counted).collect(),
            refused_probes: refused.collect(),
            no_live: self.no_live.clone(),
            all_netns: self.all_netns,
        })
    }
}
