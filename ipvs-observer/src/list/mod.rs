//! The command `list`: reads what is asked for, once or again and again, and prints it.
//!
//! `tables` prints what comes from the table, `connections` the connections, `state` timeouts and daemons, `charts` what
//! Netdata takes; `sources` gathers a listing, `rates` makes rates of live counters, `pace` says when, `warning` what is
//! not said again. What a listing looks like in print is `output::list`.
//!
//! Unlike `top` it may wait for its reader: it has nothing to sample meanwhile. It does so, and waits for the kernel and
//! for names, on a thread of its own, so that a second signal can end it at any time.

mod charts;
mod connections;
mod naming;
mod pace;
mod rates;
mod sources;
mod state;
mod tables;
mod warning;

use std::{
    io::{self, BufWriter, Write},
    sync::mpsc,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use tokio::{select, sync::oneshot};

use self::{
    charts::NetdataCharts,
    connections::Connections,
    pace::{Next, Pace, Stop},
    state::State,
    tables::Tables,
};
use crate::{
    clock,
    config::{List, Subject},
    error::RunError,
    signals::{Ending, Signals},
};

/// Prints what `config` asks for, until the end that it names, a signal, or the end of the reader. What is being printed
/// when the signal comes is printed whole; a second signal does not wait for it.
pub async fn run(config: List, netns: Option<String>) -> Result<Ending, RunError> {
    let mut signals = Signals::new()?;
    let (signal, stop) = mpsc::channel();
    let (end, mut ended) = oneshot::channel();
    let thread = thread::Builder::new().name("list".to_owned());
    let list = thread.spawn(move || {
        // Nobody waits for the end any more when the agent was told to end at once.
        drop(end.send(print_to_stdout(&config, netns, &Stop(stop))));
    });
    list.map_err(|source| RunError::System {
        doing: "start to list",
        source,
    })?;
    select! {
        ended = &mut ended => return ended.unwrap_or_else(|_| panicked()),
        () = signals.any() => drop(signal),
    }
    select! {
        ended = ended => ended.unwrap_or_else(|_| panicked()),
        () = signals.any() => Ok(Ending::Interrupted),
    }
}

/// What has been printed is not all.
fn panicked() -> Result<Ending, RunError> {
    Err(RunError::System {
        doing: "list to the end",
        source: io::Error::other("the thread that lists panicked"),
    })
}

fn print_to_stdout(config: &List, netns: Option<String>, stop: &Stop) -> Result<Ending, RunError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print_all(config, netns, stop, &mut out);
    match printed.and_then(|ending| Ok(out.flush().map(|()| ending)?)) {
        // A closed pipe is a quiet end.
        Err(ListError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still in the buffer has no reader.
            drop(out.into_parts());
            Ok(Ending::Complete)
        }
        Err(ListError::Output(source)) => Err(RunError::System {
            doing: "write to stdout",
            source,
        }),
        Err(ListError::Run(error)) => Err(error),
        Ok(ending) => Ok(ending),
    }
}

/// Why a list ends early.
enum ListError {
    /// It cannot be written.
    Output(io::Error),
    /// It cannot be read.
    Run(RunError),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<RunError> for ListError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

/// Where readings come from and how they are printed.
enum Printer {
    Tables(Box<Tables>),
    Connections(Connections),
    State(State),
    Charts(NetdataCharts),
}

impl Printer {
    fn new(config: &List, netns: Option<String>) -> Result<Self, RunError> {
        Ok(match config.subject {
            Subject::Connections { engines } => {
                Self::Connections(Connections::new(engines, config.numeric))
            }
            Subject::Timeouts | Subject::Daemons => Self::State(State::open()?),
            Subject::Netdata => Self::Charts(NetdataCharts::new(config)),
            Subject::Table { .. }
            | Subject::Save
            | Subject::Json
            | Subject::Influx { .. }
            | Subject::Metrics(_)
            | Subject::Changes { .. } => {
                Self::Tables(Box::new(Tables::new(config.clone(), netns)?))
            }
        })
    }

    /// Prints one reading; tells how long the next one has to wait at least.
    fn print(&mut self, config: &List, out: &mut impl Write) -> Result<Duration, ListError> {
        match self {
            Self::Tables(tables) => return tables.print(out),
            Self::Connections(connections) => connections.print(out)?,
            Self::State(state) => state.print(config.subject, out)?,
            Self::Charts(charts) => charts.print(out)?,
        }
        Ok(Duration::ZERO)
    }
}

fn print_all(
    config: &List,
    netns: Option<String>,
    stop: &Stop,
    out: &mut impl Write,
) -> Result<Ending, ListError> {
    let mut printer = Printer::new(config, netns)?;
    if let Printer::Tables(tables) = &mut printer
        && tables.prepare(stop)? == Next::End
    {
        // Of a list that goes on until a signal, nothing is missing.
        return Ok(match config.interval {
            Some(_) => Ending::Complete,
            None => Ending::Interrupted,
        });
    }
    if config.interval.is_none() {
        printer.print(config, out)?;
        return Ok(Ending::Complete);
    }
    let mut pace = Pace::new(config);
    loop {
        if config.subject.is_text() {
            let now = humantime::format_rfc3339_millis(UNIX_EPOCH + clock::now().wall);
            writeln!(out, "{now}")?;
        }
        let rest = printer.print(config, out)?;
        if config.subject.is_text() {
            writeln!(out)?;
        }
        out.flush()?;
        if pace.wait(rest, stop) == Next::End {
            return Ok(Ending::Complete);
        }
    }
}
