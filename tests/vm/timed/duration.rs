//! `duration` is as long as the connection was: delays that the lab injects into some
//! connections are found again in theirs, and in those alone.

use std::time::Duration;

use ipvs_observer_tests::{report::Report, services::Vip, traffic};

use super::{DELAY, DELAY_NS, DELAYED, EACH, SERVERS, assert_shift, latency, observe};
use crate::fixture::Balanced;

/// Requests of each connection.
const REQUESTS: u32 = 3;
/// What a client waits between two requests.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_NS: u64 = 50_000_000;

#[cfg_attr(feature = "vm", test)]
fn a_late_application_lengthens_its_ipv4_connections_by_every_request() {
    a_late_application_lengthens_its_connections_by_every_request(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_late_application_lengthens_its_ipv6_connections_by_every_request() {
    a_late_application_lengthens_its_connections_by_every_request(Vip::V6);
}

fn a_late_application_lengthens_its_connections_by_every_request(vip: Vip) {
    let before = paced(&Balanced::new(vip, SERVERS), Duration::ZERO);
    let late = Balanced::with_application_delay(vip, SERVERS, DELAYED, DELAY);
    let after = paced(&late, Duration::ZERO);
    assert_lengthened(vip, &before, &after, |server| {
        if server == DELAYED {
            u64::from(REQUESTS) * DELAY_NS
        } else {
            0
        }
    });
}

#[cfg_attr(feature = "vm", test)]
fn a_pausing_client_lengthens_its_ipv4_connections_by_every_pause() {
    a_pausing_client_lengthens_its_connections_by_every_pause(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_pausing_client_lengthens_its_ipv6_connections_by_every_pause() {
    a_pausing_client_lengthens_its_connections_by_every_pause(Vip::V6);
}

fn a_pausing_client_lengthens_its_connections_by_every_pause(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let before = paced(&balanced, Duration::ZERO);
    let after = paced(&balanced, PAUSE);
    assert_lengthened(vip, &before, &after, |_server| {
        u64::from(REQUESTS - 1) * PAUSE_NS
    });
}

/// One run of connections whose client waits `pause` between two requests.
fn paced(balanced: &Balanced, pause: Duration) -> Report {
    observe(balanced, || {
        let sessions = || {
            for _ in 0..u32::from(SERVERS) * EACH {
                traffic::paced_session(balanced.vip.address(), REQUESTS, pause)?;
            }
            Ok(())
        };
        balanced
            .lab
            .client()
            .run(sessions)
            .expect("every session is answered");
    })
}

/// Fails unless the connections of each server last longer by what `expected_ns` says.
#[track_caller]
fn assert_lengthened(vip: Vip, before: &Report, after: &Report, expected_ns: impl Fn(u8) -> u64) {
    for server in 1..=SERVERS {
        let [before, after] =
            [before, after].map(|report| latency(report, vip, server, "duration"));
        let what = format!("duration of server {server}");
        assert_shift(&what, before, after, expected_ns(server));
    }
}
