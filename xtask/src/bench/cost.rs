//! The section of the cost: what a packet and a connection take more while they are observed,
//! beside empty probes and bpftrace.
//!
//! Instructions of the whole machine are compared, with and without.

use anyhow::{Result, ensure};

use super::{
    Section,
    figure::{Budget, Figure, Unit},
    measurements::Measurements,
};
use crate::{peers::Peers, qemu::Clock};

pub(super) const SECTION: Section = Section {
    name: "cost",
    title: "The cost of being observed",
    about: "Instructions that the machine executes more for the same TCP traffic through a \
            Masquerade director with one real server, its users and their kernel included; its \
            time is one nanosecond for each. *Empty probes* are programs of two instructions at \
            each place where the agent has one by default; the *pair* is one more at the entry \
            and one at the return of `ip_vs_nat_xmit`. bpftrace runs a script of kprobes \
            (`tests/src/bench/cost/tracer.rs`) that collects the default measures by real server, \
            in buckets of powers of two, and counts nothing else. *A packet* is one of an \
            established connection, in either direction: 100 requests on each of 128 connections \
            that are kept alive, of which the one in the middle is told. *A connection* is one of \
            one request, which the client ends by a reset, from its SYN until IPVS has freed it \
            10 s later: the one in the middle of 400, and its part of the end of all, which a \
            thread that spins meanwhile sees. *Beyond its packets* is that less as many packets \
            of an established connection. What is not on by default is shown on top of the \
            default, for a packet from a client, which alone is forwarded. *Of it* is what the \
            instructions of the programs themselves are, by the kernel's own count of their run \
            time, without the kernel's way to them and back; it keeps 15 letters of a name.",
    kernels: &["6.1", "6.12", "6.18", "7.2"],
    peers: Peers::tracer,
    clock: Clock::Instructions,
    load: &["ip_vs", "ip_vs_rr", "veth", "sch_netem"],
    figures,
};

const DEFAULT: &str = "default";
const ALL: &str = "all";
const EMPTY: &str = "empty";
const EMPTY_WITH_PAIR: &str = "empty with a pair";
const BPFTRACE: &str = "bpftrace";
/// Before and after all others: what drifts is between them.
const NOTHING: [&str; 2] = ["nothing", "nothing again"];

const KEPT_ALIVE: &str = "kept alive";
const CONNECTIONS: &str = "connections";
const PROGRAMS: &str = "programs";

const MAX_OF_EMPTY: f64 = 2.0;
const MAX_OF_PAIR: f64 = 1.4;
const MAX_OF_BPFTRACE: f64 = 0.6;
const MAX_BEYOND_PACKETS: f64 = 12_000.0;

fn figures(told: &Measurements) -> Result<Vec<Figure>> {
    let cost = Cost::new(told)?;
    let empty = cost.packet(EMPTY)?;
    let mut figures = vec![
        Figure {
            peer: Some(("empty probe", empty)),
            budget: Some(Budget::OfPeer(MAX_OF_EMPTY)),
            ..figure("a packet", cost.packet(DEFAULT)?)
        },
        Figure {
            peer: Some((BPFTRACE, cost.packet(BPFTRACE)?)),
            floor: Some(empty),
            budget: Some(Budget::OfPeer(MAX_OF_BPFTRACE)),
            ..figure("a packet", cost.packet(DEFAULT)?)
        },
        Figure {
            floor: Some(cost.beyond_packets(EMPTY)?),
            budget: Some(Budget::AtMost(MAX_BEYOND_PACKETS)),
            ..figure(
                "a connection, beyond its packets",
                cost.beyond_packets(DEFAULT)?,
            )
        },
        Figure {
            peer: Some((BPFTRACE, cost.connection(BPFTRACE)?)),
            floor: Some(cost.connection(EMPTY)?),
            budget: Some(Budget::OfPeer(MAX_OF_BPFTRACE)),
            ..figure("a connection", cost.connection(DEFAULT)?)
        },
        Figure {
            peer: Some(("empty pair", cost.incoming(EMPTY_WITH_PAIR, EMPTY)?)),
            budget: Some(Budget::OfPeer(MAX_OF_PAIR)),
            ..figure(
                "a packet from a client, +xmit on top",
                cost.incoming("+xmit", DEFAULT)?,
            )
        },
        figure(
            "a packet from a client, +hook on top",
            cost.incoming("+hook", DEFAULT)?,
        ),
        figure(
            "a packet from a client, all measures on top",
            cost.incoming(ALL, DEFAULT)?,
        ),
        figure("a connection, all measures", cost.connection(ALL)?),
    ];
    for program in told.subjects(PROGRAMS) {
        if !program.starts_with(EMPTY) {
            figures.push(cost.program(program)?);
        }
    }
    Ok(figures)
}

