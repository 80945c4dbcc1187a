//! Blocks as a person sees them.

use ipvs_observer_common::Event;

use super::{COLUMNS, encode};
use crate::{
    cli::SortColumn,
    output::testing::{draining, of_all_netns, whole_run, window},
};

#[test]
fn a_window_is_shown_as_it_stands_here() {
    let block = encode(&window(2), SortColumn::Name, Some(20));
    let expected = include_str!("testdata/window.txt");
    assert_eq!(block, expected, "\n{block}");
}

#[test]
fn the_end_shows_the_whole_run() {
    let block = encode(&whole_run(2), SortColumn::Name, None);
    assert!(block.contains("whole run 4.000 s"), "{block}");
    assert!(block.contains("TCP 192.0.2.1:80 wlc"), "{block}");
    // 107 connections in 4 s.
    assert!(block.contains(" 26.8 "), "{block}");
}

#[test]
fn a_thousand_servers_take_no_more_columns_and_only_the_rows_asked_for() {
    let block = encode(&window(1000), SortColumn::Name, Some(20));
    assert!(
        block.lines().all(|line| line.chars().count() <= COLUMNS),
        "{block}"
    );
    assert_eq!(block.lines().filter(|line| line.contains("->")).count(), 20);
    assert!(block.contains("980 more real servers"), "{block}");
    let all = encode(&window(1000), SortColumn::Name, None);
    assert_eq!(all.lines().filter(|line| line.contains("->")).count(), 1000);
    assert!(!all.contains("more real servers"));
}

#[test]
fn sorting_puts_the_largest_first_and_keeps_its_service() {
    let order = |sort| {
        let block = encode(&window(1000), sort, Some(1));
        let service = block
            .lines()
            .position(|line| line.starts_with("TCP 192.0.2.1:80"));
        let server = block.lines().position(|line| line.starts_with("  ->"));
        assert!(service < server, "{block}");
        block.lines().nth(server.unwrap()).unwrap().to_owned()
    };
    assert!(order(SortColumn::FirstByte).contains("10.0.0.1:8080"));
    assert!(order(SortColumn::Refused).contains("10.0.0.2:8080"));
    assert!(order(SortColumn::Connections).contains("10.0.0.1:8080"));
}

#[test]
fn a_service_is_shown_though_none_of_its_servers_is() {
    let block = encode(&window(1000), SortColumn::Connections, Some(1));
    assert!(block.contains("FWM 47 IPv6"), "{block}");
    assert!(!block.contains("more services"), "{block}");
}

#[test]
fn a_name_that_is_too_long_has_a_line_of_its_own() {
    let mut snapshot = window(1);
    let service = snapshot.services.values_mut().next().unwrap();
    let (_, row) = service.destinations.pop_first().unwrap();
    let long = crate::model::id::DestinationId {
        address: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
        port: 65535,
    };
    service.destinations.insert(long, row);
    let block = encode(&snapshot, SortColumn::Name, None);
    assert!(
        block.contains("\n  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535\n"),
        "{block}"
    );
    assert!(
        block.lines().all(|line| line.chars().count() <= COLUMNS),
        "{block}"
    );
}

#[test]
fn syns_dropped_for_a_reused_port_name_the_setting_that_drops_them() {
    let mut snapshot = window(1);
    let says = "conn_reuse_mode with net.ipv4.vs.conntrack";
    assert!(!encode(&snapshot, SortColumn::Name, None).contains(says));
    let service = snapshot.services.values_mut().next().unwrap();
    service.row.total.counters.0[Event::ReusedPort as usize] = 3;
    let block = encode(&snapshot, SortColumn::Name, None);
    let line = block.lines().find(|line| line.contains(says)).unwrap();
    assert!(line.contains("late: 3 ("), "{line}");
}

#[test]
fn a_drain_has_one_line_under_its_server() {
    let line = |connections| {
        let block = encode(&draining(connections), SortColumn::Name, None);
        let mut lines = block.lines();
        lines
            .find(|line| line.starts_with("     drain"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        line(3),
        "     drains for 3.00s   established 2 syn_recv 1   oldest 1.50min   oldest syn_recv 1.50s   \
         unanswered 1   packets since 120"
    );
    assert_eq!(line(0), "     drained in 3.00s   packets since 120");
}

#[test]
fn of_several_namespaces_every_row_says_in_which_it_is() {
    let block = encode(&of_all_netns(), SortColumn::Name, None);
    let rows: Vec<_> = block
        .lines()
        .filter(|line| {
            ["TCP", "FWM", "  ->"]
                .iter()
                .any(|row| line.starts_with(row))
        })
        .map(|line| line.split("  Masq").next().unwrap().trim_end())
        .collect();
    assert_eq!(
        rows,
        [
            "TCP 192.0.2.1:80 wlc   netns blue (4026531840)",
            "  -> 10.0.0.1:8080 blue",
            "  -> 10.0.0.2:8080 blue",
            "FWM 47 IPv6 wlc   netns blue (4026531840)",
            "TCP 192.0.2.1:80 wlc   netns 4026532201",
            "  -> 10.0.0.1:8080 4026532201",
            "  -> 10.0.0.2:8080 4026532201",
        ],
        "{block}"
    );
}
