//! What follows from the sysctls under `net/ipv4/vs` for those who read counters or latencies.

use crate::model::listing::Setting;

/// Whether the kernel refreshes its counters: not where it is 0.
pub const RUN_ESTIMATION: &str = "run_estimation";
/// The CPUs of the threads that do so, on kernels that have such threads (not 6.1).
pub const EST_CPULIST: &str = "est_cpulist";

/// The name of the sysctl that stops the kernel from refreshing its counters and rates, if one
/// does: all copies then stay as they are. A kernel without these sysctls always refreshes.
pub fn frozen_by(settings: &[Setting]) -> Option<&'static str> {
    if integer(settings, RUN_ESTIMATION) == Some(0) {
        return Some(RUN_ESTIMATION);
    }
    let no_cpu = find(settings, EST_CPULIST)?.value.is_empty();
    no_cpu.then_some(EST_CPULIST)
}

/// Whether a SYN from a port that the client used before can be dropped, so that the client
/// repeats it after a second: `conn_reuse_mode` gives up the old connection, and netfilter's
/// `conntrack` still has it. Absent where one of the two is not known.
pub fn can_drop_reused_port(settings: &[Setting]) -> Option<bool> {
    let reuse = integer(settings, "conn_reuse_mode")?;
    let conntrack = integer(settings, "conntrack")?;
    Some(reuse != 0 && conntrack != 0)
}

fn integer(settings: &[Setting], name: &str) -> Option<i64> {
    find(settings, name)?.value.parse().ok()
}

fn find<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::{can_drop_reused_port, frozen_by};
    use crate::model::listing::Setting;

    fn settings<const N: usize>(pairs: [(&str, &str); N]) -> [Setting; N] {
        pairs.map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    #[test]
    fn counters_are_frozen_by_the_switch_or_by_having_no_cpu() {
        let frozen = |switch, cpus| {
            frozen_by(&settings([
                ("est_cpulist", cpus),
                ("run_estimation", switch),
            ]))
        };
        assert_eq!(frozen("1", "0-1"), None);
        assert_eq!(frozen("0", "0-1"), Some("run_estimation"));
        assert_eq!(frozen("1", ""), Some("est_cpulist"));
        assert_eq!(frozen("0", ""), Some("run_estimation"));
    }

    #[test]
    fn older_kernels_refresh_unless_they_are_told_not_to() {
        assert_eq!(frozen_by(&[]), None);
        assert_eq!(frozen_by(&settings([("run_estimation", "1")])), None);
        assert_eq!(
            frozen_by(&settings([("run_estimation", "0")])),
            Some("run_estimation")
        );
    }

    #[test]
    fn reused_ports_are_dropped_where_both_sides_remember_them() {
        let dropped = |reuse, conntrack| {
            can_drop_reused_port(&settings([
                ("conn_reuse_mode", reuse),
                ("conntrack", conntrack),
            ]))
        };
        assert_eq!(dropped("1", "1"), Some(true));
        assert_eq!(dropped("2", "1"), Some(true));
        assert_eq!(dropped("0", "1"), Some(false));
        assert_eq!(dropped("1", "0"), Some(false));
        assert_eq!(dropped("1", "?"), None);
        assert_eq!(
            can_drop_reused_port(&settings([("conn_reuse_mode", "1")])),
            None
        );
    }
}
