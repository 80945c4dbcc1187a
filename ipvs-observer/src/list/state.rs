//! Timeouts and synchronisation daemons.

use std::io::Write;

use super::ListError;
use crate::{config::Subject, error::RunError, ipvs::netlink::Ipvs, output::list as format};

/// Where they are asked for.
pub(super) struct State {
    ipvs: Ipvs,
}

impl State {
    pub(super) fn open() -> Result<Self, RunError> {
        Ok(Self {
            ipvs: Ipvs::open()?,
        })
    }

    pub(super) fn print(
        &mut self,
        subject: Subject,
        out: &mut impl Write,
    ) -> Result<(), ListError> {
        if subject == Subject::Timeouts {
            let timeouts = self.ipvs.timeouts().map_err(RunError::from)?;
            format::timeouts(&timeouts, out)?;
        } else {
            let daemons = self.ipvs.daemons().map_err(RunError::from)?;
            format::daemons(&daemons, out)?;
        }
        Ok(())
    }
}
