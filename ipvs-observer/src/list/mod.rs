//! The command `list`: reads what is asked for, once or again and again, and prints it.
//!
//! `sources` gathers a listing, `rates` makes rates of live counters; what a listing looks like in print is
//! `output::list`. Unlike `top` it may wait for its reader: it has nothing to sample meanwhile.

mod pace;
mod rates;
mod sources;

use std::{
    io::{self, BufWriter, Write},
    time::Duration,
};

use tokio::time::sleep;

use self::{
    pace::{Next, Pace},
    rates::LiveRates,
    sources::Sources,
};
use crate::{
    clock,
    config::{List, Subject},
    error::RunError,
    ipvs::{
        procfs::{ProcfsError, connections::ConnectionFile},
        table::Table,
    },
    kernel::Kernel,
    model::{changes::Known, id::ServiceId, listing::Listing},
    output::list::{self as format, Columns},
    signals::{Ending, Signals},
};

/// How long host names are waited for, all together.
const NAMES_PATIENCE: Duration = Duration::from_secs(5);
/// Between the two readings that a rate takes where only one list is asked for.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Prints what `config` asks for, until the end that it names, a signal, or the end of the reader.
pub async fn run(config: List, netns: Option<String>) -> Result<Ending, RunError> {
    let signals = Signals::new()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = match config.subject {
        Subject::Connections { engines } => connections(&config, engines, &mut out),
        Subject::Netdata => netdata(&config, signals, &mut out).await,
        Subject::Table { .. }
        | Subject::Save
        | Subject::Timeouts
        | Subject::Daemons
        | Subject::Json
        | Subject::Influx { .. }
        | Subject::Metrics(_)
        | Subject::Changes { .. } => Lister::new(config, netns)?.run(signals, &mut out).await,
    };
    let printed = printed.and_then(|()| out.flush().map_err(ListError::Output));
    match printed {
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
        Ok(()) => Ok(Ending::Complete),
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

/// A run that prints listings.
struct Lister {
    config: List,
    sources: Sources,
    names: Option<format::Names>,
    rates: LiveRates,
    /// The newest table, where changes are listed.
    known: Option<Known>,
}

impl Lister {
    fn new(config: List, netns: Option<String>) -> Result<Self, RunError> {
        let sources = Sources::open(&config, netns)?;
        let is_named =
            !config.numeric && matches!(config.subject, Subject::Table { .. } | Subject::Save);
        Ok(Self {
            sources,
            names: is_named.then(|| format::Names::new(NAMES_PATIENCE)),
            rates: LiveRates::default(),
            known: None,
            config,
        })
    }

    async fn run(mut self, mut signals: Signals, out: &mut impl Write) -> Result<(), ListError> {
        if self.config.interval.is_none() {
            return self.once(out).await;
        }
        let mut pace = Pace::new(&self.config);
        loop {
            let took = self.read_and_print(out)?;
            out.flush()?;
            let rest = if self.sources.is_live() {
                // Counters are to differ by the traffic, not by the reading.
                took
            } else {
                Duration::ZERO
            };
            if pace.wait(rest, &mut signals).await == Next::End {
                return Ok(());
            }
        }
    }
}

impl Lister {
    /// One list; the rates of live counters take a second reading.
    async fn once(&mut self, out: &mut impl Write) -> Result<(), ListError> {
        let shows_rates = matches!(
            self.config.subject,
            Subject::Table {
                columns: Columns::Rate,
                ..
            }
        );
        if shows_rates && self.sources.is_live() {
            let took = self.read()?.took;
            sleep(RATE_WINDOW.max(took)).await;
        }
        self.read_and_print(out).map(drop)
    }

    /// Tells how long the table took.
    fn read_and_print(&mut self, out: &mut impl Write) -> Result<Duration, ListError> {
        let listing = self.read()?;
        if listing.table.torn {
            log::warn!(
                "the table changed under every attempt to read it: entries may be missing or outdated"
            );
        }
        let took = listing.took;
        self.print(listing, out)?;
        Ok(took)
    }

    fn read(&mut self) -> Result<Listing, RunError> {
        let Self {
            config, sources, ..
        } = self;
        let mut listing = sources.listing(config.subject, &config.selection)?;
        if sources.is_live() {
            self.rates.apply(&mut listing.table);
        }
        Ok(listing)
    }

    fn print(&mut self, listing: Listing, out: &mut impl Write) -> Result<(), ListError> {
        if let Some(names) = &mut self.names {
            resolve(names, &listing.table);
        }
        match self.config.subject {
            Subject::Table {
                columns,
                exact,
                order,
            } => {
                if self.config.interval.is_some() {
                    writeln!(out, "{}", time(&listing))?;
                }
                let options = format::Options {
                    columns,
                    exact,
                    order,
                    whole: self.config.selection.services.is_empty(),
                    names: self.names.as_ref(),
                };
                format::table(&listing, &options, out)?;
                if self.config.interval.is_some() {
                    writeln!(out)?;
                }
            }
            Subject::Save => format::save(&listing.table, self.names.as_ref(), out)?,
            Subject::Timeouts => {
                if let Some(timeouts) = &listing.timeouts {
                    format::timeouts(timeouts, out)?;
                }
            }
            Subject::Daemons => {
                format::daemons(listing.daemons.as_deref().unwrap_or_default(), out)?;
            }
            Subject::Json => format::json::encode(&listing, out)?,
            Subject::Influx { extra_fields } => {
                format::influx::encode(&listing, extra_fields, out)?;
            }
            Subject::Metrics(form) => format::openmetrics::encode(&listing, form, out)?,
            Subject::Changes { json } => self.print_changes(listing, json, out)?,
            Subject::Connections { .. } | Subject::Netdata => {}
        }
        Ok(())
    }

    fn print_changes(
        &mut self,
        listing: Listing,
        json: bool,
        out: &mut impl Write,
    ) -> Result<(), ListError> {
        let Some(known) = &mut self.known else {
            self.known = Some(Known::new(listing.table));
            return Ok(());
        };
        let changes = known.changes(&listing.table);
        if json {
            format::changes::json(&changes, &listing, out)?;
        } else {
            format::changes::text(&changes, &listing, out)?;
        }
        known.update(listing.table);
        Ok(())
    }
}

/// Streams the connections, however many there are.
fn connections(config: &List, engines: bool, out: &mut impl Write) -> Result<(), ListError> {
    let read = |error: ProcfsError| ListError::Run(error.into());
    let mut names = (!config.numeric).then(|| format::Names::new(NAMES_PATIENCE));
    let mut rows = Kernel::at("/")
        .connections(ConnectionFile::Conn)
        .map_err(read)?;
    let mut page = format::Connections::start(out, engines, names.as_mut())?;
    while let Some(connection) = rows.advance().map_err(read)? {
        page.push(&connection)?;
    }
    page.finish()?;
    tell_unresolved(names.as_ref());
    Ok(())
}

/// Runs as a plugin of Netdata. It needs no privilege, and while `ip_vs` is not loaded it waits, with a gap in the charts.
async fn netdata(
    config: &List,
    mut signals: Signals,
    out: &mut impl Write,
) -> Result<(), ListError> {
    let kernel = Kernel::at("/");
    let mut pace = Pace::new(config);
    let mut charts = format::netdata::Charts::start(pace.interval, out)?;
    loop {
        let at = clock::now();
        if let Ok(stats) = kernel.stats_per_cpu() {
            charts.encode(at.monotonic, &stats.live(), out)?;
        }
        out.flush()?;
        if pace.wait(Duration::ZERO, &mut signals).await == Next::End {
            return Ok(());
        }
    }
}

fn resolve(names: &mut format::Names, table: &Table) {
    let addresses = table.services.iter().flat_map(|service| {
        let own = match service.id {
            ServiceId::Address { address, .. } => Some(address),
            ServiceId::FirewallMark { .. } => None,
        };
        let destinations = service.destinations.iter();
        destinations
            .map(|destination| destination.id.address)
            .chain(own)
    });
    names.renew(NAMES_PATIENCE);
    names.resolve(addresses);
    tell_unresolved(Some(names));
}

fn tell_unresolved(names: Option<&format::Names>) {
    if let Some(count) = names
        .map(format::Names::unanswered)
        .filter(|&count| count > 0)
    {
        log::warn!(
            "{count} addresses are printed as numbers: there was no answer within {} s; -n asks for none",
            NAMES_PATIENCE.as_secs()
        );
    }
}

fn time(listing: &Listing) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + listing.at.wall)
}
