//! UDP services: a connection is what IPVS makes of one client's port, and the first
//! answer to it is its first byte.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};
use ipvs_observer_tests::{
    director::Lab, ipvs_admin, netns::Netns, report::Coverage, services::Vip,
};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

const PORT: u16 = 53;
const SERVERS: u8 = 2;
/// Sockets of the client that each server gets to do with, and datagrams of each.
const SOCKETS_EACH: u32 = 5;
const DATAGRAMS: u32 = 3;

/// A datagram that is waited for longer is lost.
const STUCK: Duration = Duration::from_secs(60);

#[cfg_attr(feature = "vm", test)]
fn ipv4_datagrams_are_seen_and_first_answers_are_counted_once() {
    datagrams_are_seen_and_first_answers_are_counted_once(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_datagrams_are_seen_and_first_answers_are_counted_once() {
    datagrams_are_seen_and_first_answers_are_counted_once(Vip::V6);
}

fn datagrams_are_seen_and_first_answers_are_counted_once(vip: Vip) {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    let service = ServiceId::Address {
        protocol: Protocol::UDP,
        address: vip.address().ip(),
        port: PORT,
    };
    let echoes = configure(&lab, vip, &service).expect("the service is set up");
    let before = lab.quiesce().expect("the kernel counts packets");
    let agent = agent(&lab);

    let sockets = SOCKETS_EACH * u32::from(SERVERS);
    let target = SocketAddr::new(vip.address().ip(), PORT);
    lab.client()
        .run(|| exchange_from_many(target, sockets))
        .expect("every datagram is answered");
    for echo in echoes {
        let echoed = echo.join().expect("the server does not panic");
        echoed.expect("each server gets its part of the datagrams");
    }
    let packets = lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    assert_eq!(
        (packets.incoming, packets.outgoing),
        (
            u64::from(sockets * DATAGRAMS),
            u64::from(sockets * DATAGRAMS)
        ),
        "no more packets than datagrams"
    );
    let summary = summary(agent);

    let expected = Coverage {
        hits: packets.total(),
        packets: packets.total(),
    };
    assert_eq!(
        summary.total_coverage().expect("the coverage is stated"),
        expected
    );
    let row = summary
        .service(&service.to_string())
        .expect("the service is shown");
    for (row, expected) in (1..=SERVERS)
        .map(|server| {
            row.server(vip.server_address(server))
                .expect("the server is shown")
        })
        .map(|server| (server, SOCKETS_EACH))
        .chain([(row, sockets)])
    {
        assert_total(row, "scheduled", u64::from(expected));
        assert_latency_count(row, "schedule", u64::from(expected));
        assert_latency_count(row, "first_byte", u64::from(expected));
        // There is no handshake, and no connection of UDP ends before it is forgotten.
        assert_total(row, "established", 0);
        for measure in ["connect", "client", "handshake", "duration"] {
            assert_latency_count(row, measure, 0);
        }
    }
}

fn configure(lab: &Lab, vip: Vip, service: &ServiceId) -> Result<Vec<JoinHandle<Result<()>>>> {
    lab.director()
        .run(|| ipvs_admin::add_service(service, "rr"))?;
    (1..=SERVERS)
        .map(|server| {
            let destination = DestinationId {
                address: vip.server_address(server),
                port: PORT,
            };
            lab.director().run(|| {
                let method = ForwardingMethod::Masquerade;
                ipvs_admin::add_destination(service, &destination, method, 1)
            })?;
            let address = SocketAddr::new(destination.address, PORT);
            echo(lab.server(server), address, SOCKETS_EACH * DATAGRAMS)
        })
        .collect()
}

/// A server that sends so many datagrams back and ends.
fn echo(netns: &Netns, address: SocketAddr, datagrams: u32) -> Result<JoinHandle<Result<()>>> {
    let socket = netns.run(|| socket(address))?;
    Ok(thread::spawn(move || {
        let mut datagram = [0; 64];
        for number in 0..datagrams {
            let (length, client) = socket
                .recv_from(&mut datagram)
                .with_context(|| format!("no datagram {number} of {datagrams} at {address}"))?;
            socket.send_to(&datagram[..length], client)?;
        }
        Ok(())
    }))
}

/// From each of `sockets` sockets some datagrams, one after the other is answered.
fn exchange_from_many(target: SocketAddr, sockets: u32) -> Result<()> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // All stay open, so that no port comes twice.
    let sockets = (0..sockets)
        .map(|_| socket(SocketAddr::new(any, 0)))
        .collect::<Result<Vec<_>>>()?;
    for socket in sockets {
        socket.connect(target)?;
        for number in 0..DATAGRAMS {
            let request = number.to_be_bytes();
            let mut response = [0; 64];
            socket.send(&request)?;
            let length = socket
                .recv(&mut response)
                .with_context(|| format!("no answer to datagram {number}"))?;
            ensure!(response[..length] == request, "another answer");
        }
    }
    Ok(())
}

fn socket(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    socket.set_read_timeout(Some(STUCK))?;
    Ok(socket)
}
