//! Carries events from the ring buffer to standard output, on a thread of its own, and says where some are missing.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use ipvs_observer_common::{StreamCounts, StreamLoss};
use tokio::sync::oneshot;

use crate::{
    clock, config,
    output::stream::{Lines, Lost, Stack, TableChange},
    probe::{Events, Record},
};

use super::{
    commands::{Commands, Seen},
    names::Names,
};

/// Bytes of lines that are written at once.
const CHUNK_BYTES: usize = 1 << 16;
/// Changes of the table that may wait for a slow reader.
const WAITING_CHANGES: usize = 1024;
/// The longest that the thread does not see that it shall end.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The longest line, with a stack.
const LINE_BYTES: usize = 1 << 13;

/// The run's end of the thread.
#[derive(Debug)]
pub(super) struct Reader {
    is_stopping: Arc<AtomicBool>,
    changes: SyncSender<Seen>,
    changes_lost: Arc<AtomicU64>,
    ended: oneshot::Receiver<io::Result<Totals>>,
}

/// What became of all events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    delivered: u64,
    filtered: u64,
    sampled: u64,
    /// On which CPU for which cause how many, those that are not 0.
    lost: Vec<(usize, StreamLoss, u64)>,
    untraced: u64,
    stackless: u64,
    changes_lost: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost: u64 = self.lost.iter().map(|(.., count)| count).sum();
        write!(
            f,
            "{} events delivered, {} filtered, {} outside of the sample, {lost} lost",
            self.delivered, self.filtered, self.sampled
        )?;
        let mut separator = " (";
        for (cpu, cause, count) in &self.lost {
            write!(f, "{separator}CPU {cpu} {} {count}", cause.name())?;
            separator = ", ";
        }
        if lost > 0 {
            f.write_str(")")?;
        }
        if self.untraced > 0 {
            write!(
                f,
                "; {} connections without packets and bytes for want of room (--max-connections)",
                self.untraced
            )?;
        }
        if self.stackless > 0 {
            write!(f, "; {} kernel stacks not taken", self.stackless)?;
        }
        if self.changes_lost > 0 {
            write!(f, "; {} changes of the table lost", self.changes_lost)?;
        }
        Ok(())
    }
}

impl Reader {
    /// Starts the thread.
    pub(super) fn start(
        events: Events,
        lines: Lines,
        names: Option<Names>,
        config: &config::Stream,
        known_from_ns: u64,
    ) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (end, ended) = oneshot::channel();
        let (changes, waiting) = sync_channel(WAITING_CHANGES);
        let changes_lost = Arc::new(AtomicU64::new(0));
        let mut carrier = Carrier {
            changes_lost: Arc::clone(&changes_lost),
            commands: Commands::known_from(known_from_ns),
            left: config.limit.unwrap_or(u64::MAX),
            names,
            ..Carrier::new(events, lines, waiting)
        };
        let latency = config.latency;
        let stopping = Arc::clone(&is_stopping);
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                let outcome = carrier.run(latency, &stopping, &mut io::stdout().lock());
                // Nobody waits for the end any more when the agent was told to end at once.
                drop(end.send(outcome.map(|()| carrier.totals())));
            })?;
        Ok(Self {
            is_stopping,
            changes,
            changes_lost,
            ended,
        })
    }

    /// Hands over a change of the table; never waits.
    pub(super) fn change(&self, seen: Seen) {
        if self.changes.try_send(seen).is_err() {
            self.changes_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has it end once everything that waits now is written.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<Totals> {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Ok(Totals::default()))
    }
}

/// See [`super::drain`].
pub(super) fn drain(events: Events, lines: Lines, stdout: &mut impl Write) -> io::Result<u64> {
    let (_none, changes) = sync_channel(1);
    let mut carrier = Carrier::new(events, lines, changes);
    carrier.drain(stdout)?;
    Ok(carrier.delivered)
}

/// What the thread has.
struct Carrier {
    events: Events,
    changes: Receiver<Seen>,
    commands: Commands,
    changes_lost: Arc<AtomicU64>,
    lines: Lines,
    /// Where stacks are asked for.
    names: Option<Names>,
    /// Of the next event, lost ones included.
    sequence: u64,
    delivered: u64,
    /// Events until the limit.
    left: u64,
    /// Of each CPU, the lost events that the stream has told of, by cause, modulo 2^32.
    told: Vec<[u32; 2]>,
    /// Whole lines.
    out: Vec<u8>,
}

impl Carrier {
    fn new(events: Events, lines: Lines, changes: Receiver<Seen>) -> Self {
        Self {
            told: vec![[0; 2]; events.cpus()],
            events,
            changes,
            commands: Commands::known_from(u64::MAX),
            changes_lost: Arc::default(),
            lines,
            names: None,
            sequence: 0,
            delivered: 0,
            left: u64::MAX,
            out: Vec::with_capacity(CHUNK_BYTES + LINE_BYTES),
        }
    }

