//! Carries events of single connections from the ring buffer to the thread that writes, on a thread of its own.
//!
//! A slow disk costs events, which are counted, and no windows: few batches may wait. What came before the first window
//! or after the last one is left out.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use ipvs_observer_common::{StreamCounts, StreamLoss};

use super::Task;
use crate::{
    clock,
    model::event::ConnectionEvent,
    probe::{self, Record},
    recording::{Events, nanoseconds},
};

/// How long an event waits for others in the ring buffer at most.
const LATENCY: Duration = Duration::from_millis(50);
/// Events that are written at once.
const BATCH_EVENTS: usize = 4096;
/// How long they wait for so many; a crash costs no more.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// Batches that may wait for a slow disk.
pub(super) const WAITING_BATCHES: usize = 16;

/// The run's end of the thread.
#[derive(Debug)]
pub(super) struct Collector {
    /// The end of the last window on the monotonic clock, once that is known.
    until_ns: Arc<AtomicU64>,
}

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) tasks: SyncSender<Task>,
    /// Batches that are on it.
    pub(super) waiting: Arc<AtomicUsize>,
}

impl Collector {
    /// Collects what happens from now on.
    pub(super) fn start(events: probe::Events, from: Duration, queue: Queue) -> io::Result<Self> {
        let until_ns = Arc::new(AtomicU64::new(u64::MAX));
        let until = Arc::clone(&until_ns);
        let told = (0..events.cpus()).map(|cpu| events.counts(cpu)).collect();
        let mut batches = Batches {
            from_ns: nanoseconds(from),
            told,
            batch: Events::default(),
            began: clock::now().monotonic,
            queue,
        };
        let thread = thread::Builder::new().name("collector".to_owned());
        thread.spawn(move || batches.collect(events, &until))?;
        Ok(Self { until_ns })
    }

    /// Has it end once everything that happened until then is on the way.
    pub(super) fn stop(&self, until: Duration) {
        self.until_ns.store(nanoseconds(until), Ordering::Release);
    }
}

/// What the thread has.
#[derive(Debug)]
struct Batches {
    from_ns: u64,
    /// Counts of each CPU that are told already.
    told: Vec<StreamCounts>,
    batch: Events,
    /// When the batch was begun.
    began: Duration,
    queue: Queue,
}

impl Batches {
    fn collect(&mut self, mut events: probe::Events, until_ns: &AtomicU64) {
        loop {
            // Before the buffer is read: what comes in between is read in the last round.
            let until_ns = until_ns.load(Ordering::Acquire);
            let is_last = until_ns != u64::MAX;
            while let Some(record) = events.take() {
                if let Record::Event(event) = record
                    && (self.from_ns..=until_ns).contains(&event.at_ns)
                {
                    self.add(&event);
                }
                if self.batch.events.len() >= BATCH_EVENTS && !self.send(&events) {
                    return;
                }
            }
            let is_due = clock::now().monotonic.saturating_sub(self.began) >= BATCH_TIME;
            let is_taken = !(is_last || is_due) || self.send(&events);
            if is_last || !is_taken {
                return;
            }
            if let Err(error) = events.wait(LATENCY) {
                log::warn!("events are not recorded any more: {error}");
                return;
            }
        }
    }

    fn add(&mut self, event: &ConnectionEvent) {
        self.batch.events.push(ConnectionEvent {
            lost: [0; StreamLoss::ALL.len()],
            ..*event
        });
    }

    /// Sends the batch and begins another; `false` once nobody takes any.
    fn send(&mut self, events: &probe::Events) -> bool {
        self.began = clock::now().monotonic;
        for cpu in 0..events.cpus() {
            self.count(cpu, events.counts(cpu));
        }
        if self.batch.is_empty() {
            return true;
        }
        let batch = std::mem::take(&mut self.batch);
        self.hand_over(batch)
    }

    /// Adds what a CPU has counted since the last time.
    fn count(&mut self, cpu: usize, counts: StreamCounts) {
        let told = std::mem::replace(&mut self.told[cpu], counts);
        let mut lost = counts.lost;
        for (lost, told) in lost.iter_mut().zip(told.lost) {
            *lost = lost.wrapping_sub(told);
        }
        if lost != [0; StreamLoss::ALL.len()] {
            let cpu = u32::try_from(cpu).unwrap_or(u32::MAX);
            let all = &mut self.batch.lost;
            match all.iter_mut().find(|(its, _)| *its == cpu) {
                Some((_, causes)) => {
                    causes.iter_mut().zip(lost).for_each(|(a, b)| *a += b);
                }
                None => all.push((cpu, lost)),
            }
        }
        self.batch.filtered += counts.filtered.wrapping_sub(told.filtered);
        self.batch.sampled += counts.sampled.wrapping_sub(told.sampled);
        self.batch.untraced += counts.untraced.wrapping_sub(told.untraced);
    }

    fn hand_over(&mut self, batch: Events) -> bool {
        let Queue { tasks, waiting } = &self.queue;
        let waiting_before = waiting.fetch_add(1, Ordering::AcqRel);
        let sent = if waiting_before < WAITING_BATCHES {
            tasks.try_send(Task::Events(batch))
        } else {
            Err(TrySendError::Full(Task::Events(batch)))
        };
        let returned = match sent {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(returned)) => returned,
        };
        waiting.fetch_sub(1, Ordering::AcqRel);
        if let Task::Events(mut batch) = returned {
            // What is known of them is told with the next ones.
            batch.unwritten += batch.events.len() as u64;
            batch.events.clear();
            self.batch = batch;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize, mpsc},
        time::Duration,
    };

    use ipvs_observer_common::StreamCounts;

    use super::{Batches, Queue};
    use crate::{
        record::Task,
        recording::{Events, testing::some_events},
    };

    fn counts(lost: [u64; 2], filtered: u64) -> StreamCounts {
        StreamCounts {
            lost,
            filtered,
            ..StreamCounts::default()
        }
    }

    #[test]
    fn what_the_disk_is_too_slow_for_is_counted_and_told_with_the_next() {
        let (tasks, received) = mpsc::sync_channel(1);
        let mut batches = Batches {
            from_ns: 0,
            told: vec![counts([5, 0], 1), counts([0, 0], 0)],
            batch: Events::default(),
            began: Duration::ZERO,
            queue: Queue {
                tasks,
                waiting: Arc::new(AtomicUsize::new(0)),
            },
        };
        let mut hand_over = |number: u16, lost: u64| {
            for event in some_events(number) {
                batches.add(&event);
            }
            batches.count(0, counts([lost, 0], 3));
            let batch = std::mem::take(&mut batches.batch);
            assert!(batches.hand_over(batch));
        };
        hand_over(3, 7);
        hand_over(4, 8);
        hand_over(2, 8);
        let receive = || match received.try_recv() {
            Ok(Task::Events(events)) => events,
            _ => panic!("there is no batch"),
        };
        let first = receive();
        assert_eq!((first.events.len(), first.unwritten), (3, 0));
        assert_eq!((&first.lost[..], first.filtered), (&[(0, [2, 0])][..], 2));
        hand_over(1, 9);
        let second = receive();
        assert_eq!((second.events.len(), second.unwritten), (1, 6));
        assert_eq!((&second.lost[..], second.filtered), (&[(0, [2, 0])][..], 0));
    }
}
