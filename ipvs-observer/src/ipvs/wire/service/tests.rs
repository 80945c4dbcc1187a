//! Services as kernels of several ages send them, and as requests name them.

#![expect(
    clippy::indexing_slicing,
    reason = "tests cut and build lists of attributes"
)]

use std::net::Ipv4Addr;

use netlink_packet_core::Emitable as _;

use super::*;
use crate::ipvs::{
    table::{Stats, Traffic, TrafficRates},
    wire::testing::{NESTED, V4, nla, nla_u16, nla_u32, stats_nest, stats64_nest, survives},
};

fn flags(flags: u32) -> Vec<u8> {
    let mut bytes = nla_u32(0, flags).split_off(4);
    bytes.extend([0xFF; 4]);
    nla(7, &bytes)
}

/// The attributes of a service with an address, in the kernel's order.
fn address_service() -> Vec<Vec<u8>> {
    vec![
        nla_u16(1, 2),
        nla_u16(2, 6),
        nla(3, &V4),
        nla(4, &[0x01, 0xBB]),
        nla(6, b"wrr\0"),
        nla(11, b"sip\0"),
        flags(0x3 | 0x10),
        nla_u32(8, 360),
        nla(9, &[255, 255, 255, 0]),
        nla(10, &stats_nest()),
        nla(12 + NESTED, &stats64_nest()),
    ]
}

fn mark_service() -> Vec<Vec<u8>> {
    vec![
        nla_u16(1, 10),
        nla_u32(5, 0xFFFF_FFF0),
        nla(6, b"rr\0"),
        flags(2),
        nla_u32(8, 0),
        nla_u32(9, 64),
    ]
}

fn read(attributes: &[Vec<u8>]) -> Result<Service, WireError> {
    service(&nla(1 + NESTED, &attributes.concat()))
}

fn error(attributes: &[Vec<u8>]) -> String {
    read(attributes).unwrap_err().to_string()
}

#[test]
fn every_attribute_is_read() {
    let expected = Service {
        id: ServiceId::Address {
            protocol: Protocol::TCP,
            address: "192.0.2.10".parse().unwrap(),
            port: 443,
        },
        scheduler: "wrr".to_owned(),
        flags: 0x13,
        timeout_s: Some(360),
        netmask: Some(Netmask::Ipv4(Ipv4Addr::new(255, 255, 255, 0))),
        engine: Some("sip".to_owned()),
        stats: Some(Stats {
            traffic: Traffic {
                connections: 0x1_0000_0007,
                in_packets: 0x2_0000_0007,
                out_packets: 0x3_0000_0007,
                in_bytes: 0x4_0000_0007,
                out_bytes: 0x5_0000_0007,
            },
            rates: Some(TrafficRates {
                connections: 25_769_803_783.0,
                in_packets: 30_064_771_079.0,
                out_packets: 34_359_738_375.0,
                in_bytes: 38_654_705_671.0,
                out_bytes: 42_949_672_967.0,
            }),
            read_at: None,
        }),
        destinations: Vec::new(),
    };
    let service = read(&address_service()).unwrap();
    assert_eq!(service, expected);
    assert!(service.is_persistent());
    assert!(!service.is_one_packet());
}

#[test]
fn a_mark_service_needs_no_address_and_a_netmask_of_ipv6_is_a_prefix_length() {
    let service = read(&mark_service()).unwrap();
    assert_eq!(service.id.to_string(), "FWM 4294967280 IPv6");
    assert_eq!(service.netmask, Some(Netmask::Ipv6(64)));
    assert_eq!(service.engine, None);
    assert_eq!(service.stats, None);
    assert_eq!(service.timeout_s, Some(0));
}

#[test]
fn an_ipv6_service_has_all_of_its_address() {
    let mut attributes = address_service();
    attributes[0] = nla_u16(1, 10);
    attributes[2] = nla(
        3,
        &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80],
    );
    attributes[8] = nla_u32(9, 128);
    let service = read(&attributes).unwrap();
    assert_eq!(service.id.to_string(), "TCP [2001:db8::80]:443");
}

