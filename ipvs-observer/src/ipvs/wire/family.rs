//! The answers of the generic netlink controller, as far as finding a family needs them.
//!
//! The types of netlink-packet-generic refuse a whole answer for one attribute that they do not
//! know, and an answer describes every family of the kernel: a new kernel would hide IPVS.

use netlink_packet_core::{
    DecodeError, ErrorContext as _, NlasIterator, ParseableParametrized, parse_string, parse_u16,
};
use netlink_packet_generic::{
    GenlHeader,
    constants::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME},
};

/// One family, named and numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyReply {
    /// `CTRL_ATTR_FAMILY_NAME`
    pub name: Option<String>,
    /// `CTRL_ATTR_FAMILY_ID`
    pub id: Option<u16>,
}

impl ParseableParametrized<[u8], GenlHeader> for FamilyReply {
    fn parse_with_param(payload: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let mut reply = Self::default();
        for attribute in NlasIterator::new(payload) {
            let attribute = attribute?;
            match attribute.kind() {
                CTRL_ATTR_FAMILY_NAME => {
                    let name = parse_string(attribute.value()).context("CTRL_ATTR_FAMILY_NAME")?;
                    reply.name = Some(name);
                }
                CTRL_ATTR_FAMILY_ID => {
                    let id = parse_u16(attribute.value()).context("CTRL_ATTR_FAMILY_ID")?;
                    reply.id = Some(id);
                }
                _ => {}
            }
        }
        Ok(reply)
    }
}
