//! Why the agent stops, and the exit status of each reason.

use std::process::ExitCode;

use thiserror::Error;

use crate::{
    btf::parse::BtfError,
    config::ConfigError,
    ipvs::{netlink::NetlinkError, procfs::ProcfsError},
    kernel::{Capability, NetnsError, ReadError, SymbolError},
    model::filter::Unmatched,
    probe::LoadError,
    record::RecordError,
    report::ReportError,
};

/// A reason to stop.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The command line or the configuration cannot be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Some privilege is missing.
    #[error("not permitted to observe IPVS: run as root, or give the process {}", list(.0))]
    NotPermitted(Vec<Capability>),
    /// The kernel has no BTF.
    #[error(
        "this kernel has no BTF (/sys/kernel/btf/vmlinux): it takes one built with CONFIG_DEBUG_INFO_BTF and CONFIG_DEBUG_INFO_BTF_MODULES"
    )]
    NoBtf,
    /// The kernel has BTF and its module has not.
    #[error(
        "this kernel has no BTF of ip_vs (/sys/kernel/btf/ip_vs): it takes one built with CONFIG_DEBUG_INFO_BTF_MODULES"
    )]
    NoModuleBtf,
    /// The BTF cannot be read.
    #[error("cannot read the kernel's BTF")]
    Btf(#[from] BtfError),
    /// A file of the kernel cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// IPVS did not answer.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The probes cannot be started.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was asked for is not there.
    #[error(transparent)]
    Unmatched(#[from] Unmatched),
    /// A text file of IPVS cannot be read.
    #[error(transparent)]
    Procfs(#[from] ProcfsError),
    /// The network namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The functions of stacks have no names.
    #[error("cannot name the functions of kernel stacks (--stack)")]
    Symbols(#[from] SymbolError),
    /// A file cannot be recorded into.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The command to record around cannot be run.
    #[error("cannot run {program}, which is to be recorded")]
    Command {
        /// As it was typed.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something else of the system.
    #[error("cannot {doing}")]
    System {
        /// What failed.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RunError {
    /// 1 failed, 2 usage, 3 no IPVS or a kernel that cannot be observed, 4 not permitted.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) => 2,
            Self::NoBtf
            | Self::NoModuleBtf
            | Self::Btf(_)
            | Self::Netlink(NetlinkError::NotLoaded)
            | Self::Load(LoadError::NothingAttached(_)) => 3,
            Self::NotPermitted(_)
            | Self::Netlink(NetlinkError::NotPermitted { .. })
            | Self::Load(LoadError::NotPermitted)
            | Self::Symbols(SymbolError::Hidden)
            | Self::Netns(NetnsError::NotPermitted { .. }) => 4,
            Self::Read(_)
            | Self::Netlink(_)
            | Self::Load(_)
            | Self::Unmatched(_)
            | Self::Procfs(_)
            | Self::Netns(_)
            | Self::Symbols(_)
            | Self::Record(_)
            | Self::Report(_)
            | Self::Command { .. }
            | Self::System { .. } => 1,
        })
    }
}

/// An error with its causes, on one line.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn list(capabilities: &[Capability]) -> String {
    capabilities
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}
