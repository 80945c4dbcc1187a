//! Messages judged by what was asked.
//!
//! Nothing but the end that the request has ends an answer: everything that is neither that nor
//! an entry is an error, so that half a table never passes for a whole one.

use std::io;

use rustix::io::Errno;

use super::NetlinkError;
use crate::ipvs::wire::{self, Body, WireError};

/// What an answer must be to belong to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// What is being done, for errors.
    pub(super) request: &'static str,
    /// The number of the family that is asked.
    pub(super) family: u16,
    /// The command of its answers.
    pub(super) command: u8,
    /// Where the answer ends.
    pub(super) kind: Kind,
}

/// Where an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// At its first entry.
    One,
    /// Where the kernel says that it is done.
    Dump,
}

/// How much of an answer the kernel wrote at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Datagrams that had entries.
    pub(super) datagrams: u32,
    /// Whether the kernel itself says that it was interrupted.
    pub(super) is_interrupted: bool,
}

impl Extent {
    /// Whether all of it was written in one go, so that nothing can be skipped or repeated.
    pub(super) const fn is_whole(self) -> bool {
        self.datagrams <= 1 && !self.is_interrupted
    }
}

impl Expected {
    /// Reads the entries of one datagram of the answer to request `sequence`; `true` if it ends
    /// the answer.
    pub(super) fn read<T>(
        &self,
        sequence: u32,
        datagram: &[u8],
        extent: &mut Extent,
        entries: &mut Vec<T>,
        mut read: impl FnMut(&[u8]) -> Result<T, WireError>,
    ) -> Result<bool, NetlinkError> {
        let request = self.request;
        let malformed = |source| NetlinkError::Malformed { request, source };
        let before = entries.len();
        let mut is_end = false;
        for message in wire::messages(datagram) {
            let message = message.map_err(malformed)?;
            if message.sequence != sequence {
                let answered = message.sequence;
                return Err(self.unexpected(format!("answer {answered} to request {sequence}")));
            }
            extent.is_interrupted |= message.is_interrupted;
            if let Body::Family {
                family,
                command,
                attributes,
            } = message.body
                && (family, command) == (self.family, self.command)
            {
                entries.push(read(attributes).map_err(malformed)?);
                is_end |= self.kind == Kind::One;
            } else {
                is_end |= self.control(message.body)?;
            }
        }
        extent.datagrams += u32::from(entries.len() > before);
        Ok(is_end)
    }

    /// Takes a message that is no entry; `true` if it ends the answer.
    fn control(&self, body: Body<'_>) -> Result<bool, NetlinkError> {
        match body {
            Body::Done(0) if self.kind == Kind::Dump => Ok(true),
            Body::Done(0) => Err(self.unexpected("an end".to_owned())),
            Body::Error(0) => Err(self.unexpected("an acknowledgement".to_owned())),
            Body::Done(code) | Body::Error(code) => Err(self.refused(code)),
            Body::Noop => Ok(false),
            Body::Overrun => Err(self.unexpected("an overrun notice".to_owned())),
            Body::Unknown(kind) => Err(self.unexpected(format!("a message of type {kind}"))),
            Body::Family {
                family, command, ..
            } => Err(self.unexpected(format!("command {command} of family {family}"))),
        }
    }

    fn refused(&self, code: i32) -> NetlinkError {
        let request = self.request;
        let source = io::Error::from_raw_os_error(code.saturating_neg());
        match Errno::from_io_error(&source) {
            Some(Errno::PERM) => NetlinkError::NotPermitted { request },
            // The number of a family that is gone: the module was unloaded.
            Some(Errno::NOENT) => NetlinkError::NotLoaded,
            Some(Errno::NOBUFS | Errno::INTR) => NetlinkError::Lost { request },
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

#[cfg(test)]
mod tests;
