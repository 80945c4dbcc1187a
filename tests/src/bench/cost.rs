//! The section of the cost: what the same traffic through a director takes with nothing attached, with empty probes,
//! with the agent and with bpftrace.
//!
//! `load` is the traffic and its clock, `empty` the floor, `tracer` the peer. A subject is told with two cases: the
//! packets of established connections, and whole connections until IPVS has freed them.

mod empty;
mod load;
mod profile;
mod tracer;

use anyhow::{Result, ensure};
use serde_json::json;

use self::tracer::Tracer;
pub use self::{
    empty::{Empty, Target, attached},
    load::{Load, Size, Taken},
};
use super::{line, tell, tell_versions};
use crate::{agent, agent::Agent, peers::BPFTRACE, report::Coverage};

/// Passes over the same traffic.
const PASSES: usize = 3;
const QUICK_PASSES: usize = 1;

const SIZE: Size = Size {
    connections: 400,
    kept_alive: 128,
};

/// The function that forwards what is measured here.
const FORWARDING: &str = "ip_vs_nat_xmit";

/// What the agent is told to measure, which is how results call it.
const MEASURES: [&str; 4] = ["default", "+xmit", "+hook", "all"];

pub(super) fn measure(is_quick: bool) -> Result<()> {
    tell_versions(&[agent::BINARY, BPFTRACE])?;
    let passes = if is_quick { QUICK_PASSES } else { PASSES };
    let load = Load::new(SIZE)?;
    // Whatever is made once is made now, and the agent shows what it probes.
    let targets = {
        let agent = start(&load, "default")?;
        load.warm_up()?;
        let targets = attached()?;
        stop(agent)?;
        targets
    };
    run(&load, "nothing", passes)?;
    {
        let _empty = Empty::attach(&targets)?;
        run(&load, "empty", passes)?;
    }
    {
        let pair = [false, true].map(|is_return| Target::new(FORWARDING, is_return));
        let _empty = Empty::attach(&[targets.as_slice(), &pair].concat())?;
        run(&load, "empty with a pair", passes)?;
    }
    for measures in MEASURES {
        let agent = start(&load, measures)?;
        run(&load, measures, passes)?;
        stop_checked(agent, measures)?;
    }
    run(&load, "nothing again", passes)?;
    profile::measure(&load, &targets)?;
    let tracer = Tracer::start(load.lab())?;
    let connections = run(&load, "bpftrace", passes)?;
    tracer.stop(connections)
}

/// Starts an agent that does not wake up while it is measured.
fn start(load: &Load, measures: &str) -> Result<Agent> {
    Agent::start(load.lab().director(), &["-i", "1h", "--measure", measures])
}

fn stop(agent: Agent) -> Result<()> {
    let outcome = agent.stop()?;
    ensure!(
        outcome.status.success(),
        "the agent failed: {}",
        outcome.stderr
    );
    Ok(())
}

/// Ends an agent that must have seen every packet, since one that misses something is cheap, and tells what it could not
/// use.
fn stop_checked(agent: Agent, measures: &str) -> Result<()> {
    let summary = agent.stop()?.summary()?;
    let coverage = summary.total_coverage()?;
    let full = Coverage {
        hits: coverage.packets,
        packets: coverage.packets,
    };
    ensure!(
        coverage == full && coverage.packets > 0,
        "the agent has not seen every packet: {coverage:?}"
    );
    line(&json!({ "subject": measures, "losses": summary.total_losses()? }))
}

/// Measures and tells what is attached as `subject`; gives how many connections there were meanwhile.
fn run(load: &Load, subject: &str, passes: usize) -> Result<u32> {
    let mut count = load.warm_up()?;
    let mut kept_alive = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..passes {
        kept_alive.extend(load.kept_alive()?);
        connections.push(load.connections()?);
        count += SIZE.kept_alive + SIZE.connections;
    }
    tell_case("kept alive", subject, &kept_alive)?;
    tell_case("connections", subject, &connections)?;
    Ok(count)
}

fn tell_case(case: &str, subject: &str, taken: &[Taken]) -> Result<()> {
    let busy_ns: Vec<_> = taken
        .iter()
        .flat_map(|taken| &taken.busy_ns)
        .copied()
        .collect();
    tell(case, subject, "busy_ns", &busy_ns)?;
    let told = |measure, value: fn(&Taken) -> u64| {
        let values: Vec<_> = taken.iter().map(value).collect();
        tell(case, subject, measure, &values)
    };
    told("ends_ns", |taken| taken.ends_ns)?;
    told("packets", |taken| taken.packets)?;
    told("packets_in", |taken| taken.incoming)?;
    told("count", |taken| taken.busy_ns.len() as u64)
}
