//! Persistent services: a client stays with its real server, and the template that keeps
//! it there is no connection.

use std::time::Duration;

use ipvs_observer::model::id::DestinationId;
use ipvs_observer_tests::{
    director::Lab,
    ipvs_admin,
    report::Row,
    services::{PORT, Vip},
    traffic::{self, Server},
};

use crate::fixture::{MEASURES, agent, assert_latency_count, assert_total, summary};

const SERVERS: u8 = 3;
const CONNECTIONS: u32 = 12;
const TIMEOUT_S: u32 = 300;

#[cfg_attr(feature = "vm", test)]
fn an_ipv4_client_stays_with_one_server_and_templates_are_not_counted() {
    a_client_stays_with_one_server_and_templates_are_not_counted(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn an_ipv6_client_stays_with_one_server_and_templates_are_not_counted() {
    a_client_stays_with_one_server_and_templates_are_not_counted(Vip::V6);
}

fn a_client_stays_with_one_server_and_templates_are_not_counted(vip: Vip) {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.director()
        .run(|| ipvs_admin::add_persistent_service(&vip.id(), "rr", TIMEOUT_S))
        .expect("the service is added");
    let applications: Vec<_> = (1..=SERVERS)
        .map(|server| {
            lab.add_server(vip, server, 1).expect("the server is added");
            lab.start_server(vip, server, Duration::ZERO)
                .expect("it starts")
        })
        .collect();
    let agent = agent(&lab);
    traffic::sessions(lab.client(), vip.address(), CONNECTIONS, 1)
        .expect("every session is answered");
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);

    let answered: Vec<_> = applications.iter().map(Server::answered).collect();
    assert_eq!(
        answered.iter().filter(|&&answered| answered > 0).count(),
        1,
        "the client was to stay with one server: {answered:?}"
    );
    let service = summary.service(&vip.name()).expect("the service is shown");
    for (server, expected) in (1..=SERVERS).zip(answered) {
        let row = service
            .server(vip.server_address(server))
            .expect("the server is shown");
        assert_connections(row, expected);
        let templates = row.number("persistent").expect("it is shown");
        assert_eq!(templates, u64::from(expected > 0), "templates of {row:?}");
    }
    assert_connections(service, u64::from(CONNECTIONS));
    let losses = summary.total_losses().expect("the losses are stated");
    assert_eq!(losses, Vec::<String>::new());
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_templates_are_hit_missed_and_invalid() {
    templates_are_hit_missed_and_invalid(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_templates_are_hit_missed_and_invalid() {
    templates_are_hit_missed_and_invalid(Vip::V6);
}

/// A client comes back to its server, which is put to rest then, and comes back to the other.
fn templates_are_hit_missed_and_invalid(vip: Vip) {
    const HITS: u32 = 4;
    let lab = Lab::new(2).expect("the lab is built");
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_quiescent_template", "1")
        .expect("templates end with the weight of their server");
    lab.director()
        .run(|| ipvs_admin::add_persistent_service(&vip.id(), "rr", TIMEOUT_S))
        .expect("the service is added");
    let applications: Vec<_> = (1..=2)
        .map(|server| {
            lab.add_server(vip, server, 1).expect("the server is added");
            lab.start_server(vip, server, Duration::ZERO)
                .expect("it starts")
        })
        .collect();
    let agent = agent(&lab);
    let sessions = |count| {
        traffic::sessions(lab.client(), vip.address(), count, 1)
            .expect("every session is answered");
    };
    sessions(1 + HITS);
    let first = if applications[0].answered() > 0 { 1 } else { 2 };
    let other = 3 - first;
    let destination = DestinationId {
        address: vip.server_address(first),
        port: PORT,
    };
    lab.director()
        .run(|| ipvs_admin::set_weight(&vip.id(), &destination, 0))
        .expect("the weight is set");
    sessions(1 + HITS);
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    let service = summary.service(&vip.name()).expect("the service is shown");
    let server = |server| {
        let row = service.server(vip.server_address(server));
        row.expect("the server is shown")
    };
    let hits = u64::from(HITS);
    for (row, misses, hits, invalid) in [
        (server(first), 1, hits, 1),
        (server(other), 1, hits, 0),
        (service, 2, 2 * hits, 1),
    ] {
        assert_total(row, "persistence_miss", misses);
        assert_total(row, "persistence_hit", hits);
        assert_total(row, "persistence_invalid", invalid);
    }
    let losses = summary.total_losses().expect("the losses are stated");
    assert_eq!(losses, Vec::<String>::new());
}

#[track_caller]
fn assert_connections(row: Row<'_>, expected: u64) {
    for counter in ["scheduled", "established"] {
        assert_total(row, counter, expected);
    }
    for counter in ["preexisting", "unanswered", "refused", "dropped"] {
        assert_total(row, counter, 0);
    }
    for measure in MEASURES {
        assert_latency_count(row, measure, expected);
    }
}
