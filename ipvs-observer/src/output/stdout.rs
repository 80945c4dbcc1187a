//! Carries snapshots to standard output, on a thread of its own.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::{
    broadcast::{self, error::RecvError},
    oneshot,
};

use super::Format;
use crate::model::snapshot::Snapshot;

/// Windows that may wait for a slow reader.
const WAITING_WINDOWS: usize = 4;

/// The sampler's end.
#[derive(Debug)]
pub struct Stdout {
    sender: broadcast::Sender<Arc<Snapshot>>,
    missed: Arc<AtomicU64>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Stdout {
    /// Starts the thread.
    pub fn start(format: Format) -> io::Result<Self> {
        let (sender, receiver) = broadcast::channel(WAITING_WINDOWS);
        let (end, ended) = oneshot::channel();
        let missed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&missed);
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                // Nobody waits for the end any more when the agent was told to end at once.
                drop(end.send(write_all(receiver, &counter, format)));
            })?;
        Ok(Self {
            sender,
            missed,
            ended,
        })
    }

    /// Hands over a window; never waits.
    pub fn send(&self, snapshot: Arc<Snapshot>) {
        // Without a receiver the thread has ended, which `ended` tells.
        drop(self.sender.send(snapshot));
    }

    /// Windows that the reader was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Waits until nobody reads any more, which is a quiet end, or writing fails.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }

    /// Waits until everything handed over is written.
    pub async fn finish(self) -> io::Result<()> {
        let Self {
            sender,
            missed: _,
            ended,
        } = self;
        drop(sender);
        ended.await.unwrap_or(Ok(()))
    }
}

fn write_all(
    mut receiver: broadcast::Receiver<Arc<Snapshot>>,
    missed: &AtomicU64,
    format: Format,
) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    loop {
        match receiver.blocking_recv() {
            Ok(snapshot) => {
                let text = format.encode(&snapshot);
                match stdout
                    .write_all(text.as_bytes())
                    .and_then(|()| stdout.flush())
                {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    result => result?,
                }
            }
            Err(RecvError::Lagged(windows)) => {
                missed.fetch_add(windows, Ordering::Relaxed);
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
