//! Looks at the host: reads files and asks netlink, changes nothing and loads nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, Right, TableSize, Types};
use crate::{
    btf::{
        parse::Btf,
        resolve::{Refusal, Resolved, resolve},
    },
    config::Measuring,
    error::{RunError, one_line},
    ipvs::{netlink::Ipvs, table::Table},
    kernel::{Capabilities, Capability, Kernel, Module},
    probe::{Survey, functions, planned_memory, survey, unexamined},
};

/// What cannot be seen is noted and passed over.
type Unseen = Vec<String>;

pub(super) fn examine(
    kernel: &Kernel,
    measuring: &Measuring,
    netns: Option<String>,
) -> Result<Report, RunError> {
    let mut unseen = Unseen::new();
    let uname = rustix::system::uname();
    let ip_vs = kernel.ip_vs();
    let perf_event_paranoid = kernel.perf_event_paranoid();
    let (types, resolved) = types(kernel);
    let survey = match &resolved {
        Some(resolved) => probes(kernel, resolved, measuring, &mut unseen),
        None => unexamined(),
    };
    let table = (ip_vs != Module::Absent)
        .then(|| table(kernel, &mut unseen))
        .flatten();
    let configured = table.map_or(0, |table| table.services + table.servers);
    let measures = survey.measures.as_ref().unwrap_or(&measuring.measures);
    let memory = planned_memory(measuring, measures.len(), configured)?;
    Ok(Report {
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        netns,
        ip_vs,
        schedulers: seen(
            "the schedulers that are loaded",
            kernel.schedulers(),
            &mut unseen,
        ),
        types,
        rights: rights(kernel.capabilities()?, perf_event_paranoid),
        perf_event_paranoid,
        wanted: measuring.measures.clone(),
        survey,
        table,
        memory,
        memory_limit_bytes: measuring.memory_bytes,
        unseen,
    })
}

fn seen<T, E: std::error::Error>(
    what: &str,
    found: Result<T, E>,
    unseen: &mut Unseen,
) -> Option<T> {
    found
        .map_err(|error| unseen.push(format!("{what}: {}", one_line(&error))))
        .ok()
}

fn rights(capabilities: Capabilities, perf_event_paranoid: Option<i32>) -> Vec<Right> {
    let needed = [
        (Capability::NetAdmin, "the IPVS table over netlink"),
        (Capability::Bpf, "programs and maps"),
        (Capability::Perfmon, "probes and reads of kernel memory"),
    ];
    let needed = needed.map(|(capability, purpose)| Right {
        capability,
        purpose,
        has: capabilities.permit(capability),
    });
    let for_perf_events = capabilities.missing_for_perf_events(perf_event_paranoid);
    let for_perf_events = for_perf_events.map(|capability| Right {
        capability,
        purpose: "perf events while kernel.perf_event_paranoid is above 2 (Debian, Ubuntu)",
        has: false,
    });
    needed.into_iter().chain(for_perf_events).collect()
}

/// The types, and what they mean to the probes.
fn types(kernel: &Kernel) -> (Types, Option<Resolved>) {
    if !kernel.has_btf() {
        return (Types::None, None);
    }
    let images = match kernel.btf() {
        Ok(images) => images,
        Err(error) => return (Types::Unreadable(one_line(&error)), None),
    };
    let resolved = match Btf::parse(&images.base, images.ip_vs.as_deref()) {
        Ok(btf) => resolve(&btf),
        Err(error) => return (Types::Unreadable(one_line(&error)), None),
    };
    let is_known = |outcome: &Result<(), Refusal>| !matches!(outcome, Err(Refusal::NoFunction(_)));
    let has_functions = images.ip_vs.is_some() || resolved.functions.values().any(is_known);
    if has_functions {
        (Types::Complete, Some(resolved))
    } else {
        (Types::KernelOnly, None)
    }
}

