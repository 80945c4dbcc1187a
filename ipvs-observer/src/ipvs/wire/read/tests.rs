//! Attributes one after the other, whole and spoilt.

#![expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]

use super::*;
use crate::ipvs::wire::testing::{NESTED, nla, nla_u16};

fn all(bytes: &[u8]) -> Vec<Result<(u16, &[u8]), WireError>> {
    Attributes::new(bytes, "NEST").collect()
}

const fn claims(claimed: usize, left: usize) -> WireError {
    WireError::Attribute {
        nest: "NEST",
        claimed,
        left,
    }
}

#[test]
fn attributes_follow_each_other_at_multiples_of_four_bytes() {
    let bytes = [nla(1, &[7]), nla(2, &[]), nla(3, &[1, 2, 3, 4])].concat();
    let expected: Vec<Result<(u16, &[u8]), _>> =
        vec![Ok((1, &[7])), Ok((2, &[])), Ok((3, &[1, 2, 3, 4]))];
    assert_eq!(all(&bytes), expected);
    assert_eq!(all(&[]), []);
}

#[test]
fn the_last_attribute_may_come_without_its_padding() {
    let bytes = nla(1, &[7]);
    assert_eq!(all(bytes.split_at(5).0), [Ok((1, &[7][..]))]);
}

#[test]
fn the_flags_of_a_type_are_left_out() {
    assert_eq!(all(&nla(5 + NESTED, &[])), [Ok((5, &[][..]))]);
    assert_eq!(all(&nla(5 + 0x4000, &[])), [Ok((5, &[][..]))]);
}

#[test]
fn a_length_that_cannot_be_ends_the_nest_with_an_error_that_tells_it() {
    for claimed in [0_u16, 1, 3, 13, u16::MAX] {
        let lying = [&claimed.to_ne_bytes()[..], &[1, 0], &[9; 8]].concat();
        let bytes = [nla_u16(4, 5), lying].concat();
        let expected = [
            Ok((4, &5_u16.to_ne_bytes()[..])),
            Err(claims(claimed.into(), 12)),
        ];
        assert_eq!(all(&bytes), expected);
    }
    assert_eq!(
        claims(13, 12).to_string(),
        "an attribute in NEST claims 13 of the 12 bytes that are left of it"
    );
}

#[test]
fn fewer_bytes_than_a_header_are_an_error() {
    for left in 1..4 {
        assert_eq!(all([0; 3].split_at(left).0), [Err(claims(left, left))]);
    }
}

#[test]
fn a_field_takes_one_value() {
    let mut field = Field::<u32>::new("FIELD");
    assert_eq!(field.optional(), None);
    assert_eq!(
        field.needed(),
        Err(WireError::Missing { attribute: "FIELD" })
    );
    field.read(&7_u32.to_ne_bytes()).unwrap();
    field.read(&7_u32.to_ne_bytes()).unwrap();
    assert_eq!(field.needed(), Ok(7));
    let contradiction = Err(WireError::Contradiction { attribute: "FIELD" });
    assert_eq!(field.read(&8_u32.to_ne_bytes()), contradiction);
    let expected = Err(WireError::Length {
        attribute: "FIELD",
        length: 5,
        expected: 4,
    });
    assert_eq!(field.read(&[0; 5]), expected);
    assert_eq!(
        field.excluded_by("OTHER").unwrap_err().to_string(),
        "FIELD comes with OTHER, which excludes it"
    );
}

#[test]
fn text_ends_with_one_nul_or_none() {
    let read = |bytes| read::<&str>(bytes, "NAME");
    assert_eq!(read(b"wlc\0"), Ok("wlc"));
    assert_eq!(read(b"wlc"), Ok("wlc"));
    assert_eq!(read(b"\0"), Ok(""));
    assert_eq!(read(b""), Ok(""));
    let error = Err(WireError::Text { attribute: "NAME" });
    assert_eq!(read(b"wlc\0\0"), error);
    assert_eq!(read(b"\xC3"), error);
}
