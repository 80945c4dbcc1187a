//! What the probes cost, in guest instructions: guards of the figures that `cargo xtask bench` measures in full, with
//! traffic of the same kind and less of it.

use std::io::{self, Write as _};

use ipvs_observer_tests::{
    agent::Agent,
    bench::cost::{Empty, Load, Size, Taken, Target, attached},
    report::Coverage,
};

use crate::fixture::summary;

const SIZE: Size = Size {
    connections: 150,
    kept_alive: 96,
};

/// The budgets: of what an empty kprobe on the same function takes, for a packet of an established connection;
const MAX_OF_EMPTY: f64 = 2.0;
/// of what an empty kprobe and kretprobe on the forwarding function take, for `xmit`;
const MAX_OF_PAIR: f64 = 1.4;
/// and for a connection without its packets.
const MAX_BEYOND_PACKETS: f64 = 12_000.0;
/// What is attached costs more than this.
const LEAST: f64 = 100.0;

#[cfg_attr(feature = "vm", test)]
fn packets_and_connections_cost_no_more_than_promised() {
    let load = Load::new(SIZE).expect("the director is built");
    let first = agent(&load, "default");
    load.warm_up().expect("every request is answered");
    let probed = attached().expect("the kernel lists its probes");
    summary(first);
    let pair = [false, true].map(|is_return| Target::new("ip_vs_nat_xmit", is_return));

    let before = Run::of(&load);
    let (empty, with_pair) = amid(
        || Run::with_empty(&load, &probed),
        || Run::with_empty(&load, &[probed.as_slice(), &pair].concat()),
    );
    let (default, xmit) = amid(
        || Run::with_agent(&load, "default"),
        || Run::with_agent(&load, "+xmit"),
    );
    let nothing = before.mean(&Run::of(&load));

    let per_packet = default.per_packet - nothing.per_packet;
    let per_empty = empty.per_packet - nothing.per_packet;
    let per_connection = default.per_connection - nothing.per_connection;
    let beyond = per_connection - default.packets_of_connection * per_packet;
    let forwarding = |run: &Run, than: &Run| (run.per_packet - than.per_packet) * run.per_incoming;
    let (xmit, pair) = (forwarding(&xmit, &default), forwarding(&with_pair, &empty));
    // Past the capture of the test harness, for whoever watches the budgets.
    writeln!(
        io::stderr(),
        "added instructions: {per_packet:.0} per packet, an empty kprobe {per_empty:.0}; {beyond:.0} per connection \
         beyond its packets; xmit {xmit:.0} per packet from a client, an empty pair {pair:.0}"
    )
    .expect("standard error is open");
    assert!(
        per_empty > LEAST && pair > LEAST,
        "nothing was attached to compare with"
    );
    assert!(
        (per_empty..=MAX_OF_EMPTY * per_empty).contains(&per_packet),
        "{per_packet} per packet"
    );
    assert!(
        (LEAST..=MAX_BEYOND_PACKETS).contains(&beyond),
        "{beyond} per connection"
    );
    assert!(
        (LEAST..=MAX_OF_PAIR * pair).contains(&xmit),
        "{xmit} per packet from a client"
    );
}

/// The mean of two runs of `outer`, and one of `inner` in between: what the lab itself takes changes slowly.
fn amid(outer: impl Fn() -> Run, inner: impl FnOnce() -> Run) -> (Run, Run) {
    let before = outer();
    let inner = inner();
    (before.mean(&outer()), inner)
}

/// What the traffic took, in instructions of the whole machine.
struct Run {
    /// Of an established connection.
    per_packet: f64,
    /// Packets for each that comes from a client.
    per_incoming: f64,
    /// From the first packet until it is freed.
    per_connection: f64,
    packets_of_connection: f64,
}

impl Run {
    fn of(load: &Load) -> Self {
        load.warm_up().expect("every request is answered");
        let kept_alive = load.kept_alive().expect("every request is answered");
        let connections = load.connections().expect("every connection ends");
        let windows = kept_alive.iter().flat_map(|taken| &taken.busy_ns);
        let Taken {
            packets, incoming, ..
        } = kept_alive[0];
        let count = f64::from(SIZE.connections);
        Self {
            per_packet: median(windows) / float(packets),
            per_incoming: float(packets) / float(incoming),
            per_connection: median(&connections.busy_ns) + float(connections.ends_ns) / count,
            packets_of_connection: float(connections.packets) / count,
        }
    }

    fn mean(&self, other: &Self) -> Self {
        Self {
            per_packet: f64::midpoint(self.per_packet, other.per_packet),
            per_incoming: f64::midpoint(self.per_incoming, other.per_incoming),
            per_connection: f64::midpoint(self.per_connection, other.per_connection),
            packets_of_connection: f64::midpoint(
                self.packets_of_connection,
                other.packets_of_connection,
            ),
        }
    }

    fn with_empty(load: &Load, targets: &[Target]) -> Self {
        let _empty = Empty::attach(targets).expect("empty programs can be attached");
        Self::of(load)
    }

    /// With an agent that does not wake up meanwhile, and must not miss anything: a probe that does is cheap.
    fn with_agent(load: &Load, measures: &str) -> Self {
        let agent = agent(load, measures);
        let run = Self::of(load);
        let summary = summary(agent);
        let losses = summary.total_losses().expect("they are shown");
        assert_eq!(losses, [] as [&str; 0]);
        let Coverage { hits, packets } = summary.total_coverage().expect("it is stated");
        assert_eq!(hits, packets);
        run
    }
}

fn agent(load: &Load, measures: &str) -> Agent {
    let arguments = ["-i", "1h", "--measure", measures];
    Agent::start(load.lab().director(), &arguments).expect("the agent starts")
}

/// A tick or a thread that takes its turn elsewhere moves a mean, and not what is in the middle.
fn median<'a>(values: impl IntoIterator<Item = &'a u64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().copied().collect();
    values.sort_unstable();
    float(values[values.len() / 2])
}

#[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
fn float(value: u64) -> f64 {
    value as f64
}
