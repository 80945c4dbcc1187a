//! Connections past all real servers: a service of a firewall mark that has none lets its
//! clients through to where they wanted, if `net.ipv4.vs.cache_bypass` says so.
//!
//! The client is in the director's namespace, as in `firewall_mark`.

use std::time::Duration;

use ipvs_observer::model::id::{AddressFamily, ServiceId};
use ipvs_observer_tests::{
    director::Lab,
    ipvs_admin,
    services::{PORT, Vip},
    traffic,
};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

const MARK: u32 = 47;
const CONNECTIONS: u32 = 5;

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_past_all_servers_are_their_services() {
    connections_past_all_servers_are_their_services(Vip::V4, "FWM 47");
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_past_all_servers_are_their_services() {
    connections_past_all_servers_are_their_services(Vip::V6, "FWM 47 IPv6");
}

fn connections_past_all_servers_are_their_services(vip: Vip, name: &str) {
    let lab = Lab::new(1).expect("the lab is built");
    let _application = lab
        .start_server(vip, 1, Duration::ZERO)
        .expect("the server starts");
    lab.director()
        .set_sysctl("net/ipv4/vs/cache_bypass", "1")
        .expect("IPVS can let connections through");
    let service = ServiceId::FirewallMark {
        mark: MARK,
        family: AddressFamily::of(vip.address().ip()),
    };
    lab.director()
        .run(|| ipvs_admin::add_service(&service, "rr"))
        .expect("the service is added");
    let agent = agent(&lab);
    let target = (vip.server_address(1), PORT).into();
    lab.director()
        .run(|| {
            for _ in 0..CONNECTIONS {
                let mut stream = traffic::open_marked(target, MARK)?;
                traffic::exchange(&mut stream)?;
                traffic::close(stream)?;
            }
            Ok(())
        })
        .expect("every session is answered");
    // The kernel counts packets for real servers only; its connections are what shows it.
    let connections = lab
        .director()
        .proc_net("ip_vs_conn")
        .expect("the kernel lists its connections");
    let past_all = connections.lines().skip(1).count();
    assert_eq!(past_all, CONNECTIONS as usize, "{connections}");
    let packets = lab.packets().expect("the kernel counts packets");
    assert_eq!(packets.total(), 0);
    let summary = summary(agent);
    let service = summary.service(name).expect("the service is shown");
    // Nobody was chosen, and nothing was dropped.
    assert_total(service, "scheduled", 0);
    assert_total(service, "dropped", 0);
    assert_total(service, "preexisting", 0);
    assert_total(service, "established", u64::from(CONNECTIONS));
    assert_latency_count(service, "handshake", u64::from(CONNECTIONS));
    assert_eq!(
        summary.total_losses().expect("the losses are stated"),
        Vec::<String>::new()
    );
}
