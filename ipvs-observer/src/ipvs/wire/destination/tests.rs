//! Real servers as kernels of several ages send them, and as requests name them.

#![expect(
    clippy::indexing_slicing,
    reason = "tests cut and build lists of attributes"
)]

use netlink_packet_core::Emitable as _;

use super::*;
use crate::ipvs::{
    table::Traffic,
    wire::testing::{NESTED, V4, nla, nla_u16, nla_u32, stats_nest, stats64_nest, survives},
};

const V6: [u8; 16] = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// Every attribute, in the kernel's order.
fn full() -> Vec<Vec<u8>> {
    vec![
        nla(1, &V6),
        nla(2, &[0x1F, 0x90]),
        nla_u32(3, 2),
        nla_u32(4, 100),
        nla(13, &[1]),
        nla(14, &[0x17, 0xC1]),
        nla_u16(15, 2),
        nla_u32(5, 50),
        nla_u32(6, 40),
        nla_u32(7, 3),
        nla_u32(8, 4),
        nla_u32(9, 5),
        nla_u16(11, 10),
        nla(10, &stats_nest()),
        nla(12 + NESTED, &stats64_nest()),
    ]
}

fn read(attributes: &[Vec<u8>]) -> Result<Destination, WireError> {
    destination(&nla(2 + NESTED, &attributes.concat()), AddressFamily::Ipv4)
}

fn error(attributes: &[Vec<u8>]) -> String {
    read(attributes).unwrap_err().to_string()
}

/// All but the attributes at these places.
fn without(places: &[usize]) -> Vec<Vec<u8>> {
    let kept = full().into_iter().enumerate();
    kept.filter(|(place, _)| !places.contains(place))
        .map(|(_, attribute)| attribute)
        .collect()
}

#[test]
fn every_attribute_is_read() {
    let read = read(&full()).unwrap();
    assert_eq!(read.id.to_string(), "[2001:db8::9]:8080");
    assert_eq!(read.method, ForwardingMethod::Tunnel);
    assert_eq!(read.weight, 100);
    assert_eq!(read.active, 3);
    assert_eq!(read.inactive, 4);
    assert_eq!(read.persistent, Some(5));
    let thresholds = Thresholds {
        upper: 50,
        lower: 40,
    };
    assert_eq!(read.thresholds, Some(thresholds));
    let tunnel = Tunnel {
        kind: TunnelKind::Gue,
        port: 6081,
        flags: 2,
    };
    assert_eq!(read.tunnel, Some(tunnel));
    assert_eq!(read.stats.unwrap().traffic.in_packets, 0x2_0000_0007);
}

#[test]
fn narrow_counters_stand_in_for_wide_ones() {
    let narrow = Traffic {
        connections: 1,
        in_packets: 2,
        out_packets: 3,
        in_bytes: 4,
        out_bytes: 5,
    };
    let stats = read(&without(&[14])).unwrap().stats.unwrap();
    assert_eq!(stats.traffic, narrow);
    let stats = read(&without(&[13])).unwrap().stats.unwrap();
    assert_eq!(stats.traffic.connections, 0x1_0000_0007);
    let mut swapped = full();
    swapped.swap(13, 14);
    assert_eq!(read(&swapped), read(&full()));
    assert_eq!(read(&without(&[13, 14])).unwrap().stats, None);
}

#[test]
fn the_family_is_its_own_or_else_the_services() {
    let mut attributes = without(&[12]);
    attributes[0] = nla(1, &V4);
    let id = read(&attributes).unwrap().id;
    assert_eq!(id.to_string(), "192.0.2.10:8080");
    let own = [attributes, vec![nla_u16(11, 2)]].concat();
    let found = destination(&nla(2, &own.concat()), AddressFamily::Ipv6).unwrap();
    assert_eq!(found.id, id);
    let mut attributes = full();
    attributes[12] = nla_u16(11, 0);
    assert_eq!(
        error(&attributes),
        "IPVS_DEST_ATTR_ADDR_FAMILY is 0, which it cannot be"
    );
}

#[test]
fn kernels_before_tunnels_had_attributes_say_nothing_of_them() {
    assert_eq!(read(&without(&[4, 5, 6])).unwrap().tunnel, None);
    // Linux 5.2 knew no flags.
    let tunnel = read(&without(&[6])).unwrap().tunnel.unwrap();
    assert_eq!((tunnel.port, tunnel.flags), (6081, 0));
    assert_eq!(error(&without(&[4])), "IPVS_DEST_ATTR_TUN_TYPE is missing");
    assert_eq!(error(&without(&[5])), "IPVS_DEST_ATTR_TUN_PORT is missing");
    for (number, kind) in [
        (0, TunnelKind::IpIp),
        (2, TunnelKind::Gre),
        (9, TunnelKind::Unknown(9)),
    ] {
        let mut attributes = full();
        attributes[4] = nla(13, &[number]);
        assert_eq!(read(&attributes).unwrap().tunnel.unwrap().kind, kind);
    }
}