    fn run(
        &mut self,
        latency: Duration,
        is_stopping: &AtomicBool,
        stdout: &mut impl Write,
    ) -> io::Result<()> {
        loop {
            // Before the buffer is read: what comes in between is read in the last round.
            let is_last = is_stopping.load(Ordering::Acquire);
            self.lines.follow(clock::now());
            if !self.drain(stdout)? || is_last || self.left == 0 {
                return Ok(());
            }
            self.events.wait(latency.min(LONGEST_WAIT))?;
        }
    }

    /// Writes everything that waits; `false` if nobody reads any more.
    fn drain(&mut self, stdout: &mut impl Write) -> io::Result<bool> {
        // Whoever made these has left a record that waits.
        let changes: Vec<_> = self.changes.try_iter().collect();
        if let Some(names) = &mut self.names {
            names.doubt();
        }
        while self.left > 0
            && let Some(record) = self.events.take()
        {
            match &record {
                Record::Event(event) => {
                    self.tell_lost(event.cpu, event.lost, event.at_ns);
                    let frames = self.events.stack();
                    let names = self.names.as_mut().filter(|_| !frames.is_empty());
                    let stack = names.map(|names| Stack {
                        frames,
                        symbols: names.symbols(),
                    });
                    self.lines.event(event, stack, self.sequence, &mut self.out);
                    self.count();
                }
                Record::Command(command) => {
                    self.tell_lost(command.cpu, command.lost, command.at_ns);
                    self.commands.note(command);
                    if let Some(change) = TableChange::by(command) {
                        self.tell_change(&change);
                    }
                }
            }
            if self.out.len() >= CHUNK_BYTES && !self.write(stdout)? {
                return Ok(false);
            }
        }
        if self.left > 0 {
            self.tell_rest();
        }
        for mut seen in changes {
            if self.left == 0 || self.commands.is_of_flush(&seen) {
                continue;
            }
            seen.change.process = self.commands.process(&seen);
            self.tell_change(&seen.change);
        }
        self.write(stdout)
    }

    fn tell_change(&mut self, change: &TableChange) {
        self.lines.change(change, self.sequence, &mut self.out);
        self.count();
    }

    fn count(&mut self) {
        self.sequence += 1;
        self.delivered += 1;
        self.left -= 1;
    }

    /// Tells of what was lost since the newest event of each CPU.
    fn tell_rest(&mut self) {
        let now_ns = u64::try_from(clock::now().monotonic.as_nanos()).unwrap_or(u64::MAX);
        for cpu in 0..self.events.cpus() {
            let lost = self.events.counts(cpu).lost.map(low_half);
            self.tell_lost(u32::try_from(cpu).unwrap_or(u32::MAX), lost, now_ns);
        }
    }

    /// Tells of what `cpu` has lost besides what was told.
    fn tell_lost(&mut self, cpu: u32, lost: [u32; 2], at_ns: u64) {
        let Some(told) = self.told.get_mut(cpu as usize) else {
            return;
        };
        let mut causes = [0; 2];
        for ((cause, told), lost) in causes.iter_mut().zip(told).zip(lost) {
            let new = lost.wrapping_sub(*told);
            // An event that was reserved before knows less than the counts that were read since.
            if new < u32::MAX / 2 {
                (*cause, *told) = (new, lost);
            }
        }
        let lost = Lost { at_ns, cpu, causes };
        if lost.total() > 0 {
            self.commands.lost_before(at_ns);
            self.lines.lost(&lost, self.sequence, &mut self.out);
            self.sequence += lost.total();
        }
    }

    fn write(&mut self, stdout: &mut impl Write) -> io::Result<bool> {
        if self.out.is_empty() {
            return Ok(true);
        }
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true),
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals {
            delivered: self.delivered,
            changes_lost: self.changes_lost.load(Ordering::Relaxed),
            ..Totals::default()
        };
        for cpu in 0..self.events.cpus() {
            let counts: StreamCounts = self.events.counts(cpu);
            totals.filtered += counts.filtered;
            totals.sampled += counts.sampled;
            totals.untraced += counts.untraced;
            totals.stackless += counts.stackless;
            let causes = StreamLoss::ALL.into_iter().zip(counts.lost);
            let causes = causes.filter(|&(_, count)| count > 0);
            let lost = causes.map(|(cause, count)| (cpu, cause, count));
            totals.lost.extend(lost);
        }
        totals
    }
}

fn low_half(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::StreamLoss;

    use super::Totals;

    #[test]
    fn the_end_says_what_became_of_all_events() {
        let mut totals = Totals {
            delivered: 12,
            filtered: 3,
            sampled: 4,
            ..Totals::default()
        };
        assert_eq!(
            totals.to_string(),
            "12 events delivered, 3 filtered, 4 outside of the sample, 0 lost"
        );
        totals.lost = vec![
            (0, StreamLoss::BufferFull, 5),
            (3, StreamLoss::Unreadable, 1),
        ];
        assert_eq!(
            totals.to_string(),
            "12 events delivered, 3 filtered, 4 outside of the sample, 6 lost (CPU 0 buffer_full 5, CPU 3 unreadable 1)"
        );
        totals.lost.clear();
        totals.stackless = 2;
        assert_eq!(
            totals.to_string(),
            "12 events delivered, 3 filtered, 4 outside of the sample, 0 lost; 2 kernel stacks not taken"
        );
    }
}
