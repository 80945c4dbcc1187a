//! The command `doctor`: what this host and its kernel allow and what is missing, told before anything is loaded.
//!
//! `examine` looks, [`Report`] is what it found, `output::doctor` prints it. Nothing is loaded, neither a program nor a
//! module, and nothing that cannot be looked at is an error: it is said to be unseen.

mod examine;

use std::io::{self, Write as _};

use ipvs_observer_common::Measure;

use crate::{
    config::Doctor,
    error::RunError,
    kernel::{Capability, Kernel, Module},
    model::memory::Memory,
    output,
    probe::Survey,
};

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// The network namespace as the user named it; none for that of the caller.
    pub netns: Option<String>,
    /// Where `ip_vs` is.
    pub ip_vs: Module,
    /// Schedulers loaded as modules; none if that could not be seen.
    pub schedulers: Option<Vec<String>>,
    /// Type information.
    pub types: Types,
    /// Capabilities that have to do with observing.
    pub rights: Vec<Right>,
    /// `kernel.perf_event_paranoid`, where the kernel has it.
    pub perf_event_paranoid: Option<i32>,
    /// The latencies asked for.
    pub wanted: Vec<Measure>,
    /// The probes.
    pub survey: Survey,
    /// Services and real servers in the table; none if it could not be read.
    pub table: Option<TableSize>,
    /// What the maps would take.
    pub memory: Memory,
    /// What they may take.
    pub memory_limit_bytes: u64,
    /// What could not be looked at, each with the reason.
    pub unseen: Vec<String>,
}

/// What the kernel says of its types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// Its own and those of `ip_vs`.
    Complete,
    /// It has no BTF.
    None,
    /// It has BTF, and none of `ip_vs`.
    KernelOnly,
    /// They cannot be read, for this reason.
    Unreadable(String),
}

/// A capability and whether the process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The capability.
    pub capability: Capability,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether the process may do that.
    pub has: bool,
}

/// What is configured in the network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Virtual services.
    pub services: usize,
    /// Real servers of all services.
    pub servers: usize,
}

/// What follows from all that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that was asked for can be measured.
    Fine,
    /// The process lacks these.
    NotPermitted(Vec<Capability>),
    /// The kernel has no IPVS at present.
    NoIpvs,
    /// The kernel does not say what its types are.
    NoTypes,
    /// These latencies cannot be measured on this kernel; others can, unless these are all.
    Refused(Vec<Measure>),
}

impl Verdict {
    /// 0 if everything asked for can be measured, 3 for want of IPVS or of a kernel for it, 4 for want of a privilege.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::NoIpvs | Self::NoTypes | Self::Refused(_) => 3,
            Self::NotPermitted(_) => 4,
        }
    }
}

impl Report {
    /// What follows; what `top` would stop at first comes first.
    pub fn verdict(&self) -> Verdict {
        let missing = self.rights.iter().filter(|right| !right.has);
        let missing: Vec<_> = missing.map(|right| right.capability).collect();
        if !missing.is_empty() {
            return Verdict::NotPermitted(missing);
        }
        if self.ip_vs == Module::Absent {
            return Verdict::NoIpvs;
        }
        if self.types != Types::Complete {
            return Verdict::NoTypes;
        }
        let refused = self.refused_measures();
        if refused.is_empty() {
            Verdict::Fine
        } else {
            Verdict::Refused(refused)
        }
    }

    /// The latencies that were asked for and cannot be measured, as far as the probes are known.
    pub fn refused_measures(&self) -> Vec<Measure> {
        let Some(measures) = &self.survey.measures else {
            return Vec::new();
        };
        let wanted = self.wanted.iter().copied();
        wanted
            .filter(|measure| !measures.contains(measure))
            .collect()
    }
}

/// Examines, prints and gives the exit status.
pub fn run(config: &Doctor, netns: Option<String>) -> Result<u8, RunError> {
    let report = examine::examine(&Kernel::at("/"), &config.measuring, netns)?;
    let text = output::doctor::encode(&report, config.output);
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(RunError::System {
            doing: "write to stdout",
            source,
        }),
        _ => Ok(report.verdict().exit_status()),
    }
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::Measure;

    use super::{Types, Verdict};
    use crate::{
        kernel::{Capability, Module},
        output::doctor::testing::report,
    };

    #[test]
    fn a_host_where_nothing_is_missing_is_fine() {
        let verdict = report().verdict();
        assert_eq!((verdict.exit_status(), verdict), (0, Verdict::Fine));
    }

    #[test]
    fn a_privilege_is_missed_before_anything_else() {
        let mut report = report();
        report.ip_vs = Module::Absent;
        report.types = Types::KernelOnly;
        report.rights[1].has = false;
        let expected = Verdict::NotPermitted(vec![Capability::Bpf]);
        assert_eq!(report.verdict(), expected);
        assert_eq!(expected.exit_status(), 4);
        report.rights[1].has = true;
        assert_eq!(report.verdict(), Verdict::NoIpvs);
        report.ip_vs = Module::Loaded;
        assert_eq!(report.verdict(), Verdict::NoTypes);
        assert_eq!(report.verdict().exit_status(), 3);
    }

    #[test]
    fn one_latency_of_those_asked_for_that_cannot_be_measured_is_a_refusal() {
        let mut report = report();
        report.survey.measures = Some(vec![Measure::Connect]);
        let expected = Verdict::Refused(vec![Measure::Schedule]);
        assert_eq!(report.verdict(), expected);
        assert_eq!(expected.exit_status(), 3);
        report.wanted = vec![Measure::Connect];
        assert_eq!(report.verdict(), Verdict::Fine);
    }
}
