//! The signals that end a run.

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::error::RunError;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is printed.
    Complete,
    /// A second signal ended it at once.
    Interrupted,
}

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, RunError> {
        let register = |kind| {
            signal(kind).map_err(|source| RunError::System {
                doing: "handle signals",
                source,
            })
        };
        Ok(Self {
            interrupt: register(SignalKind::interrupt())?,
            terminate: register(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn any(&mut self) {
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
