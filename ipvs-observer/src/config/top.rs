//! What `top` shall do.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, DEFAULT_INTERVAL, File, selection, time, window};
use crate::{
    cli::{CommonArguments, OutputFormat, SortColumn, TopArguments},
    model::filter::Selection,
};

const DEFAULT_ROWS: usize = 20;

/// A checked configuration of `top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Nominal length of a window.
    pub interval: Duration,
    /// Length of the run; `None` is until a signal.
    pub duration: Option<Duration>,
    /// Whether the run ends with the first window.
    pub once: bool,
    /// What is shown.
    pub selection: Selection,
    /// How it is printed.
    pub output: OutputFormat,
    /// Order of real servers.
    pub sort: SortColumn,
    /// How many real servers a text block shows; `None` is all.
    pub rows: Option<usize>,
    /// Created once the probes are attached.
    pub ready_file: Option<PathBuf>,
}

impl Top {
    pub(super) fn resolve(
        top: &TopArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        let interval = common.interval.as_ref().or(file.interval.as_ref());
        let duration = common.duration.as_ref().or(file.duration.as_ref());
        let rows = top.rows.or(file.rows).unwrap_or(DEFAULT_ROWS);
        Ok(Self {
            interval: interval.map_or(Ok(DEFAULT_INTERVAL), |text| window(text))?,
            duration: duration.map(|text| time("duration", text)).transpose()?,
            once: top.once,
            selection: selection(common)?,
            output: top.output.or(file.output).unwrap_or_default(),
            sort: top.sort.or(file.sort).unwrap_or_default(),
            rows: (rows > 0).then_some(rows),
            ready_file: top.ready_file.clone(),
        })
    }
}
