//! Which probes are attached and why others are not. Pure: facts in, plan out.

use ipvs_observer_common::{Event, Measure};

use crate::{btf::resolve::Resolved, model::snapshot::RefusedProbe};

/// A program and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Name of the program in the object.
    pub(super) name: &'static str,
    /// The kernel function, at whose entry or return its kind puts it.
    pub(super) function: &'static str,
}

const RCU_FREE: Probe = probe("ip_vs_conn_rcu_free", "ip_vs_conn_rcu_free");
const EXPIRE: Probe = probe("ip_vs_conn_expire", "ip_vs_conn_expire");
const TCP: Probe = probe("tcp_state_transition", "tcp_state_transition");
const UDP: Probe = probe("udp_state_transition", "udp_state_transition");
const SCTP: Probe = probe("sctp_state_transition", "sctp_state_transition");
const NEW: Probe = probe("ip_vs_conn_new", "ip_vs_conn_new");
const SCHEDULE: Probe = probe("ip_vs_schedule", "ip_vs_schedule");
const SCHEDULE_RETURN: Probe = probe("ip_vs_schedule_return", "ip_vs_schedule");
const LEAVE: Probe = probe("ip_vs_leave", "ip_vs_leave");
const LEAVE_RETURN: Probe = probe("ip_vs_leave_return", "ip_vs_leave");
const ICMP: Probe = probe("ip_vs_nat_icmp", "ip_vs_nat_icmp");
const ICMP_V6: Probe = probe("ip_vs_nat_icmp_v6", "ip_vs_nat_icmp_v6");
const TEMPLATE: Probe = probe("ip_vs_check_template", "ip_vs_check_template");
const TEMPLATE_RETURN: Probe = probe("ip_vs_check_template_return", "ip_vs_check_template");
const EXPIRE_NOW: Probe = probe("ip_vs_conn_expire_now", "ip_vs_conn_expire_now");

/// What sees packets for real servers that are gone.
const UNAVAILABLE: [Probe; 2] = [
    probe("unavailable_return", "ip_vs_conn_in_get_proto"),
    probe("unavailable", "ip_vs_conn_in_get_proto"),
];

/// What sees packets that the defence drops; the first is the last that a packet comes to.
const DEFENCE: [Probe; 5] = [
    probe("defence_outcome", "tcp_conn_schedule"),
    probe("defence_outcome", "udp_conn_schedule"),
    probe("defence_outcome", "sctp_conn_schedule"),
    probe("defence_passed", "ip_vs_schedule"),
    probe("defence_found", "ip_vs_service_find"),
];

/// What remembers the packets of these for a stream; after what takes them back.
const DEFENCE_PACKETS: [Probe; 3] = [
    probe("defence_packet", "tcp_conn_schedule"),
    probe("defence_packet", "udp_conn_schedule"),
    probe("defence_packet", "sctp_conn_schedule"),
];

/// What sees the commands that change the table, the returns before the entries.
const COMMANDS: [Probe; 4] = [
    probe("netlink_command_return", "ip_vs_genl_set_cmd"),
    probe("netlink_command", "ip_vs_genl_set_cmd"),
    probe("socket_command_return", "do_ip_vs_set_ctl"),
    probe("socket_command", "do_ip_vs_set_ctl"),
];

/// On the tracepoint of that name, whose arguments are the same in all kernels.
const KFREE_SKB: Probe = probe("kfree_skb", "kfree_skb");
const LATE: Probe = probe("late_packet", "tcp_conn_schedule");
const SHOW: Probe = probe("ip_vs_conn_seq_show", "ip_vs_conn_seq_show");

const FILL_SERVICE: Probe = probe("ip_vs_genl_fill_service", "ip_vs_genl_fill_service");
const FILL_DEST: Probe = probe("ip_vs_genl_fill_dest", "ip_vs_genl_fill_dest");

/// What reads live counters while the agent dumps the table.
const LIVE: [Probe; 2] = [FILL_SERVICE, FILL_DEST];

