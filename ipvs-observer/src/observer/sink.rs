//! Where windows go: to standard output or into files; and the command that a recording is made around.

use std::{ffi::OsString, future::pending, process::ExitStatus, sync::Arc};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use super::system;
use crate::{
    error::RunError,
    model::{filter::Selection, sample::Namespaces, snapshot::Snapshot},
    output::stdout::Stdout,
    record::{Recorded, Recorder},
    recording::Window,
    signals::DumpSignal,
};

/// What one tick gave.
pub(super) struct Tick {
    /// What was read, for those who keep it.
    pub(super) window: Option<Window>,
    pub(super) snapshot: Snapshot,
}

/// Who takes the windows; nobody of them is waited for.
pub(super) enum Sink {
    Stdout(Stdout),
    Recorder(Recorder),
}

impl Sink {
    pub(super) const fn keeps_windows(&self) -> bool {
        matches!(self, Self::Recorder(_))
    }

    pub(super) fn send(&self, Tick { window, snapshot }: Tick) {
        match (self, window) {
            (Self::Stdout(stdout), _) => stdout.send(Arc::new(snapshot)),
            (Self::Recorder(recorder), Some(window)) => {
                recorder.send(Recorded { window, snapshot });
            }
            (Self::Recorder(_), None) => {}
        }
    }

    /// Windows that were lost since the start.
    pub(super) fn missed(&self) -> u64 {
        match self {
            Self::Stdout(stdout) => stdout.missed(),
            Self::Recorder(recorder) => recorder.missed(),
        }
    }

    /// Has the last minutes written out, where they are kept.
    pub(super) fn dump(&self) {
        if let Self::Recorder(recorder) = self {
            recorder.dump();
        }
    }

    /// Waits until no more can be taken.
    pub(super) async fn ended(&mut self) -> Result<(), RunError> {
        match self {
            Self::Stdout(stdout) => stdout
                .ended()
                .await
                .map_err(|source| system("write to stdout", source)),
            Self::Recorder(recorder) => Ok(recorder.ended().await?),
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<(), RunError> {
        match self {
            Self::Stdout(stdout) => stdout
                .finish()
                .await
                .map_err(|source| system("write to stdout", source)),
            Self::Recorder(recorder) => Ok(recorder.finish().await?),
        }
    }
}

/// Leaves out services that nobody asked for; real servers stay for the sake of the sums.
pub(super) fn keep_services(namespaces: &mut Namespaces, selection: &Selection) {
    for read in namespaces.values_mut() {
        read.table
            .services
            .retain(|service| selection.has_service(&service.id));
    }
}

/// What there is besides the ticks.
pub(super) struct Around {
    pub(super) dump: DumpSignal,
    pub(super) command: Option<Command>,
}

/// A command that runs while it is recorded; told to end when the recording ends first.
pub(super) struct Command(Child);

impl Command {
    /// Starts it; an empty one is none.
    pub(super) fn start(words: &[OsString]) -> Result<Option<Self>, RunError> {
        let Some((program, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let started = tokio::process::Command::new(program)
            .args(arguments)
            .spawn();
        let child = started.map_err(|source| RunError::Command {
            program: program.to_string_lossy().into_owned(),
            source,
        })?;
        Ok(Some(Self(child)))
    }

    /// Waits for its end; forever where there is none.
    pub(super) async fn ended(command: &mut Option<Self>) {
        let Some(Self(child)) = command else {
            return pending().await;
        };
        let ended = child.wait().await;
        *command = None;
        match ended {
            Ok(status) if status.success() => {}
            Ok(status) => tell(status),
            Err(error) => log::warn!("cannot wait for the command: {error}"),
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let pid = self
            .0
            .id()
            .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        // It may have ended meanwhile.
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).unwrap_or_default();
        }
    }
}

fn tell(status: ExitStatus) {
    log::warn!("the command ended with {status}");
}
