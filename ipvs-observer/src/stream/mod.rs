//! `stream`: events of single connections, from the ring buffer to standard output.
//!
//! Here is the run: the sources, the tick at which the table is read, the end. What happens to events is `reader`'s, on a
//! thread that may wait for its own reader for as long as it takes: the programs never wait for it, since they count what
//! finds the buffer full.

mod commands;
mod names;
mod reader;

use std::{collections::BTreeMap, fs, future::pending, io};

use tokio::{
    select,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    commands::Seen,
    names::Names,
    reader::{Reader, Totals},
};
use crate::{
    clock,
    config::Stream,
    error::RunError,
    ipvs::table::Table,
    kernel::Kernel,
    messages,
    model::{changes::Known, id::Netns, sample::Namespaces, snapshot::Namespace},
    observer::{
        check_rights,
        namespaces::{Packets, Scope, all_read, all_read_or_torn},
        refused_perf_events, start_probes,
    },
    output::stream::{Lines, TableChange},
    probe::{Events, Probes},
    signals::{Ending, Signals},
};

/// Tells events until the end that `config` names, a signal, or the end of the reader.
pub async fn run(config: Stream) -> Result<Ending, RunError> {
    let mut signals = Signals::new()?;
    let mut source = Source::start(&config)?;
    let events = source.probes.take_events()?;
    let lines = Lines::new(config.output, clock::now(), source.scope.netns());
    let known_from_ns = if source.probes.has_commands() {
        now_ns()
    } else {
        u64::MAX
    };
    let names = source.names.take();
    let mut reader = Reader::start(events, lines, names, &config, known_from_ns)
        .map_err(|source| system("start the output", source))?;
    // From here on whatever changes the table is seen.
    source.follow(config.wanted.config.then_some(&reader))?;
    if let Some(path) = &config.ready_file {
        fs::write(path, "").map_err(|source| system("create the ready file", source))?;
    }
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let end = config.duration.map(|duration| sleep(duration));
    let mut end = Box::pin(async {
        match end {
            Some(end) => end.await,
            None => pending().await,
        }
    });
    loop {
        select! {
            biased;
            () = signals.any() => break,
            () = &mut end => break,
            totals = reader.ended() => return finish(totals),
            _ = ticks.tick() => source.follow(config.wanted.config.then_some(&reader))?,
        }
    }
    // Nothing comes from here on, so that what waits is all.
    drop(source);
    reader.stop();
    select! {
        () = signals.any() => Ok(Ending::Interrupted),
        totals = reader.ended() => finish(totals),
    }
}

fn finish(totals: io::Result<Totals>) -> Result<Ending, RunError> {
    let totals = totals.map_err(|source| system("write to stdout", source))?;
    if log::max_level() >= log::LevelFilter::Warn {
        messages::say(&totals.to_string());
    }
    Ok(Ending::Complete)
}

/// Writes all that waits in `events` now, as a stream does; gives how many they were.
pub fn drain(events: Events, lines: Lines, stdout: &mut impl io::Write) -> io::Result<u64> {
    reader::drain(events, lines, stdout)
}

/// What is read besides the ring buffer.
#[derive(Debug)]
struct Source {
    kernel: Kernel,
    scope: Scope,
    probes: Probes,
    namespaces: BTreeMap<Netns, Namespace>,
    /// The tables as the stream has told them.
    tables: BTreeMap<Netns, Told>,
    /// When the reading before began.
    read_ns: u64,
    /// For the reader, where stacks are asked for.
    names: Option<Names>,
}

/// A table as the stream has told it.
#[derive(Debug)]
struct Told {
    known: Known,
    /// When the newest reading began from which nothing was missing.
    whole_ns: u64,
}