/// Every probe on connections in the order of attaching.
///
/// What ends records comes before what makes them, so that none is left behind; packets come before new connections, so
/// that none is taken for new whose first packet was missed; returns come before entries, so that no entry waits in vain.
const PROBES: [Probe; 17] = [
    RCU_FREE,
    EXPIRE,
    TCP,
    UDP,
    SCTP,
    NEW,
    SCHEDULE_RETURN,
    SCHEDULE,
    LEAVE_RETURN,
    LEAVE,
    ICMP,
    ICMP_V6,
    TEMPLATE_RETURN,
    TEMPLATE,
    EXPIRE_NOW,
    LATE,
    SHOW,
];

/// When a probe is attached that costs something and is seldom asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Occasions {
    /// A real server was removed, still has connections, and keeps them.
    pub(super) removed: bool,
    /// The `drop_packet` defence may act.
    pub(super) defence: bool,
    /// All connections are looked at.
    pub(super) sweep: bool,
}

impl Occasions {
    /// Whether `probe` is to be attached now.
    pub(super) fn ask_for(self, probe: Probe) -> bool {
        (self.removed || !UNAVAILABLE.contains(&probe))
            && (self.defence || !(DEFENCE.contains(&probe) || DEFENCE_PACKETS.contains(&probe)))
            && (self.sweep || probe != SHOW)
    }
}

/// The ends of forwarding. No kernel function begins it that would not cost more than it tells: see `forward` there.
const XMITS: [Probe; 9] = [
    probe("xmit_return", "ip_vs_nat_xmit"),
    probe("xmit_return", "ip_vs_nat_xmit_v6"),
    probe("xmit_return", "ip_vs_dr_xmit"),
    probe("xmit_return", "ip_vs_dr_xmit_v6"),
    probe("xmit_return", "ip_vs_tunnel_xmit"),
    probe("xmit_return", "ip_vs_tunnel_xmit_v6"),
    probe("xmit_return", "ip_vs_bypass_xmit"),
    probe("xmit_return", "ip_vs_bypass_xmit_v6"),
    probe("xmit_return", "ip_vs_null_xmit"),
];

/// The hook, the return before the entry.
const HOOK: [Probe; 2] = [
    probe("ip_vs_in_hook_return", "ip_vs_in_hook"),
    probe("ip_vs_in_hook", "ip_vs_in_hook"),
];

/// What estimates rates up to 6.1.
const TIMER: [Probe; 2] = [
    probe("estimator_return", "estimation_timer"),
    probe("estimator", "estimation_timer"),
];

/// What estimates them since.
const CHAIN: [Probe; 2] = [
    probe("estimator_return", "ip_vs_chain_estimation"),
    probe("estimator", "ip_vs_chain_estimation"),
];

const fn probe(name: &'static str, function: &'static str) -> Probe {
    Probe { name, function }
}

/// What only this measure takes, and nothing else asks for.
fn only_for(measure: Measure, resolved: &Resolved) -> &'static [Probe] {
    match measure {
        Measure::Xmit => &XMITS,
        Measure::Hook => &HOOK,
        Measure::Estimator if matches!(resolved.functions.get(TIMER[0].function), Some(Ok(()))) => {
            &TIMER
        }
        Measure::Estimator => &CHAIN,
        Measure::Schedule
        | Measure::Connect
        | Measure::Client
        | Measure::Handshake
        | Measure::FirstByte
        | Measure::Response
        | Measure::Duration => &[],
    }
}

