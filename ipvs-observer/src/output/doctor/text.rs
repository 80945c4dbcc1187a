//! One line for each thing looked at, with what to do next where it is missing, and the verdict at the end.

use ipvs_observer_common::Measure;

use super::super::memory;
use crate::{
    doctor::{Report, Right, Types, Verdict},
    kernel::Module,
    probe::{Outlook, ProbeOutlook},
};

/// How a thing stands, in the first column.
const FINE: &str = "ok";
const MISSING: &str = "MISSING";
const REFUSED: &str = "REFUSED";
const UNKNOWN: &str = "?";
const NOTE: &str = "note";

pub(super) fn encode(report: &Report) -> String {
    let mut page = Page::default();
    page.title(report);
    page.ip_vs(report);
    page.types(report);
    for right in &report.rights {
        page.right(right);
    }
    for probe in &report.survey.probes {
        page.probe(probe);
    }
    page.memory(report);
    for unseen in &report.unseen {
        page.line(UNKNOWN, "not seen", unseen);
    }
    page.text.push_str(&verdict(report));
    page.text.push('\n');
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, state: &str, subject: &str, words: &str) {
        let line = format!("{state:<8} {subject:<14} {words}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, report: &Report) {
        let netns = report.netns.as_deref();
        let netns = netns.map_or_else(String::new, |netns| format!("  network namespace {netns}"));
        let title = format!("{}  Linux {}{netns}\n", report.host, report.kernel);
        self.text.push_str(&title);
    }

    fn ip_vs(&mut self, report: &Report) {
        let schedulers = match report.schedulers.as_deref() {
            None => String::new(),
            Some([]) => "; no scheduler is loaded as a module".to_owned(),
            Some(names) => format!("; schedulers {}", names.join(", ")),
        };
        let table = report.table.map_or_else(String::new, |table| {
            format!(
                "; {} services, {} real servers",
                table.services, table.servers
            )
        });
        match report.ip_vs {
            Module::Loaded => self.line(FINE, "ip_vs", &format!("loaded{schedulers}{table}")),
            Module::BuiltIn => self.line(FINE, "ip_vs", &format!("built in{schedulers}{table}")),
            Module::Absent => self.line(
                MISSING,
                "ip_vs",
                "not loaded; `modprobe ip_vs` loads it, as keepalived and kube-proxy do",
            ),
        }
    }

    fn types(&mut self, report: &Report) {
        match &report.types {
            Types::Complete => self.line(FINE, "BTF", "of the kernel and of ip_vs"),
            Types::None => self.line(
                MISSING,
                "BTF",
                "none; boot a kernel built with CONFIG_DEBUG_INFO_BTF and CONFIG_DEBUG_INFO_BTF_MODULES",
            ),
            Types::KernelOnly if report.ip_vs == Module::Absent => {
                self.line(UNKNOWN, "BTF", "of the kernel; that of ip_vs comes with it");
            }
            Types::KernelOnly => self.line(
                MISSING,
                "BTF",
                "none of ip_vs; boot a kernel from 5.18 on, built with CONFIG_DEBUG_INFO_BTF_MODULES",
            ),
            Types::Unreadable(reason) => self.line(MISSING, "BTF", reason),
        }
    }

    fn right(&mut self, right: &Right) {
        let name = right.capability.to_string();
        if right.has {
            self.line(FINE, &name, right.purpose);
        } else {
            let words = format!("{}; run as root, or give the process {name}", right.purpose);
            self.line(MISSING, &name, &words);
        }
    }

    fn probe(&mut self, probe: &ProbeOutlook) {
        let what_for = what_for(probe);
        let name = if probe.name == probe.function {
            probe.name.to_owned()
        } else {
            format!("{} on {}", probe.name, probe.function)
        };
        match &probe.outlook {
            Outlook::Attachable => {
                self.line(FINE, "probe", &format!("{name}: {what_for}"));
            }
            Outlook::Unknown => {
                self.line(UNKNOWN, "probe", &format!("{name}: {what_for}"));
            }
            Outlook::Refused(reason) => {
                // Without live counters everything is measured all the same.
                let state = if probe.is_live { NOTE } else { REFUSED };
                let words = format!("{name}: {reason}; lost: {what_for}");
                self.line(state, "probe", &words);
            }
        }
    }

    fn memory(&mut self, report: &Report) {
        let maps = &report.memory;
        let words = format!(
            "{} of {} MiB: servers {} ({} slots), connections {} ({})",
            mebibytes(maps.bytes()),
            mebibytes(report.memory_limit_bytes),
            mebibytes(maps.server_bytes),
            maps.slots,
            mebibytes(maps.record_bytes),
            maps.connections,
        );
        self.line(FINE, "memory", &words);
        if report.table.is_none() {
            let words = "for an empty table, as the present one is not known";
            self.line(NOTE, "memory", words);
        }
        for compromise in maps.compromises() {
            let words = memory::describe(compromise);
            self.line(NOTE, "memory", words.trim_start_matches("memory: "));
        }
    }
}

