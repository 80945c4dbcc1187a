//! Drops of every reason that can be brought about, each told with the client whose packet it was.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

use anyhow::Context as _;
use ipvs_observer::model::id::ForwardingMethod;
use ipvs_observer_tests::{agent::Agent, ipvs_admin, services::Vip, wait};
use serde_json::Value;

use super::{Told, end, stream};
use crate::{
    counts::drops::{
        Silent,
        conntrack::{Side, Tracked},
    },
    fixture::{agent, attached_probes, summary},
};

/// The ports of the sockets, in order.
fn ports(clients: &[UdpSocket]) -> Vec<u64> {
    let mut ports: Vec<_> = clients.iter().map(port).collect();
    ports.sort_unstable();
    ports
}

fn port(client: &UdpSocket) -> u64 {
    let address = client.local_addr().expect("it is bound");
    address.port().into()
}

/// Fails unless every drop has this reason and a client's address; gives their ports in order.
#[track_caller]
fn told_ports(told: &Told, reason: &str, vip: Vip) -> Vec<u64> {
    let client = match vip {
        Vip::V4 => "10.1.0.2",
        Vip::V6 => "fd00:1::2",
    };
    let dropped = told.of("dropped");
    let port = |line: &&Value| {
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["client"]["address"], client, "{line}");
        assert_eq!(line["packet_protocol"], "UDP", "{line}");
        line["client"]["port"].as_u64().expect("it is known")
    };
    let mut ports: Vec<_> = dropped.iter().map(port).collect();
    ports.sort_unstable();
    ports
}

fn drops_of(scene: &Silent) -> Agent {
    stream(&scene.lab, &["--events", "dropped"])
}

fn send(client: &UdpSocket) {
    // The error of the datagram before is told here instead of sending.
    let sent = client.send(b"?").or_else(|_| client.send(b"?"));
    sent.expect("an error is told once");
}

fn await_probe(function: &str) {
    wait::until(function, wait::PATIENCE, || {
        let probes = attached_probes();
        let is_there = probes.iter().any(|probe| probe.contains(function));
        Ok(is_there.then_some(()))
    })
    .expect("the agent follows the occasion");
}

