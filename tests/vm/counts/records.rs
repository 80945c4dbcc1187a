//! The end of a connection: its duration is counted once, whenever IPVS lets go of it.

use std::{net::TcpStream, time::Duration};

use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    report::Report,
    services::Vip,
    traffic::{exchange, open},
};
use rustix::net::sockopt::set_socket_linger;

use crate::fixture::{Balanced, assert_latency_count, assert_total, await_no_connection, summary};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 3;
const EACH: u32 = 4;
const CONNECTIONS: u32 = EACH * SERVERS as u32;

/// After a reset no packet shows the connection in CLOSE: its end is when that state's
/// 10 s are over.
#[cfg_attr(feature = "vm", test)]
fn a_reset_connection_has_its_duration_when_it_expires() {
    let balanced = Balanced::new(VIP, SERVERS);
    let agent = agent(&balanced.lab);
    let reset = balanced.lab.client().run(|| {
        for _ in 0..CONNECTIONS {
            let mut connection = open(VIP.address())?;
            exchange(&mut connection)?;
            set_socket_linger(&connection, Some(Duration::ZERO))?;
        }
        Ok(())
    });
    reset.expect("every connection is answered and reset");
    await_no_connection(&balanced.lab);
    await_durations(&agent, CONNECTIONS);
    let summary = summary(agent);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    for server in 1..=SERVERS {
        let row = service
            .server(VIP.server_address(server))
            .expect("the server is shown");
        assert_total(row, "established", u64::from(EACH));
        assert_latency_count(row, "first_byte", u64::from(EACH));
        assert_latency_count(row, "duration", u64::from(EACH));
    }
    assert_latency_count(service, "duration", u64::from(CONNECTIONS));
    assert_total(service, "unanswered", 0);
}

/// A connection in `TIME_WAIT` has its duration already, one that is open not yet.
#[cfg_attr(feature = "vm", test)]
fn connections_that_lose_their_server_have_their_duration_once() {
    let balanced = Balanced::new(VIP, SERVERS);
    let lab = &balanced.lab;
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    let agent = agent(lab);
    balanced.sessions(CONNECTIONS, 1);
    let still_open = lab
        .client()
        .run(|| -> anyhow::Result<Vec<TcpStream>> {
            let connections = (0..CONNECTIONS).map(|_| open(VIP.address()));
            connections.collect()
        })
        .expect("every connection is accepted");
    lab.quiesce().expect("the director becomes idle");
    await_durations(&agent, CONNECTIONS);
    for server in 1..=SERVERS {
        lab.remove_server(VIP, server)
            .expect("the server is removed");
    }
    await_no_connection(lab);
    await_durations(&agent, 2 * CONNECTIONS);
    let summary = summary(agent);
    drop(still_open);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    assert_total(service, "established", u64::from(2 * CONNECTIONS));
    assert_latency_count(service, "duration", u64::from(2 * CONNECTIONS));
    assert_total(service, "unanswered", 0);
}

/// Each is lost once, however many packets it has, and those that have a record are measured as ever.
#[cfg_attr(feature = "vm", test)]
fn connections_beyond_the_room_for_records_are_counted_once_each() {
    const ROOM: u32 = 8;
    // Twice as many places are there, and more than fill them are open at the same time.
    const OPEN: u32 = 40;
    let balanced = Balanced::new(VIP, SERVERS);
    let agent = Agent::start(
        balanced.lab.director(),
        &["-i", "500ms", "--max-connections", &ROOM.to_string()],
    )
    .expect("the agent starts");
    let open = balanced.lab.client().run(|| {
        let mut connections = (0..OPEN)
            .map(|_| open(VIP.address()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for connection in &mut connections {
            exchange(connection)?;
        }
        Ok::<_, anyhow::Error>(connections)
    });
    let open = open.expect("every connection is answered");
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    drop(open);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    assert_total(service, "scheduled", u64::from(OPEN));
    assert_total(service, "preexisting", 0);
    let lost = summary
        .total_loss("connections_full")
        .expect("losses are stated");
    let kept = service.total("established").expect("it is shown");
    assert!(
        (u64::from(ROOM)..=2 * u64::from(ROOM)).contains(&kept),
        "{kept} have a record"
    );
    assert_eq!(lost + kept, u64::from(OPEN), "each is kept or lost");
    for measure in ["connect", "client", "handshake", "first_byte"] {
        assert_latency_count(service, measure, kept);
    }
    let coverage = summary.total_coverage().expect("the coverage is stated");
    assert_eq!(coverage.hits, coverage.packets);
}

fn agent(lab: &Lab) -> Agent {
    Agent::start(lab.director(), &["-i", "500ms"]).expect("the agent starts")
}

/// The records are taken away a moment after their connections.
fn await_durations(agent: &Agent, expected: u32) {
    let durations = |report: &Report| {
        let service = report.service(&VIP.name())?;
        service.total_latency("duration")
    };
    agent
        .await_report(&format!("{expected} durations"), |report| {
            durations(report).is_ok_and(|latency| latency.count >= u64::from(expected))
        })
        .expect("every connection has one");
}
