//! What is shown of a snapshot: a format turns it into text, `stdout` carries it out.
//!
//! A format is a pure function of a snapshot. A slow reader loses whole windows, which are counted, and never slows the
//! sampling.

pub mod doctor;
mod explain;
pub mod hlog;
pub mod json;
pub mod list;
mod memory;
mod object;
pub mod report;
pub mod schema;
pub mod stdout;
pub mod stream;
pub mod text;

#[cfg(test)]
mod testing;

use crate::{
    cli::{OutputFormat, SortColumn},
    model::snapshot::Snapshot,
};

/// How snapshots are printed.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The format itself.
    pub format: OutputFormat,
    /// Whether it tells where time goes.
    pub explain: bool,
    /// Order of real servers in text.
    pub sort: SortColumn,
    /// How many real servers a text block shows; `None` is all.
    pub rows: Option<usize>,
}

impl Format {
    /// One window, ready to be printed.
    pub fn encode(&self, snapshot: &Snapshot) -> String {
        match (self.format, self.explain) {
            (OutputFormat::Text, false) => text::encode(snapshot, self.sort, self.rows),
            (OutputFormat::Text, true) => text::explain::encode(snapshot),
            (OutputFormat::Json, false) => json::encode(snapshot),
            (OutputFormat::Json, true) => explain::encode(snapshot),
        }
    }
}
