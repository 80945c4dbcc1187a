//! The SYN of a reused port whose conntrack entry is still that of the connection before: IPVS drops it, and the client
//! waits a second before it tries again.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};
use ipvs_observer_tests::{director::Lab, ipvs_admin, services::Vip, tcp_counters::tcp_counter};
use socket2::{Domain, Socket, Type};

use super::assert_reasons;
use crate::fixture::{agent, assert_total, summary};

/// Ports of the client; each is used twice after a reset of the client and twice after one of the server.
const PORTS: [u16; 3] = [40_001, 40_002, 40_003];
/// The only port for which IPVS itself has netfilter track connections (`FTPPORT`).
const FTP: u16 = 21;

/// Who ends a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A service whose connections netfilter tracks, with one real server, which answers so many sessions.
pub(crate) struct Tracked {
    pub(crate) lab: Lab,
    vip: Vip,
    server: JoinHandle<Result<()>>,
}

impl Tracked {
    pub(crate) fn new(vip: Vip, sessions: usize) -> Self {
        let lab = Lab::new(1).expect("the lab is built");
        lab.director()
            .set_sysctl("net/ipv4/vs/conntrack", "1")
            .expect("IPVS can keep conntrack entries");
        lab.add_service(vip, "rr").expect("the service is added");
        lab.add_server(vip, 1, 1).expect("the server is added");
        track_connections(&lab, vip).expect("netfilter tracks connections");
        let listener = lab
            .server(1)
            .run(|| {
                let address = SocketAddr::new(vip.server_address(1), vip.address().port());
                Ok(TcpListener::bind(address)?)
            })
            .expect("the address is free");
        let server = thread::spawn(move || (0..sessions).try_for_each(|_| answer(&listener)));
        Self { lab, vip, server }
    }

    /// Uses `port` of the client twice.
    pub(crate) fn reuse(&self, port: u16, side: Side) {
        for _ in 0..2 {
            self.lab
                .client()
                .run(|| session(self.vip.address(), port, side))
                .expect("it is answered, late or not");
        }
    }

    /// The director, which has nothing left to do.
    pub(crate) fn end(self) -> Lab {
        let answered = self.server.join().expect("the server does not panic");
        answered.expect("it answers every session");
        self.lab.quiesce().expect("the director becomes idle");
        self.lab
    }
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_syns_for_a_reused_port_are_dropped_while_conntrack_holds_it() {
    syns_for_a_reused_port_are_dropped_while_conntrack_holds_it(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_syns_for_a_reused_port_are_dropped_while_conntrack_holds_it() {
    syns_for_a_reused_port_are_dropped_while_conntrack_holds_it(Vip::V6);
}

fn syns_for_a_reused_port_are_dropped_while_conntrack_holds_it(vip: Vip) {
    const SESSIONS: usize = 4 * PORTS.len();
    let tracked = Tracked::new(vip, SESSIONS);
    let agent = agent(&tracked.lab);
    for port in PORTS {
        tracked.reuse(port, Side::Client);
    }
    for port in PORTS {
        // Ports of their own, since each side's end leaves another conntrack entry behind.
        tracked.reuse(port + 100, Side::Server);
    }
    let lab = tracked.end();
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    let server = service.server(vip.server_address(1));
    // A guest that stalls sends more: a SYN whose answer is late, and data that reopens the entry of a port after the
    // client's reset.
    let sent_again = tcp_counter(lab.client(), "TCPSynRetrans").expect("the client counts them");
    assert!(sent_again >= PORTS.len() as u64, "{sent_again} SYNs");
    for row in [service, server.expect("the server is shown")] {
        let passed = row.total("syn_repeated").expect("it is shown");
        assert_reasons(row, &[("reused_port", sent_again - passed)]);
        assert_total(row, "established", SESSIONS as u64);
        assert_total(row, "scheduled", SESSIONS as u64);
    }
}

/// A service that makes IPVS ask netfilter to track the connections of the namespace.
fn track_connections(lab: &Lab, vip: Vip) -> Result<()> {
    let service = ServiceId::Address {
        protocol: Protocol::TCP,
        address: vip.address().ip(),
        port: FTP,
    };
    let destination = DestinationId {
        address: vip.server_address(1),
        port: FTP,
    };
    lab.director().run(|| {
        ipvs_admin::add_service(&service, "rr")?;
        ipvs_admin::add_destination(&service, &destination, ForwardingMethod::Masquerade, 1)
    })
}

/// A session from `port` that `side` ends with a reset.
fn session(target: SocketAddr, port: u16, side: Side) -> Result<()> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket.bind(&SocketAddr::new(any, port).into())?;
    socket.connect(&target.into()).context("cannot connect")?;
    socket.set_linger(Some(Duration::ZERO))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(&[u8::from(side == Side::Server)])?;
    match side {
        Side::Client => {
            let mut answer = [0];
            stream.read_exact(&mut answer).context("no answer")
        }
        Side::Server => {
            let end = stream.read(&mut [0]);
            let is_reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
            ensure!(is_reset, "not reset by the server");
            Ok(())
        }
    }
}

/// Answers, or resets the connection if that is the request.
fn answer(listener: &TcpListener) -> Result<()> {
    let (mut stream, _client) = listener.accept()?;
    let mut request = [0];
    stream.read_exact(&mut request)?;
    if request == [1] {
        Socket::from(stream).set_linger(Some(Duration::ZERO))?;
        return Ok(());
    }
    stream.write_all(&request)?;
    let rest = stream.read(&mut request);
    let is_reset = rest.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    ensure!(is_reset, "not reset by the client");
    Ok(())
}
