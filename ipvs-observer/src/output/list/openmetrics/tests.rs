//! Samples that `node_exporter` prints too, and those that it cannot.

use super::{Form, encode};
use crate::{
    model::listing::Listing,
    output::list::fixture::{least, listing},
};

fn encoded(listing: &Listing, form: Form) -> String {
    let mut out = Vec::new();
    encode(listing, form, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn samples(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn everything_is_written_as_it_stands_here() {
    assert_eq!(
        encoded(&listing(), Form::OpenMetrics),
        include_str!("../testdata/list.openmetrics")
    );
}

#[test]
fn both_forms_have_the_same_samples_and_describe_a_counter_by_their_own_name() {
    let [open, prometheus] =
        [Form::OpenMetrics, Form::Prometheus].map(|form| encoded(&listing(), form));
    assert_eq!(samples(&open), samples(&prometheus));
    assert!(prometheus.starts_with(
        "# TYPE node_ipvs_connections_total counter\n\
         # HELP node_ipvs_connections_total Connections scheduled by IPVS.\n\
         node_ipvs_connections_total 27\n"
    ));
    assert!(!prometheus.contains("# EOF") && !prometheus.contains("# UNIT"));
}

#[test]
fn no_two_samples_are_of_one_series() {
    let text = encoded(&listing(), Form::OpenMetrics);
    let mut series: Vec<_> = samples(&text)
        .into_iter()
        .map(|sample| sample.rsplit_once(' ').unwrap().0)
        .collect();
    let n_samples = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), n_samples);
}

#[test]
fn unknown_totals_are_left_out_and_an_empty_table_has_no_samples() {
    let mut listing = least();
    assert!(!encoded(&listing, Form::OpenMetrics).contains("_total"));
    listing.table.services.clear();
    let text = encoded(&listing, Form::OpenMetrics);
    assert_eq!(samples(&text), [] as [&str; 0]);
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn a_network_namespace_is_a_label_of_every_sample_whatever_its_name() {
    let mut listing = listing();
    listing.netns = Some("a\"b\\c\nd".to_owned());
    let text = encoded(&listing, Form::OpenMetrics);
    assert!(samples(&text).len() > 30);
    for sample in samples(&text) {
        let labels = sample.rsplit_once(' ').unwrap().0;
        assert!(labels.ends_with(r#"netns="a\"b\\c\nd"}"#), "{sample}");
    }
    assert!(text.contains("node_ipvs_connections_total{netns="));
}
