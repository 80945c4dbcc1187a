//! Datagrams as the kernel sends them, whole and spoilt.

#![expect(
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    reason = "tests cut and build messages of this host"
)]

use super::*;
use crate::ipvs::wire::Message;

const FAMILY: u16 = 36;
const SEQUENCE: u32 = 7;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An answer with one attribute that is not known.
fn entry() -> Vec<u8> {
    let attribute = [8_u16.to_ne_bytes(), 99_u16.to_ne_bytes(), [1, 2], [3, 4]].concat();
    message(FAMILY, SEQUENCE, &[&[1, 1, 0, 0], &attribute[..]].concat())
}

fn done(code: i32) -> Vec<u8> {
    message(NLMSG_DONE, SEQUENCE, &code.to_ne_bytes())
}

fn error(code: i32) -> Vec<u8> {
    message(
        NLMSG_ERROR,
        SEQUENCE,
        &[&code.to_ne_bytes(), &[0; 16][..]].concat(),
    )
}

fn read(datagram: &[u8], answer: &mut Answer<Message>) -> Result<bool, NetlinkError> {
    let expected = Expected {
        request: "read the table",
        family: FAMILY,
        sequence: SEQUENCE,
    };
    expected.read(datagram, answer)
}

fn refusal(datagram: &[u8]) -> NetlinkError {
    read(datagram, &mut Answer::default()).unwrap_err()
}

#[test]
fn an_answer_goes_on_until_it_is_done() {
    let mut answer = Answer::default();
    assert!(!read(&[entry(), entry()].concat(), &mut answer).unwrap());
    assert!(!read(&entry(), &mut answer).unwrap());
    assert!(read(&done(0), &mut answer).unwrap());
    assert_eq!(answer.messages.len(), 3);
    assert_eq!(answer.datagrams, 2);
}

#[test]
fn one_datagram_may_hold_all_of_it() {
    let mut answer = Answer::default();
    assert!(read(&[entry(), done(0)].concat(), &mut answer).unwrap());
    assert_eq!(answer.datagrams, 1);
}

#[test]
fn an_error_is_never_an_end() {
    assert!(matches!(
        refusal(&error(-1)),
        NetlinkError::NotPermitted { .. }
    ));
    assert!(refusal(&error(-1)).to_string().contains("CAP_NET_ADMIN"));
    assert!(matches!(refusal(&error(-2)), NetlinkError::NotLoaded));
    assert!(matches!(
        refusal(&error(-16)),
        NetlinkError::Refused { source, .. } if source.raw_os_error() == Some(16)
    ));
    assert!(matches!(
        refusal(&done(-22)),
        NetlinkError::Refused { source, .. } if source.raw_os_error() == Some(22)
    ));
    assert!(matches!(
        refusal(&error(i32::MIN)),
        NetlinkError::Refused { .. }
    ));
    assert!(matches!(
        refusal(&error(0)),
        NetlinkError::Unexpected { .. }
    ));
    assert!(matches!(
        refusal(&message(NLMSG_OVERRUN, SEQUENCE, &[])),
        NetlinkError::Unexpected { .. }
    ));
}

#[test]
fn what_belongs_to_another_request_is_refused() {
    let other = message(NLMSG_DONE, SEQUENCE + 1, &[0; 4]);
    assert!(
        refusal(&other)
            .to_string()
            .contains("answer 8 to request 7")
    );
    let other = message(FAMILY + 1, SEQUENCE, &[1, 1, 0, 0]);
    assert!(refusal(&other).to_string().contains("type 37"));
}

#[test]
fn a_datagram_cut_anywhere_is_an_error_or_goes_on() {
    let whole = [entry(), done(0)].concat();
    for end in 1..whole.len() {
        let mut answer = Answer::default();
        let is_end = read(&whole[..end], &mut answer);
        // A cut between two messages leaves an answer that has not ended.
        assert!(!is_end.unwrap_or(false), "cut at {end}");
    }
}

#[test]
fn garbage_never_panics() {
    let whole = [entry(), error(-1), done(0)].concat();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..40_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let [at, value, end, ..] = random.to_le_bytes();
        let mut bytes = whole.clone();
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len().min(usize::from(end)));
        drop(read(&bytes, &mut Answer::default()));
    }
}

#[test]
fn a_repeated_entry_counts_once() {
    let mut answer = Answer::<Message>::default();
    read(&[entry(), entry(), done(0)].concat(), &mut answer).unwrap();
    let entries = answer.into_entries("read", |_| Ok((1, 2))).unwrap();
    assert_eq!(entries.entries.len(), 1);
    assert!(entries.is_atomic);
}
