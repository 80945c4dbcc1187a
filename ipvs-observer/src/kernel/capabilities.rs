//! What the process is allowed to do, and what observing takes.

use std::fmt;

/// A capability by its number (`include/uapi/linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: the IPVS table.
    NetAdmin = 12,
    /// `CAP_SYS_PTRACE`: the namespaces of other users' processes.
    SysPtrace = 19,
    /// `CAP_SYS_ADMIN`: entering a namespace; stands for the two below.
    SysAdmin = 21,
    /// `CAP_PERFMON`: probes and reads of kernel memory.
    Perfmon = 38,
    /// `CAP_BPF`: programs and maps.
    Bpf = 39,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

/// The effective capabilities of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Reads `/proc/PID/status`; without the line there are none.
    pub fn parse(status: &str) -> Self {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(
            effective
                .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
                .unwrap_or(0),
        )
    }

    /// Whether `capability` is among them.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 >> (capability as u32) & 1 == 1
    }

    /// What observing takes and is not among them.
    pub fn missing(self) -> Vec<Capability> {
        let by_admin = self.has(Capability::SysAdmin);
        [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin]
            .into_iter()
            .filter(|&needed| !self.has(needed) && (needed == Capability::NetAdmin || !by_admin))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Capability};

    fn missing(cap_eff: &str) -> Vec<Capability> {
        Capabilities::parse(&format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{cap_eff}\n")).missing()
    }

    #[test]
    fn root_misses_nothing_and_a_user_everything() {
        assert_eq!(missing("000001ffffffffff"), []);
        assert_eq!(
            missing("0"),
            [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin]
        );
        assert_eq!(Capabilities::parse("").missing().len(), 3);
    }

    #[test]
    fn each_is_asked_for_by_itself_and_sys_admin_stands_for_two() {
        assert_eq!(missing("000000c000001000"), []);
        assert_eq!(missing("0000008000001000"), [Capability::Perfmon]);
        assert_eq!(missing("0000004000001000"), [Capability::Bpf]);
        assert_eq!(missing("0000000000200000"), [Capability::NetAdmin]);
    }
}
