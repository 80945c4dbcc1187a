//! Lines that a server takes, against Telegraf's page and what it gets wrong.

use std::time::Duration;

use super::encode;
use crate::{
    model::listing::Listing,
    output::list::fixture::{least, listing},
};

fn encoded(listing: &Listing, extra_fields: bool) -> String {
    let mut out = Vec::new();
    encode(listing, extra_fields, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The one line that starts like that.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let mut lines = text.lines().filter(|line| line.starts_with(start));
    let line = lines.next().unwrap_or_else(|| panic!("no {start}"));
    assert_eq!(lines.next(), None, "{start} is not one line");
    line
}

#[test]
fn everything_is_written_as_it_stands_here() {
    assert_eq!(
        encoded(&listing(), false),
        include_str!("../testdata/list.influx")
    );
}

#[test]
fn no_two_lines_are_of_one_series() {
    for extra_fields in [false, true] {
        let text = encoded(&listing(), extra_fields);
        let mut series: Vec<_> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap().0)
            .collect();
        let lines = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), lines);
    }
}

#[test]
fn tags_are_in_the_order_of_their_names() {
    let mut listing = listing();
    listing.netns = Some("blue".to_owned());
    for line in encoded(&listing, true).lines() {
        let mut tags = line.split(' ').next().unwrap().split(',').skip(1);
        assert!(tags.by_ref().is_sorted(), "{line}");
    }
}

#[test]
fn extra_fields_are_what_telegraf_lacks() {
    let text = encoded(&listing(), true);
    assert_eq!(
        line(
            &text,
            "ipvs_virtual_server,address=192.0.2.10,address_family=inet,host=director1,netmask=32,port=80,"
        ),
        "ipvs_virtual_server,address=192.0.2.10,address_family=inet,host=director1,netmask=32,port=80,protocol=tcp,sched=rr \
         connections=20i,pkts_in=8589934592i,pkts_out=77i,bytes_in=9223372036854775807i,bytes_out=6164i,\
         pps_in=1235i,pps_out=2i,cps=1i,bytes_per_s_in=1000000000000i,bytes_per_s_out=244i 1800000000123456789"
    );
    assert_eq!(
        line(
            &text,
            "ipvs_real_server,address=10.1.0.2,address_family=inet,host=director1,port=443,"
        ),
        "ipvs_real_server,address=10.1.0.2,address_family=inet,host=director1,port=443,\
         virtual_address=192.0.2.10,virtual_port=443,virtual_protocol=tcp \
         active_connections=0i,inactive_connections=0i,connections=0i,pkts_in=0i,pkts_out=0i,bytes_in=0i,bytes_out=0i,\
         pps_in=0i,pps_out=0i,cps=0i,bytes_per_s_in=0i,bytes_per_s_out=0i,\
         weight=65535i,method=\"Route\",persistent_connections=5i,upper_threshold=4000000000i,lower_threshold=90i \
         1800000000123456789"
    );
}

#[test]
fn what_is_not_known_is_left_out_with_the_line_if_nothing_is_left() {
    let text = encoded(&least(), false);
    assert!(!text.contains("ipvs_virtual_server"));
    assert_eq!(
        line(
            &text,
            "ipvs_real_server,address=10.1.0.3,address_family=inet,port=8080,"
        ),
        "ipvs_real_server,address=10.1.0.3,address_family=inet,port=8080,\
         virtual_address=192.0.2.10,virtual_port=80,virtual_protocol=tcp \
         active_connections=2i,inactive_connections=8i 1800000000123456789"
    );
    let text = encoded(&least(), true);
    assert!(
        line(&text, "ipvs_real_server,address=10.1.0.3,address_family=inet,host=director1,port=8080,").ends_with(
            " active_connections=2i,inactive_connections=8i,weight=3i,method=\"Masq\" 1800000000123456789"
        )
    );
}

#[test]
fn a_tag_may_be_any_text_but_one_that_no_escape_can_end() {
    let tags = |netns: &str, scheduler: &str| {
        let mut listing = listing();
        listing.netns = Some(netns.to_owned());
        listing.table.services.truncate(1);
        listing.table.services[0].destinations.clear();
        scheduler.clone_into(&mut listing.table.services[0].scheduler);
        let text = encoded(&listing, false);
        text.split(" connections").next().unwrap().to_owned()
    };
    let with = |netns: &str, scheduler: &str| {
        format!(
            "ipvs_virtual_server,address=192.0.2.10,address_family=inet,netmask=32{netns},port=80,protocol=tcp{scheduler}"
        )
    };
    assert_eq!(
        tags("a b,c=d\n\t\\e", "größe"),
        with(",netns=a\\ b\\,c\\=d\\n\\t\\e", ",sched=größe")
    );
    assert_eq!(tags("a\\", ""), with("", ""));
}

#[test]
fn a_time_that_the_protocol_cannot_hold_is_its_last() {
    let mut listing = listing();
    listing.at.wall = Duration::MAX;
    assert!(encoded(&listing, false).ends_with(" 9223372036854775807\n"));
}
