//! What the kernel sent, checked message by message against what was asked.
//!
//! Nothing but `NLMSG_DONE` ends an answer: everything that is neither that nor an entry is an
//! error, so that half a table never passes for a whole one.

use std::{collections::BTreeMap, fmt, io};

use netlink_packet_core::{NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload, ParseableParametrized};
use netlink_packet_generic::{GenlHeader, GenlMessage};
use rustix::io::Errno;

use super::NetlinkError;
use crate::ipvs::table::TableError;

/// The messages of one dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<R> {
    pub(super) messages: Vec<R>,
    /// Datagrams that carried messages.
    datagrams: u32,
    /// Whether the kernel itself says that it was interrupted.
    is_interrupted: bool,
}

impl<R> Default for Answer<R> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            datagrams: 0,
            is_interrupted: false,
        }
    }
}

impl<R> Answer<R> {
    /// A repeated entry replaces its earlier self.
    pub(super) fn into_entries<K: Ord, V>(
        self,
        request: &'static str,
        read: impl FnMut(&R) -> Result<(K, V), TableError>,
    ) -> Result<Entries<K, V>, NetlinkError> {
        let entries = self
            .messages
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|source| NetlinkError::Incomplete { request, source })?;
        Ok(Entries {
            entries,
            is_atomic: self.datagrams <= 1 && !self.is_interrupted,
        })
    }
}

/// What an answer must be to belong to the request.
pub(super) struct Expected {
    pub(super) request: &'static str,
    pub(super) family: u16,
    pub(super) sequence: u32,
}

impl Expected {
    /// Reads one datagram; `true` if it ends the answer.
    pub(super) fn read<R>(
        &self,
        datagram: &[u8],
        answer: &mut Answer<R>,
    ) -> Result<bool, NetlinkError>
    where
        R: ParseableParametrized<[u8], GenlHeader> + fmt::Debug,
    {
        let mut rest = datagram;
        let before = answer.messages.len();
        let mut is_end = false;
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<GenlMessage<R>>::deserialize(rest).map_err(|source| {
                    NetlinkError::Decode {
                        request: self.request,
                        source,
                    }
                })?;
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            is_end |= self.take(message, answer)?;
        }
        if answer.messages.len() > before {
            answer.datagrams += 1;
        }
        Ok(is_end)
    }

    /// Takes one message; `true` if it ends the answer.
    fn take<R: fmt::Debug>(
        &self,
        message: NetlinkMessage<GenlMessage<R>>,
        answer: &mut Answer<R>,
    ) -> Result<bool, NetlinkError> {
        let (header, payload) = message.into_parts();
        if header.sequence_number != self.sequence {
            return Err(self.unexpected(format!(
                "answer {} to request {}",
                header.sequence_number, self.sequence
            )));
        }
        answer.is_interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
        match payload {
            NetlinkPayload::InnerMessage(message) if header.message_type == self.family => {
                answer.messages.push(message.into_parts().1);
                Ok(false)
            }
            NetlinkPayload::InnerMessage(_) => {
                Err(self.unexpected(format!("a message of type {}", header.message_type)))
            }
            NetlinkPayload::Done(done) if done.code == 0 => Ok(true),
            NetlinkPayload::Done(done) => Err(self.refused(done.code)),
            NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                Err(self.refused(error.raw_code()))
            }
            NetlinkPayload::Error(_) => Err(self.unexpected("an acknowledgement".to_owned())),
            NetlinkPayload::Overrun(_) => Err(self.unexpected("an overrun notice".to_owned())),
            NetlinkPayload::Noop => Ok(false),
            _ => Err(self.unexpected(format!("a message of type {}", header.message_type))),
        }
    }

    fn refused(&self, code: i32) -> NetlinkError {
        let request = self.request;
        let source = io::Error::from_raw_os_error(code.saturating_neg());
        match Errno::from_io_error(&source) {
            Some(Errno::PERM) => NetlinkError::NotPermitted { request },
            // The number of a family that is gone: the module was unloaded.
            Some(Errno::NOENT) => NetlinkError::NotLoaded,
            _ => NetlinkError::Refused { request, source },
        }
    }

    fn unexpected(&self, what: String) -> NetlinkError {
        NetlinkError::Unexpected {
            request: self.request,
            what,
        }
    }
}

/// What a dump of one kind of entry gave.
pub(super) struct Entries<K, V> {
    pub(super) entries: BTreeMap<K, V>,
    /// Whether it came in one datagram, which the kernel writes under its lock.
    pub(super) is_atomic: bool,
}

#[cfg(test)]
mod tests;