#[test]
fn a_service_without_scheduler_has_the_name_that_the_kernel_gives_it() {
    let mut attributes = address_service();
    attributes[4] = nla(6, b"none\0");
    assert_eq!(read(&attributes).unwrap().scheduler, "none");
}

#[test]
fn what_an_old_kernel_leaves_out_is_absent() {
    let mut attributes = address_service();
    attributes.truncate(7);
    let service = read(&attributes).unwrap();
    assert_eq!(service.timeout_s, None);
    assert_eq!(service.netmask, None);
    assert_eq!(service.stats, None);
}

#[test]
fn what_is_not_known_is_skipped_at_every_level() {
    let mut nest = address_service();
    nest.insert(0, nla(77, &[1, 2, 3]));
    let answer = [nla(9, &[1; 6]), nla(1, &nest.concat()), nla(200, &[])].concat();
    assert_eq!(service(&answer), read(&address_service()));
}

#[test]
fn what_is_needed_and_missing_is_named() {
    for (index, name) in [
        (0, "IPVS_SVC_ATTR_AF"),
        (1, "IPVS_SVC_ATTR_PROTOCOL"),
        (2, "IPVS_SVC_ATTR_ADDR"),
        (3, "IPVS_SVC_ATTR_PORT"),
        (4, "IPVS_SVC_ATTR_SCHED_NAME"),
        (6, "IPVS_SVC_ATTR_FLAGS"),
    ] {
        let mut attributes = address_service();
        attributes.remove(index);
        assert_eq!(error(&attributes), format!("{name} is missing"));
    }
    assert_eq!(
        service(&[]).unwrap_err().to_string(),
        "IPVS_CMD_ATTR_SERVICE is missing"
    );
}

