//! Every form of `list -n` is, to the byte, what `ipvsadm -Ln` prints of the same director once its
//! mistakes are put right: marks of 2³¹ and more, and the order. What there is without `-n` is
//! `names`'s, the saved table `saved`'s.

use ipvs_observer_tests::{
    agent::BINARY,
    everything::Everything,
    ipvsadm_text::{Order, unsigned_marks},
    netns::Netns,
    peers::{self, IPVSADM},
};

use super::comparison::{Comparison, ipvsadm, observer, put_right};
use crate::fixture::assert_one_line;

/// The whole table, in the order of its numbers.
const SORTED: [&[&str]; 10] = [
    &[],
    &["--sort"],
    &["--exact"],
    &["--stats"],
    &["--stats", "--exact"],
    &["--rate"],
    &["--rate", "--exact"],
    &["--thresholds"],
    &["--persistent-conn"],
    &["--tun-info"],
];
/// The same in the kernel's.
const UNSORTED: [&[&str]; 3] = [
    &["--nosort"],
    &["--nosort", "--stats"],
    &["--nosort", "--tun-info"],
];
/// One service.
const SERVICES: [&[&str]; 14] = [
    &["-t", "10.9.0.1:80"],
    &["-t", "10.9.0.1:80", "--stats"],
    &["-t", "10.9.0.1:443", "--thresholds"],
    &["-t", "10.9.0.1:8443", "--tun-info"],
    &["-t", "10.9.0.1:443"],
    &["-t", "10.9.0.1:1004"],
    &["-t", "[fd00:9::1]:80"],
    &["-t", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"],
    &["-u", "10.9.0.1:5060"],
    &["--sctp-service", "10.9.0.1:3868"],
    &["-f", "47"],
    &["-f", "47", "-6"],
    &["-f", "3000000000", "-6"],
    &["-f", "4000000000"],
];
/// Where there is no service to list.
const EMPTY: [&[&str]; 3] = [&[], &["--stats"], &["--nosort", "--tun-info"]];
const NO_SERVICES: [&[&str]; 5] = [
    &["-t", "10.9.0.1:81"],
    &["-u", "10.9.0.1:80"],
    &["--sctp-service", "10.9.0.1:80"],
    &["-f", "48"],
    &["-f", "4000000000", "-6"],
];
const CONNECTIONS: [&[&str]; 2] = [&["-c"], &["-c", "--persistent-conn"]];
const STATE: [&[&str]; 2] = [&["--timeout"], &["--daemon"]];

#[cfg_attr(feature = "vm", test)]
fn every_form_is_as_ipvsadm_prints_it() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let order = Order::of(&ipvsadm(director, &["-Ln"])).expect("it is a table");

    let mut comparison = Comparison::new(director);
    for options in SORTED {
        check(&mut comparison, options, options, |form| {
            put_right(&order, form)
        });
    }
    for options in UNSORTED {
        check(&mut comparison, options, options, unsigned_marks);
    }
    for options in CONNECTIONS.into_iter().chain(STATE) {
        check(&mut comparison, options, options, str::to_owned);
    }
    // Nothing passes, so that live counters are those that the kernel has copied.
    for options in [&["--stats"][..], &["--stats", "--exact"]] {
        let live = [options, &["--live"]].concat();
        check(&mut comparison, options, &live, |form| {
            put_right(&order, form)
        });
    }
    comparison.finish();
    timeouts_are_those_that_were_set(director);
    one_service_is_as_ipvsadm_prints_it(director);
    no_service_is_an_error(director);
    an_idle_director_is_as_ipvsadm_prints_it(everything.synchronized());
}

fn timeouts_are_those_that_were_set(director: &Netns) {
    ipvsadm(director, &["--set", "100", "20", "3"]);
    let mut comparison = Comparison::new(director);
    check(&mut comparison, &["--timeout"], &["--timeout"], |form| {
        assert_eq!(form, "Timeout (tcp tcpfin udp): 100 20 3\n");
        form.to_owned()
    });
    comparison.finish();
}

fn one_service_is_as_ipvsadm_prints_it(director: &Netns) {
    let mut comparison = Comparison::new(director);
    for service in SERVICES {
        let [option, name, ..] = service else {
            unreachable!("no service")
        };
        let mut alone = vec!["-Ln", option, name];
        alone.extend(service.iter().filter(|option| **option == "-6"));
        let order = Order::of(&ipvsadm(director, &alone)).expect("it is a table");
        check(&mut comparison, service, service, |form| {
            put_right(&order, form)
        });
    }
    comparison.finish();
}

fn no_service_is_an_error(director: &Netns) {
    for service in NO_SERVICES {
        for (program, list) in [(IPVSADM, &["-Ln"][..]), (BINARY, &["list", "-n"])] {
            let arguments = [list, service].concat();
            let outcome = peers::run(director, program, &arguments, "").expect("it runs");
            assert_eq!(outcome.status.code(), Some(1), "{service:?}: {outcome:?}");
            assert_eq!(outcome.stdout, "", "{program} {service:?}");
            assert_one_line(outcome.stderr.trim_end(), "service");
        }
    }
}

/// There is no service here, but there are daemons.
fn an_idle_director_is_as_ipvsadm_prints_it(synchronized: &Netns) {
    let mut comparison = Comparison::new(synchronized);
    for options in EMPTY.into_iter().chain(CONNECTIONS).chain(STATE) {
        check(&mut comparison, options, options, str::to_owned);
    }
    comparison.found(
        &["-Sn"],
        &["list", "-nS"],
        &ipvsadm(synchronized, &["-Sn"]),
        &observer(synchronized, &["list", "-nS"]),
    );
    comparison.finish();
}

/// Compares forms of the list without names.
fn check(
    comparison: &mut Comparison<'_>,
    theirs: &[&str],
    ours: &[&str],
    put_right: impl Fn(&str) -> String,
) {
    let theirs = [&["-Ln"], theirs].concat();
    let ours = [&["list", "-n"], ours].concat();
    comparison.check(&theirs, &ours, put_right);
}
