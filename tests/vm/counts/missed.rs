//! Runs that the kernel kept from a probe: they are counted, and with those that took place they are all packets.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{Array, MapData};
use ipvs_observer_tests::{
    report::{Coverage, Report},
    services::Vip,
};
use rustix::{
    system::uname,
    thread::{CpuSet, sched_setaffinity},
};

use crate::fixture::{Balanced, attached_probes, summary};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 2;
const SESSIONS: u32 = 40;
/// Those of the guest.
const CPUS: usize = 2;
/// What is sent late is sent by a timer's interrupt, which comes while something else has the CPU.
const DELAY: Duration = Duration::from_millis(2);
/// The kernel copies a value while it keeps programs from running, so that a large one keeps them from it for long.
type Value = [u64; 8 << 10];

#[cfg_attr(feature = "vm", test)]
fn runs_that_a_reader_of_maps_keeps_from_the_probes_are_counted() {
    let balanced = Balanced::new(VIP, SERVERS);
    balanced.lab.delay_client(DELAY).expect("netem is there");
    for server in 1..=SERVERS {
        let delayed = balanced.lab.delay_server(server, DELAY);
        delayed.expect("netem is there");
    }
    let before = balanced.lab.quiesce().expect("the kernel counts packets");
    let agent = balanced.agent();
    during_a_storm(|| balanced.sessions(SESSIONS, 2));
    let packets = balanced.lab.quiesce().expect("the kernel counts packets");
    let packets = packets.since(before).total();

    let summary = summary(agent);

    let Coverage {
        hits,
        packets: seen,
    } = coverage(&summary);
    assert_eq!(seen, packets);
    let not_run = summary.not_run("tcp_state_transition");
    let not_run = not_run.expect("the probe is listed");
    assert!(hits < packets, "no run was missed of {packets}");
    if counts_missed_runs() {
        assert_eq!(not_run, Some(packets - hits), "of {packets} packets");
    } else {
        assert_eq!(not_run, None, "this kernel cannot tell");
    }
    assert_eq!(attached_probes(), Vec::<String>::new());
}

#[cfg_attr(feature = "vm", test)]
fn without_such_a_reader_no_run_is_missed() {
    let balanced = Balanced::new(VIP, SERVERS);
    let before = balanced.lab.quiesce().expect("the kernel counts packets");
    let agent = balanced.agent();
    balanced.sessions(SESSIONS, 2);
    let packets = balanced.lab.quiesce().expect("the kernel counts packets");
    let packets = packets.since(before).total();

    let summary = summary(agent);

    let expected = Coverage {
        hits: packets,
        packets,
    };
    assert_eq!(coverage(&summary), expected);
    let not_run = summary.not_run("tcp_state_transition");
    let expected = counts_missed_runs().then_some(0);
    assert_eq!(not_run.expect("the probe is listed"), expected);
}

#[track_caller]
fn coverage(summary: &Report) -> Coverage {
    summary.total_coverage().expect("the coverage is stated")
}

/// Reads a map on every CPU, again and again, until `job` is done.
fn during_a_storm(job: impl FnOnce()) {
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for cpu in 0..CPUS {
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(cpu);
                sched_setaffinity(None, &only).expect("the guest has this CPU");
                read_a_map_until(is_over);
            });
        }
        let _end = End(is_over);
        job();
    });
}

/// Ends the storm, also when what it rages over fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn read_a_map_until(is_over: &AtomicBool) {
    let map = Array::<MapData, Value>::create(1, 0).expect("a map can be made");
    while !is_over.load(Ordering::SeqCst) {
        let value = map.get(&0, 0).expect("the map has this element");
        assert_eq!(value[0], 0);
    }
}

/// Linux 6.7 brought both counts.
fn counts_missed_runs() -> bool {
    let uname = uname();
    let release = uname.release().to_str().expect("a release is text");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|text| text.parse().ok());
    let version: (u32, u32) = (
        numbers.next().expect("a release has numbers"),
        numbers.next().expect("a release has two of them"),
    );
    version >= (6, 7)
}
