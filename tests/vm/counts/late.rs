//! Packets that come for a connection which IPVS has just forgotten.

use std::{io::Write as _, net::TcpStream};

use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    services::Vip,
    traffic::{REQUEST, await_response, open},
    wait,
};

use crate::fixture::{Balanced, assert_total, summary};

const SERVERS: u8 = 2;
const EACH: u32 = 5;

#[cfg_attr(feature = "vm", test)]
fn ipv4_packets_after_the_end_are_late_at_their_server_alone() {
    packets_after_the_end_are_late_at_their_server_alone(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_packets_after_the_end_are_late_at_their_server_alone() {
    packets_after_the_end_are_late_at_their_server_alone(Vip::V6);
}

/// A server is taken out with its connections and put back, so that the director has forgotten what its clients still
/// have: it answers each request of theirs by an RST, and none comes again.
fn packets_after_the_end_are_late_at_their_server_alone(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let lab = &balanced.lab;
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    // No window ends before the run does, so that no slot goes back.
    let agent = Agent::start(lab.director(), &["-i", "600s"]).expect("the agent starts");
    let connections = || {
        (0..EACH * u32::from(SERVERS))
            .map(|_| open(vip.address()))
            .collect()
    };
    let streams: Vec<TcpStream> = lab.client().run(connections).expect("all are accepted");
    lab.quiesce().expect("the director becomes idle");
    lab.remove_server(vip, 1).expect("the server is removed");
    // Those of the other server stay.
    await_connections(lab, EACH as usize);
    lab.add_server(vip, 1, 1)
        .expect("the server is added again");
    lab.quiesce().expect("the director becomes idle");
    let mut answered = 0;
    for mut stream in streams {
        stream
            .write_all(&REQUEST)
            .expect("the client knows nothing yet");
        answered += u32::from(await_response(&mut stream).is_ok());
    }
    assert_eq!(answered, EACH, "the other server answers");
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    for (server, late) in [(1, EACH), (2, 0)] {
        let row = service.server(vip.server_address(server));
        assert_total(row.expect("the server is shown"), "late", u64::from(late));
    }
    assert_total(service, "late", u64::from(EACH));
    assert_total(service, "established", u64::from(EACH * u32::from(SERVERS)));
}

/// Waits until IPVS has so many connections.
fn await_connections(lab: &Lab, expected: usize) {
    wait::until("connections to expire", wait::PATIENCE, || {
        let connections = lab.director().proc_net("ip_vs_conn")?;
        // The first line has the titles.
        Ok((connections.lines().count() == 1 + expected).then_some(()))
    })
    .expect("IPVS lets go of them");
}
