//! The answers of the generic netlink controller, as far as finding a family needs them.
//!
//! The types of netlink-packet-generic refuse a whole answer for one attribute that they do not
//! know, and an answer describes every family of the kernel: a new kernel would hide IPVS.

use netlink_packet_generic::constants::{CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME};

use super::{
    datagram::NLMSG_MIN_TYPE,
    read::{Attributes, Field, WireError},
};

/// The number of the family `name`, if this answer to `CTRL_CMD_GETFAMILY` describes it.
///
/// A number that no family can have is an error: the kernel takes a request with such a number
/// for one to do nothing, and acknowledges it.
pub fn family_number(answer: &[u8], name: &str) -> Result<Option<u16>, WireError> {
    let mut is_named = false;
    let mut raw_id = None;
    for attribute in Attributes::new(answer, "CTRL_CMD_NEWFAMILY") {
        let (kind, value) = attribute?;
        match kind {
            // What the others are called does not matter, nor whether it is text.
            CTRL_ATTR_FAMILY_NAME => is_named = value.strip_suffix(&[0]) == Some(name.as_bytes()),
            CTRL_ATTR_FAMILY_ID => raw_id = Some(value),
            _ => {}
        }
    }
    if !is_named {
        return Ok(None);
    }
    let mut id = Field::<u16>::new("CTRL_ATTR_FAMILY_ID");
    if let Some(value) = raw_id {
        id.read(value)?;
    }
    match id.needed()? {
        number @ NLMSG_MIN_TYPE.. => Ok(Some(number)),
        number => Err(WireError::Value {
            attribute: "CTRL_ATTR_FAMILY_ID",
            value: number.into(),
        }),
    }
}

#[cfg(test)]
mod tests;
