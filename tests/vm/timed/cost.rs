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
    // The clean-up of all takes 10 s, in which the kernel does other things as well: the more there are, the less of
    // those is taken for theirs.
    connections: 600,
    kept_alive: 128,
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
    let with_pair = [probed.as_slice(), &pair].concat();
    let packets = || Packets::run(&load);
    let nothing = packets();
    let empty = with_empty(&probed, packets);
    let with_pair = with_empty(&with_pair, packets);
    let default = with_agent(&load, "default", packets);
    let xmit = with_agent(&load, "+xmit", packets);
    let per_packet = default.each - nothing.each;
    let per_empty = empty.each - nothing.each;
    let xmit = (xmit.each - default.each) * nothing.per_incoming;
    let pair = (with_pair.each - empty.each) * nothing.per_incoming;

    let nothing = Connections::run(&load);
    let default = with_agent(&load, "default", || Connections::run(&load));
    let beyond = default.each - nothing.each - default.packets * per_packet;
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

/// Packets of established connections.
struct Packets {
    /// Instructions of the whole machine for each.
    each: f64,
    /// Packets for each that comes from a client.
    per_incoming: f64,
}

impl Packets {
    fn run(load: &Load) -> Self {
        load.warm_up().expect("every request is answered");
        let windows = load.kept_alive().expect("every request is answered");
        let Taken {
            packets, incoming, ..
        } = windows[0];
        let each = windows.iter().flat_map(|taken| &taken.busy_ns);
        Self {
            each: median(each.map(|&ns| float(ns)).collect()) / float(packets),
            per_incoming: float(packets) / float(incoming),
        }
    }
}

/// Connections of one request, from the first packet until they are freed.
struct Connections {
    /// Instructions of the whole machine for each.
    each: f64,
    /// Of each.
    packets: f64,
}

impl Connections {
    fn run(load: &Load) -> Self {
        load.warm_up().expect("every request is answered");
        let taken = load.connections().expect("every connection ends");
        let count = f64::from(SIZE.connections);
        let each = taken.busy_ns.iter().map(|&ns| float(ns)).collect();
        Self {
            each: median(each) + float(taken.ends_ns) / count,
            packets: float(taken.packets) / count,
        }
    }
}

fn with_empty<T>(targets: &[Target], run: impl FnOnce() -> T) -> T {
    let _empty = Empty::attach(targets).expect("empty programs can be attached");
    run()
}

/// With an agent that does not wake up meanwhile, and must not miss anything: a probe that does is cheap.
fn with_agent<T>(load: &Load, measures: &str, run: impl FnOnce() -> T) -> T {
    let agent = agent(load, measures);
    let taken = run();
    let summary = summary(agent);
    let losses = summary.total_losses().expect("they are shown");
    assert_eq!(losses, [] as [&str; 0]);
    let Coverage { hits, packets } = summary.total_coverage().expect("it is stated");
    assert_eq!(hits, packets);
    taken
}

fn agent(load: &Load, measures: &str) -> Agent {
    let arguments = ["-i", "1h", "--measure", measures];
    Agent::start(load.lab().director(), &arguments).expect("the agent starts")
}

/// A tick or a thread that takes its turn elsewhere moves a mean, and not what is in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
fn float(value: u64) -> f64 {
    value as f64
}
