//! Bytes as the kernel lays them out, read and written.
//!
//! The expected bytes are put together here from numbers, not by the code under test.

#![expect(
    clippy::indexing_slicing,
    clippy::host_endian_bytes,
    reason = "tests cut and build messages of this host"
)]

use netlink_packet_core::DefaultNla;
use netlink_packet_generic::GenlHeader;

use super::*;
use crate::model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId};

/// `NLA_F_NESTED`, added to the type of an attribute.
const NESTED: u16 = 0x8000;
const V4: [u8; 16] = [192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An attribute with its header and padding.
pub(super) fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn u16_ne(value: u16) -> [u8; 2] {
    value.to_ne_bytes()
}

fn u32_ne(value: u32) -> [u8; 4] {
    value.to_ne_bytes()
}

fn u64_ne(value: u64) -> [u8; 8] {
    value.to_ne_bytes()
}

fn parse(command: u8, payload: &[u8]) -> Result<Message, DecodeError> {
    Message::parse_with_param(
        payload,
        GenlHeader {
            cmd: command,
            version: 1,
        },
    )
}

fn emit(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0xAA; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn stats_bytes() -> Vec<u8> {
    [
        nla(1, &u32_ne(27)),
        nla(2, &u32_ne(123)),
        nla(3, &u32_ne(78)),
        nla(4, &u64_ne(26812)),
        nla(5, &u64_ne(6286)),
        nla(6, &u32_ne(1)),
    ]
    .concat()
}

fn stats64_bytes() -> Vec<u8> {
    [
        nla(1, &u64_ne(5_000_000_000)),
        // The kernel pads so that the next value is aligned to eight bytes.
        nla(11, &[]),
        nla(2, &u64_ne(u64::MAX)),
    ]
    .concat()
}

fn counter32(kind: u16, value: u32) -> StatsAttribute {
    StatsAttribute::Counter {
        kind,
        value: Counter::U32(value),
    }
}

fn counter64(kind: u16, value: u64) -> StatsAttribute {
    StatsAttribute::Counter {
        kind,
        value: Counter::U64(value),
    }
}

fn service_message() -> (Message, Vec<u8>) {
    let nest = [
        nla(1, &u16_ne(2)),
        nla(2, &u16_ne(6)),
        nla(3, &V4),
        nla(4, &[0x01, 0xBB]),
        nla(6, b"wrr\0"),
        nla(7, &[u32_ne(3), u32_ne(u32::MAX)].concat()),
        nla(8, &u32_ne(360)),
        nla(9, &[255, 255, 255, 0]),
        nla(10 + NESTED, &stats_bytes()),
        nla(11, b"sip\0"),
        nla(12 + NESTED, &stats64_bytes()),
        nla(77, &[1, 2, 3]),
    ]
    .concat();
    let message = Message {
        command: IPVS_CMD_NEW_SERVICE,
        attributes: vec![Attribute::Service(vec![
            ServiceAttribute::Family(AF_INET),
            ServiceAttribute::Protocol(6),
            ServiceAttribute::Address(V4),
            ServiceAttribute::Port(443),
            ServiceAttribute::Scheduler("wrr".to_owned()),
            ServiceAttribute::Flags {
                flags: IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED,
                mask: u32::MAX,
            },
            ServiceAttribute::Timeout(360),
            ServiceAttribute::Netmask([255, 255, 255, 0]),
            ServiceAttribute::Stats(vec![
                counter32(IPVS_STATS_ATTR_CONNS, 27),
                counter32(IPVS_STATS_ATTR_INPKTS, 123),
                counter32(IPVS_STATS_ATTR_OUTPKTS, 78),
                counter64(IPVS_STATS_ATTR_INBYTES, 26812),
                counter64(IPVS_STATS_ATTR_OUTBYTES, 6286),
                counter32(IPVS_STATS_ATTR_CPS, 1),
            ]),
            ServiceAttribute::PersistenceEngine("sip".to_owned()),
            ServiceAttribute::Stats64(vec![
                counter64(IPVS_STATS_ATTR_CONNS, 5_000_000_000),
                StatsAttribute::Other(DefaultNla::new(11, Vec::new())),
                counter64(IPVS_STATS_ATTR_INPKTS, u64::MAX),
            ]),
            ServiceAttribute::Other(DefaultNla::new(77, vec![1, 2, 3])),
        ])],
    };
    (message, nla(1 + NESTED, &nest))
}

fn destination_message() -> (Message, Vec<u8>) {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    address[15] = 9;
    let nest = [
        nla(1, &address),
        nla(2, &[0x1F, 0x90]),
        nla(3, &u32_ne(7)),
        nla(4, &u32_ne(100)),
        nla(5, &u32_ne(50)),
        nla(6, &u32_ne(40)),
        nla(7, &u32_ne(3)),
        nla(8, &u32_ne(4)),
        nla(9, &u32_ne(5)),
        nla(10 + NESTED, &stats_bytes()[..8]),
        nla(11, &u16_ne(10)),
        nla(12 + NESTED, &stats64_bytes()[..12]),
        nla(13, &[1]),
        nla(14, &[0x17, 0xC1]),
        nla(15, &u16_ne(2)),
        nla(16, &[0xDE, 0xAD, 0xBE, 0xEF]),
    ]
    .concat();
    let message = Message {
        command: IPVS_CMD_NEW_DEST,
        attributes: vec![Attribute::Destination(vec![
            DestinationAttribute::Address(address),
            DestinationAttribute::Port(8080),
            DestinationAttribute::ForwardingMethod(ForwardingMethod::Unknown(7)),
            DestinationAttribute::Weight(100),
            DestinationAttribute::UpperThreshold(50),
            DestinationAttribute::LowerThreshold(40),
            DestinationAttribute::ActiveConnections(3),
            DestinationAttribute::InactiveConnections(4),
            DestinationAttribute::PersistentConnections(5),
            DestinationAttribute::Stats(vec![counter32(IPVS_STATS_ATTR_CONNS, 27)]),
            DestinationAttribute::Family(AF_INET6),
            DestinationAttribute::Stats64(vec![counter64(IPVS_STATS_ATTR_CONNS, 5_000_000_000)]),
            DestinationAttribute::TunnelType(1),
            DestinationAttribute::TunnelPort(6081),
            DestinationAttribute::TunnelFlags(2),
            DestinationAttribute::Other(DefaultNla::new(16, vec![0xDE, 0xAD, 0xBE, 0xEF])),
        ])],
    };
    (message, nla(2 + NESTED, &nest))
}

#[test]
fn messages_are_read_and_written_byte_for_byte() {
    for (message, bytes) in [service_message(), destination_message()] {
        assert_eq!(emit(&message), bytes);
        assert_eq!(parse(message.command, &bytes).unwrap(), message);
    }
}

#[test]
fn nests_are_read_without_the_nested_flag_too() {
    // IPVS answers with nests that it does not mark.
    let bytes = nla(
        1,
        &[nla(1, &u16_ne(2)), nla(10, &nla(1, &u32_ne(9)))].concat(),
    );
    let expected = vec![Attribute::Service(vec![
        ServiceAttribute::Family(AF_INET),
        ServiceAttribute::Stats(vec![counter32(IPVS_STATS_ATTR_CONNS, 9)]),
    ])];
    assert_eq!(parse(1, &bytes).unwrap().attributes, expected);
}

#[test]
fn what_is_unknown_at_the_top_survives() {
    let bytes = [nla(9 + NESTED, &[1, 2, 3, 4]), nla(4, &u32_ne(900))].concat();
    let message = parse(99, &bytes).unwrap();
    assert_eq!(message.command, 99);
    assert!(matches!(
        message.attributes[..],
        [Attribute::Other(_), Attribute::Other(_)]
    ));
    assert_eq!(emit(&message), bytes);
}

#[test]
fn requests_name_services_and_destinations_as_the_kernel_expects() {
    let id = ServiceId::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.10".parse().unwrap(),
        port: 443,
    };
    let request = Message {
        command: IPVS_CMD_GET_DEST,
        attributes: vec![Attribute::Service(service_identity(&id))],
    };
    let nest = [
        nla(1, &u16_ne(2)),
        nla(2, &u16_ne(6)),
        nla(3, &V4),
        nla(4, &[0x01, 0xBB]),
    ];
    assert_eq!(emit(&request), nla(1 + NESTED, &nest.concat()));

    let id = ServiceId::FirewallMark {
        mark: 47,
        family: AddressFamily::Ipv6,
    };
    assert_eq!(
        service_identity(&id),
        [
            ServiceAttribute::Family(AF_INET6),
            ServiceAttribute::FirewallMark(47)
        ]
    );
    let id = DestinationId {
        address: "2001:db8::9".parse().unwrap(),
        port: 80,
    };
    let [family, address, port] = destination_identity(&id).try_into().unwrap();
    assert_eq!(family, DestinationAttribute::Family(AF_INET6));
    assert!(matches!(
        address,
        DestinationAttribute::Address([0x20, 0x01, .., 9])
    ));
    assert_eq!(port, DestinationAttribute::Port(80));
}

#[test]
fn a_value_of_the_wrong_length_is_an_error_that_names_its_attribute() {
    let wrong = [
        (1, nla(1, &[2]), "IPVS_SVC_ATTR_AF"),
        (1, nla(3, &[1, 2, 3, 4]), "IPVS_SVC_ATTR_ADDR"),
        (1, nla(4, &u32_ne(80)), "IPVS_SVC_ATTR_PORT"),
        (1, nla(6, &[0xFF, 0xFE, 0]), "IPVS_SVC_ATTR_SCHED_NAME"),
        (1, nla(7, &u32_ne(3)), "IPVS_SVC_ATTR_FLAGS"),
        (1, nla(9, &[1; 16]), "IPVS_SVC_ATTR_NETMASK"),
        (1, nla(12, &nla(3, &[1, 2])), "IPVS_STATS_ATTR 3"),
        (2, nla(1, &[0; 17]), "IPVS_DEST_ATTR_ADDR"),
        (2, nla(3, &[]), "IPVS_DEST_ATTR_FWD_METHOD"),
        (2, nla(13, &[1, 2]), "IPVS_DEST_ATTR_TUN_TYPE"),
    ];
    for (nest, attribute, name) in wrong {
        let error = parse(1, &nla(nest, &attribute)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_message_cut_anywhere_is_an_error_or_a_shorter_message() {
    for (message, bytes) in [service_message(), destination_message()] {
        for end in 1..bytes.len() {
            // The outer length no longer fits, so that only an empty payload can be read.
            parse(message.command, &bytes[..end]).unwrap_err();
            // With an outer length that fits, the nest itself is what ends too early.
            let nest = &bytes[4..end.max(4)];
            if let Ok(shorter) = parse(message.command, &nla(1, nest)) {
                emit(&shorter);
            }
        }
    }
}

#[test]
fn garbage_is_refused_or_kept_but_never_panics() {
    let seeds = [service_message().1, destination_message().1];
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut read = 0;
    for round in 0..40_000 {
        let mut bytes = seeds[round % 2].clone();
        for _ in 0..=next() % 4 {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            bytes[at] = u8::try_from(next() & 0xFF).unwrap();
        }
        bytes.truncate(bytes.len() - usize::try_from(next() % 8).unwrap());
        if let Ok(message) = parse(1, &bytes) {
            read += 1;
            // Not equal where garbage sets both flags of a type, which exclude each other and of
            // which netlink-packet-core therefore writes one.
            let again = parse(1, &emit(&message)).unwrap();
            assert_eq!(again.attributes.len(), message.attributes.len());
        }
        let noise: Vec<u8> = (0..next() % 64)
            .map(|_| u8::try_from(next() & 0xF).unwrap())
            .collect();
        if let Ok(message) = parse(1, &noise) {
            emit(&message);
        }
    }
    assert!(read > 0, "the loop never got past the first check");
}

#[test]
fn a_family_is_found_between_attributes_that_are_not_known() {
    let bytes = [
        nla(99, &[1, 2, 3]),
        nla(2, b"IPVS\0"),
        nla(6 + NESTED, &[0; 12]),
        nla(1, &u16_ne(36)),
    ]
    .concat();
    let header = GenlHeader { cmd: 1, version: 2 };
    let reply = FamilyReply::parse_with_param(&bytes, header).unwrap();
    assert_eq!(reply.name.as_deref(), Some(IPVS_GENL_NAME));
    assert_eq!(reply.id, Some(36));
    let error = FamilyReply::parse_with_param(&nla(1, &[1]), header).unwrap_err();
    assert!(error.to_string().contains("CTRL_ATTR_FAMILY_ID"));
}
