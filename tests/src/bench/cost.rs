//! The section of the cost: what the same traffic through a director takes with nothing attached, with empty probes,
//! with the agent and with bpftrace.
//!
//! `load` is the traffic and its clock, `empty` the floor, `tracer` the peer. A subject is told with three cases: the
//! packets of established connections, whole connections until IPVS has freed them, and a director at rest.

mod empty;
mod load;
mod profile;
mod tracer;

use anyhow::{Result, ensure};

use self::{
    empty::{Empty, Target},
    load::{Load, Taken},
    tracer::Tracer,
};
use super::{tell, tell_versions};
use crate::{agent, agent::Agent, peers::BPFTRACE, report::Coverage};

/// Passes over the same traffic.
const PASSES: usize = 3;
const QUICK_PASSES: usize = 1;

/// The function that forwards what is measured here.
const FORWARDING: &str = "ip_vs_nat_xmit";

/// What the agent is told to measure, by the name that results carry.
const MEASURES: [(&str, &str); 4] = [
    ("default", "default"),
    ("+xmit", "+xmit"),
    ("+hook", "+hook"),
    ("all", "all"),
];

pub(super) fn measure(is_quick: bool) -> Result<()> {
    tell_versions(&[agent::BINARY, BPFTRACE])?;
    let passes = if is_quick { QUICK_PASSES } else { PASSES };
    let load = Load::new()?;
    // Whatever is made once is made now, and the agent shows what it probes.
    let targets = {
        let agent = start(&load, "default")?;
        load.warm_up()?;
        let targets = empty::attached()?;
        stop(agent)?;
        targets
    };
    run(&load, "nothing", passes)?;
    {
        let _empty = Empty::attach(&targets)?;
        run(&load, "empty", passes)?;
    }
    {
        let pair = [false, true].map(|is_return| Target {
            function: FORWARDING.to_owned(),
            is_return,
        });
        let targets: Vec<_> = targets.iter().cloned().chain(pair).collect();
        let _empty = Empty::attach(&targets)?;
        run(&load, "empty with a pair", passes)?;
    }
    for (subject, measures) in MEASURES {
        let agent = start(&load, measures)?;
        let packets = load.lab.packets()?;
        run(&load, subject, passes)?;
        let packets = load.lab.packets()?.since(packets).total();
        stop_checked(agent, packets)?;
    }
    let tracer = Tracer::start(&load.lab)?;
    let connections = run(&load, "bpftrace", passes)?;
    tracer.stop(connections)?;
    run(&load, "nothing again", passes)?;
    profile::measure(&load, &targets)
}

/// Starts an agent that does not wake up while it is measured.
fn start(load: &Load, measures: &str) -> Result<Agent> {
    Agent::start(load.lab.director(), &["-i", "1h", "--measure", measures])
}

fn stop(agent: Agent) -> Result<()> {
    let outcome = agent.stop()?;
    ensure!(outcome.status.success(), "the agent failed: {}", outcome.stderr);
    Ok(())
}

/// Ends an agent that must have seen `packets` and lost nothing: one that misses something is cheap.
fn stop_checked(agent: Agent, packets: u64) -> Result<()> {
    let summary = agent.stop()?.summary()?;
    let losses = summary.total_losses()?;
    ensure!(losses.is_empty(), "the agent has losses: {losses:?}");
    let coverage = summary.total_coverage()?;
    let full = Coverage {
        hits: coverage.packets,
        packets: coverage.packets,
    };
    ensure!(
        coverage == full && coverage.packets >= packets,
        "the agent has seen {coverage:?} of {packets} packets"
    );
    Ok(())
}

/// Measures and tells what is attached as `subject`; gives how many connections there were meanwhile.
fn run(load: &Load, subject: &str, passes: usize) -> Result<u64> {
    let warm = load.warm_up()?;
    let rest = load.rest()?;
    let mut kept_alive = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..passes {
        kept_alive.extend(load.kept_alive()?);
        connections.push(load.connections()?);
    }
    tell_case("rest", subject, &[rest])?;
    tell_case("kept alive", subject, &kept_alive)?;
    tell_case("connections", subject, &connections)?;
    Ok(warm + (kept_alive.len() + connections.len() * load::CONNECTIONS) as u64)
}

fn tell_case(case: &str, subject: &str, taken: &[Taken]) -> Result<()> {
    let values = |value: fn(&Taken) -> u64| taken.iter().map(value).collect::<Vec<_>>();
    tell(case, subject, "busy_ns", &values(|taken| taken.busy_ns))?;
    tell(case, subject, "packets", &values(|taken| taken.packets.total()))?;
    tell(case, subject, "packets_in", &values(|taken| taken.packets.incoming))?;
    tell(case, subject, "connections", &values(|taken| taken.connections))
}
