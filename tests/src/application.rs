//! Servers that answer a known number of connections and end, and clients that make them,
//! over each protocol that IPVS balances.
//!
//! A server that gets fewer connections than it was told waits in vain and fails, and one
//! that gets more leaves them unanswered: so both ends together prove the schedule, without
//! any help of the agent. Servers that go on are `traffic`'s.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    netns::Netns,
    traffic::{self, REQUEST, RESPONSE, STUCK},
};

/// What client and server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP; a connection is a socket of the client.
    Udp,
    /// UDP, each datagram of which is a connection to IPVS.
    OnePacket,
    /// SCTP, with one address at each end.
    Sctp,
}

/// Answers `connections` connections of `requests` requests at `address` in `netns`.
pub fn serve(
    netns: &Netns,
    transport: Transport,
    address: SocketAddr,
    connections: u32,
    requests: u32,
) -> Result<JoinHandle<Result<()>>> {
    let context = move || format!("at {address}");
    match transport {
        Transport::Udp | Transport::OnePacket => {
            let socket = netns.run(|| datagram_socket(address))?;
            Ok(thread::spawn(move || {
                answer_datagrams(&socket, connections * requests).with_context(context)
            }))
        }
        Transport::Tcp | Transport::Sctp => {
            let listener = netns.run(|| listener(transport, address))?;
            Ok(thread::spawn(move || {
                answer_connections(&listener, connections, requests).with_context(context)
            }))
        }
    }
}

/// Makes `connections` connections of `requests` requests one after another, from the
/// address `client` in the calling thread's namespace.
pub fn connect(
    transport: Transport,
    client: IpAddr,
    target: SocketAddr,
    connections: u32,
    requests: u32,
) -> Result<()> {
    let client = SocketAddr::new(client, 0);
    let context = |connection| format!("in connection {connection} of {connections} to {target}");
    match transport {
        Transport::Udp | Transport::OnePacket => {
            // All stay open, so that no port comes twice.
            let sockets = (0..connections)
                .map(|_| datagram_socket(client))
                .collect::<Result<Vec<_>>>()?;
            for (connection, socket) in sockets.iter().enumerate() {
                exchange_datagrams(transport, socket, target, requests)
                    .with_context(|| context(connection))?;
            }
        }
        Transport::Tcp | Transport::Sctp => {
            for connection in 0..connections as usize {
                session(transport, client, target, requests)
                    .with_context(|| context(connection))?;
            }
        }
    }
    Ok(())
}

fn answer_connections(listener: &TcpListener, connections: u32, requests: u32) -> Result<()> {
    for connection in 0..connections {
        let context = || format!("in connection {connection} of {connections}");
        let (stream, _client) = listener.accept().with_context(context)?;
        answer_requests(stream, requests).with_context(context)?;
    }
    Ok(())
}

fn answer_requests(mut stream: TcpStream, requests: u32) -> Result<()> {
    stream.set_read_timeout(Some(STUCK))?;
    let mut request = REQUEST;
    for number in 0..requests {
        stream
            .read_exact(&mut request)
            .and_then(|()| stream.write_all(&RESPONSE))
            .with_context(|| format!("in request {number} of {requests}"))?;
    }
    let rest = stream.read(&mut request).context("after all requests")?;
    ensure!(rest == 0, "the client sent more than its requests");
    Ok(())
}

fn answer_datagrams(socket: &UdpSocket, datagrams: u32) -> Result<()> {
    let mut request = REQUEST;
    for number in 0..datagrams {
        let (_length, client) = socket
            .recv_from(&mut request)
            .with_context(|| format!("no datagram {number} of {datagrams}"))?;
        socket.send_to(&RESPONSE, client)?;
    }
    Ok(())
}

fn session(
    transport: Transport,
    client: SocketAddr,
    target: SocketAddr,
    requests: u32,
) -> Result<()> {
    let socket = stream_socket(transport, client)?;
    socket
        .connect_timeout(&target.into(), STUCK)
        .context("cannot connect")?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(STUCK))?;
    for request in 0..requests {
        traffic::exchange(&mut stream)
            .with_context(|| format!("in request {request} of {requests}"))?;
    }
    close(transport, stream)
}

/// Closes first and waits until the server has closed too. Of an association of SCTP there
/// may be nothing left by then.
fn close(transport: Transport, mut stream: TcpStream) -> Result<()> {
    if transport == Transport::Tcp {
        return traffic::close(stream);
    }
    stream
        .shutdown(Shutdown::Write)
        .context("cannot close an association")?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        other => bail!("waiting for the server to close has given {other:?}"),
    }
}

/// Whoever answers a packet that is a connection of its own answers under its own name.
fn exchange_datagrams(
    transport: Transport,
    socket: &UdpSocket,
    target: SocketAddr,
    requests: u32,
) -> Result<()> {
    let mut response = RESPONSE;
    for request in 0..requests {
        socket.send_to(&REQUEST, target)?;
        let (_length, from) = socket
            .recv_from(&mut response)
            .with_context(|| format!("no answer to datagram {request} of {requests}"))?;
        ensure!(
            from == target || transport == Transport::OnePacket,
            "{from} has answered"
        );
    }
    Ok(())
}

fn listener(transport: Transport, address: SocketAddr) -> Result<TcpListener> {
    /// More than ever wait at once.
    const BACKLOG: i32 = 16;
    let socket = stream_socket(transport, address)?;
    socket.set_read_timeout(Some(STUCK))?;
    socket
        .listen(BACKLOG)
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(TcpListener::from(socket))
}

/// Bound to one address, so that SCTP tells the other end of no more.
fn stream_socket(transport: Transport, address: SocketAddr) -> Result<Socket> {
    let protocol = if transport == Transport::Sctp {
        Protocol::SCTP
    } else {
        Protocol::TCP
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))
        .with_context(|| format!("cannot make a socket of {transport:?}"))?;
    socket
        .bind(&address.into())
        .with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

fn datagram_socket(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    socket.set_read_timeout(Some(STUCK))?;
    Ok(socket)
}
