//! Without `-n` hosts and ports have the names that `ipvsadm` gives them, to the byte.

use std::collections::BTreeSet;

use ipvs_observer_tests::{
    everything::Everything,
    ipvsadm_text::{Order, as_ipvsadm_saves},
};

use super::{
    comparison::{Comparison, ipvsadm, observer, put_right, side_by_side},
    name_server::NameServer,
};

const TABLES: [&[&str]; 3] = [&[], &["--stats"], &["--tun-info"]];
const CONNECTIONS: [&[&str]; 2] = [&["-c"], &["-c", "--persistent-conn"]];
/// Addresses of the table that have no name in `/etc/hosts`: 192.168.0.9, 192.168.100.201, four real
/// servers of one service, and a service with its two real servers.
const NAMELESS: usize = 9;

#[cfg_attr(feature = "vm", test)]
fn names_are_those_of_ipvsadm() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let name_server = NameServer::start(director);
    let order = Order::of(&ipvsadm(director, &["-Ln"])).expect("it is a table");

    let mut comparison = Comparison::new(director);
    for options in TABLES {
        let (theirs, ours) = ([&["-L"], options].concat(), [&["list"], options].concat());
        comparison.check(&theirs, &ours, |form| put_right(&order, form));
    }
    // One service, whose real servers need no other order.
    let one = ["-t", "[fd00:9::1]:8080"];
    let (theirs, ours) = ([&["-L"], &one[..]].concat(), [&["list"], &one[..]].concat());
    comparison.check(&theirs, &ours, str::to_owned);
    for options in CONNECTIONS {
        let (theirs, ours) = ([&["-L"], options].concat(), [&["list"], options].concat());
        comparison.check(&theirs, &ours, str::to_owned);
    }
    let (theirs, ours) = (["-S"], ["list", "-S"]);
    name_server.questions();
    let (saved, rules) = side_by_side(director, &theirs, &ours);
    comparison.found(
        &theirs,
        &ours,
        &put_right(&order, &saved),
        &as_ipvsadm_saves(&rules),
    );
    comparison.finish();

    let whole = "-r the-second-real-server-of-this-director.example.org:http-alt -i -w 1";
    assert!(rules.contains(whole), "no {whole} in:\n{rules}");

    name_server.questions();
    observer(director, &["list"]);
    let questions = name_server.questions();
    assert_eq!(questions.len(), NAMELESS, "{}", asked(&questions));
    let different: BTreeSet<_> = questions.iter().collect();
    assert_eq!(different.len(), NAMELESS, "{}", asked(&questions));
}

fn asked(questions: &[Vec<u8>]) -> String {
    let lines = questions
        .iter()
        .map(|question| question.escape_ascii().to_string());
    lines.collect::<Vec<_>>().join("\n")
}
