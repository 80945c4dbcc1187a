//! What `list` says without the privilege, from another namespace, and of what cannot be meant.

use std::process::Command;

use ipvs_observer::cli::SchemaOf;
use ipvs_observer_tests::{
    agent::{self, BINARY, Outcome, Rights},
    everything::Everything,
    ipvsadm_text::Order,
    netns::Netns,
    schema,
};

use super::comparison::{Comparison, ipvsadm, meanwhile, observer, put_right};
use crate::fixture::assert_one_line;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_PERMITTED: i32 = 4;
/// Forms of which `/proc/net/ip_vs` has nothing.
const MORE_THAN_THE_FILE: [&[&str]; 9] = [
    &["--stats"],
    &["--stats", "--live"],
    &["--rate"],
    &["--thresholds"],
    &["--persistent-conn"],
    &["--tun-info"],
    &["--timeout"],
    &["--daemon"],
    &["-S"],
];
/// Forms that hold still.
const EVERYWHERE: [&[&str]; 6] = [
    &["-n"],
    &["-n", "--stats"],
    &["-nS"],
    &["-nc"],
    &["--timeout"],
    &["-o", "prometheus"],
];
const EXCLUDED: [&[&str]; 12] = [
    &["--stats", "--rate"],
    &["--thresholds", "--tun-info"],
    &["--rate", "--persistent-conn"],
    &["--sort", "--nosort"],
    &["-c", "--stats"],
    &["-c", "--timeout"],
    &["--timeout", "--daemon"],
    &["-S", "--thresholds"],
    &["-c", "-t", "10.9.0.1:80"],
    &["-o", "json", "--stats"],
    &["-o", "json", "-n"],
    &["-S", "--live"],
];
/// What cannot be read, and the grammar that is shown for it.
const UNREADABLE: [(&[&str], &str); 5] = [
    (&["-t", "nonsense"], "ADDRESS[:PORT]"),
    (&["-t", "10.9.0.1:http:80"], "ADDRESS[:PORT]"),
    (&["-u", "[fd00:9::1"], "ADDRESS[:PORT]"),
    (&["--sctp-service", "10.9.0.1:65536"], "ADDRESS[:PORT]"),
    (&["-f", "0"], "a number above 0"),
];

#[cfg_attr(feature = "vm", test)]
fn without_the_privilege_the_table_is_that_of_the_text_file() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let listed = ipvsadm(director, &["-Ln"]);
    let order = Order::of(&listed).expect("it is a table");
    let nobody = |arguments: &[&str]| {
        agent::run(director, Rights::Nobody, arguments).expect("it runs without rights")
    };

    let outcome = nobody(&["list", "-n"]);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let [note, left_out] = outcome.stderr.lines().collect::<Vec<_>>()[..] else {
        unreachable!("not two notes: {}", outcome.stderr)
    };
    assert!(note.contains("CAP_NET_ADMIN"), "{note}");
    assert!(left_out.contains("3000000000"), "{left_out}");
    let mut comparison = Comparison::new(director);
    let expected = as_the_file_has_it(&put_right(&order, &listed));
    comparison.found(&["-Ln"], &["list", "-n"], &expected, &stdout(&outcome));

    let (connections, found) = meanwhile(
        || ipvsadm(director, &["-Lnc"]),
        || {
            let outcome = nobody(&["list", "-nc"]);
            assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
            assert_eq!(outcome.stderr, "");
            stdout(&outcome)
        },
    );
    comparison.found(&["-Lnc"], &["list", "-nc"], &connections, &found);
    comparison.finish();

    let object = stdout(&nobody(&["list", "-o", "json"]));
    let object = schema::checked(SchemaOf::List, &object).expect("the schema says all of it");
    assert_eq!(object["source"], "procfs");
    for form in MORE_THAN_THE_FILE {
        let outcome = nobody(&[&["list", "-n"], form].concat());
        assert_eq!(
            outcome.status.code(),
            Some(NOT_PERMITTED),
            "{form:?}: {outcome:?}"
        );
        assert_one_line(&outcome.stderr, "CAP_NET_ADMIN");
        assert_eq!(outcome.stdout, Vec::<String>::new(), "{form:?}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_namespace_is_the_same_from_outside() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let path = director.path();
    let path = path.to_str().expect("it is text");
    for form in EVERYWHERE {
        let inside = [&["list"], form].concat();
        for netns in [director.name(), path] {
            let outside = [&["list", "-N", netns], form].concat();
            let (expected, found) = meanwhile(
                || observer(director, &inside),
                || without_netns(&outside_of_every_netns(&outside), netns),
            );
            let mut comparison = Comparison::new(director);
            comparison.found(&["-N", netns], &inside, &expected, &found);
            comparison.finish();
        }
    }
    let line = outside_of_every_netns(&["list", "-o", "json", "-N", "director"]);
    let object = schema::checked(SchemaOf::List, &line).expect("the schema says all of it");
    assert_eq!(object["netns"], "director");
    let lines = outside_of_every_netns(&["list", "-o", "influx", "-N", "director"]);
    assert!(lines.lines().count() > 0);
    for line in lines.lines() {
        assert!(line.contains(",netns=director"), "{line}");
    }
    let metrics = outside_of_every_netns(&["list", "-o", "prometheus", "-N", "director"]);
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("netns=\"director\""), "{line}");
    }
    let daemons = outside_of_every_netns(&["list", "--daemon", "-N", "client"]);
    assert_eq!(
        daemons,
        ipvsadm(everything.synchronized(), &["-Ln", "--daemon"])
    );
}