#[cfg_attr(feature = "vm", test)]
fn a_packet_without_a_server_or_with_overloaded_ones_is_told_with_its_client() {
    for vip in [Vip::V4, Vip::V6] {
        {
            let scene = Silent::new(vip, 0);
            let agent = drops_of(&scene);
            let clients = scene.clients(3);
            let told = end(&scene.lab, agent);
            assert_eq!(told_ports(&told, "no_destination", vip), ports(&clients));
        }
        let scene = Silent::new(vip, 1);
        scene.configure(|| {
            let destination = Silent::destination(vip.server_address(1));
            let method = ForwardingMethod::Masquerade;
            ipvs_admin::set_upper_threshold(&scene.service, &destination, method, 2)
        });
        let agent = drops_of(&scene);
        let clients = scene.clients(2 + 3);
        let told = end(&scene.lab, agent);
        assert_eq!(told_ports(&told, "overloaded", vip), ports(&clients[2..]));
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_packet_for_a_server_that_is_gone_is_told_with_its_client() {
    let vip = Vip::V4;
    let scene = Silent::new(vip, 1);
    let agent = stream(&scene.lab, &["--events", "dropped", "-i", "100ms"]);
    let clients = scene.clients(3);
    scene.remove(vip.server_address(1));
    await_probe("ip_vs_conn_in_get_proto");
    // The first of the two probes may be there alone for a moment.
    agent
        .await_stdout("the drops", |lines| {
            clients.iter().for_each(send);
            lines.len() >= clients.len()
        })
        .expect("they are told");
    let told = end(&scene.lab, agent);
    let mut found = told_ports(&told, "destination_unavailable", vip);
    found.dedup();
    assert_eq!(found, ports(&clients));
}

#[cfg_attr(feature = "vm", test)]
fn a_packet_without_a_route_is_told_with_its_client_and_server() {
    let vip = Vip::V4;
    let scene = Silent::new(vip, 0);
    scene.add(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)));
    let agent = drops_of(&scene);
    let clients = scene.clients(3);
    let told = end(&scene.lab, agent);
    assert_eq!(told_ports(&told, "unroutable", vip), ports(&clients));
    for line in told.of("dropped") {
        assert_eq!(line["server"]["address"], "10.99.0.1");
        assert_eq!(line["method"], "Masq");
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_packet_that_the_defence_drops_is_told_with_its_client() {
    for vip in [Vip::V4, Vip::V6] {
        let scene = Silent::new(vip, 1);
        let agent = drops_of(&scene);
        // Every second packet that asks for a connection, whatever memory is left.
        scene.set_sysctl("am_droprate", "2");
        scene.set_sysctl("drop_packet", "3");
        await_probe("ip_vs_service_find");
        let mut clients = Vec::new();
        agent
            .await_stdout("the defence", |lines| {
                clients.extend(scene.clients(1));
                lines.len() >= 3
            })
            .expect("it acts");
        let told = end(&scene.lab, agent);
        let all = ports(&clients);
        let dropped = told_ports(&told, "defence", vip);
        assert!(dropped.len() >= 3 && dropped.len() < all.len());
        assert!(dropped.is_sorted_by(|a, b| a < b), "{dropped:?}");
        assert!(dropped.iter().all(|port| all.contains(port)));
    }
}

/// How often is for `top` to say, since a guest that stalls sends more SYNs.
#[cfg_attr(feature = "vm", test)]
fn a_syn_for_a_reused_port_is_told_with_its_client() {
    const PORTS: [u16; 2] = [40_001, 40_002];
    for vip in [Vip::V4, Vip::V6] {
        let tracked = Tracked::new(vip, 2 * PORTS.len());
        let counts = agent(&tracked.lab);
        let drops = stream(&tracked.lab, &["--events", "dropped", "--stack"]);
        for port in PORTS {
            tracked.reuse(port, Side::Server);
        }
        let lab = tracked.end();
        let told = end(&lab, drops);
        let summary = summary(counts);
        let service = summary.service(&vip.name()).expect("the service is shown");
        let counted = service.total("reused_port").expect("it is shown");
        assert_eq!((told.delivered, told.lost), (counted, 0));
        let mut ports: Vec<_> = told
            .lines
            .iter()
            .map(|line| &line["client"]["port"])
            .collect();
        ports.dedup();
        assert_eq!(ports, PORTS);
        for line in &told.lines {
            assert_eq!(line["reason"], "reused_port", "{line}");
            assert_eq!(line["server"]["address"], vip.server_address(1).to_string());
            assert_eq!(line["packet_protocol"], "TCP", "{line}");
            let innermost = line["stack"][0].as_str().expect("it has a stack");
            assert!(innermost.starts_with("ip_vs_conn_expire_now+0x"), "{line}");
        }
    }
}

/// A bound that came with 7.0; before it only the lack of memory keeps connections from being made.
#[cfg_attr(feature = "vm", test)]
fn a_packet_that_gets_no_connection_is_told_with_its_client() {
    const CONN_MAX: &str = "/proc/sys/net/ipv4/vs/conn_max";
    for vip in [Vip::V4, Vip::V6] {
        let scene = Silent::new(vip, 1);
        let director = scene.lab.director();
        let conn_max =
            director.run(|| fs::read_to_string(CONN_MAX).context("cannot read conn_max"));
        if conn_max.is_err() {
            let release = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            assert!(release.starts_with("6."), "no conn_max in {release}");
            return;
        }
        let agent = drops_of(&scene);
        scene.set_sysctl("conn_max", "4");
        let clients = scene.clients(4 + 3);
        let told = end(&scene.lab, agent);
        assert_eq!(
            told_ports(&told, "no_connection", vip),
            ports(&clients[4..])
        );
    }
}
