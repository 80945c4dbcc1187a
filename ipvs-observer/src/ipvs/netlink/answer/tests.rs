//! Datagrams as the kernel sends them, judged by what was asked.

#![expect(
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    reason = "tests cut and build messages of this host"
)]

use super::*;
use crate::ipvs::wire::testing::{message, nla_u32};

const FAMILY: u16 = 36;
const COMMAND: u8 = 14;
const SEQUENCE: u32 = 7;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// An answer with one attribute.
fn entry() -> Vec<u8> {
    let payload = [&[COMMAND, 1, 0, 0], &nla_u32(1, 5)[..]].concat();
    message(FAMILY, SEQUENCE, &payload)
}

fn done(code: i32) -> Vec<u8> {
    message(NLMSG_DONE, SEQUENCE, &code.to_ne_bytes())
}

fn error(code: i32) -> Vec<u8> {
    let payload = [&code.to_ne_bytes(), &[0; 16][..]].concat();
    message(NLMSG_ERROR, SEQUENCE, &payload)
}

/// Reads datagrams one after the other and gives the lengths of the entries.
fn read(kind: Kind, datagrams: &[Vec<u8>]) -> Result<(bool, Extent, Vec<usize>), NetlinkError> {
    let expected = Expected {
        request: "read the table",
        family: FAMILY,
        command: COMMAND,
        kind,
    };
    let mut extent = Extent::default();
    let mut entries = Vec::new();
    let mut is_end = false;
    for datagram in datagrams {
        is_end = expected.read(SEQUENCE, datagram, &mut extent, &mut entries, |answer| {
            Ok(answer.len())
        })?;
    }
    Ok((is_end, extent, entries))
}

fn dump(datagrams: &[Vec<u8>]) -> (bool, u32, usize) {
    let (is_end, extent, entries) = read(Kind::Dump, datagrams).unwrap();
    (is_end, extent.datagrams, entries.len())
}

fn refusal(datagram: Vec<u8>) -> NetlinkError {
    read(Kind::Dump, &[datagram]).unwrap_err()
}

fn unexpected(kind: Kind, datagram: Vec<u8>) -> String {
    let error = read(kind, &[datagram]).unwrap_err();
    assert!(matches!(error, NetlinkError::Unexpected { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_dump_goes_on_until_it_is_done() {
    let two = [entry(), entry()].concat();
    assert_eq!(dump(std::slice::from_ref(&two)), (false, 1, 2));
    assert_eq!(dump(&[two.clone(), entry()]), (false, 2, 3));
    assert_eq!(dump(&[two, entry(), done(0)]), (true, 2, 3));
    assert_eq!(dump(&[[entry(), done(0)].concat()]), (true, 1, 1));
    assert_eq!(dump(&[done(0)]), (true, 0, 0));
    assert_eq!(dump(&[message(NLMSG_NOOP, SEQUENCE, &[])]), (false, 0, 0));
}

#[test]
fn what_there_is_one_of_ends_with_it() {
    let (is_end, _, entries) = read(Kind::One, &[entry()]).unwrap();
    assert!(is_end);
    assert_eq!(entries, [8]);
    assert!(unexpected(Kind::One, done(0)).contains("sent an end"));
}

#[test]
fn only_a_dump_in_one_datagram_that_nothing_disturbed_is_whole() {
    let whole = |datagrams: &[Vec<u8>]| read(Kind::Dump, datagrams).unwrap().1.is_whole();
    assert!(whole(&[done(0)]));
    assert!(whole(&[[entry(), entry()].concat(), done(0)]));
    assert!(!whole(&[entry(), entry(), done(0)]));
    let mut disturbed = done(0);
    disturbed[6..8].copy_from_slice(&0x12_u16.to_ne_bytes());
    assert!(!whole(&[entry(), disturbed]));
}

#[test]
fn an_error_is_never_an_end() {
    for refused in [error(-1), done(-1)] {
        let refusal = refusal(refused);
        assert!(matches!(refusal, NetlinkError::NotPermitted { .. }));
        assert!(refusal.to_string().contains("CAP_NET_ADMIN"));
    }
    assert!(matches!(refusal(error(-2)), NetlinkError::NotLoaded));
    for lost in [error(-4), done(-4), error(-105), done(-105)] {
        assert!(matches!(refusal(lost), NetlinkError::Lost { .. }));
    }
    for (datagram, number) in [(error(-16), 16), (done(-22), 22), (error(-3), 3)] {
        let NetlinkError::Refused { source, .. } = refusal(datagram) else {
            panic!("it is a refusal");
        };
        assert_eq!(source.raw_os_error(), Some(number));
    }
    assert!(matches!(
        refusal(error(i32::MIN)),
        NetlinkError::Refused { .. }
    ));
    assert!(unexpected(Kind::Dump, error(0)).contains("an acknowledgement"));
    let overrun = message(NLMSG_OVERRUN, SEQUENCE, &[]);
    assert!(unexpected(Kind::Dump, overrun).contains("an overrun notice"));
    let unknown = message(15, SEQUENCE, &[]);
    assert!(unexpected(Kind::Dump, unknown).contains("a message of type 15"));
}

#[test]
fn entries_before_an_error_do_not_make_an_answer() {
    assert!(matches!(
        refusal([entry(), error(-1)].concat()),
        NetlinkError::NotPermitted { .. }
    ));
}

#[test]
fn what_belongs_to_another_request_is_refused() {
    let other = message(NLMSG_DONE, SEQUENCE + 1, &[0; 4]);
    assert!(unexpected(Kind::Dump, other).contains("answer 8 to request 7"));
    let other = message(FAMILY + 1, SEQUENCE, &[COMMAND, 1, 0, 0]);
    assert!(unexpected(Kind::Dump, other).contains("command 14 of family 37"));
    let other = message(FAMILY, SEQUENCE, &[COMMAND + 1, 1, 0, 0]);
    assert!(unexpected(Kind::Dump, other).contains("command 15 of family 36"));
}

#[test]
fn what_is_wrong_with_an_entry_is_the_source_of_the_error() {
    let expected = Expected {
        request: "read the table",
        family: FAMILY,
        command: COMMAND,
        kind: Kind::Dump,
    };
    let attribute = "ATTRIBUTE";
    let answer = expected.read(
        SEQUENCE,
        &entry(),
        &mut Extent::default(),
        &mut Vec::<()>::new(),
        |_| Err(WireError::Missing { attribute }),
    );
    let error = crate::error::one_line(&answer.unwrap_err());
    assert_eq!(
        error,
        "cannot read the table: the answer is malformed: ATTRIBUTE is missing"
    );
}

#[test]
fn a_datagram_cut_anywhere_is_no_end() {
    let whole = [entry(), done(0)].concat();
    for end in 1..whole.len() {
        let cut = read(Kind::Dump, &[whole[..end].to_vec()]);
        // A cut between two messages leaves an answer that has not ended.
        assert!(!cut.is_ok_and(|(is_end, ..)| is_end), "cut at {end}");
    }
}
