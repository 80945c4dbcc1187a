//! Which probes are attached and why others are not. Pure: facts in, plan out.

use ipvs_observer_common::{Measure, Program};

use crate::{btf::resolve::Resolved, model::snapshot::RefusedProbe};

/// A program and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) program: Program,
    /// Name of the program in the object.
    pub(super) name: &'static str,
    /// The kernel function, at whose entry or return its kind puts it.
    pub(super) function: &'static str,
}

/// Every probe in the order of attaching: what ends records comes before what makes them, so that none is left behind.
const PROBES: [Probe; 10] = [
    probe(
        Program::ConnRcuFree,
        "ip_vs_conn_rcu_free",
        "ip_vs_conn_rcu_free",
    ),
    probe(
        Program::ConnExpire,
        "ip_vs_conn_expire",
        "ip_vs_conn_expire",
    ),
    probe(Program::ConnNew, "ip_vs_conn_new", "ip_vs_conn_new"),
    probe(
        Program::ScheduleReturn,
        "ip_vs_schedule_return",
        "ip_vs_schedule",
    ),
    probe(Program::ScheduleEntry, "ip_vs_schedule", "ip_vs_schedule"),
    probe(Program::LeaveReturn, "ip_vs_leave_return", "ip_vs_leave"),
    probe(Program::LeaveEntry, "ip_vs_leave", "ip_vs_leave"),
    probe(
        Program::TcpStateTransition,
        "tcp_state_transition",
        "tcp_state_transition",
    ),
    probe(
        Program::UdpStateTransition,
        "udp_state_transition",
        "udp_state_transition",
    ),
    probe(
        Program::SctpStateTransition,
        "sctp_state_transition",
        "sctp_state_transition",
    ),
];

const fn probe(program: Program, name: &'static str, function: &'static str) -> Probe {
    Probe {
        program,
        name,
        function,
    }
}

/// What each measure takes.
const fn needs(measure: Measure) -> &'static [Program] {
    match measure {
        Measure::Schedule => &[
            Program::ScheduleEntry,
            Program::ScheduleReturn,
            Program::ConnNew,
            Program::ConnRcuFree,
        ],
        Measure::Connect
        | Measure::Client
        | Measure::Handshake
        | Measure::FirstByte
        | Measure::Duration => &[Program::TcpStateTransition, Program::ConnRcuFree],
    }
}

/// What can be attached by what is known before anything is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) probes: Vec<Probe>,
    pub(super) refused: Vec<RefusedProbe>,
}

impl Plan {
    pub(super) fn from(resolved: &Resolved) -> Self {
        let mut plan = Self {
            probes: Vec::new(),
            refused: Vec::new(),
        };
        for probe in PROBES {
            match resolved.functions.get(probe.function) {
                Some(Ok(())) => plan.probes.push(probe),
                Some(Err(refusal)) => plan.refuse(probe, refusal.to_string()),
                None => plan.refuse(probe, "its prototype was not looked for".to_owned()),
            }
        }
        plan
    }

    /// Gives up on `probe`.
    pub(super) fn refuse(&mut self, probe: Probe, reason: String) {
        self.probes.retain(|other| *other != probe);
        let function = probe.function.to_owned();
        if !self
            .refused
            .iter()
            .any(|refused| refused.function == function && refused.reason == reason)
        {
            self.refused.push(RefusedProbe { function, reason });
        }
    }

    /// The measures that the probes left in the plan can give.
    pub(super) fn measures(&self) -> Vec<Measure> {
        let planned = |program: &Program| self.probes.iter().any(|probe| probe.program == *program);
        Measure::ALL
            .into_iter()
            .filter(|&measure| needs(measure).iter().all(planned))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::Measure;

    use super::{PROBES, Plan, Probe};

    fn full() -> Plan {
        Plan {
            probes: PROBES.to_vec(),
            refused: Vec::new(),
        }
    }

    fn probe_on(function: &str) -> Probe {
        *PROBES
            .iter()
            .find(|probe| probe.function == function)
            .unwrap()
    }

    #[test]
    fn all_probes_give_all_measures() {
        assert_eq!(full().measures(), Measure::ALL);
    }

    #[test]
    fn a_refused_probe_takes_its_measures_with_it_and_leaves_the_others() {
        let mut plan = full();
        plan.refuse(probe_on("ip_vs_conn_new"), "inlined".to_owned());
        assert!(!plan.measures().contains(&Measure::Schedule));
        assert!(plan.measures().contains(&Measure::Connect));
        assert_eq!(plan.refused.len(), 1);
        plan.refuse(probe_on("tcp_state_transition"), "absent".to_owned());
        assert_eq!(plan.measures(), []);
        assert_eq!(plan.refused[1].function, "tcp_state_transition");
    }

    #[test]
    fn nothing_is_measured_without_the_end_of_connections() {
        let mut plan = full();
        plan.refuse(probe_on("ip_vs_conn_rcu_free"), "absent".to_owned());
        assert_eq!(plan.measures(), []);
    }

    #[test]
    fn records_can_be_ended_before_they_can_be_made() {
        let place = |function: &str| {
            PROBES
                .iter()
                .position(|probe| probe.function == function)
                .unwrap()
        };
        assert!(place("ip_vs_conn_rcu_free") < place("ip_vs_conn_new"));
        assert!(place("ip_vs_conn_new") < place("tcp_state_transition"));
    }
}
