//! Messages as kernels of several ages send them, and the table they make.

use super::*;
use crate::ipvs::wire::{Counter, IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_SERVICE};

const V4: [u8; 16] = [192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn service_from(attributes: Vec<ServiceAttribute>) -> Result<Service, TableError> {
    service(&Message {
        command: IPVS_CMD_NEW_SERVICE,
        attributes: vec![Attribute::Service(attributes)],
    })
}

fn destination_from(
    attributes: Vec<DestinationAttribute>,
    service_family: AddressFamily,
) -> Result<Destination, TableError> {
    let message = Message {
        command: IPVS_CMD_NEW_DEST,
        attributes: vec![Attribute::Destination(attributes)],
    };
    destination(&message, service_family)
}

fn address_service() -> Vec<ServiceAttribute> {
    vec![
        ServiceAttribute::Family(AF_INET),
        ServiceAttribute::Protocol(6),
        ServiceAttribute::Address(V4),
        ServiceAttribute::Port(80),
        ServiceAttribute::Scheduler("wlc".to_owned()),
        ServiceAttribute::Flags {
            flags: 0x2,
            mask: u32::MAX,
        },
        ServiceAttribute::Timeout(0),
        ServiceAttribute::Netmask([255; 4]),
    ]
}

fn plain_destination() -> Vec<DestinationAttribute> {
    vec![
        DestinationAttribute::Address(V4),
        DestinationAttribute::Port(8080),
        DestinationAttribute::ForwardingMethod(ForwardingMethod::Masquerade),
        DestinationAttribute::Weight(1),
    ]
}

fn counter(kind: u16, value: u64) -> StatsAttribute {
    StatsAttribute::Counter {
        kind,
        value: Counter::U64(value),
    }
}

#[test]
fn an_address_service_is_read() {
    let service = service_from(address_service()).unwrap();
    assert_eq!(service.id.to_string(), "TCP 192.0.2.10:80");
    assert_eq!(service.scheduler, "wlc");
    assert_eq!(service.flags, 0x2);
    assert!(!service.is_persistent());
    assert_eq!(service.stats, None);
    assert!(!service.is_one_packet());
}

#[test]
fn a_mark_service_needs_no_address() {
    let attributes = vec![
        ServiceAttribute::Family(AF_INET6),
        ServiceAttribute::FirewallMark(47),
        ServiceAttribute::Scheduler("rr".to_owned()),
    ];
    let service = service_from(attributes).unwrap();
    assert_eq!(service.id.to_string(), "FWM 47 IPv6");
}

#[test]
fn persistence_is_there_only_with_its_flag() {
    let mut attributes = address_service();
    attributes.push(ServiceAttribute::Flags {
        flags: IP_VS_SVC_F_PERSISTENT,
        mask: u32::MAX,
    });
    attributes.push(ServiceAttribute::Timeout(360));
    attributes.push(ServiceAttribute::Netmask([255, 255, 255, 0]));
    attributes.push(ServiceAttribute::PersistenceEngine("sip".to_owned()));
    let service = service_from(attributes).unwrap();
    assert!(service.is_persistent());
    assert_eq!(service.timeout_s, Some(360));
    let netmask = Netmask::Ipv4(Ipv4Addr::new(255, 255, 255, 0));
    assert_eq!(service.netmask, Some(netmask));
    assert_eq!(service.engine.as_deref(), Some("sip"));
}

#[test]
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel sends it in host order"
)]
fn the_netmask_of_ipv6_is_a_prefix_length() {
    let attributes = vec![
        ServiceAttribute::Family(AF_INET6),
        ServiceAttribute::FirewallMark(1),
        ServiceAttribute::Scheduler("rr".to_owned()),
        ServiceAttribute::Flags { flags: 1, mask: 1 },
        ServiceAttribute::Netmask(64_u32.to_ne_bytes()),
    ];
    let service = service_from(attributes).unwrap();
    assert_eq!(service.netmask, Some(Netmask::Ipv6(64)));
}

#[test]
fn wide_statistics_win_over_narrow_ones() {
    let narrow = vec![counter(IPVS_STATS_ATTR_CONNS, 1)];
    let wide = vec![
        counter(IPVS_STATS_ATTR_CONNS, 5_000_000_000),
        counter(IPVS_STATS_ATTR_INPKTS, 2),
        counter(IPVS_STATS_ATTR_OUTPKTS, 3),
        counter(IPVS_STATS_ATTR_INBYTES, 4),
        counter(IPVS_STATS_ATTR_OUTBYTES, 5),
        counter(10, 6),
    ];
    let mut attributes = plain_destination();
    attributes.push(DestinationAttribute::Stats(narrow.clone()));
    let old = destination_from(attributes.clone(), AddressFamily::Ipv4).unwrap();
    assert_eq!(old.stats.unwrap().traffic.connections, 1);

    attributes.insert(0, DestinationAttribute::Stats64(wide));
    let new = destination_from(attributes, AddressFamily::Ipv4).unwrap();
    let expected = Traffic {
        connections: 5_000_000_000,
        in_packets: 2,
        out_packets: 3,
        in_bytes: 4,
        out_bytes: 5,
    };
    assert_eq!(new.stats.unwrap().traffic, expected);
}

#[test]
fn the_family_of_a_destination_is_its_own_or_else_the_services() {
    let found = destination_from(plain_destination(), AddressFamily::Ipv4).unwrap();
    assert_eq!(found.id.to_string(), "192.0.2.10:8080");

    let mut attributes = plain_destination();
    attributes.push(DestinationAttribute::Family(AF_INET));
    let found = destination_from(attributes, AddressFamily::Ipv6).unwrap();
    assert_eq!(found.id.to_string(), "192.0.2.10:8080");
}

#[test]
fn what_is_needed_and_missing_is_named() {
    for (dropped, name) in [
        (0, "IPVS_SVC_ATTR_AF"),
        (1, "IPVS_SVC_ATTR_PROTOCOL"),
        (2, "IPVS_SVC_ATTR_ADDR"),
        (3, "IPVS_SVC_ATTR_PORT"),
        (4, "IPVS_SVC_ATTR_SCHED_NAME"),
    ] {
        let mut attributes = address_service();
        attributes.remove(dropped);
        let error = service_from(attributes).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("an IPVS service came without {name}")
        );
    }
    for (dropped, name) in [
        (0, "IPVS_DEST_ATTR_ADDR"),
        (1, "IPVS_DEST_ATTR_PORT"),
        (2, "IPVS_DEST_ATTR_FWD_METHOD"),
        (3, "IPVS_DEST_ATTR_WEIGHT"),
    ] {
        let mut attributes = plain_destination();
        attributes.remove(dropped);
        let error = destination_from(attributes, AddressFamily::Ipv4).unwrap_err();
        let expected = format!("an IPVS destination came without {name}");
        assert_eq!(error.to_string(), expected);
    }
    let empty = Message {
        command: IPVS_CMD_NEW_SERVICE,
        attributes: Vec::new(),
    };
    assert!(service(&empty).is_err());
    assert!(destination(&empty, AddressFamily::Ipv4).is_err());
}

#[test]
fn an_unknown_family_is_refused() {
    let mut attributes = address_service();
    attributes.push(ServiceAttribute::Family(3));
    assert_eq!(service_from(attributes), Err(TableError::Family(3)));
    let mut attributes = plain_destination();
    attributes.push(DestinationAttribute::Family(0));
    assert_eq!(
        destination_from(attributes, AddressFamily::Ipv4),
        Err(TableError::Family(0))
    );
}
