//! What `list` shows: the table and everything else that IPVS says of itself at one time.
//!
//! Outputs are pure functions of a listing. Who gathers it is `list`; where each part comes from is `ipvs`.

use std::time::Duration;

use super::sample::Timestamp;
use crate::ipvs::table::{Daemon, Info, Table, Timeouts, Traffic};

/// One reading of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// When the reading began.
    pub at: Timestamp,
    /// How long reading the table took.
    pub took: Duration,
    /// Name of the host.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// The network namespace as it was asked for; absent for the one the agent was started in.
    pub netns: Option<String>,
    /// Where the table comes from, and with that how much of it is known.
    pub source: Source,
    /// Version and size.
    pub info: Info,
    /// Services and real servers.
    pub table: Table,
    /// Absent if the source does not say.
    pub timeouts: Option<Timeouts>,
    /// Master and backup, where they run; absent if the source does not say.
    pub daemons: Option<Vec<Daemon>>,
    /// All traffic of IPVS in this network namespace, from its live per-CPU counters, which zeroing does not touch;
    /// absent if it cannot be read.
    pub totals: Option<Traffic>,
    /// The same from the copy that the kernel makes every 2 s, since it was last zeroed.
    pub copied_totals: Option<Traffic>,
    /// The sysctls below `net/ipv4/vs`, by name.
    pub settings: Vec<Setting>,
    /// Connections that IPVS keeps, where the kernel counts them.
    pub connections: Option<u64>,
}

/// Where a table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Generic netlink: everything.
    Netlink,
    /// `/proc/net/ip_vs`, which has no counters, thresholds, tunnels, scheduler flags and engines.
    Procfs,
}

/// A sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name below `net/ipv4/vs`.
    pub name: String,
    /// Its text, without white space around it.
    pub value: String,
}
