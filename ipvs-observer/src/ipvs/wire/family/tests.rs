//! What the controller says of families.

use super::*;
use crate::ipvs::wire::testing::{NESTED, nla, nla_u16, survives};

fn answer(name: &[u8], id: &[u8]) -> Vec<u8> {
    [
        nla(99, &[1, 2, 3]),
        nla(CTRL_ATTR_FAMILY_NAME, name),
        nla(6 + NESTED, &[0; 12]),
        id.to_vec(),
    ]
    .concat()
}

fn id(number: u16) -> Vec<u8> {
    nla_u16(CTRL_ATTR_FAMILY_ID, number)
}

#[test]
fn a_family_is_found_by_its_name_between_attributes_that_are_not_known() {
    assert_eq!(
        family_number(&answer(b"IPVS\0", &id(36)), "IPVS"),
        Ok(Some(36))
    );
    assert_eq!(
        family_number(&answer(b"IPVS2\0", &id(36)), "IPVS"),
        Ok(None)
    );
    assert_eq!(family_number(&[], "IPVS"), Ok(None));
}

#[test]
fn what_is_wrong_with_another_family_does_not_matter() {
    assert_eq!(family_number(&answer(b"\xFF\0", &id(0)), "IPVS"), Ok(None));
    assert_eq!(
        family_number(&answer(b"x\0", &nla(1, &[])), "IPVS"),
        Ok(None)
    );
}

#[test]
fn a_number_that_no_family_has_is_an_error() {
    for number in [0, 15] {
        let error = family_number(&answer(b"IPVS\0", &id(number)), "IPVS").unwrap_err();
        let expected = format!("CTRL_ATTR_FAMILY_ID is {number}, which it cannot be");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        family_number(&answer(b"IPVS\0", &id(16)), "IPVS"),
        Ok(Some(16))
    );
    let error = family_number(&answer(b"IPVS\0", &[]), "IPVS").unwrap_err();
    assert_eq!(error.to_string(), "CTRL_ATTR_FAMILY_ID is missing");
    let error = family_number(&answer(b"IPVS\0", &nla(1, &[1])), "IPVS").unwrap_err();
    assert_eq!(
        error.to_string(),
        "CTRL_ATTR_FAMILY_ID is 1 bytes long and not 2"
    );
}

#[test]
fn a_spoilt_answer_is_survived() {
    survives(&nla(CTRL_ATTR_FAMILY_NAME, b"IPVS\0"), |answer| {
        family_number(answer, "IPVS")
    });
}
