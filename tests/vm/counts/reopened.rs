//! A client that comes again from the same port while IPVS still knows its last connection:
//! a persistent service takes the same entry for it, and it is measured as one of its own.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;
use ipvs_observer_tests::{
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path, Replies},
    ipvs_admin,
    report::Report,
    services::Vip,
    traffic::{self, Server},
    wait,
};
use socket2::{Domain, Socket, Type};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

const PORT: u16 = 45_000;
const TIMEOUT_S: u32 = 300;

#[cfg_attr(feature = "vm", test)]
fn a_client_that_comes_again_from_its_port_is_measured_again() {
    let vip = Vip::V4;
    let lab = Lab::new(1).expect("the lab is built");
    lab.director()
        .run(|| ipvs_admin::add_persistent_service(&vip.id(), "rr", TIMEOUT_S))
        .expect("the service is added");
    lab.add_server(vip, 1, 1).expect("the server is added");
    let _application = lab.start_server(vip, 1, Duration::ZERO).expect("it starts");
    let summary = after_two_sessions(&lab, vip.address());
    let service = summary.service(&vip.name()).expect("it is shown");
    let server = service
        .server(vip.server_address(1))
        .expect("the server is shown");
    assert_total(server, "scheduled", 1);
    assert_total(server, "established", 2);
    for measure in ["connect", "client", "handshake", "first_byte", "duration"] {
        assert_latency_count(server, measure, 2);
    }
    for counter in ["preexisting", "unanswered", "syn_repeated"] {
        assert_total(server, counter, 0);
    }
}

/// What the agent shows of two sessions from one port.
fn after_two_sessions(lab: &Lab, target: SocketAddr) -> Report {
    // Lets a port of a connection that the client has closed be used again at once.
    lab.client()
        .set_sysctl("net/ipv4/tcp_tw_reuse", "1")
        .expect("it is set");
    let agent = agent(lab);
    for _ in 0..2 {
        lab.client()
            .run(|| session(target))
            .expect("the session is answered");
        lab.quiesce().expect("the director becomes idle");
    }
    summary(agent)
}

/// One session from a port that is always the same.
fn session(target: SocketAddr) -> Result<()> {
    let mut stream = wait::until(
        "the port to be free again",
        wait::PATIENCE,
        || match connect(target) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(None),
            connected => Ok(Some(connected?)),
        },
    )?;
    traffic::exchange(&mut stream)?;
    traffic::close(stream)
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], PORT)).into())?;
    socket.connect(&target.into())?;
    Ok(socket.into())
}

/// Without its replies IPVS leaves a closed connection in `FIN_WAIT`, whatever `net.ipv4.vs.conn_reuse_mode` says.
#[cfg_attr(feature = "vm", test)]
fn a_client_that_comes_again_past_the_director_is_measured_again() {
    let path = Path {
        vip: Vip::V4,
        transport: Transport::Tcp,
        forwarding: Forwarding::DirectRoute(Replies::Avoid),
    };
    let lab = Lab::new(1).expect("the lab is built");
    lab.equip(path.vip, path.forwarding)
        .expect("the server gets what the method takes");
    lab.balance(path).expect("the service is added");
    let target = SocketAddr::new(path.vip.address().ip(), path.port());
    let _application =
        Server::start(lab.server(1), target, Duration::ZERO).expect("the application starts");
    let summary = after_two_sessions(&lab, target);
    let service = summary
        .service(&path.id().to_string())
        .expect("it is shown");
    let server = service
        .server(path.server_address(1))
        .expect("the server is shown");
    assert_total(server, "scheduled", 1);
    assert_total(server, "established", 2);
    assert_latency_count(server, "handshake", 2);
    for counter in ["preexisting", "unanswered", "syn_repeated"] {
        assert_total(server, counter, 0);
    }
}
