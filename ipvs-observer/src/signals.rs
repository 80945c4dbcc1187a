//! The signals that end a run, and the one that has what is kept written out.

use std::future::pending;

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

/// SIGUSR1, which asks for what is kept; a process that does not ask dies of it.
#[derive(Debug)]
pub(crate) struct DumpSignal(Option<Signal>);

impl Signals {
    pub(crate) fn new() -> Result<Self, RunError> {
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

impl DumpSignal {
    /// One that never comes.
    pub(crate) const NEVER: Self = Self(None);

    pub(crate) fn new() -> Result<Self, RunError> {
        Ok(Self(Some(register(SignalKind::user_defined1())?)))
    }

    pub(crate) async fn come(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => pending().await,
        }
    }
}

fn register(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|source| RunError::System {
        doing: "handle signals",
        source,
    })
}
