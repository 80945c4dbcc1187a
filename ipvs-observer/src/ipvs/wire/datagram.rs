//! The messages of a datagram, with their headers read and their payloads left as they are.
//!
//! Whether a message answers the request is for [`netlink`](crate::ipvs::netlink) to judge.

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NetlinkBuffer,
};
use netlink_packet_generic::{GenlHeader, constants::GENL_HDRLEN};

use super::read::WireError;

/// Below this, `nlmsg_type` is netlink's own (`NLMSG_MIN_TYPE` of the uapi header `netlink.h`),
/// and no family has such a number.
pub(super) const NLMSG_MIN_TYPE: u16 = 16;

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The number of the request that it answers.
    pub sequence: u32,
    /// Whether the kernel says that a dump was disturbed by a change.
    pub is_interrupted: bool,
    /// What it says.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A message of a generic netlink family.
    Family {
        /// The number of the family.
        family: u16,
        /// The command, which says what the attributes describe.
        command: u8,
        /// The attributes.
        attributes: &'a [u8],
    },
    /// The end of a dump: 0, or a negated error number if the dump failed.
    Done(i32),
    /// 0 acknowledges a request, and a negated error number refuses it.
    Error(i32),
    /// Nothing.
    Noop,
    /// Data was lost.
    Overrun,
    /// A message of netlink itself that has no sense to this program.
    Unknown(u16),
}

/// Takes `datagram` apart; a message that cannot be read is the last.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, WireError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = split(rest);
        rest = message.as_ref().map_or(&[], |(_, next)| *next);
        Some(message.map(|(message, _)| message))
    })
}

/// The first message of `rest` and what follows it.
fn split(rest: &[u8]) -> Result<(Message<'_>, &[u8]), WireError> {
    let buffer = NetlinkBuffer::new_checked(rest).map_err(|_text| WireError::Message {
        claimed: rest.first_chunk().map_or(0, |length| {
            usize::try_from(super::read::native_u32(*length)).unwrap_or(usize::MAX)
        }),
        left: rest.len(),
    })?;
    let message = Message {
        sequence: buffer.sequence_number(),
        is_interrupted: buffer.flags() & NLM_F_DUMP_INTR != 0,
        body: body(buffer.message_type(), buffer.payload())?,
    };
    let length = (buffer.length() as usize).next_multiple_of(4);
    Ok((message, rest.get(length..).unwrap_or_default()))
}

fn body(kind: u16, payload: &[u8]) -> Result<Body<'_>, WireError> {
    let short = |message| WireError::Short {
        message,
        length: payload.len(),
    };
    Ok(match kind {
        NLMSG_DONE => Body::Done(
            DoneBuffer::new_checked(payload)
                .map_err(|_text| short("NLMSG_DONE"))?
                .code(),
        ),
        NLMSG_ERROR => Body::Error(
            ErrorBuffer::new_checked(payload)
                .map_err(|_text| short("NLMSG_ERROR"))?
                .code()
                .map_or(0, i32::from),
        ),
        NLMSG_NOOP => Body::Noop,
        NLMSG_OVERRUN => Body::Overrun,
        ..NLMSG_MIN_TYPE => Body::Unknown(kind),
        family => {
            let short = |_text| short("a generic netlink message");
            Body::Family {
                family,
                command: GenlHeader::parse(payload).map_err(short)?.cmd,
                attributes: payload.get(GENL_HDRLEN..).unwrap_or_default(),
            }
        }
    })
}

#[cfg(test)]
mod tests;