#[cfg_attr(feature = "vm", test)]
fn what_cannot_be_meant_is_said() {
    let netns = Netns::new("bare").expect("a namespace can be made");
    let list = |arguments: &[&str]| {
        let arguments = [&["list"], arguments].concat();
        agent::run(&netns, Rights::Root, &arguments).expect("it runs")
    };
    for options in EXCLUDED {
        let outcome = list(options);
        assert_eq!(
            outcome.status.code(),
            Some(USAGE),
            "{options:?}: {outcome:?}"
        );
        assert_one_line(&outcome.stderr, "cannot be used with");
        assert_eq!(outcome.stdout, Vec::<String>::new(), "{options:?}");
    }
    for (options, grammar) in UNREADABLE {
        let outcome = list(options);
        assert_eq!(
            outcome.status.code(),
            Some(USAGE),
            "{options:?}: {outcome:?}"
        );
        assert_one_line(&outcome.stderr, grammar);
        assert_eq!(outcome.stdout, Vec::<String>::new(), "{options:?}");
    }
    let outcome = list(&["-n", "-N", "nosuch"]);
    assert_eq!(outcome.status.code(), Some(FAILED), "{outcome:?}");
    assert_one_line(&outcome.stderr, "nosuch");
    assert_eq!(outcome.stdout, Vec::<String>::new());
}

/// Metrics without the label that says where they come from.
fn without_netns(metrics: &str, netns: &str) -> String {
    let label = format!("netns=\"{netns}\"");
    metrics
        .replace(&format!(",{label}"), "")
        .replace(&format!("{{{label}}}"), "")
}

/// The table without what the file lacks: flags of schedulers, engines, how long a client is
/// remembered, one-packet scheduling at IPv6 addresses, and the one mark whose family nothing tells.
fn as_the_file_has_it(listed: &str) -> String {
    let lines = listed
        .lines()
        .filter(|line| !line.starts_with("FWM  3000000000 "));
    let lines = lines.map(|line| {
        let words = line.split(' ').filter(|word| !word.starts_with("(sh-"));
        let words = words.filter(|word| !word.starts_with("(mh-") && !word.starts_with("(flag-"));
        let mut line = words.collect::<Vec<_>>().join(" ").replace(" pe sip", "");
        for timeout_s in [60, 120, 300, 360] {
            line = line.replace(&format!(" persistent {timeout_s}"), " persistent -");
        }
        if line.contains("  [") {
            line = line.replace(" ops", "");
        }
        line + "\n"
    });
    lines.collect()
}

fn stdout(outcome: &Outcome) -> String {
    let lines = outcome.stdout.iter().flat_map(|line| [line, "\n"]);
    lines.collect()
}

/// What ours prints where it was started in the guest's own namespace.
#[track_caller]
fn outside_of_every_netns(arguments: &[&str]) -> String {
    let output = Command::new(BINARY)
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).expect("it is text")
}
