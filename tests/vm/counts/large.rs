//! Tables that take many datagrams, over netlink.

use std::net::{IpAddr, Ipv4Addr};

use ipvs_observer::{
    ipvs::{
        netlink::Ipvs,
        table::{Service, Table, Timeouts},
    },
    model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
};
use ipvs_observer_tests::{ipvs_admin, netns::Netns};

/// More than fit the largest datagram, more than fit the first, and few.
const SERVERS: [u8; 4] = [120, 30, 1, 0];
/// More than fit the largest datagram.
const SERVICES: u16 = 120;

#[cfg_attr(feature = "vm", test)]
fn every_entry_of_a_large_table_is_read_once() {
    let netns = Netns::new("large").expect("the namespace is made");
    netns
        .run(|| {
            build()?;
            let mut ipvs = Ipvs::open()?;
            // The second time some of the socket's datagrams are large.
            for _ in 0..2 {
                check(&ipvs.table(&mut |_, _| None)?);
            }
            for (port, servers) in (1..).zip(SERVERS) {
                let one = ipvs.service(&service(port), &mut |_, _| None)?;
                let Table { services, torn } = one.expect("the service is there");
                assert!(!torn);
                assert_eq!(services.len(), 1);
                assert_eq!(ports(&services[0]), newest_first(servers));
            }
            let missing = ServiceId::FirewallMark {
                mark: 1,
                family: AddressFamily::Ipv4,
            };
            assert_eq!(ipvs.service(&missing, &mut |_, _| None)?, None);
            Ok(())
        })
        .expect("the kernel answers");
}

#[cfg_attr(feature = "vm", test)]
fn what_ipvs_says_of_itself_is_read() {
    let netns = Netns::new("empty").expect("the namespace is made");
    let text = netns.proc_net("ip_vs").expect("IPVS is there");
    netns
        .run(|| {
            let mut ipvs = Ipvs::open()?;
            let info = ipvs.info()?;
            let [_, major, minor, patch] = info.version.to_be_bytes();
            let size = info.connection_table_size;
            let first = format!("IP Virtual Server version {major}.{minor}.{patch} (size={size})");
            assert_eq!(text.lines().next(), Some(first.as_str()));
            let defaults = Timeouts {
                tcp_s: 900,
                tcp_fin_s: 120,
                udp_s: 300,
            };
            assert_eq!(ipvs.timeouts()?, defaults);
            assert_eq!(ipvs.daemons()?, []);
            assert_eq!(ipvs.table(&mut |_, _| None)?, Table::default());
            Ok(())
        })
        .expect("the kernel answers");
}

/// Services at the ports from 1 on, the first of which have servers.
fn build() -> anyhow::Result<()> {
    for port in 1..=SERVICES {
        ipvs_admin::add_service(&service(port), "rr")?;
    }
    for (port, servers) in (1..).zip(SERVERS) {
        for server in 1..=servers {
            let destination = DestinationId {
                address: IpAddr::from([10, 0, 0, server]),
                port: server.into(),
            };
            let method = ForwardingMethod::Masquerade;
            ipvs_admin::add_destination(&service(port), &destination, method, 1)?;
        }
    }
    Ok(())
}

fn check(table: &Table) {
    assert!(!table.torn);
    let mut ids: Vec<_> = table.services.iter().map(|service| service.id).collect();
    ids.sort();
    let expected: Vec<_> = (1..=SERVICES).map(service).collect();
    assert_eq!(ids, expected);
    for (port, servers) in (1..).zip(SERVERS) {
        let id = service(port);
        let mut services = table.services.iter();
        let found = services.find(|service| service.id == id);
        let found = found.expect("the service is there");
        assert_eq!(ports(found), newest_first(servers));
    }
}

const fn service(port: u16) -> ServiceId {
    ServiceId::Address {
        protocol: Protocol::TCP,
        address: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)),
        port,
    }
}

fn ports(service: &Service) -> Vec<u16> {
    let servers = service.destinations.iter();
    servers.map(|server| server.id.port).collect()
}

/// The kernel puts a server before those that it has.
fn newest_first(servers: u8) -> Vec<u16> {
    (1..=servers.into()).rev().collect()
}
