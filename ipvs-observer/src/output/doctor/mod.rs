//! The report of `doctor`, for people and for machines.

mod json;
mod text;

#[cfg(test)]
pub(crate) mod testing;

use crate::{cli::OutputFormat, doctor::Report};

/// The report, ready to be printed.
pub fn encode(report: &Report, format: OutputFormat) -> String {
    match format {
        OutputFormat::Text => text::encode(report),
        OutputFormat::Json => json::encode(report),
    }
}