#[test]
fn the_method_is_in_the_lowest_bits() {
    for (raw, method) in [
        (0, ForwardingMethod::Masquerade),
        (1, ForwardingMethod::Local),
        (0x103, ForwardingMethod::DirectRoute),
        (4, ForwardingMethod::Bypass),
        (7, ForwardingMethod::Unknown(7)),
    ] {
        let mut attributes = full();
        attributes[2] = nla_u32(3, raw);
        assert_eq!(read(&attributes).unwrap().method, method);
    }
}

#[test]
fn what_is_needed_and_missing_is_named() {
    for (place, name) in [
        (0, "IPVS_DEST_ATTR_ADDR"),
        (1, "IPVS_DEST_ATTR_PORT"),
        (2, "IPVS_DEST_ATTR_FWD_METHOD"),
        (3, "IPVS_DEST_ATTR_WEIGHT"),
        (7, "IPVS_DEST_ATTR_U_THRESH"),
        (8, "IPVS_DEST_ATTR_L_THRESH"),
        (9, "IPVS_DEST_ATTR_ACTIVE_CONNS"),
        (10, "IPVS_DEST_ATTR_INACT_CONNS"),
    ] {
        assert_eq!(error(&without(&[place])), format!("{name} is missing"));
    }
    assert_eq!(read(&without(&[7, 8])).unwrap().thresholds, None);
    assert_eq!(read(&without(&[11])).unwrap().persistent, None);
    assert_eq!(
        destination(&nla(9, &[]), AddressFamily::Ipv4)
            .unwrap_err()
            .to_string(),
        "IPVS_CMD_ATTR_DEST is missing"
    );
}

#[test]
fn a_value_of_the_wrong_length_and_a_contradiction_are_named() {
    let names = [
        (1, "IPVS_DEST_ATTR_ADDR", 16),
        (2, "IPVS_DEST_ATTR_PORT", 2),
        (3, "IPVS_DEST_ATTR_FWD_METHOD", 4),
        (4, "IPVS_DEST_ATTR_WEIGHT", 4),
        (13, "IPVS_DEST_ATTR_TUN_TYPE", 1),
        (14, "IPVS_DEST_ATTR_TUN_PORT", 2),
        (15, "IPVS_DEST_ATTR_TUN_FLAGS", 2),
        (5, "IPVS_DEST_ATTR_U_THRESH", 4),
        (6, "IPVS_DEST_ATTR_L_THRESH", 4),
        (7, "IPVS_DEST_ATTR_ACTIVE_CONNS", 4),
        (8, "IPVS_DEST_ATTR_INACT_CONNS", 4),
        (9, "IPVS_DEST_ATTR_PERSIST_CONNS", 4),
        (11, "IPVS_DEST_ATTR_ADDR_FAMILY", 2),
    ];
    for (place, (kind, name, length)) in names.into_iter().enumerate() {
        let mut attributes = full();
        attributes[place] = nla(kind, &[0; 3]);
        assert_eq!(
            error(&attributes),
            format!("{name} is 3 bytes long and not {length}")
        );
        let mut attributes = full();
        attributes.push(nla(kind, &[0x5A; 16][..length]));
        let expected = format!("{name} comes twice and says two things");
        assert_eq!(error(&attributes), expected);
    }
}

#[test]
fn an_answer_about_a_service_is_refused() {
    let answer = nla(1, &full().concat());
    assert_eq!(
        destination(&answer, AddressFamily::Ipv4)
            .unwrap_err()
            .to_string(),
        "IPVS_CMD_ATTR_SERVICE comes with IPVS_CMD_ATTR_DEST, which excludes it"
    );
}

#[test]
fn a_spoilt_answer_is_survived() {
    let answer = nla(2, &full().concat());
    survives(&answer, |answer| destination(answer, AddressFamily::Ipv6));
}

#[test]
fn requests_are_written_byte_for_byte() {
    let id = DestinationId {
        address: "2001:db8::9".parse().unwrap(),
        port: 8080,
    };
    let mut attributes = destination_identity(&id);
    attributes.extend([
        DestinationAttribute::ForwardingMethod(ForwardingMethod::Tunnel),
        DestinationAttribute::Weight(100),
        DestinationAttribute::UpperThreshold(50),
        DestinationAttribute::LowerThreshold(40),
    ]);
    let mut bytes = vec![0xAA; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    let full = full();
    let expected = [12, 0, 1, 2, 3, 7, 8].map(|place| full[place].clone());
    assert_eq!(bytes, expected.concat());
}
