//! Connections that do not go the usual way are counted for what they are: unanswered,
//! older than the agent, with a server that speaks first, with data in the SYN.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_observer_tests::{
    director::Lab,
    proc_ipvs,
    report::{Report, Row},
    services::Vip,
    traffic::{self, await_response, close, exchange, open},
};
use socket2::{Domain, Socket, Type};

use crate::fixture::{
    Balanced, agent, assert_latency_count, assert_total, await_no_connection, summary,
};

const SERVERS: u8 = 2;
const EACH: u32 = 3;
const CONNECTIONS: u32 = EACH * SERVERS as u32;

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);
/// A client sends its SYN again after a second.
const IMPATIENCE: Duration = Duration::from_millis(1500);
/// A server's own first words.
const GREETING: [u8; 32] = [b'.'; 32];

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_to_silent_servers_are_unanswered() {
    connections_to_silent_servers_are_unanswered(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_to_silent_servers_are_unanswered() {
    connections_to_silent_servers_are_unanswered(Vip::V6);
}

fn connections_to_silent_servers_are_unanswered(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let lab = &balanced.lab;
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    for server in 1..=SERVERS {
        lab.delay_server(server, NEVER).expect("netem is there");
    }
    let agent = agent(lab);
    let repeated_before = segments_repeated(lab);
    thread::scope(|scope| {
        let attempts: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| lab.client().run(|| attempt(vip.address()))))
            .collect();
        for attempt in attempts {
            let outcome = attempt.join().expect("the client does not panic");
            outcome.expect("nobody answers");
        }
    });
    lab.quiesce().expect("the director becomes idle");
    let repeated = segments_repeated(lab) - repeated_before;
    assert!(
        repeated >= u64::from(CONNECTIONS),
        "only {repeated} SYNs were sent again"
    );
    let unanswered = |report: &Report| report.service(&vip.name())?.total("unanswered");
    for server in 1..=SERVERS {
        lab.remove_server(vip, server)
            .expect("the server is removed");
    }
    await_no_connection(lab);
    agent
        .await_report("the end of every connection", |report| {
            unanswered(report).is_ok_and(|count| count >= u64::from(CONNECTIONS))
        })
        .expect("each is unanswered");
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    assert_counters(
        service,
        &[
            ("scheduled", u64::from(CONNECTIONS)),
            ("unanswered", u64::from(CONNECTIONS)),
            ("syn_repeated", repeated),
        ],
    );
    for measure in ["connect", "client", "handshake", "first_byte"] {
        assert_latency_count(service, measure, 0);
    }
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_older_than_the_agent_are_counted_and_not_timed() {
    connections_older_than_the_agent_are_counted_and_not_timed(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_older_than_the_agent_are_counted_and_not_timed() {
    connections_older_than_the_agent_are_counted_and_not_timed(Vip::V6);
}

fn connections_older_than_the_agent_are_counted_and_not_timed(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let older = balanced
        .lab
        .client()
        .run(|| {
            let connect = || {
                let mut stream = open(vip.address())?;
                exchange(&mut stream)?;
                Ok(stream)
            };
            (0..CONNECTIONS)
                .map(|_| connect())
                .collect::<Result<Vec<_>>>()
        })
        .expect("every connection is answered");
    balanced.lab.quiesce().expect("the director becomes idle");
    let agent = balanced.agent();
    for mut stream in older {
        exchange(&mut stream).expect("it is answered");
        close(stream).expect("it is closed");
    }
    balanced.sessions(CONNECTIONS, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    for (row, expected) in rows(&summary, vip) {
        assert_counters(
            row,
            &[
                ("preexisting", expected),
                ("scheduled", expected),
                ("established", expected),
            ],
        );
        // Those of the younger connections alone.
        for measure in crate::fixture::MEASURES {
            assert_latency_count(row, measure, expected);
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_server_that_speaks_first_has_no_first_byte() {
    let vip = Vip::V4;
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.add_service(vip, "rr").expect("the service is added");
    let greeters: Vec<_> = (1..=SERVERS)
        .map(|server| {
            lab.add_server(vip, server, 1).expect("the server is added");
            let address = SocketAddr::new(vip.server_address(server), vip.address().port());
            let listener = lab
                .server(server)
                .run(|| Ok(TcpListener::bind(address)?))
                .expect("the address is free");
            thread::spawn(move || greet(&listener))
        })
        .collect();
    let agent = agent(&lab);
    lab.client()
        .run(|| {
            for _ in 0..CONNECTIONS {
                let mut stream = open(vip.address())?;
                let mut greeting = GREETING;
                stream.read_exact(&mut greeting)?;
                ensure!(greeting == GREETING, "the greeting is not the server's");
                stream.write_all(&traffic::REQUEST)?;
                await_response_of_greeter(&mut stream)?;
                close(stream)?;
            }
            Ok(())
        })
        .expect("every connection is greeted");
    for greeter in greeters {
        let outcome = greeter.join().expect("the server does not panic");
        outcome.expect("each server gets its part of the connections");
    }
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    for (row, expected) in rows(&summary, vip) {
        assert_counters(
            row,
            &[
                ("scheduled", expected),
                ("established", expected),
                ("server_first", expected),
            ],
        );
        for measure in ["connect", "client", "handshake", "duration"] {
            assert_latency_count(row, measure, expected);
        }
        assert_latency_count(row, "first_byte", 0);
    }
}

#[cfg_attr(feature = "vm", test)]
fn data_in_the_syn_is_counted_and_has_no_first_byte() {
    let vip = Vip::V4;
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.add_service(vip, "rr").expect("the service is added");
    // As a client without a cookie.
    lab.client()
        .set_sysctl("net/ipv4/tcp_fastopen", "5")
        .expect("a client may send data in its SYN");
    let _applications: Vec<_> = (1..=SERVERS)
        .map(|server| {
            // As a server, without a cookie, for every listener.
            lab.server(server)
                .set_sysctl("net/ipv4/tcp_fastopen", "1538")
                .expect("a server may take data in a SYN");
            lab.add_server(vip, server, 1).expect("the server is added");
            lab.start_server(vip, server, Duration::ZERO)
                .expect("it starts")
        })
        .collect();
    let agent = agent(&lab);
    lab.client()
        .run(|| {
            for _ in 0..CONNECTIONS {
                session_with_data_in_the_syn(vip.address())?;
            }
            Ok(())
        })
        .expect("every session is answered");
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    for (row, expected) in rows(&summary, vip) {
        assert_counters(
            row,
            &[
                ("scheduled", expected),
                ("established", expected),
                ("data_in_syn", expected),
            ],
        );
        for measure in ["connect", "client", "handshake", "duration"] {
            assert_latency_count(row, measure, expected);
        }
        assert_latency_count(row, "first_byte", 0);
    }
}

/// Fails unless these counters are as said and all others are zero.
#[track_caller]
fn assert_counters(row: Row<'_>, expected: &[(&str, u64)]) {
    for counter in [
        "scheduled",
        "established",
        "refused",
        "syn_repeated",
        "unanswered",
        "server_first",
        "data_in_syn",
        "preexisting",
        "dropped",
    ] {
        let count = expected.iter().find(|(name, _)| *name == counter);
        assert_total(row, counter, count.map_or(0, |(_, count)| *count));
    }
}

/// Each server's row and the service's, with how many connections it had.
fn rows(summary: &Report, vip: Vip) -> Vec<(Row<'_>, u64)> {
    let service = summary.service(&vip.name()).expect("the service is shown");
    let server = |server| {
        service
            .server(vip.server_address(server))
            .expect("the server is shown")
    };
    (1..=SERVERS)
        .map(|number| (server(number), u64::from(EACH)))
        .chain([(service, u64::from(CONNECTIONS))])
        .collect()
}

/// Connects in vain.
fn attempt(target: SocketAddr) -> Result<()> {
    match TcpStream::connect_timeout(&target, IMPATIENCE) {
        Ok(_) => bail!("somebody has answered at {target}"),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        Err(error) => Err(error).context("another failure than no answer"),
    }
}

/// All that the client has sent again.
fn segments_repeated(lab: &Lab) -> u64 {
    let text = lab.client().proc_net("snmp").expect("the kernel counts");
    proc_ipvs::snmp(&text, "Tcp", "RetransSegs").expect("the kernel counts it")
}

/// A server that greets its part of the connections, sends each request back and ends.
fn greet(listener: &TcpListener) -> Result<()> {
    for _ in 0..EACH {
        let (mut stream, _client) = listener.accept()?;
        stream.write_all(&GREETING)?;
        let mut request = traffic::REQUEST;
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
        let rest = stream.read(&mut [0])?;
        ensure!(rest == 0, "more than one request");
    }
    Ok(())
}

fn await_response_of_greeter(stream: &mut TcpStream) -> Result<()> {
    let mut response = [0; traffic::REQUEST.len()];
    stream.read_exact(&mut response)?;
    ensure!(response == traffic::REQUEST, "another response");
    Ok(())
}

/// A session of one request, which goes with the SYN.
fn session_with_data_in_the_syn(target: SocketAddr) -> Result<()> {
    const MSG_FASTOPEN: i32 = 0x2000_0000;
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let sent = socket
        .send_to_with_flags(&traffic::REQUEST, &target.into(), MSG_FASTOPEN)
        .context("cannot send data in a SYN")?;
    ensure!(sent == traffic::REQUEST.len(), "only a part was sent");
    let mut stream = TcpStream::from(socket);
    await_response(&mut stream)?;
    close(stream)
}