fn what_for(probe: &ProbeOutlook) -> String {
    if probe.is_live {
        return "live counters".to_owned();
    }
    let events = match probe.events.len() {
        0 => None,
        1 => Some("1 counter".to_owned()),
        n => Some(format!("{n} counters")),
    };
    let names = probe.measures.iter().copied().map(Measure::name);
    let all: Vec<_> = names.map(str::to_owned).chain(events).collect();
    if all.is_empty() {
        "a part of others".to_owned()
    } else {
        all.join(", ")
    }
}

fn verdict(report: &Report) -> String {
    let named = |measures: &[Measure]| {
        let names: Vec<_> = measures.iter().copied().map(Measure::name).collect();
        names.join(", ")
    };
    match report.verdict() {
        Verdict::Fine => format!(
            "all fine: `ipvs-observer top` measures {}",
            named(&report.wanted)
        ),
        Verdict::NotPermitted(capabilities) => {
            let names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
            format!(
                "not permitted: run as root, or give the process {}; `ipvs-observer list` shows the table without",
                names.join(" and ")
            )
        }
        Verdict::NoIpvs => {
            "nothing to observe: IPVS is not loaded in this kernel; load it with `modprobe ip_vs`"
                .to_owned()
        }
        Verdict::NoTypes => {
            "this kernel cannot be observed: it has no BTF of ip_vs; `ipvs-observer list` works without"
                .to_owned()
        }
        Verdict::Refused(measures) if measures == report.wanted => {
            "this kernel cannot be observed: none of the latencies asked for can be measured; \
             `ipvs-observer list` works without"
                .to_owned()
        }
        Verdict::Refused(measures) => {
            let without: Vec<_> = measures
                .iter()
                .map(|measure| format!("-{}", measure.name()))
                .collect();
            format!(
                "in part: this kernel does not let {} be measured, and `top` goes on without (--measure {})",
                named(&measures),
                without.join(",")
            )
        }
    }
}

/// People compare it with what they allow, in the same unit.
#[expect(
    clippy::cast_precision_loss,
    reason = "a tenth of a mebibyte needs no more than 53 bits"
)]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::encode;
    use crate::{
        doctor::Types,
        kernel::Module,
        output::doctor::testing::{bare, refused, report},
    };

    #[test]
    fn reports_are_shown_as_they_stand_here() {
        for (report, expected) in [
            (report(), include_str!("testdata/fine.txt")),
            (bare(), include_str!("testdata/bare.txt")),
            (refused(), include_str!("testdata/refused.txt")),
        ] {
            let page = encode(&report);
            assert_eq!(page, expected, "\n{page}");
            let mut lines = page.lines();
            assert!(lines.all(|line| line.chars().count() <= 120), "{page}");
        }
    }

    #[test]
    fn a_kernel_whose_module_has_no_types_is_told_apart_from_one_without_the_module() {
        let mut report = report();
        report.types = Types::KernelOnly;
        let page = encode(&report);
        assert!(page.contains("\nMISSING  BTF"), "{page}");
        assert!(page.contains("this kernel cannot be observed"), "{page}");
        report.ip_vs = Module::Absent;
        let page = encode(&report);
        assert!(page.contains("\n?        BTF"), "{page}");
        assert!(page.contains("`modprobe ip_vs`"), "{page}");
    }
}
