//! Every reason for which IPVS drops a packet is provoked, and counted exactly where it belongs and nowhere else.

pub(crate) mod conntrack;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context as _, Result};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};
use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    ipvs_admin,
    report::{Report, Row},
    services::Vip,
    wait,
};

use crate::fixture::{agent, assert_total, attached_probes, summary};

const PORT: u16 = 53;

/// All that a dropped packet can be counted as.
const REASONS: [&str; 7] = [
    "no_destination",
    "overloaded",
    "destination_unavailable",
    "reused_port",
    "no_connection",
    "defence",
    "unroutable",
];

/// A UDP service with real servers that never answer.
pub(super) struct Silent {
    pub(super) lab: Lab,
    vip: Vip,
    pub(super) service: ServiceId,
    /// Keep the ports open, so that nothing comes back.
    _sockets: Vec<UdpSocket>,
}

impl Silent {
    pub(super) fn new(vip: Vip, servers: u8) -> Self {
        let lab = Lab::new(servers).expect("the lab is built");
        let service = ServiceId::Address {
            protocol: Protocol::UDP,
            address: vip.address().ip(),
            port: PORT,
        };
        lab.director()
            .run(|| ipvs_admin::add_service(&service, "rr"))
            .expect("the service is added");
        let silent = |server| {
            let address = SocketAddr::new(vip.server_address(server), PORT);
            let socket = lab.server(server).run(|| Ok(UdpSocket::bind(address)?));
            socket.expect("the port is free")
        };
        let scene = Self {
            _sockets: (1..=servers).map(silent).collect(),
            lab,
            vip,
            service,
        };
        for server in 1..=servers {
            scene.add(vip.server_address(server));
        }
        scene
    }

    pub(super) fn destination(address: IpAddr) -> DestinationId {
        DestinationId {
            address,
            port: PORT,
        }
    }

    pub(super) fn add(&self, address: IpAddr) {
        self.configure(|| {
            let method = ForwardingMethod::Masquerade;
            ipvs_admin::add_destination(&self.service, &Self::destination(address), method, 1)
        });
    }

    pub(super) fn remove(&self, address: IpAddr) {
        self.configure(|| {
            ipvs_admin::delete_destination(&self.service, &Self::destination(address))
        });
    }

    pub(super) fn configure(&self, work: impl FnOnce() -> Result<()> + Send) {
        self.lab
            .director()
            .run(work)
            .expect("the director is configured");
    }

    pub(super) fn set_sysctl(&self, name: &str, value: &str) {
        self.lab
            .director()
            .set_sysctl(&format!("net/ipv4/vs/{name}"), value)
            .expect("the sysctl is there");
    }

    /// As many clients, of which each has sent one datagram.
    pub(super) fn clients(&self, count: u32) -> Vec<UdpSocket> {
        let any: IpAddr = match self.vip {
            Vip::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Vip::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let target = SocketAddr::new(self.vip.address().ip(), PORT);
        let client = || {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(target)?;
            socket.send(b"?")?;
            Ok(socket)
        };
        self.lab
            .client()
            .run(|| (0..count).map(|_| client()).collect::<Result<_>>())
            .expect("datagrams can be sent")
    }

    fn row<'a>(&self, report: &'a Report) -> Row<'a> {
        let service = report.service(&self.service.to_string());
        service.expect("the service is shown")
    }

    /// Waits until the agent has counted so many, and gives the numbers of the whole run.
    fn summary(&self, agent: Agent, reason: &str, expected: u64) -> Report {
        agent
            .await_report(reason, |report| {
                let counted = report.service(&self.service.to_string());
                counted.is_ok_and(|row| row.total(reason).is_ok_and(|count| count >= expected))
            })
            .expect("the packets are dropped");
        self.lab.quiesce().expect("the director becomes idle");
        let summary = summary(agent);
        assert_reasons(self.row(&summary), &[(reason, expected)]);
        let losses = summary.total_losses().expect("the losses are stated");
        assert_eq!(losses, Vec::<String>::new());
        let refused = summary.refused_probes().expect("they are listed");
        assert!(refused.is_empty(), "{refused:?}");
        summary
    }
}

/// Fails unless packets were dropped for these reasons and for no other.
#[track_caller]
pub(crate) fn assert_reasons(row: Row<'_>, expected: &[(&str, u64)]) {
    for reason in REASONS {
        let count = expected.iter().find(|(name, _)| *name == reason);
        assert_total(row, reason, count.map_or(0, |(_, count)| *count));
    }
    let all = expected.iter().map(|(_, count)| count).sum();
    assert_total(row, "dropped", all);
}