fn probes(
    kernel: &Kernel,
    resolved: &Resolved,
    measuring: &Measuring,
    unseen: &mut Unseen,
) -> Survey {
    let names = functions();
    let present = seen("/proc/kallsyms", kernel.functions(&names), unseen);
    let traceable = seen(
        "functions that can be traced",
        kernel.traceable(&names),
        unseen,
    );
    let refused = refused(&names, present.as_ref(), traceable.as_ref());
    survey(resolved, &refused, &measuring.measures)
}

/// What the types do not tell: a function can have been inlined or renamed by the compiler, and the kernel puts no probe
/// of perf events on a function that it does not trace (`within_notrace_func` of `kernel/trace/trace_kprobe.c`).
fn refused(
    names: &BTreeSet<&'static str>,
    present: Option<&BTreeSet<&'static str>>,
    traceable: Option<&BTreeSet<&'static str>>,
) -> BTreeMap<&'static str, String> {
    let lacks = |found: Option<&BTreeSet<&str>>, name: &str| {
        found.is_some_and(|found| !found.is_empty() && !found.contains(name))
    };
    let reason = |name: &'static str| {
        if lacks(present, name) {
            Some(format!(
                "this kernel has no function {name} in /proc/kallsyms"
            ))
        } else if lacks(traceable, name) {
            Some(format!("this kernel does not let {name} be traced"))
        } else {
            None
        }
    };
    let refused = names.iter().copied();
    refused
        .filter_map(|name| Some((name, reason(name)?)))
        .collect()
}

/// The table as far as the privileges reach: `/proc` shows it to everybody.
fn table(kernel: &Kernel, unseen: &mut Unseen) -> Option<TableSize> {
    let by_netlink = Ipvs::open().and_then(|mut ipvs| ipvs.table(&mut |_, _| None));
    if let Ok(table) = by_netlink {
        return Some(TableSize::of(&table));
    }
    let read = seen("the IPVS table", kernel.ipvs_table(), unseen)?;
    let mut size = TableSize::of(&read.table);
    // Whose address family the file does not say.
    size.services += read.marks.len();
    let servers = read.marks.iter().map(|mark| mark.destinations.len());
    size.servers += servers.sum::<usize>();
    Some(size)
}

impl TableSize {
    fn of(table: &Table) -> Self {
        let servers = table.services.iter();
        Self {
            services: table.services.len(),
            servers: servers.map(|service| service.destinations.len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Capabilities, Capability, refused, rights};

    #[test]
    fn a_function_is_refused_by_what_was_seen_alone() {
        let names = BTreeSet::from(["a", "b", "c"]);
        let (two, one) = (BTreeSet::from(["a", "b"]), BTreeSet::from(["a"]));
        let names_of = |present, traceable| {
            let refused = refused(&names, present, traceable);
            refused.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names_of(Some(&two), Some(&one)), ["b", "c"]);
        assert_eq!(names_of(Some(&two), None), ["c"]);
        assert_eq!(names_of(None, None), [] as [&str; 0]);
        let reasons = refused(&names, Some(&two), Some(&one));
        assert_eq!(reasons["b"], "this kernel does not let b be traced");
        assert_eq!(
            reasons["c"],
            "this kernel has no function c in /proc/kallsyms"
        );
    }

    #[test]
    fn sys_admin_is_named_where_it_is_missed_and_stands_for_others_where_it_is_not() {
        let rights = |cap_eff: &str, paranoid| {
            let capabilities = Capabilities::parse(&format!("CapEff:\t{cap_eff}"));
            let rights = rights(capabilities, paranoid).into_iter();
            let missing = rights.filter(|right| !right.has);
            missing.map(|right| right.capability).collect::<Vec<_>>()
        };
        assert_eq!(rights("000000c000001000", Some(3)), [Capability::SysAdmin]);
        assert_eq!(rights("000000c000001000", Some(2)), []);
        assert_eq!(rights("0000000000201000", Some(3)), []);
    }
}
