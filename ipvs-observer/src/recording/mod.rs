//! Recordings (`.ivo`): what `record` writes and `report` and `top --replay` read.
//!
//! A recording is the run as the ledger got it: the tables at the beginning, then a sample for each window. Replayed through
//! the ledger it gives the very snapshots of the run, so that sums and rates are not stored.
//!
//! ```text
//!  file   = magic "\x89IVO\r\n\x1a\n", version u16, frame…
//!  frame  = kind u8, length u32, CRC-32 of kind, length and contents u32, contents      (all in little endian)
//!  start  = length u32, description as JSON, columns      kind 1: what follows does not need what is before
//!  window = columns                                       kind 2: one interval
//!  events = columns                                       kind 3: events of single connections since the last such frame
//! ```
//!
//! A frame of any other kind is passed over, so that there can be other things between windows. A file whose end is missing
//! is read up to its last whole frame.

mod columns;
mod describe;
mod entropy;
mod events;
mod frame;
mod histogram;
mod members;
mod names;
mod reader;
mod shape;
mod tables;
mod writer;

use std::{io, sync::Arc};

use thiserror::Error;

pub(crate) use self::members::nanoseconds;
pub use self::{
    events::{Events, EventsAsked},
    reader::{Part, Recording},
    shape::Window,
    writer::{Writer, Written},
};
use crate::model::{
    sample::{Namespaces, Timestamp},
    snapshot::Run,
};

/// Of the format; files of a later one are refused.
pub const VERSION: u16 = 1;

/// What of a file comes before its first frame: files of one run are joined by leaving it out of all but the first.
pub const HEAD_BYTES: usize = 10;

/// What there is before the first window.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Facts of the run.
    pub run: Arc<Run>,
    /// When the tables were read.
    pub at: Timestamp,
    /// The tables.
    pub namespaces: Namespaces,
    /// The real servers that are wanted, as they were typed; others are recorded for the sake of the sums.
    pub real_servers: Vec<String>,
    /// The events of single connections that are recorded, if any are.
    pub events: Option<EventsAsked>,
}

/// Why a recording cannot be read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It does not begin as one.
    #[error("this is no recording: it does not begin as an .ivo file does (offset 0)")]
    Foreign,
    /// It was written by a later program.
    #[error(
        "the recording has version {version} of its format (offset 8), and this program knows {VERSION} at most: read it with the ipvs-observer that wrote it"
    )]
    Newer {
        /// The version.
        version: u16,
    },
    /// Something in it is wrong.
    #[error("the recording is damaged in the frame at offset {offset}: {what}")]
    Damaged {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It ends before its first frame does.
    #[error("the recording ends at offset {offset}, before anything is in it")]
    Empty {
        /// Where the file ends.
        offset: u64,
    },
    /// The file cannot be read.
    #[error("cannot read the recording at offset {offset}")]
    Read {
        /// How far it was read.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