/// What each measure takes. UDP and SCTP feed some of them too, and share structures and prototype with TCP.
const fn measure_needs(measure: Measure) -> &'static [Probe] {
    match measure {
        Measure::Schedule => &[SCHEDULE, SCHEDULE_RETURN, RCU_FREE],
        Measure::Connect
        | Measure::Client
        | Measure::Handshake
        | Measure::FirstByte
        | Measure::Response
        | Measure::Duration => &[TCP, RCU_FREE],
        // Without IPv6 in the kernel its functions are not there.
        Measure::Xmit => &[
            TCP, RCU_FREE, XMITS[0], XMITS[2], XMITS[4], XMITS[6], XMITS[8],
        ],
        Measure::Hook => &[TCP, RCU_FREE, HOOK[0], HOOK[1]],
        Measure::Estimator => &CHAIN,
    }
}

/// What each event takes; nothing for one that no program counts.
const fn event_needs(event: Event) -> &'static [Probe] {
    match event {
        Event::Scheduled => &[SCHEDULE_RETURN],
        Event::Established
        | Event::Refused
        | Event::SynRepeated
        | Event::Unanswered
        | Event::ResetByClient
        | Event::ResetByServer
        | Event::ServerFirst
        | Event::DataInSyn
        | Event::Preexisting
        | Event::RecordMade
        | Event::RecordEnded => &[TCP, RCU_FREE],
        Event::Synchronised | Event::OnePacket | Event::PersistenceMiss => &[NEW],
        Event::Late => &[LATE, RCU_FREE],
        Event::NoDestination | Event::Overloaded => &[LEAVE, LEAVE_RETURN],
        Event::NoConnection => &[SCHEDULE, SCHEDULE_RETURN],
        Event::PersistenceHit | Event::PersistenceInvalid => &[TEMPLATE, TEMPLATE_RETURN],
        Event::ReusedPort => &[EXPIRE_NOW],
        Event::DestinationUnavailable => &[EXPIRE_NOW, UNAVAILABLE[0], UNAVAILABLE[1]],
        Event::Defence => &DEFENCE,
        Event::Unroutable => &[TCP, KFREE_SKB],
    }
}

/// Every probe that counts events, and with them gives most measures.
pub(super) fn every() -> impl Iterator<Item = Probe> {
    let occasional = UNAVAILABLE.into_iter().chain(DEFENCE);
    let always = PROBES.into_iter().chain(occasional);
    always.chain([KFREE_SKB]).chain(LIVE)
}

/// These, and what only one of the `measures` takes.
pub(super) fn wanted(measures: &[Measure], resolved: &Resolved) -> impl Iterator<Item = Probe> {
    let optional = measures
        .iter()
        .flat_map(|&measure| only_for(measure, resolved));
    every().chain(optional.copied().collect::<Vec<_>>())
}

/// All that there are, some in place of others.
pub(super) fn possible() -> impl Iterator<Item = Probe> {
    let measures = XMITS.into_iter().chain(HOOK);
    every().chain(measures).chain(TIMER).chain(CHAIN)
}

/// Whether `probe` is on a tracepoint, which is no function.
pub(super) fn is_tracepoint(probe: Probe) -> bool {
    probe == KFREE_SKB
}

/// The measures and events that cannot be had without `probe`.
pub(super) fn carried_by(probe: Probe) -> (Vec<Measure>, Vec<Event>) {
    let measures = Measure::ALL.into_iter();
    let measures = measures.filter(|&measure| measure_needs(measure).contains(&probe));
    let events = Event::ALL.into_iter();
    let events = events.filter(|&event| event_needs(event).contains(&probe));
    (measures.collect(), events.collect())
}

/// Whether `probe` reads live counters, and nothing else.
pub(super) fn is_live(probe: Probe) -> bool {
    LIVE.contains(&probe)
}

/// What can be attached by what is known before anything is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) probes: Vec<Probe>,
    pub(super) refused: Vec<RefusedProbe>,
    /// Why counters cannot be read live.
    pub(super) no_live: Option<String>,
}

impl Plan {
    /// Everything that counts events or gives one of `wanted`.
    pub(super) fn full(resolved: &Resolved, wanted: &[Measure]) -> Self {
        Self::of(self::wanted(wanted, resolved), resolved)
    }

