//! What Netdata reads from its plugin.

use std::time::Duration;

use super::Charts;
use crate::output::list::fixture::listing;

#[test]
fn charts_are_described_once_and_have_values_with_each_reading() {
    let mut out = Vec::new();
    let mut charts = Charts::start(Duration::from_secs(1), &mut out).unwrap();
    let listing = listing();
    let (now, mut totals) = (listing.at.monotonic, listing.totals.unwrap());
    charts.encode(now, &totals, &mut out).unwrap();
    totals.in_bytes = u64::MAX;
    let later = now + Duration::from_nanos(1_000_250_999);
    charts.encode(later, &totals, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        include_str!("../testdata/list.netdata")
    );
}

#[test]
fn a_plugin_says_whole_seconds_and_never_fewer_than_pass() {
    for (interval_ms, update_every) in [(10, 1), (1_000, 1), (1_001, 2), (5_000, 5)] {
        let mut out = Vec::new();
        Charts::start(Duration::from_millis(interval_ms), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let chart = text.lines().next().unwrap();
        let end = format!(" line 3101 {update_every} '' ipvs-observer list");
        assert!(chart.ends_with(&end), "{interval_ms} ms: {chart}");
    }
}
