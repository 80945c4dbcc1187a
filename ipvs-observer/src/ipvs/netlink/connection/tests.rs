//! Scripted sockets: what the calls return, and what is made of it.

#![expect(
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    reason = "tests cut and build messages of this host"
)]

use std::collections::VecDeque;

use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};

use super::*;
use crate::{
    ipvs::wire::{
        IPVS_CMD_GET_DEST, Question, Request,
        testing::{NESTED, message, nla, nla_u16, nla_u32},
    },
    model::id::{AddressFamily, ServiceId},
};

const SEQUENCE: u32 = 3;
const EINTR: i32 = 4;
const ENOMEM: i32 = 12;
const ENOBUFS: i32 = 105;

const DUMP: Expected = Expected {
    request: "read the table",
    family: 36,
    command: 5,
    kind: Kind::Dump,
};

fn entry() -> Vec<u8> {
    message(36, SEQUENCE, &[5, 1, 0, 0])
}

fn done() -> Vec<u8> {
    message(3, SEQUENCE, &[0; 4])
}

fn failed(number: i32) -> io::Result<Vec<u8>> {
    Err(io::Error::from_raw_os_error(number))
}

/// Collects from a socket that gives one of `script` at each call, and the number of entries.
fn run(script: Vec<io::Result<Vec<u8>>>) -> Result<usize, NetlinkError> {
    let mut script = VecDeque::from(script);
    let receive = |buffer: &mut Vec<u8>| {
        let datagram = script.pop_front().expect("the answer is over")?;
        buffer.extend(datagram.iter().take(buffer.capacity()));
        Ok(datagram.len())
    };
    let mut buffer = Vec::with_capacity(64);
    let mut entries = Vec::new();
    collect(&DUMP, SEQUENCE, receive, &mut buffer, &mut entries, |_| {
        Ok(())
    })?;
    assert!(script.is_empty(), "more was to be received");
    Ok(entries.len())
}

#[test]
fn an_interrupted_call_is_made_again() {
    let script = vec![
        failed(EINTR),
        Ok(entry()),
        failed(EINTR),
        failed(EINTR),
        Ok(entry()),
        Ok(done()),
    ];
    assert_eq!(run(script).unwrap(), 2);
}

#[test]
fn a_socket_that_ran_full_has_lost_the_answer() {
    let script = vec![Ok(entry()), failed(ENOBUFS)];
    assert!(matches!(run(script), Err(NetlinkError::Lost { .. })));
}

#[test]
fn every_other_failure_is_an_error() {
    let script = vec![Ok(entry()), failed(ENOMEM)];
    assert!(matches!(
        run(script),
        Err(NetlinkError::Socket { source, .. }) if source.raw_os_error() == Some(ENOMEM)
    ));
}

#[test]
fn a_datagram_that_does_not_fit_is_an_error_with_its_length() {
    let script = vec![Ok([entry(), entry(), entry(), entry()].concat())];
    assert!(matches!(
        run(script),
        Err(NetlinkError::Truncated { length: 80, .. })
    ));
}

#[test]
fn a_datagram_of_nothing_is_an_error() {
    assert!(matches!(
        run(vec![Ok(Vec::new())]),
        Err(NetlinkError::Unexpected { .. })
    ));
}

#[test]
fn a_request_is_written_byte_for_byte() {
    let service = ServiceId::FirewallMark {
        mark: 47,
        family: AddressFamily::Ipv4,
    };
    let request = Request {
        command: IPVS_CMD_GET_DEST,
        content: Question(Some(service)),
    };
    let mut bytes = vec![0xAA; 3];
    serialize(&DUMP, request, &mut bytes);
    let nest = [nla_u16(1, 2), nla_u32(5, 47)].concat();
    let payload = [vec![IPVS_CMD_GET_DEST, 1, 0, 0], nla(1 + NESTED, &nest)].concat();
    let mut expected = message(36, 0, &payload);
    // NLM_F_REQUEST and NLM_F_DUMP
    expected[6..8].copy_from_slice(&0x301_u16.to_ne_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn families_are_asked_for_all_at_once_and_never_by_name() {
    let request = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: Vec::new(),
    };
    let mut bytes = Vec::new();
    let expected = Expected { family: 16, ..DUMP };
    serialize(&expected, request, &mut bytes);
    assert_eq!(bytes[4..6], 16_u16.to_ne_bytes());
    assert_eq!(bytes[6..8], 0x301_u16.to_ne_bytes());
    // CTRL_CMD_GETFAMILY and no attribute
    assert_eq!(bytes[16], 3);
    assert_eq!(bytes.len(), 20);
}