/// Waits until the agent has the probe on `function`, or has it no more, and is done with all that belong to it.
fn await_attached(agent: &Agent, function: &str, is_attached: bool) {
    wait::until(function, wait::PATIENCE, || {
        let probes = attached_probes();
        let found = probes.iter().any(|probe| probe.contains(function));
        Ok((found == is_attached).then_some(()))
    })
    .expect("the agent follows the occasion");
    // It attaches and detaches before it tells of a window.
    agent
        .await_report("another window", |_report| true)
        .expect("the agent goes on");
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_services_without_servers_have_no_destination() {
    services_without_servers_have_no_destination(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_services_without_servers_have_no_destination() {
    services_without_servers_have_no_destination(Vip::V6);
}

fn services_without_servers_have_no_destination(vip: Vip) {
    let scene = Silent::new(vip, 0);
    let agent = agent(&scene.lab);
    let _clients = scene.clients(3);
    scene.summary(agent, "no_destination", 3);
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_servers_beyond_their_threshold_are_overloaded() {
    servers_beyond_their_threshold_are_overloaded(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_servers_beyond_their_threshold_are_overloaded() {
    servers_beyond_their_threshold_are_overloaded(Vip::V6);
}

fn servers_beyond_their_threshold_are_overloaded(vip: Vip) {
    let scene = Silent::new(vip, 2);
    for server in 1..=2 {
        scene.configure(|| {
            let destination = Silent::destination(vip.server_address(server));
            let method = ForwardingMethod::Masquerade;
            ipvs_admin::set_upper_threshold(&scene.service, &destination, method, 2)
        });
    }
    let agent = agent(&scene.lab);
    let _clients = scene.clients(4 + 5);
    let summary = scene.summary(agent, "overloaded", 5);
    assert_total(scene.row(&summary), "scheduled", 4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_packets_for_a_removed_server_have_none_available() {
    packets_for_a_removed_server_have_none_available(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_packets_for_a_removed_server_have_none_available() {
    packets_for_a_removed_server_have_none_available(Vip::V6);
}

fn packets_for_a_removed_server_have_none_available(vip: Vip) {
    const PROBED: &str = "ip_vs_conn_in_get_proto";
    let scene = Silent::new(vip, 2);
    let agent = agent(&scene.lab);
    await_attached(&agent, PROBED, false);
    let clients = scene.clients(4);
    agent
        .await_report("the connections", |report| {
            scene.row(report).total("scheduled").is_ok_and(|n| n == 4)
        })
        .expect("they are made");
    let removed = vip.server_address(1);
    scene.remove(removed);
    await_attached(&agent, PROBED, true);
    let send = || {
        for client in &clients {
            client.send(b"?").expect("datagrams can be sent");
        }
    };
    send();
    send();
    // The same real server again, with the connections that it had.
    scene.add(removed);
    await_attached(&agent, PROBED, false);
    send();
    let summary = scene.summary(agent, "destination_unavailable", 4);
    let service = scene.row(&summary);
    for (server, expected) in [(1, 4), (2, 0)] {
        let row = service.server(vip.server_address(server));
        let row = row.expect("the server is shown");
        assert_reasons(row, &[("destination_unavailable", expected)]);
    }
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_packets_that_the_defence_drops_are_counted_while_it_is_on() {
    packets_that_the_defence_drops_are_counted_while_it_is_on(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_packets_that_the_defence_drops_are_counted_while_it_is_on() {
    packets_that_the_defence_drops_are_counted_while_it_is_on(Vip::V6);
}

fn packets_that_the_defence_drops_are_counted_while_it_is_on(vip: Vip) {
    const PROBED: &str = "ip_vs_service_find";
    const DROPPED: u64 = 5;
    let scene = Silent::new(vip, 1);
    let agent = agent(&scene.lab);
    await_attached(&agent, PROBED, false);
    // Every second packet that asks for a connection, whatever memory is left.
    scene.set_sysctl("am_droprate", "2");
    scene.set_sysctl("drop_packet", "3");
    await_attached(&agent, PROBED, true);
    let before = scene.lab.quiesce().expect("the kernel counts packets");
    let mut clients = Vec::new();
    let passed = wait::until("the defence to act", wait::PATIENCE, || {
        clients.extend(scene.clients(1));
        let passed = scene.lab.quiesce()?.since(before).incoming;
        Ok((clients.len() as u64 - passed >= DROPPED).then_some(passed))
    });
    let passed = passed.expect("the defence acts");
    scene.set_sysctl("drop_packet", "0");
    await_attached(&agent, PROBED, false);
    let summary = scene.summary(agent, "defence", DROPPED);
    assert_total(scene.row(&summary), "scheduled", passed);
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_packets_without_a_route_are_unroutable_at_their_server() {
    packets_without_a_route_are_unroutable_at_their_server(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_packets_without_a_route_are_unroutable_at_their_server() {
    packets_without_a_route_are_unroutable_at_their_server(Vip::V6);
}

fn packets_without_a_route_are_unroutable_at_their_server(vip: Vip) {
    let scene = Silent::new(vip, 1);
    // The director has no default route.
    let nowhere = match vip {
        Vip::V4 => IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)),
        Vip::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, 1)),
    };
    scene.add(nowhere);
    let agent = agent(&scene.lab);
    let clients = scene.clients(6);
    for client in &clients {
        // The first datagram's error is told here instead of sending.
        let sent = client.send(b"?").or_else(|_| client.send(b"?"));
        sent.expect("an error is told once");
    }
    let summary = scene.summary(agent, "unroutable", 6);
    let service = scene.row(&summary);
    for (address, expected) in [(nowhere, 6), (vip.server_address(1), 0)] {
        let row = service.server(address).expect("the server is shown");
        assert_reasons(row, &[("unroutable", expected)]);
    }
}

/// A bound that came with 7.0; before it only the lack of memory keeps connections from being made.
#[cfg_attr(feature = "vm", test)]
fn connections_beyond_conn_max_are_counted() {
    const CONN_MAX: &str = "/proc/sys/net/ipv4/vs/conn_max";
    let scene = Silent::new(Vip::V4, 1);
    let conn_max = scene
        .lab
        .director()
        .run(|| fs::read_to_string(CONN_MAX).context("cannot read conn_max"));
    if conn_max.is_err() {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        assert!(release.starts_with("6."), "no conn_max in {release}");
        return;
    }
    let agent = agent(&scene.lab);
    scene.set_sysctl("conn_max", "4");
    let _clients = scene.clients(4 + 3);
    let summary = scene.summary(agent, "no_connection", 3);
    assert_total(scene.row(&summary), "scheduled", 4);
}
