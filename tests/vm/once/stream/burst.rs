//! As many connections as come in some seconds: with all events none is lost, and of those that no filter wants nothing
//! comes.

use std::thread;

use ipvs_observer_tests::services::Vip;

use crate::{
    counts::stream::{SERVERS, last_words, stream},
    fixture::Balanced,
};

const CLIENTS: u32 = 4;

/// Opens and closes `count` connections as fast as may be.
fn burst(balanced: &Balanced, count: u32) {
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| balanced.sessions(count / CLIENTS, 1));
        }
    });
    balanced.lab.quiesce().expect("the director becomes idle");
}

#[cfg_attr(feature = "vm", test)]
fn a_burst_with_all_events_loses_nothing() {
    const COUNT: u32 = 1_200;
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let agent = stream(&balanced.lab, &["--events", "all"]);
    burst(&balanced, COUNT);
    let outcome = agent.stop().expect("it ends");
    let all = u64::from(3 * COUNT);
    assert_eq!(last_words(&outcome), [all, 0, 0, 0]);
    assert_eq!(outcome.stdout.len() as u64, all);
    for event in ["opened", "established", "closed"] {
        let start = format!("{{\"event\":\"{event}\",");
        let lines = outcome.stdout.iter();
        let count = lines.filter(|line| line.starts_with(&start)).count();
        assert_eq!(count as u64, u64::from(COUNT), "{event}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_burst_of_foreign_connections_makes_no_line() {
    const COUNT: u32 = 400;
    let balanced = Balanced::new(Vip::V4, SERVERS);
    let agent = stream(
        &balanced.lab,
        &["--events", "all", "--client", "10.1.0.3/32"],
    );
    burst(&balanced, COUNT);
    let outcome = agent.stop().expect("it ends");
    assert_eq!(last_words(&outcome), [0, u64::from(3 * COUNT), 0, 0]);
    assert!(outcome.stdout.is_empty(), "{:?}", outcome.stdout);
}
