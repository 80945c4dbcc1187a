//! The ACK of a handshake and the request behind it, on two CPUs at the same time: whichever the director sees first, the
//! connection is established once and its request is the first.

use std::{hint, net::TcpStream, sync::Barrier, thread};

use anyhow::{Context as _, Result};
use ipvs_observer_tests::{
    services::Vip,
    traffic::{REQUEST, STUCK, await_response, close},
};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::fixture::{
    Balanced, MEASURES, agent, assert_latency_count, assert_total, stay_on, summary,
};

const VIP: Vip = Vip::V4;
const CONNECTIONS: u32 = 200;

#[cfg_attr(feature = "vm", test)]
fn an_ack_and_a_request_on_two_cpus_establish_a_connection_once() {
    let balanced = Balanced::new(VIP, 2);
    let agent = agent(&balanced.lab);
    let client = balanced.lab.client();
    (0..CONNECTIONS).for_each(|_| {
        client.run(session).expect("every session is answered");
    });
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    assert_total(service, "established", CONNECTIONS.into());
    assert_total(service, "server_first", 0);
    for measure in MEASURES {
        assert_latency_count(service, measure, CONNECTIONS.into());
    }
}

/// Connects on one CPU, where the SYN-ACK is taken and the ACK sent, and sends the request on the other as soon as the
/// socket takes it.
fn session() -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("cannot make a socket")?;
    socket.set_nonblocking(true)?;
    let together = Barrier::new(2);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            stay_on(1)?;
            together.wait();
            send(&socket)
        });
        stay_on(0)?;
        together.wait();
        match socket.connect(&VIP.address().into()) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            connected => connected.context("cannot connect")?,
        }
        sender.join().expect("it does not panic")
    })?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(STUCK))?;
    let mut stream = TcpStream::from(socket);
    await_response(&mut stream)?;
    close(stream)
}

/// Tries until the socket is connected: it is neither before it begins to, nor while it waits for the SYN-ACK.
fn send(socket: &Socket) -> Result<()> {
    loop {
        match socket
            .send(&REQUEST)
            .map_err(|error| Errno::from_io_error(&error))
        {
            Ok(_) => return Ok(()),
            Err(Some(Errno::PIPE | Errno::NOTCONN | Errno::AGAIN)) => hint::spin_loop(),
            Err(error) => anyhow::bail!("cannot send a request: {error:?}"),
        }
    }
}
