//! Datagrams of several messages, whole and spoilt.

#![expect(
    clippy::host_endian_bytes,
    clippy::indexing_slicing,
    reason = "tests cut and build messages of this host"
)]

use super::*;
use crate::ipvs::wire::testing::message;

const SEQUENCE: u32 = 7;

fn all(datagram: &[u8]) -> Vec<Result<Message<'_>, WireError>> {
    messages(datagram).collect()
}

fn body(kind: u16, payload: &[u8]) -> Result<String, String> {
    let datagram = message(kind, SEQUENCE, payload);
    let [message] = all(&datagram).try_into().unwrap();
    message
        .map(|message| format!("{:?}", message.body))
        .map_err(|error| error.to_string())
}

#[test]
fn every_message_of_a_datagram_is_read() {
    let datagram = [
        message(36, SEQUENCE, &[1, 1, 0, 0, 8, 9]),
        message(NLMSG_DONE, SEQUENCE + 1, &0_i32.to_ne_bytes()),
    ]
    .concat();
    let expected = [
        Ok(Message {
            sequence: SEQUENCE,
            is_interrupted: false,
            body: Body::Family {
                family: 36,
                command: 1,
                attributes: &[8, 9],
            },
        }),
        Ok(Message {
            sequence: SEQUENCE + 1,
            is_interrupted: false,
            body: Body::Done(0),
        }),
    ];
    assert_eq!(all(&datagram), expected);
    assert_eq!(all(&[]), []);
}

#[test]
fn a_dump_that_was_disturbed_says_so() {
    let mut datagram = message(36, SEQUENCE, &[1, 1, 0, 0]);
    datagram[6..8].copy_from_slice(&0x10_u16.to_ne_bytes());
    assert!(all(&datagram)[0].as_ref().unwrap().is_interrupted);
}

#[test]
fn control_messages_have_a_code() {
    let code = (-22_i32).to_ne_bytes();
    let refusal = [&code, &[0; 16][..]].concat();
    let done_with_reason = [&code, &[12, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8][..]].concat();
    for (kind, payload, expected) in [
        (NLMSG_DONE, &code[..], "Done(-22)"),
        (NLMSG_DONE, &done_with_reason, "Done(-22)"),
        (NLMSG_ERROR, &refusal, "Error(-22)"),
        (NLMSG_ERROR, &[0; 20], "Error(0)"),
        (NLMSG_NOOP, &[], "Noop"),
        (NLMSG_OVERRUN, &[], "Overrun"),
        (0, &[], "Unknown(0)"),
        (15, &[1, 2, 3, 4], "Unknown(15)"),
    ] {
        assert_eq!(body(kind, payload).as_deref(), Ok(expected));
    }
    for (kind, payload, expected) in [
        (NLMSG_DONE, &[0; 3][..], "NLMSG_DONE of 3 bytes is cut off"),
        (NLMSG_ERROR, &[], "NLMSG_ERROR of 0 bytes is cut off"),
        (
            16,
            &[1, 1, 0],
            "a generic netlink message of 3 bytes is cut off",
        ),
    ] {
        assert_eq!(body(kind, payload), Err(expected.to_owned()));
    }
}

#[test]
fn a_length_that_cannot_be_is_an_error_that_tells_it() {
    let whole = message(36, SEQUENCE, &[1, 1, 0, 0]);
    for claimed in [0_u32, 15, 21, u32::MAX] {
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&claimed.to_ne_bytes());
        let datagram = [whole.clone(), lying].concat();
        let [first, second] = all(&datagram).try_into().unwrap();
        assert!(first.is_ok());
        let expected =
            format!("a message claims {claimed} of the 20 bytes that are left of its datagram");
        assert_eq!(second.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_datagram_cut_anywhere_is_an_error_or_ends_after_a_message() {
    let one = message(36, SEQUENCE, &[1, 1, 0, 0, 8]);
    let whole = [one.clone(), one.clone()].concat();
    for end in 1..whole.len() {
        let read = all(&whole[..end]);
        let is_whole = read.iter().all(Result::is_ok);
        // The padding after a message may be left out.
        assert_eq!(
            is_whole,
            (21..=24).contains(&end) || end >= 45,
            "cut at {end}"
        );
    }
}

#[test]
fn bytes_after_a_message_that_are_no_message_are_an_error() {
    let datagram = [message(36, SEQUENCE, &[1, 1, 0, 0]), vec![0; 4]].concat();
    let [_, trailing] = all(&datagram).try_into().unwrap();
    assert_eq!(
        trailing,
        Err(WireError::Message {
            claimed: 0,
            left: 4
        })
    );
}
