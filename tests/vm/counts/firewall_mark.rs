//! A service of a firewall mark, here put on by the client's own socket: such a client is
//! in the director's network namespace, since a mark stays with the host that gave it.

use std::time::Duration;

use anyhow::Result;
use ipvs_observer::model::id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId};
use ipvs_observer_tests::{
    director::Lab,
    ipvs_admin,
    services::{PORT, Vip},
    traffic::{self, Server},
};

use crate::fixture::{agent, assert_latency_count, assert_total, summary};

pub(super) const MARK: u32 = 47;
const SERVERS: u8 = 2;
const EACH: u32 = 5;

/// One mark names two services, one for each family.
#[cfg_attr(feature = "vm", test)]
fn connections_are_counted_for_their_mark_and_family() {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    let _applications =
        [Vip::V4, Vip::V6].map(|vip| add_service(&lab, vip).expect("the service is set up"));
    let agent = agent(&lab);
    for (vip, each) in [(Vip::V4, EACH), (Vip::V6, 2 * EACH)] {
        lab.director()
            .run(|| {
                for _ in 0..each * u32::from(SERVERS) {
                    let mut stream = traffic::open_marked(vip.address(), MARK)?;
                    traffic::exchange(&mut stream)?;
                    traffic::close(stream)?;
                }
                Ok(())
            })
            .expect("every session is answered");
    }
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    for (name, vip, each) in [
        ("FWM 47", Vip::V4, EACH),
        ("FWM 47 IPv6", Vip::V6, 2 * EACH),
    ] {
        let service = summary.service(name).expect("the service is shown");
        let all = each * u32::from(SERVERS);
        for (row, expected) in (1..=SERVERS)
            .map(|server| {
                service
                    .server(vip.server_address(server))
                    .expect("the server is shown")
            })
            .map(|server| (server, each))
            .chain([(service, all)])
        {
            for counter in ["scheduled", "established"] {
                assert_total(row, counter, u64::from(expected));
            }
            for measure in ["schedule", "connect", "client", "handshake", "first_byte"] {
                assert_latency_count(row, measure, u64::from(expected));
            }
        }
    }
}

pub(super) fn add_service(lab: &Lab, vip: Vip) -> Result<Vec<Server>> {
    let service = ServiceId::FirewallMark {
        mark: MARK,
        family: AddressFamily::of(vip.address().ip()),
    };
    lab.director()
        .run(|| ipvs_admin::add_service(&service, "rr"))?;
    (1..=SERVERS)
        .map(|server| {
            let destination = DestinationId {
                address: vip.server_address(server),
                port: PORT,
            };
            lab.director().run(|| {
                let method = ForwardingMethod::Masquerade;
                ipvs_admin::add_destination(&service, &destination, method, 1)
            })?;
            lab.start_server(vip, server, Duration::ZERO)
        })
        .collect()
}
