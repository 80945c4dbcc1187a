//! What of the kernel's settings bears on the traffic and on its numbers.

use std::time::Duration;

use super::{copies::PERIOD, listing::Setting};

/// Connections in a bucket of the connection table, on average, from which looking one up costs more than the rest of
/// passing on a packet.
const CROWDED: u64 = 4;

/// Settings and sizes, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The sysctls below `net/ipv4/vs`, by name.
    pub settings: Vec<Setting>,
    /// Buckets of the connection table.
    pub connection_table_size: Option<u32>,
}

/// A circumstance that costs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bite {
    /// `conn_reuse_mode` with `conntrack`: the SYN of a client that uses a port again can be dropped, and comes again
    /// after a second.
    ReusedPort,
    /// The sysctl that keeps the kernel from refreshing the copies of its counters, `run_estimation` or `est_cpulist`.
    Frozen(&'static str),
    /// The connection table is small for what is in it.
    CrowdedTable {
        /// Connections of all real servers.
        connections: u64,
        /// Buckets.
        buckets: u32,
    },
}

impl Circumstances {
    /// What bites while real servers have so many `connections`.
    pub fn bites(&self, connections: u64) -> Vec<Bite> {
        let reused = self.can_drop_reused_port().then_some(Bite::ReusedPort);
        let frozen = self.frozen_by().map(Bite::Frozen);
        let crowded = self
            .connection_table_size
            .filter(|&buckets| connections / CROWDED >= u64::from(buckets))
            .map(|buckets| Bite::CrowdedTable {
                connections,
                buckets,
            });
        [reused, frozen, crowded].into_iter().flatten().collect()
    }

    /// Name of the sysctl that stops the kernel's estimator, if one does.
    pub fn frozen_by(&self) -> Option<&'static str> {
        frozen_by(&self.settings)
    }

    /// Whether the `drop_packet` defence may drop packets.
    pub fn may_drop_packets(&self) -> bool {
        self.is_on("drop_packet")
    }

    /// Whether connections outlive their real server, and their packets are dropped: not with `expire_nodest_conn`.
    pub fn keeps_connections(&self) -> bool {
        !self.is_on("expire_nodest_conn")
    }

    /// `ip_vs_conn_uses_old_conntrack` of `ip_vs_core.c`: the old connection is given up, and netfilter still has it.
    fn can_drop_reused_port(&self) -> bool {
        self.is_on("conn_reuse_mode") && self.is_on("conntrack")
    }

    fn is_on(&self, name: &str) -> bool {
        let setting = self.settings.iter().find(|setting| setting.name == name);
        setting.is_some_and(|setting| setting.value != "0")
    }
}

/// Name of the sysctl that stops the kernel's estimator, if one does: the switch, or an empty list of the CPUs that it may
/// run on (`ip_vs_est.c` of 6.2 and later). A kernel without these sysctls always runs it.
pub fn frozen_by(settings: &[Setting]) -> Option<&'static str> {
    let is = |name, value| {
        let mut settings = settings.iter();
        settings.any(|setting| setting.name == name && setting.value == value)
    };
    if is("run_estimation", "0") {
        return Some("run_estimation");
    }
    is("est_cpulist", "").then_some("est_cpulist")
}

/// How old the kernel's copies of its counters are at most; absent where it makes none or no sysctl can be read.
pub fn oldest_copy(settings: &[Setting]) -> Option<Duration> {
    let is_made = !settings.is_empty() && frozen_by(settings).is_none();
    is_made.then_some(PERIOD)
}

#[cfg(test)]
mod tests {
    use super::{Bite, Circumstances, PERIOD, frozen_by, oldest_copy};
    use crate::model::listing::Setting;

    fn circumstances(settings: &[(&str, &str)]) -> Circumstances {
        let settings = settings.iter().map(|(name, value)| Setting {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        Circumstances {
            settings: settings.collect(),
            connection_table_size: Some(4096),
        }
    }

    #[test]
    fn a_reused_port_bites_only_with_conntrack() {
        for (reuse, conntrack, expected) in [
            ("1", "1", true),
            ("0", "1", false),
            ("1", "0", false),
            ("2", "1", true),
        ] {
            let circumstances =
                circumstances(&[("conn_reuse_mode", reuse), ("conntrack", conntrack)]);
            let bites = circumstances.bites(0);
            assert_eq!(bites == [Bite::ReusedPort], expected, "{reuse} {conntrack}");
        }
        assert_eq!(circumstances(&[("conn_reuse_mode", "1")]).bites(0), []);
    }

    #[test]
    fn counters_are_frozen_by_the_switch_or_by_having_no_cpu() {
        let frozen = |switch, cpus| {
            frozen_by(&circumstances(&[("est_cpulist", cpus), ("run_estimation", switch)]).settings)
        };
        assert_eq!(frozen("1", "0-1"), None);
        assert_eq!(frozen("0", "0-1"), Some("run_estimation"));
        assert_eq!(frozen("1", ""), Some("est_cpulist"));
        assert_eq!(frozen_by(&[]), None);
    }

    #[test]
    fn a_copy_has_no_greatest_age_while_the_kernel_makes_none_or_says_nothing() {
        let oldest_copy = |settings| oldest_copy(&circumstances(settings).settings);
        assert_eq!(oldest_copy(&[("amemthresh", "0")]), Some(PERIOD));
        assert_eq!(oldest_copy(&[("run_estimation", "0")]), None);
        assert_eq!(oldest_copy(&[]), None);
    }

    #[test]
    fn a_table_is_crowded_from_four_connections_a_bucket() {
        let circumstances = circumstances(&[]);
        assert_eq!(circumstances.bites(4 * 4096 - 1), []);
        let crowded = Bite::CrowdedTable {
            connections: 4 * 4096,
            buckets: 4096,
        };
        assert_eq!(circumstances.bites(4 * 4096), [crowded]);
        let unknown = Circumstances {
            connection_table_size: None,
            ..circumstances
        };
        assert_eq!(unknown.bites(u64::MAX), []);
    }
}
