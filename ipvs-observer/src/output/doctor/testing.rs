//! Reports of three hosts, for the tests of every format.

use ipvs_observer_common::{Event, Measure};

use crate::{
    doctor::{Report, Right, TableSize, Types},
    kernel::{Capability, Module},
    model::memory::Memory,
    output::testing,
    probe::{Outlook, ProbeOutlook, Survey},
};

/// A host where nothing is missing.
pub(crate) fn report() -> Report {
    let right = |capability, purpose| Right {
        capability,
        purpose,
        has: true,
    };
    let wanted = vec![Measure::Schedule, Measure::Connect];
    Report {
        host: "director1".to_owned(),
        kernel: "6.12.1-test".to_owned(),
        netns: None,
        ip_vs: Module::Loaded,
        schedulers: Some(vec!["rr".to_owned(), "wlc".to_owned()]),
        types: Types::Complete,
        rights: vec![
            right(Capability::NetAdmin, "the IPVS table over netlink"),
            right(Capability::Bpf, "programs and maps"),
        ],
        perf_event_paranoid: Some(2),
        survey: Survey {
            probes: probes(&Outlook::Attachable),
            measures: Some(wanted.clone()),
            no_live: None,
        },
        wanted,
        table: Some(TableSize {
            services: 2,
            servers: 8,
        }),
        memory: Memory {
            server_bytes: 12 << 20,
            record_bytes: 63 << 20,
            fixed_bytes: 1 << 20,
            cpus: 4,
            partitions: 4,
            grouping_bits: 5,
            slots: 64,
            max_slots: 640,
            configured: 10,
            connections: 524_288,
            connections_wanted: 524_288,
            ..Memory::default()
        },
        memory_limit_bytes: 256 << 20,
        unseen: Vec::new(),
    }
}

/// A host without IPVS, seen by a user without any privilege.
pub(crate) fn bare() -> Report {
    let mut report = report();
    report.netns = Some("blue".to_owned());
    report.ip_vs = Module::Absent;
    report.types = Types::KernelOnly;
    report.schedulers = None;
    for right in &mut report.rights {
        right.has = false;
    }
    report.survey.probes = probes(&Outlook::Unknown);
    report.survey.measures = None;
    report.table = None;
    report.perf_event_paranoid = None;
    report.unseen = vec!["the schedulers that are loaded: cannot read /proc/modules".to_owned()];
    report
}

/// A host whose kernel lets nothing be traced, with little memory.
pub(crate) fn refused() -> Report {
    let mut report = report();
    let reason = "this kernel does not let it be traced".to_owned();
    report.survey.probes = probes(&Outlook::Refused(reason));
    report.survey.measures = Some(vec![Measure::Connect]);
    report.survey.no_live = Some("this kernel does not let them be read".to_owned());
    report.memory = testing::memory();
    report
}

fn probes(outlook: &Outlook) -> Vec<ProbeOutlook> {
    let probe = |name, is_live, measures: &[Measure], events: &[Event]| ProbeOutlook {
        name,
        function: name,
        is_live,
        measures: measures.to_vec(),
        events: events.to_vec(),
        outlook: outlook.clone(),
    };
    vec![
        probe("udp_state_transition", false, &[], &[]),
        probe(
            "ip_vs_schedule",
            false,
            &[Measure::Schedule],
            &[Event::NoConnection],
        ),
        probe("ip_vs_genl_fill_dest", true, &[], &[]),
    ]
}
