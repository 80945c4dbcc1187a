//! What all other tests take for granted: where one of these fails, the others say
//! nothing about the agent.

use std::{fs, path::Path, thread};

use ipvs_observer_tests::{agent, director::Lab, services::Vip};
use rustix::process::geteuid;

use crate::fixture::Balanced;

/// Packets of one session apart from its requests and responses: SYN, the ACK of the
/// handshake, FIN and the last ACK; SYN-ACK and FIN.
const IN_PACKETS: u64 = 4;
const OUT_PACKETS: u64 = 2;

#[cfg_attr(feature = "vm", test)]
fn the_guest_is_what_the_tests_need() {
    assert!(geteuid().is_root(), "the tests run as root");
    let cpus = thread::available_parallelism()
        .expect("the number of CPUs is known")
        .get();
    assert_eq!(cpus, 2, "counts are only worth something across CPUs");
    drop(Lab::new(1).expect("a lab can be built"));
    for path in [
        agent::BINARY,
        "/sbin/modprobe",
        "/sys/kernel/btf/vmlinux",
        "/sys/kernel/btf/ip_vs",
        "/sys/kernel/debug/kprobes/list",
        "/sys/fs/bpf",
    ] {
        assert!(Path::new(path).exists(), "{path} is missing");
    }
    let modprobe = fs::read_to_string("/proc/sys/kernel/modprobe").expect("modules can be loaded");
    assert_eq!(modprobe.trim(), "/sbin/modprobe");
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_sessions_have_known_packets_and_known_servers() {
    sessions_have_known_packets_and_known_servers(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_sessions_have_known_packets_and_known_servers() {
    sessions_have_known_packets_and_known_servers(Vip::V6);
}

fn sessions_have_known_packets_and_known_servers(vip: Vip) {
    let (sessions, requests) = (30, 2);
    let balanced = Balanced::new(vip, 3);
    let before = balanced.lab.quiesce().expect("the kernel counts packets");
    balanced.sessions(sessions, requests);
    let packets = balanced
        .lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    for server in &balanced.servers {
        assert_eq!(server.answered(), u64::from(sessions * requests) / 3);
    }
    // A request, a response or a FIN may be acknowledged by a packet of its own or not.
    let (sessions, requests) = (u64::from(sessions), u64::from(requests));
    let expected_in = sessions * (IN_PACKETS + requests)..=sessions * (IN_PACKETS + 2 * requests);
    let expected_out =
        sessions * (OUT_PACKETS + requests)..=sessions * (OUT_PACKETS + 2 * requests + 1);
    assert!(
        expected_in.contains(&packets.incoming),
        "{packets:?}, not {expected_in:?}"
    );
    assert!(
        expected_out.contains(&packets.outgoing),
        "{packets:?}, not {expected_out:?}"
    );
}
