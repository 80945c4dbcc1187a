//! The command `record`: windows into files, on a thread of its own.
//!
//! `observer` drives it as it drives the output of `top`, and never waits for it. `files` are those that get everything,
//! `ring` is the one that keeps the last minutes. A file that cannot be written any more ends the run; it is cut back to its
//! last whole window.

mod collector;
mod files;
mod ring;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

use thiserror::Error;
use tokio::sync::oneshot;

use self::{
    collector::{Collector, Queue, WAITING_BATCHES},
    files::Files,
    ring::Ring,
};
use crate::{
    config::Record,
    messages,
    model::{condition::Condition, latency::Percentiles, snapshot::Snapshot},
    probe,
    recording::{Beginning, Events, Window, Written},
};

/// Windows that may wait for a slow disk.
const WAITING_WINDOWS: usize = 64;

/// A window to be written.
#[derive(Debug)]
pub struct Recorded {
    /// As the ledger got it.
    pub window: Window,
    /// As the ledger gave it.
    pub snapshot: Snapshot,
}

/// Why nothing more is written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file cannot be created.
    #[error("cannot create {}{}", path.display(), hint(source))]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {} any more, which holds {windows} windows", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Windows that are in it.
        windows: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::AlreadyExists {
        ", since it is there already: remove it, or name another"
    } else {
        ""
    }
}

enum Task {
    Window(Box<Recorded>),
    Events(Events),
    Dump,
}

/// The sampler's end.
#[derive(Debug)]
pub struct Recorder {
    collector: Option<Collector>,
    tasks: SyncSender<Task>,
    missed: Arc<AtomicU64>,
    ended: oneshot::Receiver<Result<(), RecordError>>,
}

impl Recorder {
    /// Creates the files and starts the thread.
    pub fn start(
        config: &Record,
        beginning: Beginning,
        events: Option<probe::Events>,
    ) -> Result<Self, RecordError> {
        let from = beginning.at.monotonic;
        let mut output = Output::start(config, beginning)?;
        let (tasks, received) = mpsc::sync_channel(WAITING_WINDOWS + WAITING_BATCHES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            tasks: tasks.clone(),
            waiting: Arc::clone(&waiting),
        };
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("recorder".to_owned());
        let started = thread.spawn(move || {
            // Nobody waits for the end any more when the agent was told to end at once.
            drop(end.send(output.run(&received, &waiting)));
        });
        let unstarted = |source| RecordError::Create {
            path: config.files[0].path.clone(),
            source,
        };
        started.map_err(unstarted)?;
        let collector = events.map(|events| Collector::start(events, from, queue));
        Ok(Self {
            collector: collector.transpose().map_err(unstarted)?,
            tasks,
            missed: Arc::default(),
            ended,
        })
    }

    /// Hands over a window; never waits. Events end with the last one.
    pub fn send(&self, recorded: Recorded) {
        let Window {
            sample, is_final, ..
        } = &recorded.window;
        if let Some(collector) = self.collector.as_ref().filter(|_| *is_final) {
            collector.stop(sample.at.monotonic);
        }
        // Without a receiver the thread has ended, which `ended` tells.
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(Task::Window(Box::new(recorded))) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the ring written out, if there is one.
    pub fn dump(&self) {
        if self.tasks.try_send(Task::Dump).is_err() {
            log::warn!("the last minutes are not written out: the disk is too slow");
        }
    }

    /// Windows that the disk was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Waits until a file cannot be written any more.
    pub async fn ended(&mut self) -> Result<(), RecordError> {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }

    /// Waits until everything handed over is written.
    pub async fn finish(self) -> Result<(), RecordError> {
        let Self {
            collector: _,
            tasks,
            missed: _,
            ended,
        } = self;
        // The collector's own goes when it ends, and then the thread does.
        drop(tasks);
        ended.await.unwrap_or(Ok(()))
    }
}

/// The thread's end.
#[derive(Debug)]
enum Output {
    Files(Files),
    Ring {
        ring: Box<Ring>,
        dump_when: Option<Condition>,
        percentiles: Percentiles,
        /// Whether the condition held in the window before.
        held: bool,
    },
}

impl Output {
    fn start(config: &Record, beginning: Beginning) -> Result<Self, RecordError> {
        Ok(match config.ring {
            None => Self::Files(Files::create(&config.files, &beginning)?),
            Some(length) => Self::Ring {
                ring: Box::new(Ring::create(
                    config.files[0].path.clone(),
                    length,
                    beginning,
                )?),
                dump_when: config.dump_when.clone(),
                percentiles: Percentiles::new(),
                held: false,
            },
        })
    }

    fn run(&mut self, tasks: &Receiver<Task>, waiting: &AtomicUsize) -> Result<(), RecordError> {
        for task in tasks {
            match (&mut *self, task) {
                (output, Task::Events(events)) => {
                    waiting.fetch_sub(1, Ordering::AcqRel);
                    match output {
                        Self::Files(files) => files.add_events(&events)?,
                        Self::Ring { ring, .. } => ring.add_events(&events)?,
                    }
                }
                (Self::Files(files), Task::Window(recorded)) => files.add(&recorded)?,
                (Self::Files(_), Task::Dump) => {}
                (Self::Ring { ring, .. }, Task::Dump) => ring.dump("SIGUSR1")?,
                (
                    Self::Ring {
                        ring,
                        dump_when,
                        percentiles,
                        held,
                    },
                    Task::Window(recorded),
                ) => {
                    ring.add(&recorded)?;
                    let condition = dump_when.as_ref().filter(|condition| {
                        let services = recorded.snapshot.services.values();
                        let mut seen = services.map(|service| &service.row.interval);
                        seen.any(|activity| condition.holds(activity, percentiles))
                    });
                    // What goes on holding is written once.
                    if let Some(condition) = condition.filter(|_| !*held) {
                        ring.dump(&condition.to_string())?;
                    }
                    *held = condition.is_some();
                }
            }
        }
        match self {
            Self::Files(files) => files.finish(),
            Self::Ring { ring, .. } => ring.finish(),
        }
    }
}

/// Says what a file holds now.
fn tell(path: &std::path::Path, written: Written) {
    let Written { windows, bytes, .. } = written;
    let each = |bytes: Option<f64>, number, things| {
        bytes.map_or_else(String::new, |bytes| {
            format!(", {bytes:.2} bytes for each of {number} {things}")
        })
    };
    let each = [
        each(
            written.bytes_per_histogram(),
            written.histograms,
            "histograms",
        ),
        each(written.bytes_per_event(), written.events, "events"),
    ]
    .concat();
    if log::max_level() >= log::LevelFilter::Warn {
        messages::say(&format!(
            "{}: {windows} windows, {bytes} bytes{each}",
            path.display()
        ));
    }
}