    /// Adds what only a stream takes, and what sees commands if it tells of those.
    pub(super) fn add_stream(&mut self, resolved: &Resolved, with_commands: bool) {
        self.add(DEFENCE_PACKETS, resolved);
        if with_commands {
            self.add(COMMANDS, resolved);
        }
        // What begins to watch a packet comes last, so that all is there when it does.
        let [.., found] = DEFENCE;
        if self.has(&[found]) {
            self.probes.retain(|probe| *probe != found);
            self.probes.push(found);
        }
    }

    /// Only what reads live counters.
    pub(super) fn live(resolved: &Resolved) -> Self {
        Self::of(LIVE, resolved)
    }

    fn of(probes: impl IntoIterator<Item = Probe>, resolved: &Resolved) -> Self {
        let mut plan = Self {
            probes: Vec::new(),
            refused: Vec::new(),
            no_live: None,
        };
        plan.add(probes, resolved);
        plan
    }

    fn add(&mut self, probes: impl IntoIterator<Item = Probe>, resolved: &Resolved) {
        for probe in probes {
            if is_tracepoint(probe) {
                self.probes.push(probe);
                continue;
            }
            match resolved.functions.get(probe.function) {
                Some(Ok(())) => self.probes.push(probe),
                Some(Err(refusal)) => self.refuse(probe, refusal.to_string()),
                None => self.refuse(probe, "its prototype was not looked for".to_owned()),
            }
        }
    }

    /// Gives up on `probe`.
    pub(super) fn refuse(&mut self, probe: Probe, reason: String) {
        self.probes.retain(|other| *other != probe);
        if LIVE.contains(&probe) {
            self.refuse_live(&format!("{}: {reason}", probe.function));
            return;
        }
        let function = probe.function.to_owned();
        if !self
            .refused
            .iter()
            .any(|refused| refused.function == function && refused.reason == reason)
        {
            self.refused.push(RefusedProbe { function, reason });
        }
    }

    /// Which of `wanted` the probes left in the plan can give.
    pub(super) fn measures(&self, wanted: &[Measure]) -> Vec<Measure> {
        let wanted = wanted.iter().copied();
        wanted
            .filter(|&measure| {
                self.gives(measure_needs(measure))
                    || (measure == Measure::Estimator && self.has(&TIMER))
            })
            .collect()
    }

    /// The events that the probes left in the plan can count.
    pub(super) fn events(&self) -> Vec<Event> {
        let all = Event::ALL.into_iter();
        all.filter(|&event| self.gives(event_needs(event)))
            .collect()
    }

    fn gives(&self, needs: &[Probe]) -> bool {
        !needs.is_empty() && self.has(needs)
    }

    /// Why probes are not attached, on one line.
    pub(super) fn reasons(&self) -> String {
        let reasons = self
            .refused
            .iter()
            .map(|refused| format!("{}: {}", refused.function, refused.reason));
        let reasons = reasons.chain(self.no_live.clone());
        reasons.collect::<Vec<_>>().join("; ")
    }

    /// Whether the probes left in the plan give live counters.
    pub(super) fn has_live(&self) -> bool {
        self.has(&LIVE)
    }

    /// Whether the probes left in the plan see each command that changes the table.
    pub(super) fn has_commands(&self) -> bool {
        self.has(&COMMANDS)
    }

    /// Whether the probes left in the plan can sweep over all connections, whose records must have an end.
    pub(super) fn has_sweep(&self) -> bool {
        self.has(&[SHOW, RCU_FREE])
    }

    /// Gives up on live counters, of which one probe without the other gives half.
    fn refuse_live(&mut self, reason: &str) {
        self.probes.retain(|probe| !LIVE.contains(probe));
        self.no_live.get_or_insert_with(|| reason.to_owned());
    }

    fn has(&self, probes: &[Probe]) -> bool {
        probes.iter().all(|probe| self.probes.contains(probe))
    }
}

#[cfg(test)]
mod tests;
