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

/// The highest `kernel.perf_event_paranoid` that means something upstream (`include/linux/perf_event.h`).
const MOST_PARANOID: i32 = 2;

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

    /// Whether they permit what `capability` permits: `CAP_SYS_ADMIN` stands for two of the others.
    pub const fn permit(self, capability: Capability) -> bool {
        let by_admin = matches!(capability, Capability::Bpf | Capability::Perfmon);
        self.has(capability) || (by_admin && self.has(Capability::SysAdmin))
    }

    /// What observing takes and is not among them.
    pub fn missing(self) -> Vec<Capability> {
        [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin]
            .into_iter()
            .filter(|&needed| !self.permit(needed))
            .collect()
    }

    /// What observing all network namespaces takes besides, and is not among them.
    pub fn missing_for_all_namespaces(self) -> Option<Capability> {
        (!self.has(Capability::SysAdmin)).then_some(Capability::SysAdmin)
    }

    /// What attaching probes takes besides, and is not among them, while `kernel.perf_event_paranoid` is `paranoid`.
    ///
    /// Debian's and Ubuntu's kernels then give perf events to no other; those of others give them to `CAP_PERFMON`, so
    /// that this is the reason of a refusal and does not foretell one.
    pub fn missing_for_perf_events(self, paranoid: Option<i32>) -> Option<Capability> {
        let is_wanted = paranoid.is_some_and(|paranoid| paranoid > MOST_PARANOID);
        (is_wanted && !self.has(Capability::SysAdmin)).then_some(Capability::SysAdmin)
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
    fn perf_events_want_sys_admin_where_the_kernel_is_more_paranoid_than_upstream() {
        let missing = |cap_eff: &str, paranoid| {
            Capabilities::parse(&format!("CapEff:\t{cap_eff}")).missing_for_perf_events(paranoid)
        };
        let (three, admin) = ("000000c000001000", "0000000000200000");
        assert_eq!(missing(three, Some(3)), Some(Capability::SysAdmin));
        assert_eq!(missing(three, Some(2)), None);
        assert_eq!(missing(three, None), None);
        assert_eq!(missing(admin, Some(4)), None);
    }

    #[test]
    fn each_is_asked_for_by_itself_and_sys_admin_stands_for_two() {
        assert_eq!(missing("000000c000001000"), []);
        assert_eq!(missing("0000008000001000"), [Capability::Perfmon]);
        assert_eq!(missing("0000004000001000"), [Capability::Bpf]);
        assert_eq!(missing("0000000000200000"), [Capability::NetAdmin]);
    }
}