#[test]
fn a_value_of_the_wrong_length_is_named() {
    for (index, spoilt, expected) in [
        (
            0,
            nla(1, &[2]),
            "IPVS_SVC_ATTR_AF is 1 bytes long and not 2",
        ),
        (
            1,
            nla_u32(2, 6),
            "IPVS_SVC_ATTR_PROTOCOL is 4 bytes long and not 2",
        ),
        (
            2,
            nla(3, &[1; 4]),
            "IPVS_SVC_ATTR_ADDR is 4 bytes long and not 16",
        ),
        (
            3,
            nla(4, &[]),
            "IPVS_SVC_ATTR_PORT is 0 bytes long and not 2",
        ),
        (
            4,
            nla(6, b"r\xFFr\0"),
            "IPVS_SVC_ATTR_SCHED_NAME is not text",
        ),
        (4, nla(6, b"r\0r\0"), "IPVS_SVC_ATTR_SCHED_NAME is not text"),
        (5, nla(11, &[0x80]), "IPVS_SVC_ATTR_PE_NAME is not text"),
        (
            6,
            nla_u32(7, 3),
            "IPVS_SVC_ATTR_FLAGS is 4 bytes long and not 8",
        ),
        (
            7,
            nla_u16(8, 3),
            "IPVS_SVC_ATTR_TIMEOUT is 2 bytes long and not 4",
        ),
        (
            8,
            nla(9, &[255; 16]),
            "IPVS_SVC_ATTR_NETMASK is 16 bytes long and not 4",
        ),
    ] {
        let mut attributes = address_service();
        attributes[index] = spoilt;
        assert_eq!(error(&attributes), expected);
    }
    let mut attributes = mark_service();
    attributes[1] = nla_u16(5, 1);
    assert_eq!(
        error(&attributes),
        "IPVS_SVC_ATTR_FWMARK is 2 bytes long and not 4"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let mut attributes = address_service();
    attributes.push(nla(6, b"wrr"));
    assert!(read(&attributes).is_ok(), "the same said twice");
    for (more, name) in [
        (nla_u16(1, 10), "IPVS_SVC_ATTR_AF"),
        (nla_u16(2, 17), "IPVS_SVC_ATTR_PROTOCOL"),
        (nla(3, &[1; 16]), "IPVS_SVC_ATTR_ADDR"),
        (nla(4, &[0, 80]), "IPVS_SVC_ATTR_PORT"),
        (nla(6, b"rr\0"), "IPVS_SVC_ATTR_SCHED_NAME"),
        (flags(2), "IPVS_SVC_ATTR_FLAGS"),
        (nla_u32(8, 1), "IPVS_SVC_ATTR_TIMEOUT"),
        (nla(9, &[255; 4]), "IPVS_SVC_ATTR_NETMASK"),
        (nla(10, &[]), "IPVS_SVC_ATTR_STATS"),
        (nla(11, b"x\0"), "IPVS_SVC_ATTR_PE_NAME"),
        (nla(12, &stats_nest()), "IPVS_SVC_ATTR_STATS64"),
    ] {
        let mut attributes = address_service();
        attributes.push(more);
        assert_eq!(
            error(&attributes),
            format!("{name} comes twice and says two things")
        );
    }
    let other = [
        nla(1, &address_service().concat()),
        nla(1, &mark_service().concat()),
    ];
    assert_eq!(
        service(&other.concat()).unwrap_err().to_string(),
        "IPVS_CMD_ATTR_SERVICE comes twice and says two things"
    );
}

#[test]
fn a_mark_excludes_an_address() {
    for (more, name) in [
        (nla_u16(2, 6), "IPVS_SVC_ATTR_PROTOCOL"),
        (nla(3, &V4), "IPVS_SVC_ATTR_ADDR"),
        (nla(4, &[0, 80]), "IPVS_SVC_ATTR_PORT"),
    ] {
        let mut attributes = mark_service();
        attributes.push(more);
        let expected = format!("{name} comes with IPVS_SVC_ATTR_FWMARK, which excludes it");
        assert_eq!(error(&attributes), expected);
    }
    let mut attributes = mark_service();
    attributes[1] = nla_u32(5, 0);
    assert_eq!(
        error(&attributes),
        "IPVS_SVC_ATTR_FWMARK is 0, which it cannot be"
    );
}

#[test]
fn what_is_no_service_is_refused() {
    let mut attributes = address_service();
    attributes[0] = nla_u16(1, 3);
    assert_eq!(
        error(&attributes),
        "IPVS_SVC_ATTR_AF is 3, which it cannot be"
    );
    let answer = [nla(1, &address_service().concat()), nla(2, &[])].concat();
    assert_eq!(
        service(&answer).unwrap_err().to_string(),
        "IPVS_CMD_ATTR_DEST comes with IPVS_CMD_ATTR_SERVICE, which excludes it"
    );
}

#[test]
fn a_spoilt_answer_is_survived() {
    survives(&nla(1, &address_service().concat()), service);
    survives(&nla(1, &mark_service().concat()), service);
}

#[test]
fn requests_are_written_byte_for_byte() {
    let id = ServiceId::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.10".parse().unwrap(),
        port: 443,
    };
    let mut attributes = service_identity(&id);
    attributes.extend([
        ServiceAttribute::Scheduler("wrr".to_owned()),
        ServiceAttribute::Flags {
            flags: IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED | 0x10,
            mask: u32::MAX,
        },
        ServiceAttribute::Timeout(360),
        ServiceAttribute::Netmask([255, 255, 255, 0]),
    ]);
    let mut bytes = vec![0xAA; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    let mut expected = address_service();
    expected.truncate(9);
    expected.remove(5);
    assert_eq!(bytes, expected.concat());

    let id = ServiceId::FirewallMark {
        mark: 0xFFFF_FFF0,
        family: AddressFamily::Ipv6,
    };
    let attributes = service_identity(&id);
    let mut bytes = vec![0xAA; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    assert_eq!(bytes, mark_service()[..2].concat());
}
