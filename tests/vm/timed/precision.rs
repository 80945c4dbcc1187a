//! What the kernel's programs put into their buckets, value by value: each window sees one connection, so that its sum
//! is that connection's exact value, and an `HdrHistogram` of the same values says what the agent must show.

use std::time::Duration;

use hdrhistogram::Histogram;
use ipvs_observer_tests::{
    report::{Report, Row},
    services::Vip,
    wait,
};

use super::MEASURES;
use crate::fixture::{self, Balanced};

/// Each delay is so much longer than the one before: from what a network in a rack adds, thirteen to a decade so that they
/// fall all over their octaves, to less than the second after which a SYN is repeated.
const CONNECTIONS: u32 = 60;
const SHORTEST_NS: u64 = 20_000;
const GROWTH: (u64, u64) = (119, 100);

/// Quantiles of `HdrHistogram` and their names in the report.
const QUANTILES: [(f64, &str); 4] = [
    (0.5, "p50_ns"),
    (0.9, "p90_ns"),
    (0.99, "p99_ns"),
    (0.999, "p999_ns"),
];
/// Buckets of an octave, as a power of two, where memory is not short.
const GROUPING_BITS: u32 = 5;

#[cfg_attr(feature = "vm", test)]
fn every_bucket_and_quantile_is_that_of_an_hdr_histogram_of_the_same_values() {
    let balanced = Balanced::new(Vip::V4, 1);
    balanced.sessions(1, 1);
    wait::idle_cpu().expect("the guest becomes idle");
    let agent = fixture::agent(&balanced.lab);
    let mut delay_ns = SHORTEST_NS;
    for connection in 1..=CONNECTIONS {
        let delay = Duration::from_nanos(delay_ns);
        delay_ns = delay_ns * GROWTH.0 / GROWTH.1;
        balanced.lab.delay_server(1, delay).expect("netem is there");
        balanced.sessions(1, 1);
        // The next one then falls into another window.
        let is_shown = |report: &Report| {
            row_of(report)
                .and_then(|row| row.total_latency("first_byte").ok())
                .is_some_and(|total| total.count == u64::from(connection))
        };
        agent
            .await_report("the connection's window", is_shown)
            .expect("the window is printed");
    }
    let outcome = agent.stop().expect("the agent ends");
    let reports = outcome.reports().expect("windows are printed");
    let last = outcome.summary().expect("the run is summed up");
    let total = row_of(&last).expect("the server is shown");
    for measure in MEASURES {
        let values = values(&reports, measure);
        assert_eq!(values.len(), CONNECTIONS as usize, "values of {measure}");
        assert_same(total, measure, &values);
    }
}

/// The values of one measure, each from a window of its own.
fn values(reports: &[Report], measure: &str) -> Vec<u64> {
    let windows = reports.iter().filter(|report| !report.is_final());
    let latencies = windows.filter_map(|report| row_of(report)?.latency(measure).ok());
    let latencies = latencies.filter(|latency| latency.count > 0);
    latencies
        .map(|latency| {
            assert_eq!(latency.count, 1, "a window has one connection");
            latency.sum_ns
        })
        .collect()
}

fn assert_same(row: Row<'_>, measure: &str, values: &[u64]) {
    let mut expected = Histogram::<u64>::new(2).expect("two digits are enough");
    for &value in values {
        expected.record(value).expect("it grows");
    }
    let buckets = row.total_buckets(measure).expect("they are shown");
    for &(lowest_ns, count) in &buckets {
        let highest_ns = lowest_ns + width_ns(lowest_ns) - 1;
        assert_eq!(
            count,
            expected.count_between(lowest_ns, highest_ns),
            "values of {measure} from {lowest_ns} to {highest_ns} ns among {values:?}"
        );
    }
    let counted: u64 = buckets.iter().map(|(_, count)| count).sum();
    assert_eq!(counted, expected.len(), "values of {measure}");
    for (quantile, name) in QUANTILES {
        let shown_ns = row.total_quantile(measure, name).expect("it is shown");
        let expected_ns = expected.value_at_quantile(quantile);
        assert_eq!(
            shown_ns / width_ns(shown_ns),
            expected_ns / width_ns(shown_ns),
            "{name} of {measure}: {shown_ns} and {expected_ns} ns"
        );
    }
}

/// The width of the bucket that a value falls into.
fn width_ns(value_ns: u64) -> u64 {
    1 << (value_ns.ilog2() - GROUPING_BITS)
}

fn row_of(report: &Report) -> Option<Row<'_>> {
    let service = report.service(&Vip::V4.name()).ok()?;
    service.server(Vip::V4.server_address(1)).ok()
}
