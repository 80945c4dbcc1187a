//! Known numbers of connections give exactly those counts, per real server and per
//! service.

use std::time::Duration;

use ipvs_observer_tests::{agent::Agent, director::Lab, proc_ipvs, services::Vip, traffic};

use crate::fixture::{Balanced, MEASURES, assert_latency_count, assert_total};

#[cfg_attr(feature = "vm", test)]
fn known_numbers_of_ipv4_connections_are_counted() {
    known_numbers_of_connections_are_counted(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn known_numbers_of_ipv6_connections_are_counted() {
    known_numbers_of_connections_are_counted(Vip::V6);
}

fn known_numbers_of_connections_are_counted(vip: Vip) {
    let (servers, each) = (3_u8, 10);
    let balanced = Balanced::new(vip, servers);
    let agent = balanced.agent();
    balanced.sessions(u32::from(servers) * each, 2);
    balanced.lab.quiesce().expect("the director becomes idle");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");

    let summary = outcome.summary().expect("the run is summed up");
    let service = summary.service(&vip.name()).expect("the service is shown");
    for (row, expected) in (1..=servers)
        .map(|server| {
            service
                .server(vip.server_address(server))
                .expect("the server is shown")
        })
        .map(|server| (server, u64::from(each)))
        .chain([(service, u64::from(each) * u64::from(servers))])
    {
        assert_total(row, "scheduled", expected);
        assert_total(row, "established", expected);
        assert_total(row, "refused", 0);
        assert_total(row, "dropped", 0);
        for measure in MEASURES {
            assert_latency_count(row, measure, expected);
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn connections_that_are_only_opened_have_no_first_byte() {
    let balanced = Balanced::new(Vip::V4, 1);
    let agent = balanced.agent();
    balanced.sessions(7, 0);
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = agent
        .stop()
        .expect("the agent ends")
        .summary()
        .expect("the run is summed up");
    let service = summary
        .service(&Vip::V4.name())
        .expect("the service is shown");
    for measure in ["connect", "client", "handshake", "duration"] {
        assert_latency_count(service, measure, 7);
    }
    assert_latency_count(service, "first_byte", 0);
}

#[cfg_attr(feature = "vm", test)]
fn a_closed_port_is_counted_as_refused_at_its_server_alone() {
    let vip = Vip::V4;
    let lab = Lab::new(2).expect("the lab is built");
    lab.add_service(vip, "rr").expect("the service is added");
    lab.add_server(vip, 1, 1).expect("the server is added");
    lab.add_server(vip, 2, 1).expect("the server is added");
    let _only_one_listens = lab
        .start_server(vip, 1, Duration::ZERO)
        .expect("the server starts");
    let agent = Agent::start(lab.director(), &["-i", "1s"]).expect("the agent starts");

    let refused = traffic::attempts(lab.client(), vip.address(), 10).expect("no other failure");
    assert_eq!(
        refused, 5,
        "round robin sends every other connection to the closed port"
    );
    lab.quiesce().expect("the director becomes idle");
    let summary = agent
        .stop()
        .expect("the agent ends")
        .summary()
        .expect("the run is summed up");
    let service = summary.service(&vip.name()).expect("the service is shown");
    let [open, closed] = [1, 2].map(|server| {
        service
            .server(vip.server_address(server))
            .expect("the server is shown")
    });
    for (row, scheduled, established, refused) in
        [(open, 5, 5, 0), (closed, 5, 0, 5), (service, 10, 5, 5)]
    {
        assert_total(row, "scheduled", scheduled);
        assert_total(row, "established", established);
        assert_total(row, "refused", refused);
    }
    for measure in ["connect", "client", "handshake", "first_byte"] {
        assert_latency_count(closed, measure, 0);
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_service_whose_only_server_has_no_weight_drops() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr")
        .expect("the service is added");
    lab.add_server(Vip::V4, 1, 0).expect("the server is added");
    assert_every_attempt_is_dropped(&lab, Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_service_without_servers_drops() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V6, "rr")
        .expect("the service is added");
    assert_every_attempt_is_dropped(&lab, Vip::V6);
}

/// Few attempts: the director answers each by an ICMP error, and would fall silent at
/// more than six in a row. An error that comes while the client is still in `connect`
/// does not end it, so the client may send a SYN again.
fn assert_every_attempt_is_dropped(lab: &Lab, vip: Vip) {
    let attempts = 3;
    let syns_before = syns_sent(lab);
    let agent = Agent::start(lab.director(), &["-i", "1s"]).expect("the agent starts");
    let refused =
        traffic::attempts(lab.client(), vip.address(), attempts).expect("no other failure");
    assert_eq!(refused, attempts, "nobody can have accepted");
    let summary = agent
        .stop()
        .expect("the agent ends")
        .summary()
        .expect("the run is summed up");
    let service = summary.service(&vip.name()).expect("the service is shown");
    assert_total(service, "dropped", syns_sent(lab) - syns_before);
    assert_total(service, "scheduled", 0);
    assert_latency_count(service, "connect", 0);
}

/// All SYNs that left the client, those of connections that failed included.
fn syns_sent(lab: &Lab) -> u64 {
    let text = lab.client().proc_net("snmp").expect("the kernel counts");
    ["ActiveOpens", "RetransSegs"]
        .into_iter()
        .map(|counter| proc_ipvs::snmp(&text, "Tcp", counter).expect("the kernel counts it"))
        .sum()
}
