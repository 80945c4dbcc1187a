//! One JSON object.

use ipvs_observer_common::{Event, Measure};
use serde::Serialize;

use super::super::object::MemoryObject;
use crate::{
    doctor::{Report, Right, TableSize, Types, Verdict},
    kernel::Module,
    probe::{Outlook, ProbeOutlook},
};

#[derive(Serialize)]
struct ReportObject<'a> {
    host: &'a str,
    kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    verdict: &'static str,
    exit_status: u8,
    ip_vs: ModuleObject<'a>,
    types: TypesObject<'a>,
    capabilities: Vec<CapabilityObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    perf_event_paranoid: Option<i32>,
    probes: Vec<ProbeObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measures: Option<Vec<&'static str>>,
    refused_measures: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_live_counters: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<TableObject>,
    memory: MemoryObject,
    memory_parts: PartsObject,
    unseen: &'a [String],
}

#[derive(Serialize)]
struct ModuleObject<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedulers: Option<&'a [String]>,
}

#[derive(Serialize)]
struct TypesObject<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct CapabilityObject {
    capability: String,
    r#for: &'static str,
    effective: bool,
}

#[derive(Serialize)]
struct ProbeObject<'a> {
    probe: &'static str,
    function: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    live_counters: bool,
    measures: Vec<&'static str>,
    events: Vec<&'static str>,
}

#[derive(Serialize)]
struct TableObject {
    services: usize,
    servers: usize,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "names in JSON end in their unit")]
struct PartsObject {
    limit_bytes: u64,
    server_bytes: u64,
    record_bytes: u64,
    fixed_bytes: u64,
}

pub(super) fn encode(report: &Report) -> String {
    // Maps have text as keys and no value fails, so neither can this.
    let mut line = serde_json::to_string(&object(report)).unwrap_or_default();
    line.push('\n');
    line
}

fn object(report: &Report) -> ReportObject<'_> {
    let verdict = report.verdict();
    ReportObject {
        host: &report.host,
        kernel: &report.kernel,
        netns: report.netns.as_deref(),
        verdict: match verdict {
            Verdict::Fine => "fine",
            Verdict::NotPermitted(_) => "not_permitted",
            Verdict::NoIpvs => "no_ipvs",
            Verdict::NoTypes => "no_types",
            Verdict::Refused(_) => "refused",
        },
        exit_status: verdict.exit_status(),
        ip_vs: ModuleObject {
            state: match report.ip_vs {
                Module::Absent => "absent",
                Module::BuiltIn => "built_in",
                Module::Loaded => "loaded",
            },
            schedulers: report.schedulers.as_deref(),
        },
        types: types(&report.types),
        capabilities: report.rights.iter().map(capability).collect(),
        perf_event_paranoid: report.perf_event_paranoid,
        probes: report.survey.probes.iter().map(probe).collect(),
        measures: report.survey.measures.as_deref().map(measures),
        refused_measures: measures(&report.refused_measures()),
        no_live_counters: report.survey.no_live.as_deref(),
        table: report
            .table
            .map(|TableSize { services, servers }| TableObject { services, servers }),
        memory: MemoryObject::of(&report.memory),
        memory_parts: PartsObject {
            limit_bytes: report.memory_limit_bytes,
            server_bytes: report.memory.server_bytes,
            record_bytes: report.memory.record_bytes,
            fixed_bytes: report.memory.fixed_bytes,
        },
        unseen: &report.unseen,
    }
}

fn types(types: &Types) -> TypesObject<'_> {
    let (state, reason) = match types {
        Types::Complete => ("complete", None),
        Types::None => ("none", None),
        Types::KernelOnly => ("kernel_only", None),
        Types::Unreadable(reason) => ("unreadable", Some(reason.as_str())),
    };
    TypesObject { state, reason }
}

fn capability(right: &Right) -> CapabilityObject {
    CapabilityObject {
        capability: right.capability.to_string(),
        r#for: right.purpose,
        effective: right.has,
    }
}

fn probe(probe: &ProbeOutlook) -> ProbeObject<'_> {
    let (state, reason) = match &probe.outlook {
        Outlook::Attachable => ("attachable", None),
        Outlook::Refused(reason) => ("refused", Some(reason.as_str())),
        Outlook::Unknown => ("unknown", None),
    };
    ProbeObject {
        probe: probe.name,
        function: probe.function,
        state,
        reason,
        live_counters: probe.is_live,
        measures: measures(&probe.measures),
        events: probe.events.iter().copied().map(Event::name).collect(),
    }
}

fn measures(measures: &[Measure]) -> Vec<&'static str> {
    measures.iter().copied().map(Measure::name).collect()
}
