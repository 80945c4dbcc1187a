//! Lines of a stream: an event becomes one line in a buffer that is used again and again.
//!
//! Nothing is allocated for an event once the buffer has its size: members are written one after the other, by hand and
//! not through `serde`, whose objects would own their texts.

mod config;
mod json;
mod text;

pub use self::config::TableChange;

use std::time::Duration;

use crate::{
    cli::StreamFormat,
    model::{event::ConnectionEvent, id::Netns, sample::Timestamp},
};

/// Writes lines in one format.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    format: StreamFormat,
    /// What is to be added to a monotonic time for a wall time, in ns.
    wall_offset_ns: i128,
    /// The one network namespace that is observed, where it is one.
    netns: Option<Netns>,
}

/// Events that are missing at a place of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed, on `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The CPU that could not send them.
    pub cpu: u32,
    /// How many, by cause.
    pub causes: [u32; 2],
}

impl Lost {
    /// How many altogether.
    pub fn total(&self) -> u64 {
        self.causes.into_iter().map(u64::from).sum()
    }
}

impl Lines {
    /// Lines in `format`, by the two clocks at one time.
    pub fn new(format: StreamFormat, at: Timestamp, netns: Option<Netns>) -> Self {
        let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(0);
        Self {
            format,
            wall_offset_ns: nanoseconds(at.wall) - nanoseconds(at.monotonic),
            netns,
        }
    }

    /// Goes on with the wall clock as it is now: somebody may have set it.
    pub fn follow(&mut self, at: Timestamp) {
        *self = Self::new(self.format, at, self.netns);
    }

    /// Appends the line of `event`, the `sequence`th of the stream.
    pub fn event(&self, event: &ConnectionEvent, sequence: u64, out: &mut Vec<u8>) {
        match self.format {
            StreamFormat::Json => json::event(self, event, sequence, out),
            StreamFormat::Text => text::event(self, event, out),
        }
    }

    /// Appends a line that says what is missing here; the first of it would have been the `sequence`th.
    pub fn lost(&self, lost: &Lost, sequence: u64, out: &mut Vec<u8>) {
        match self.format {
            StreamFormat::Json => json::lost(self, lost, sequence, out),
            StreamFormat::Text => text::lost(self, lost, out),
        }
    }

    /// Appends the line of a change of the table, the `sequence`th of the stream.
    pub fn change(&self, change: &TableChange, sequence: u64, out: &mut Vec<u8>) {
        match self.format {
            StreamFormat::Json => json::change(self, change, sequence, out),
            StreamFormat::Text => text::change(self, change, out),
        }
    }

    fn wall(&self, at_ns: u64) -> humantime::Rfc3339Timestamp {
        let wall_ns = u64::try_from(i128::from(at_ns) + self.wall_offset_ns).unwrap_or(0);
        humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + Duration::from_nanos(wall_ns))
    }
}

#[cfg(test)]
pub(super) mod tests;
