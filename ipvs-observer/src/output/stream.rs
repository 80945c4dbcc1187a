//! Lines of a stream: an event becomes one line in a buffer that is used again and again.
//!
//! Nothing is allocated for an event once the buffer has its size: members are written one after the other, by hand and
//! not through `serde`, whose objects would own their texts.

mod config;
mod json;
mod stack;
mod text;
mod write;

pub use self::config::TableChange;

use self::{json::Places, write::Wall};

use crate::{
    cli::StreamFormat,
    model::{event::ConnectionEvent, id::Netns, sample::Timestamp, symbols::Symbols},
};

/// Writes lines in one format.
#[derive(Clone, Debug)]
pub struct Lines {
    format: StreamFormat,
    wall: Wall,
    places: Places,
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

/// The kernel stack of an event.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// Addresses of code, innermost first, at least one.
    pub frames: &'a [u64],
    /// Their names.
    pub symbols: &'a Symbols,
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
        Self {
            format,
            wall: Wall::new(at),
            places: Places::new(),
            netns,
        }
    }

    /// Goes on with the wall clock as it is now: somebody may have set it.
    pub fn follow(&mut self, at: Timestamp) {
        self.wall.follow(at);
    }

    /// Appends the line of `event`, the `sequence`th of the stream; as text a line for each function of its stack too.
    pub fn event(
        &mut self,
        event: &ConnectionEvent,
        stack: Option<Stack<'_>>,
        sequence: u64,
        out: &mut Vec<u8>,
    ) {
        match self.format {
            StreamFormat::Json => json::event(self, event, stack, sequence, out),
            StreamFormat::Text => {
                text::event(self, event, out);
                if let Some(stack) = stack {
                    stack::text(stack, out);
                }
            }
        }
    }

    /// Appends a line that says what is missing here; the first of it would have been the `sequence`th.
    pub fn lost(&mut self, lost: &Lost, sequence: u64, out: &mut Vec<u8>) {
        match self.format {
            StreamFormat::Json => json::lost(self, lost, sequence, out),
            StreamFormat::Text => text::lost(self, lost, out),
        }
    }

    /// Appends the line of a change of the table, the `sequence`th of the stream.
    pub fn change(&mut self, change: &TableChange, sequence: u64, out: &mut Vec<u8>) {
        match self.format {
            StreamFormat::Json => json::change(self, change, sequence, out),
            StreamFormat::Text => text::change(self, change, out),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
