//! What the agent shows is what the kernel's own files say.

use std::time::Duration;

use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    proc_ipvs::{self, ServiceRow},
    report::Coverage,
    services::Vip,
    traffic,
};

use crate::fixture::Balanced;

#[cfg_attr(feature = "vm", test)]
fn every_packet_that_the_kernel_counts_is_seen() {
    let balanced = Balanced::new(Vip::V4, 3);
    let before = balanced.lab.quiesce().expect("the kernel counts packets");
    let agent = balanced.agent();
    balanced.sessions(60, 3);
    let packets = balanced
        .lab
        .quiesce()
        .expect("the kernel counts packets")
        .since(before);
    let summary = agent
        .stop()
        .expect("the agent ends")
        .summary()
        .expect("the run is summed up");
    let coverage = summary.total_coverage().expect("the coverage is stated");
    let expected = Coverage {
        hits: packets.total(),
        packets: packets.total(),
    };
    assert_eq!(coverage, expected);
}

#[cfg_attr(feature = "vm", test)]
fn the_table_is_the_one_of_proc() {
    let lab = Lab::new(3).expect("the lab is built");
    for (vip, scheduler) in [(Vip::V4, "rr"), (Vip::V6, "wlc")] {
        lab.add_service(vip, scheduler)
            .expect("the service is added");
        for server in 1..=3 {
            lab.add_server(vip, server, u32::from(server))
                .expect("the server is added");
        }
    }
    let _applications = (1..=3)
        .map(|server| lab.start_server(Vip::V4, server, Duration::ZERO))
        .collect::<Result<Vec<_>, _>>()
        .expect("the servers start");
    let agent = Agent::start(lab.director(), &["-i", "1s"]).expect("the agent starts");
    let held = lab.client().run(|| traffic::open(Vip::V4.address()));
    let _held = held.expect("the connection is accepted");
    lab.quiesce().expect("the director becomes idle");

    let before = table(&lab);
    let report = agent
        .await_report("an interval after the connection", |report| {
            report
                .service(&Vip::V4.name())
                .and_then(|service| service.total("established"))
                .is_ok_and(|established| established == 1)
        })
        .expect("the connection is shown");
    assert_eq!(
        table(&lab),
        before,
        "nothing changed while the agent looked"
    );
    assert_eq!(before.len(), 2);
    for expected in before {
        let address = expected.address.expect("both services have one");
        let service = report
            .service(&format!("TCP {address}"))
            .expect("the service is shown");
        assert_eq!(
            service.scheduler().expect("it is shown"),
            expected.scheduler
        );
        assert_eq!(
            service.servers().expect("they are listed").count(),
            expected.servers.len()
        );
        for server in expected.servers {
            let row = service
                .server(server.address.ip())
                .expect("the server is shown");
            assert_eq!(row.method().expect("it is shown"), server.method);
            for (name, expected) in [
                ("port", u32::from(server.address.port())),
                ("weight", server.weight),
                ("active", server.active),
                ("inactive", server.inactive),
            ] {
                let found = row.number(name).expect("it is shown");
                assert_eq!(found, u64::from(expected), "{name} of {}", server.address);
            }
        }
    }
}

fn table(lab: &Lab) -> Vec<ServiceRow> {
    let text = lab.director().proc_net("ip_vs").expect("IPVS is there");
    proc_ipvs::table(&text).expect("the table can be read")
}
