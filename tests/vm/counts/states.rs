//! All connections at once: by state as the kernel's own file has them, those that are older than the agent, and the
//! drain of a server.

use std::{collections::BTreeMap, net::TcpStream, time::Duration};

use anyhow::Result;
use ipvs_observer::{
    ipvs::procfs::connections::ConnectionFile, kernel::Kernel, model::id::DestinationId,
};
use ipvs_observer_tests::{
    agent::Agent,
    ipvs_admin,
    report::Report,
    services::{PORT, Vip},
    traffic::{exchange, knock, open},
};
use rustix::net::sockopt::set_socket_linger;

use crate::fixture::{Balanced, assert_total, summary};

const SERVERS: u8 = 2;
/// Longer than a test: what a server sends does not arrive.
const NEVER: Duration = Duration::from_secs(600);

/// Connections of one server by the state's name.
type Counts = BTreeMap<String, u64>;

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_are_counted_by_state_as_the_kernel_has_them() {
    connections_are_counted_by_state_as_the_kernel_has_them(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_are_counted_by_state_as_the_kernel_has_them() {
    connections_are_counted_by_state_as_the_kernel_has_them(Vip::V6);
}

/// Each server gets three connections that stay open, two that end, one that is reset and one whose SYN it does not
/// answer.
fn connections_are_counted_by_state_as_the_kernel_has_them(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let agent = start(&balanced, &["--states"]);
    let servers = u32::from(SERVERS);
    let _stay_open = open_connections(&balanced, 3 * servers);
    balanced.sessions(2 * servers, 1);
    for server in 1..=SERVERS {
        balanced
            .lab
            .delay_server(server, NEVER)
            .expect("netem is there");
    }
    let target = vip.address();
    let knocks = || (0..servers).try_for_each(|_| knock(target));
    balanced.lab.client().run(knocks).expect("SYNs are sent");
    for server in 1..=SERVERS {
        balanced
            .lab
            .delay_server(server, Duration::ZERO)
            .expect("netem is there");
    }
    // Last, since a reset connection is there for 10 s only.
    reset(open_connections(&balanced, servers));
    balanced.lab.quiesce().expect("the director becomes idle");
    let report = agent
        .await_report("the states that the file has", |report| {
            let file = counts_of_file(&balanced).expect("the file can be read");
            counts_of_report(report, vip).is_some_and(|counts| counts == file)
        })
        .expect("they are equal once nothing changes");
    let counts = counts_of_report(&report, vip).expect("the connections were looked at");
    for (server, counts) in (1..=SERVERS).zip(&counts) {
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        assert_eq!(count("established"), 3, "server {server}: {counts:?}");
        assert_eq!(count("syn_recv"), 1, "server {server}: {counts:?}");
        assert_eq!(count("close"), 1, "server {server}: {counts:?}");
        let closing = count("fin_wait") + count("time_wait");
        assert_eq!(closing, 2, "server {server}: {counts:?}");
        assert_eq!(
            counts.values().sum::<u64>(),
            7,
            "server {server}: {counts:?}"
        );
        let service = report.service(&vip.name()).expect("the service is shown");
        let row = service.server(vip.server_address(server));
        let row = row.expect("the server is shown");
        assert_eq!(row.states("unanswered"), Some(1), "{row:?}");
        assert_eq!(row.states("begun_unseen"), Some(0), "{row:?}");
        assert_eq!(row.states("other"), Some(0), "{row:?}");
        let [oldest, syn_recv] =
            ["oldest_age_ns", "oldest_syn_recv_age_ns"].map(|name| row.states(name));
        assert!(oldest > syn_recv && syn_recv > Some(0), "{row:?}");
    }
}

/// More lines than one page of the file holds.
#[cfg_attr(feature = "vm", test)]
fn connections_that_are_older_than_the_agent_are_known_at_once_each_exactly_once() {
    const EACH: u64 = 50;
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let older = u32::try_from(EACH).expect("they are few") * u32::from(SERVERS);
    let mut streams = open_connections(&balanced, older);
    balanced.lab.quiesce().expect("the director becomes idle");
    let agent = start(&balanced, &["--seed", "--states"]);
    let report = agent
        .await_report("the first window", |_| true)
        .expect("there is one");
    let service = report.service(&vip.name()).expect("the service is shown");
    for server in 1..=SERVERS {
        let row = service.server(vip.server_address(server));
        let row = row.expect("the server is shown");
        assert_total(row, "preexisting", EACH);
        assert_total(row, "record_made", EACH);
        let all_open = Counts::from([("established".to_owned(), EACH)]);
        assert_eq!(row.tcp_states(), Some(all_open));
        assert_eq!(row.states("begun_unseen"), Some(EACH));
        assert_eq!(row.states("oldest_age_ns"), None, "it is not known");
    }
    for stream in &mut streams {
        exchange(stream).expect("every request is answered");
    }
    balanced.sessions(u32::from(SERVERS), 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    for server in 1..=SERVERS {
        let row = service.server(vip.server_address(server));
        let row = row.expect("the server is shown");
        assert_total(row, "preexisting", EACH);
        assert_total(row, "record_made", EACH + 1);
        assert_total(row, "established", 1);
    }
    assert_eq!(summary.total_losses().expect("they are shown"), [""; 0]);
}

/// Without `--states` connections are looked at while a server drains, and only then.
#[cfg_attr(feature = "vm", test)]
fn a_drain_is_followed_from_weight_0_to_the_last_connection() {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let drained = vip.server_address(1);
    let agent = start(&balanced, &[]);
    let mut streams = open_connections(&balanced, 2 * u32::from(SERVERS));
    balanced.lab.quiesce().expect("the director becomes idle");
    let quiet = agent
        .await_report("a window", |_| true)
        .expect("there is one");
    let quiet = quiet.service(&vip.name()).expect("the service is shown");
    let quiet = quiet.server(drained).expect("the server is shown");
    assert_eq!((quiet.drain(), quiet.tcp_states()), (None, None));

    let id = DestinationId {
        address: drained,
        port: PORT,
    };
    let set = || ipvs_admin::set_weight(&vip.id(), &id, 0);
    balanced.lab.director().run(set).expect("the weight is set");
    let row_of = |report: &Report, address| -> Result<_> {
        let row = report.service(&vip.name())?.server(address)?;
        Ok((row.drain(), row.tcp_states(), row.kernel_packets()?))
    };
    let begun = agent
        .await_report("the drain", |report| {
            row_of(report, drained).is_ok_and(|(drain, ..)| drain.is_some())
        })
        .expect("it begins");
    let (drain, states, before) = row_of(&begun, drained).expect("the server is shown");
    let drain = drain.expect("it drains");
    assert!(drain.begin_seen);
    assert_eq!((drain.packets, drain.took_ns), (Some(0), None));
    let two_open = Counts::from([("established".to_owned(), 2)]);
    assert_eq!(states, Some(two_open.clone()));
    let (other, other_states, _) =
        row_of(&begun, vip.server_address(2)).expect("the server is shown");
    assert_eq!((other, other_states), (None, Some(two_open)));

    for stream in &mut streams {
        exchange(stream).expect("every request is answered");
    }
    reset(streams);
    let ended = agent
        .await_report("the end of the drain", |report| {
            row_of(report, drained)
                .is_ok_and(|(drain, ..)| drain.is_some_and(|drain| drain.took_ns.is_some()))
        })
        .expect("its connections expire");
    let (drain, _, after) = row_of(&ended, drained).expect("the server is shown");
    let drain = drain.expect("its weight is still 0");
    assert!(drain.begin_seen && drain.took_ns > Some(0), "{drain:?}");
    let passed = after.since(before).total();
    assert!(passed > 0);
    assert_eq!(drain.packets, Some(passed));
    let idle = agent
        .await_report("a window without connections", |report| {
            row_of(report, drained).is_ok_and(|(_, states, _)| states.is_none())
        })
        .expect("nothing is looked at any more");
    let (drain, ..) = row_of(&idle, drained).expect("the server is shown");
    assert!(drain.is_some_and(|drain| drain.took_ns.is_some()));
}

fn start(balanced: &Balanced, arguments: &[&str]) -> Agent {
    let arguments = [&["-i", "500ms"], arguments].concat();
    Agent::start(balanced.lab.director(), &arguments).expect("the agent starts")
}

fn open_connections(balanced: &Balanced, count: u32) -> Vec<TcpStream> {
    let target = balanced.vip.address();
    let open_all = || (0..count).map(|_| open(target)).collect();
    balanced
        .lab
        .client()
        .run(open_all)
        .expect("every connection is accepted")
}

/// Ends each connection by an RST.
fn reset(streams: Vec<TcpStream>) {
    for stream in streams {
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("it can be set");
    }
}

/// What the report says of each server in turn; `None` where connections were not looked at.
fn counts_of_report(report: &Report, vip: Vip) -> Option<Vec<Counts>> {
    let service = report.service(&vip.name()).ok()?;
    let servers = 1..=SERVERS;
    let rows = servers.map(|server| {
        service
            .server(vip.server_address(server))
            .ok()?
            .tcp_states()
    });
    rows.collect()
}

/// What the kernel's file says of each server in turn.
fn counts_of_file(balanced: &Balanced) -> Result<Vec<Counts>> {
    balanced.lab.director().run(|| {
        let mut counts = vec![Counts::new(); usize::from(SERVERS)];
        let mut connections = Kernel::at("/").connections(ConnectionFile::Conn)?;
        while let Some(connection) = connections.advance()? {
            let servers = (1..=SERVERS).zip(&mut counts);
            for (server, counts) in servers {
                if connection.destination.ip() == balanced.vip.server_address(server) {
                    *counts.entry(connection.state.to_lowercase()).or_default() += 1;
                }
            }
        }
        Ok(counts)
    })
}