fn figure(name: &str, ours: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        unit: Unit::FewInstructions,
        ours,
        peer: None,
        floor: None,
        budget: None,
    }
}

/// What is added by what is attached.
struct Cost<'a> {
    told: &'a Measurements,
    /// In a window on a connection that is kept alive, and those of them from the client.
    packets: f64,
    incoming: f64,
    /// In a window.
    connections: f64,
    packets_of_connection: f64,
}

impl<'a> Cost<'a> {
    fn new(told: &'a Measurements) -> Result<Self> {
        let [first, _] = NOTHING;
        for case in [KEPT_ALIVE, CONNECTIONS] {
            let packets = told.median(case, first, "packets")?;
            for subject in told.subjects(case) {
                let found = told.median(case, subject, "packets")?;
                ensure!(
                    (found - packets).abs() < 0.5,
                    "{subject} has {found} packets with {case}, {first} has {packets}"
                );
            }
        }
        let connections = told.median(CONNECTIONS, first, "count")?;
        Ok(Self {
            told,
            packets: told.median(KEPT_ALIVE, first, "packets")?,
            incoming: told.median(KEPT_ALIVE, first, "packets_in")?,
            connections,
            packets_of_connection: told.median(CONNECTIONS, first, "packets")? / connections,
        })
    }

    /// What a window on a connection that is kept alive takes.
    fn kept_alive(&self, subject: &str) -> Result<f64> {
        self.told.median(KEPT_ALIVE, subject, "busy_ns")
    }

    /// What a connection takes: its packets, and its part of the end of all.
    fn whole(&self, subject: &str) -> Result<f64> {
        let ends = self.told.median(CONNECTIONS, subject, "ends_ns")?;
        Ok(self.told.median(CONNECTIONS, subject, "busy_ns")? + ends / self.connections)
    }

    fn packet(&self, subject: &str) -> Result<f64> {
        let [before, after] = NOTHING;
        let nothing = f64::midpoint(self.kept_alive(before)?, self.kept_alive(after)?);
        Ok((self.kept_alive(subject)? - nothing) / self.packets)
    }

    fn connection(&self, subject: &str) -> Result<f64> {
        let [before, after] = NOTHING;
        let nothing = f64::midpoint(self.whole(before)?, self.whole(after)?);
        Ok(self.whole(subject)? - nothing)
    }

    fn beyond_packets(&self, subject: &str) -> Result<f64> {
        Ok(self.connection(subject)? - self.packets_of_connection * self.packet(subject)?)
    }

    /// What `subject` takes more than `other` for a packet from a client.
    fn incoming(&self, subject: &str, other: &str) -> Result<f64> {
        Ok((self.kept_alive(subject)? - self.kept_alive(other)?) / self.incoming)
    }

    /// The body of a program, without what the counting of its runs takes.
    fn program(&self, name: &str) -> Result<Figure> {
        let number = |subject: &str, measure| self.told.median(PROGRAMS, subject, measure);
        let counting = number("empty entry", "run_ns")? / number("empty entry", "runs")?;
        let runs = number(name, "runs")?;
        let own = number(name, "run_ns")? - runs * counting;
        let runs = runs / self.connections;
        let name = format!("a connection, of it {name} ({runs:.1} runs)");
        Ok(figure(&name, own / self.connections))
    }
}
