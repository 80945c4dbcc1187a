//! What can be expected of the probes and of their maps, before anything is loaded. Pure, but for the number of CPUs.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_observer_common::{Event, Measure};

use super::{
    LoadError,
    plan::{self, Plan, Probe},
    possible_cpus,
    sizes::{Limits, Sizes},
};
use crate::{btf::resolve::Resolved, config::Measuring, model::memory::Memory};

/// What can be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Every probe, in the order of attaching.
    pub probes: Vec<ProbeOutlook>,
    /// The latencies that can be measured, of those wanted; none if nothing is known of the probes.
    pub measures: Option<Vec<Measure>>,
    /// Why counters cannot be read live, if that is known.
    pub no_live: Option<String>,
}

/// A probe and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutlook {
    /// Name of the probe.
    pub name: &'static str,
    /// The kernel function.
    pub function: &'static str,
    /// Whether it is for live counters.
    pub is_live: bool,
    /// The latencies that cannot be measured without it.
    pub measures: Vec<Measure>,
    /// The events that cannot be counted without it.
    pub events: Vec<Event>,
    /// What is to be expected.
    pub outlook: Outlook,
}

/// What is to be expected of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing stands against it.
    Attachable,
    /// It cannot be attached, for this reason.
    Refused(String),
    /// Nothing is known of its function.
    Unknown,
}

/// The functions that have probes.
pub fn functions() -> BTreeSet<&'static str> {
    let probes = plan::possible().filter(|&probe| !plan::is_tracepoint(probe));
    probes.map(|probe| probe.function).collect()
}

/// The probes of a kernel of which nothing is known.
pub fn unexamined() -> Survey {
    Survey {
        probes: plan::every()
            .map(|probe| outlook(probe, Outlook::Unknown))
            .collect(),
        measures: None,
        no_live: None,
    }
}

/// The probes of the kernel of `resolved`, of whose functions it refuses some for other reasons.
pub fn survey(
    resolved: &Resolved,
    refused: &BTreeMap<&'static str, String>,
    wanted: &[Measure],
) -> Survey {
    let mut plan = Plan::full(resolved, wanted);
    for probe in plan.probes.clone() {
        if let Some(reason) = refused.get(probe.function) {
            plan.refuse(probe, reason.clone());
        }
    }
    Survey {
        probes: plan::wanted(wanted, resolved)
            .map(|probe| outlook(probe, judge(&plan, probe)))
            .collect(),
        measures: Some(plan.measures(wanted)),
        no_live: plan.no_live,
    }
}

fn judge(plan: &Plan, probe: Probe) -> Outlook {
    if plan.probes.contains(&probe) {
        return Outlook::Attachable;
    }
    let mut refused = plan.refused.iter();
    let refused = refused.find(|refused| refused.function == probe.function);
    let reason = refused.map(|refused| &refused.reason);
    Outlook::Refused(
        reason
            .or(plan.no_live.as_ref())
            .cloned()
            .unwrap_or_default(),
    )
}

fn outlook(probe: Probe, outlook: Outlook) -> ProbeOutlook {
    let (measures, events) = plan::carried_by(probe);
    ProbeOutlook {
        name: probe.name,
        function: probe.function,
        is_live: plan::is_live(probe),
        measures,
        events,
        outlook,
    }
}

/// What the maps would hold and take for so many `measures` of so many services and real servers.
pub fn planned_memory(
    measuring: &Measuring,
    measures: usize,
    configured: usize,
) -> Result<Memory, LoadError> {
    let sizes = Sizes::choose(&Limits {
        memory_bytes: measuring.memory_bytes,
        connections: measuring.connections,
        cpus: possible_cpus()?,
        measures: u32::try_from(measures).unwrap_or(u32::MAX),
        configured,
        stream_bytes: None,
        stacks: false,
    });
    Ok(sizes.memory(measuring.connections, configured))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ipvs_observer_common::{Event, Layout, Measure};

    use super::{Outlook, Survey, functions, survey, unexamined};
    use crate::btf::resolve::{Refusal, Resolved};

    const WANTED: [Measure; 2] = [Measure::Schedule, Measure::Connect];

    fn resolved() -> Resolved {
        let fits = |name| (name, Ok(()));
        Resolved {
            layout: Layout::default(),
            functions: functions().into_iter().map(fits).collect(),
        }
    }

    fn outlook<'a>(survey: &'a Survey, name: &str) -> &'a Outlook {
        let mut probes = survey.probes.iter();
        &probes.find(|probe| probe.name == name).unwrap().outlook
    }

    #[test]
    fn a_kernel_where_all_fits_gives_all_that_is_wanted() {
        let survey = survey(&resolved(), &BTreeMap::new(), &WANTED);
        assert_eq!(survey.measures.as_deref(), Some(&WANTED[..]));
        assert_eq!(survey.no_live, None);
        let all = survey.probes.iter();
        assert!(
            all.clone()
                .all(|probe| probe.outlook == Outlook::Attachable)
        );
        let tcp = all
            .clone()
            .find(|probe| probe.name == "tcp_state_transition");
        let tcp = tcp.unwrap();
        assert!(tcp.measures.contains(&Measure::Connect) && !tcp.is_live);
        assert!(tcp.events.contains(&Event::Established));
        let live = all.filter(|probe| probe.is_live);
        assert_eq!(live.count(), 2);
    }

    #[test]
    fn a_function_that_cannot_be_traced_takes_its_measures_with_it() {
        let refused = BTreeMap::from([("ip_vs_schedule", "inlined".to_owned())]);
        let survey = survey(&resolved(), &refused, &WANTED);
        assert_eq!(survey.measures.as_deref(), Some(&[Measure::Connect][..]));
        for name in ["ip_vs_schedule", "ip_vs_schedule_return"] {
            let expected = Outlook::Refused("inlined".to_owned());
            assert_eq!(*outlook(&survey, name), expected, "{name}");
        }
    }

    #[test]
    fn what_btf_refuses_is_told_with_its_reason() {
        let mut resolved = resolved();
        for (function, refusal) in [
            (
                "sctp_state_transition",
                Refusal::NoFunction("sctp_state_transition"),
            ),
            ("ip_vs_genl_fill_dest", Refusal::NoStructure("bpf_array")),
        ] {
            resolved.functions.insert(function, Err(refusal));
        }
        let survey = survey(&resolved, &BTreeMap::new(), &WANTED);
        let reason = "this kernel has no function sctp_state_transition".to_owned();
        assert_eq!(
            *outlook(&survey, "sctp_state_transition"),
            Outlook::Refused(reason)
        );
        let reason = "ip_vs_genl_fill_dest: this kernel has no struct bpf_array".to_owned();
        for function in ["ip_vs_genl_fill_service", "ip_vs_genl_fill_dest"] {
            let expected = Outlook::Refused(reason.clone());
            assert_eq!(*outlook(&survey, function), expected, "{function}");
        }
        assert_eq!(survey.no_live, Some(reason));
    }

    #[test]
    fn of_a_kernel_that_was_not_looked_at_nothing_is_known() {
        let survey = unexamined();
        assert_eq!(survey.measures, None);
        assert!(
            survey
                .probes
                .iter()
                .all(|probe| probe.outlook == Outlook::Unknown)
        );
    }
}