impl Source {
    fn start(config: &Stream) -> Result<Self, RunError> {
        let kernel = Kernel::at("/");
        let capabilities = check_rights(&kernel, config.all_netns)?;
        let mut scope = Scope::new(&kernel, config.all_netns)?;
        if !kernel.has_btf() {
            return Err(RunError::NoBtf);
        }
        // Before anything is loaded: without names there is no stack, and it was asked for.
        let names = config.wanted.stacks.then(|| Names::read(&kernel));
        let names = names.transpose()?;
        let read_ns = now_ns();
        let places = scope.find(&kernel);
        let (namespaces, _) = scope.read(&kernel, &places, &Packets::new(), None)?;
        let namespaces = all_read(namespaces)?;
        let tables = namespaces.values().map(|read| &read.table);
        let selection = &config.wanted.selection;
        selection.check(&tables.flat_map(|table| &table.services))?;
        let wanted = Some(&config.wanted);
        let mut probes = start_probes(
            &kernel,
            scope.netns(),
            &namespaces,
            &config.measuring,
            wanted,
        )
        .map_err(|error| refused_perf_events(error, &kernel, capabilities))?;
        for refused in probes.refused() {
            log::warn!("{} is not probed: {}", refused.function, refused.reason);
        }
        probes.follow(&namespaces)?;
        probes.adapt(&namespaces, false);
        Ok(Self {
            kernel,
            scope,
            probes,
            tables: namespaces
                .iter()
                .map(|(&netns, read)| {
                    let known = Known::new(read.table.clone());
                    let whole_ns = if read.table.torn { 0 } else { read_ns };
                    (netns, Told { known, whole_ns })
                })
                .collect(),
            read_ns,
            names,
            namespaces: only_themselves(namespaces),
        })
    }

    /// Follows the table: its servers need slots, and some drops are told by occasion.
    fn follow(&mut self, reader: Option<&Reader>) -> Result<(), RunError> {
        let at_ns = now_ns();
        // What it counts is nobody's business here, but whose slots are in use follows from it.
        self.probes.drain();
        let places = self.scope.find(&self.kernel);
        let (namespaces, _) = self
            .scope
            .read(&self.kernel, &places, &Packets::new(), None)?;
        let namespaces = all_read_or_torn(namespaces, &self.namespaces)?;
        self.probes.follow(&namespaces)?;
        for refused in self.probes.adapt(&namespaces, false) {
            log::warn!("{} is not probed: {}", refused.function, refused.reason);
        }
        if let Some(reader) = reader {
            self.tell_changes(reader, &namespaces, at_ns);
        }
        self.read_ns = at_ns;
        self.namespaces = only_themselves(namespaces);
        Ok(())
    }

    /// Tells what is not as it was; a namespace that comes or goes does so with its table.
    fn tell_changes(&mut self, reader: &Reader, namespaces: &Namespaces, at_ns: u64) {
        let until_ns = now_ns();
        let tell = |told: &Told, table: &Table, netns| {
            for change in told.known.changes(table) {
                reader.change(Seen {
                    change: TableChange::of(&change, netns, at_ns),
                    since_ns: told.whole_ns,
                    until_ns,
                });
            }
        };
        for (&netns, read) in namespaces {
            let told = self.tables.entry(netns).or_insert_with(|| Told {
                known: Known::new(Table::default()),
                whole_ns: self.read_ns,
            });
            tell(told, &read.table, netns);
            told.known.update(read.table.clone());
            if !read.table.torn {
                told.whole_ns = at_ns;
            }
        }
        self.tables.retain(|&netns, told| {
            let is_here = namespaces.contains_key(&netns);
            if !is_here {
                tell(told, &Table::default(), netns);
            }
            is_here
        });
    }
}

/// Now, on `CLOCK_MONOTONIC`.
fn now_ns() -> u64 {
    u64::try_from(clock::now().monotonic.as_nanos()).unwrap_or(u64::MAX)
}

fn only_themselves(namespaces: Namespaces) -> BTreeMap<Netns, Namespace> {
    let read = namespaces.into_iter();
    read.map(|(netns, read)| (netns, read.namespace)).collect()
}

const fn system(doing: &'static str, source: io::Error) -> RunError {
    RunError::System { doing, source }
}
