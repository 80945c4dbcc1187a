//! Runs as a plugin of Netdata.

use std::io::Write;

use super::ListError;
use crate::{
    clock,
    config::{DEFAULT_INTERVAL, List},
    kernel::Kernel,
    output::list::netdata::Charts,
};

/// The charts. They need no privilege, and while `ip_vs` is not loaded they have a gap.
pub(super) struct NetdataCharts {
    kernel: Kernel,
    interval: std::time::Duration,
    charts: Option<Charts>,
}

impl NetdataCharts {
    pub(super) fn new(config: &List) -> Self {
        Self {
            kernel: Kernel::at("/"),
            interval: config.interval.unwrap_or(DEFAULT_INTERVAL),
            charts: None,
        }
    }

    pub(super) fn print(&mut self, out: &mut impl Write) -> Result<(), ListError> {
        let charts = match &mut self.charts {
            Some(charts) => charts,
            none => none.insert(Charts::start(self.interval, out)?),
        };
        let at = clock::now();
        match self.kernel.stats_per_cpu() {
            Ok(stats) => charts.encode(at.monotonic, &stats.live(), out)?,
            Err(error) => log::info!("{error}"),
        }
        Ok(())
    }
}
