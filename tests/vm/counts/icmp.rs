//! Errors that come as ICMP: they are packets of a connection to the kernel, and to us the
//! answer of a real server that refuses.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Result, bail};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};
use ipvs_observer_tests::{
    director::Lab,
    ipvs_admin,
    proc_ipvs::PacketCounts,
    report::{Coverage, Report, Row},
    services::{PORT, Vip},
    traffic::STUCK,
};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

const SERVERS: u8 = 2;
const EACH: u32 = 4;
const CONNECTIONS: u32 = EACH * SERVERS as u32;

/// Long against the sending of a packet, and short against the second after which a SYN is
/// repeated.
const LATE: Duration = Duration::from_millis(100);

#[cfg_attr(feature = "vm", test)]
fn ipv4_datagrams_to_a_closed_port_are_scheduled_and_not_answered() {
    datagrams_to_a_closed_port_are_scheduled_and_not_answered(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_datagrams_to_a_closed_port_are_scheduled_and_not_answered() {
    datagrams_to_a_closed_port_are_scheduled_and_not_answered(Vip::V6);
}

fn datagrams_to_a_closed_port_are_scheduled_and_not_answered(vip: Vip) {
    let lab = lab();
    let service = add_service(&lab, vip, Protocol::UDP, |server| {
        vip.server_address(server)
    });
    if !errors_pass(&lab, vip) {
        return;
    }
    let summary = observe(&lab, || send_datagrams(vip.address()));
    for (row, expected) in rows(&summary, &service, |server| vip.server_address(server)) {
        assert_total(row, "scheduled", expected);
        assert_latency_count(row, "first_byte", 0);
    }
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_to_unreachable_servers_are_refused() {
    connections_to_unreachable_servers_are_refused(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_to_unreachable_servers_are_refused() {
    connections_to_unreachable_servers_are_refused(Vip::V6);
}

fn connections_to_unreachable_servers_are_refused(vip: Vip) {
    let lab = lab();
    for server in 1..=SERVERS {
        lab.reject_behind(server, unreachable(vip, server))
            .expect("the routes are added");
    }
    for server in 1..=SERVERS {
        // An error that comes while the client is still busy with its SYN does not end the
        // attempt.
        lab.delay_server(server, LATE).expect("netem is there");
    }
    let service = add_service(&lab, vip, Protocol::TCP, |server| unreachable(vip, server));
    add_service(&lab, vip, Protocol::UDP, |server| {
        vip.server_address(server)
    });
    if !errors_pass(&lab, vip) {
        return;
    }
    let summary = observe(&lab, || connect_in_vain(vip.address()));
    for (row, expected) in rows(&summary, &service, |server| unreachable(vip, server)) {
        assert_total(row, "scheduled", expected);
        assert_total(row, "established", 0);
        assert_total(row, "refused", expected);
        for measure in ["connect", "client", "handshake", "first_byte"] {
            assert_latency_count(row, measure, 0);
        }
    }
}

/// An address behind real server `server` that nobody has.
const fn unreachable(vip: Vip, server: u8) -> IpAddr {
    match vip {
        Vip::V4 => IpAddr::V4(Ipv4Addr::new(10, 5, server, 2)),
        Vip::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 5, server as u16, 0, 0, 0, 0, 2)),
    }
}

/// Every error is sent: nothing bounds how many, as long as there are no more than five to
/// unreachable addresses (`ip_rt_error_burst`).
fn lab() -> Lab {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    for server in 1..=SERVERS {
        for limit in ["net/ipv4/icmp_ratemask", "net/ipv6/icmp/ratelimit"] {
            lab.server(server)
                .set_sysctl(limit, "0")
                .expect("the limit can be lifted");
        }
    }
    lab
}

/// Whether IPVS passes on what a real server says of a datagram to a closed port. That of Debian's 6.18 passes nothing of
/// IPv6 on, whoever looks, and then nobody is told to be refused.
fn errors_pass(lab: &Lab, vip: Vip) -> bool {
    let knock = || -> Result<bool> {
        let socket = UdpSocket::bind((any(vip.address()), 0))?;
        socket.set_read_timeout(Some(STUCK))?;
        socket.connect(vip.address())?;
        socket.send(b"?")?;
        let answer = socket.recv(&mut [0]);
        Ok(answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    };
    let passes = lab.client().run(knock).expect("a datagram is sent");
    if passes {
        return true;
    }
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    assert!(
        vip == Vip::V6 && release.starts_with("6.18."),
        "errors do not pass in {release}"
    );
    let agent = agent(lab);
    let passes = lab.client().run(knock).expect("a datagram is sent");
    assert!(!passes, "an error passes while somebody looks");
    let summary = summary(agent);
    for service in summary.services().expect("they are shown") {
        assert_total(service, "refused", 0);
    }
    false
}

fn add_service(
    lab: &Lab,
    vip: Vip,
    protocol: Protocol,
    address: impl Fn(u8) -> IpAddr + Sync,
) -> ServiceId {
    let service = ServiceId::Address {
        protocol,
        address: vip.address().ip(),
        port: PORT,
    };
    lab.director()
        .run(|| {
            ipvs_admin::add_service(&service, "rr")?;
            (1..=SERVERS).try_for_each(|server| {
                let destination = DestinationId {
                    address: address(server),
                    port: PORT,
                };
                let method = ForwardingMethod::Masquerade;
                ipvs_admin::add_destination(&service, &destination, method, 1)
            })
        })
        .expect("the service is set up");
    service
}

/// The summary of an agent that saw each of the client's packets go and its error come, and
/// nothing else. Only the former are packets of a state.
fn observe(lab: &Lab, traffic: impl FnOnce() -> Result<()> + Send) -> Report {
    let before = lab.quiesce().expect("the kernel counts packets");
    let agent = agent(lab);
    lab.client().run(traffic).expect("every attempt fails");
    let packets = lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    let each_way = u64::from(CONNECTIONS);
    let expected = PacketCounts {
        incoming: each_way,
        outgoing: each_way,
    };
    assert_eq!(packets, expected, "the lab is not what it should be");
    let summary = summary(agent);
    let expected = Coverage {
        hits: each_way,
        packets: 2 * each_way,
    };
    assert_eq!(
        summary.total_coverage().expect("the coverage is stated"),
        expected
    );
    summary
}

/// Each server's row and the service's, with how many connections it had.
fn rows<'a>(
    summary: &'a Report,
    service: &ServiceId,
    address: impl Fn(u8) -> IpAddr,
) -> Vec<(Row<'a>, u64)> {
    let service = summary
        .service(&service.to_string())
        .expect("the service is shown");
    (1..=SERVERS)
        .map(|server| {
            service
                .server(address(server))
                .expect("the server is shown")
        })
        .map(|server| (server, u64::from(EACH)))
        .chain([(service, u64::from(CONNECTIONS))])
        .collect()
}

/// The client's address of any interface, to reach `target`.
const fn any(target: SocketAddr) -> IpAddr {
    match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A datagram from each of many sockets, all of which learn that nobody takes them.
fn send_datagrams(target: SocketAddr) -> Result<()> {
    let any = any(target);
    // All stay open, so that no port comes twice.
    let sockets = (0..CONNECTIONS)
        .map(|_| UdpSocket::bind((any, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.set_read_timeout(Some(STUCK))?;
        socket.connect(target)?;
        socket.send(b"?")?;
        match socket.recv(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            other => bail!("not refused but {other:?}"),
        }
    }
    Ok(())
}

fn connect_in_vain(target: SocketAddr) -> Result<()> {
    for _ in 0..CONNECTIONS {
        match TcpStream::connect_timeout(&target, STUCK) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
                ) => {}
            other => bail!("not unreachable but {other:?}"),
        }
    }
    Ok(())
}
