//! The saved table: `ipvsadm -R` makes the same table of ours, which has all that `ipvsadm -S` has
//! and what that loses.

use ipvs_observer_tests::{
    everything::Everything,
    ipvsadm_text::{Order, as_ipvsadm_saves},
    netns::Netns,
    peers::{self, IPVSADM},
};

use super::comparison::{Comparison, ipvsadm, observer, put_right, side_by_side};

/// Everything that a rule can say, and the connections of each real server, which it cannot.
const FORMS: [&[&str]; 4] = [
    &["-Ln"],
    &["-Ln", "--thresholds"],
    &["-Ln", "--tun-info"],
    &["-Sn"],
];

#[cfg_attr(feature = "vm", test)]
fn a_saved_table_is_restored_whole() {
    let everything = Everything::new().expect("the table is built");
    let director = everything.director();
    let order = Order::of(&ipvsadm(director, &["-Ln"])).expect("it is a table");

    let (theirs, ours) = (["-Sn"], ["list", "-nS"]);
    let (saved, rules) = side_by_side(director, &theirs, &ours);
    let mut comparison = Comparison::new(director);
    comparison.found(
        &theirs,
        &ours,
        &put_right(&order, &saved),
        &as_ipvsadm_saves(&rules),
    );
    comparison.finish();
    for rule in [
        "-a -t 10.9.0.1:80 -r 10.2.2.2:80 -m -w 3 -x 1000 -y 500\n",
        "-a -t 10.9.0.1:443 -r 192.168.0.9:443 -i -w 100 -x 2000000000 --tun-type ipip\n",
        "-a -f 4000000000 -r 10.2.1.2:0 -g -w 1\n",
    ] {
        assert!(rules.contains(rule), "no {rule} in:\n{rules}");
    }

    let restored = Netns::new("restored").expect("a namespace can be made");
    let said = peers::output(&restored, IPVSADM, &["-R"], &rules).expect("ipvsadm takes it");
    assert_eq!(said, "");
    for form in FORMS {
        let [before, after] = [director, &restored].map(|netns| table(netns, form));
        assert_eq!(after, before, "ipvsadm {}", form.join(" "));
    }
    assert_eq!(observer(&restored, &ours), rules);
}

/// What `ipvsadm` prints of a table, in its right order and without connections.
fn table(netns: &Netns, form: &[&str]) -> String {
    let order = Order::of(&ipvsadm(netns, &["-Ln"])).expect("it is a table");
    let printed = put_right(&order, &ipvsadm(netns, form));
    let lines = printed
        .lines()
        .skip_while(|line| line.starts_with("IP Virtual"));
    lines.map(|line| without_connections(line) + "\n").collect()
}

/// The line of a real server without its last two figures.
fn without_connections(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["->", .., _active, _inactive] => words[..words.len() - 2].join(" "),
        _ => line.to_owned(),
    }
}
