//! A client that comes again from the same port while IPVS still knows its last connection:
//! a persistent service takes the same entry for it, and it is measured as one of its own.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;
use ipvs_observer_tests::{director::Lab, ipvs_admin, services::Vip, traffic, wait};
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
    // Lets a port of a connection that the client has closed be used again at once.
    lab.client()
        .set_sysctl("net/ipv4/tcp_tw_reuse", "1")
        .expect("it is set");
    let agent = agent(&lab);
    for _ in 0..2 {
        lab.client()
            .run(|| session(vip.address()))
            .expect("the session is answered");
        lab.quiesce().expect("the director becomes idle");
    }

    let summary = summary(agent);
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
