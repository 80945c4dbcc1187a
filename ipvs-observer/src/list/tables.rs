//! What is printed of the table: for people, for `ipvsadm -R` and for machines.

use std::{io::Write, time::Duration};

use super::{
    ListError, naming,
    pace::{Next, Stop},
    rates::LiveRates,
    sources::Sources,
    warning::Warning,
};
use crate::{
    config::{List, Subject},
    error::RunError,
    ipvs::table::Table,
    model::{changes::Known, id::ServiceId, listing::Listing},
    output::list::{self as format, Columns},
};

/// Between the two readings that a rate takes where only one list is asked for.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Readings of the table, and what is remembered from one to the next.
pub(super) struct Tables {
    config: List,
    sources: Sources,
    names: Option<format::Names>,
    rates: LiveRates,
    /// The newest table, where changes are listed.
    known: Option<Known>,
    torn: Warning,
    unresolved: Warning,
}

impl Tables {
    pub(super) fn new(config: List, netns: Option<String>) -> Result<Self, RunError> {
        let sources = Sources::open(&config, netns)?;
        let is_named =
            !config.numeric && matches!(config.subject, Subject::Table { .. } | Subject::Save);
        Ok(Self {
            sources,
            names: is_named.then(|| format::Names::new(naming::PATIENCE)),
            rates: LiveRates::default(),
            known: None,
            torn: Warning::default(),
            unresolved: Warning::default(),
            config,
        })
    }

    /// Makes the first reading that rates of live counters take, and waits until the second one is worth it.
    pub(super) fn prepare(&mut self, stop: &Stop) -> Result<Next, RunError> {
        let shows_rates = matches!(
            self.config.subject,
            Subject::Table {
                columns: Columns::Rate,
                ..
            }
        );
        if shows_rates && self.sources.is_live() {
            let took = self.read()?.took;
            return Ok(stop.wait(self.config.interval.unwrap_or(RATE_WINDOW).max(took)));
        }
        Ok(Next::Reading)
    }

    /// Prints one reading; tells how long the next one has to wait at least.
    pub(super) fn print(&mut self, out: &mut impl Write) -> Result<Duration, ListError> {
        let listing = self.read()?;
        self.torn.tell(listing.table.torn.then(|| {
            "the table changed under every attempt to read it: entries may be missing or outdated"
                .to_owned()
        }));
        // Live counters are to differ by the traffic, not by the reading.
        let rest = if self.sources.is_live() {
            listing.took
        } else {
            Duration::ZERO
        };
        self.print_listing(listing, out)?;
        Ok(rest)
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

    fn print_listing(&mut self, listing: Listing, out: &mut impl Write) -> Result<(), ListError> {
        if let Some(names) = &mut self.names {
            resolve(names, &listing.table);
            self.unresolved.tell(naming::unresolved(names));
        }
        match self.config.subject {
            Subject::Table {
                columns,
                exact,
                order,
            } => {
                let options = format::Options {
                    columns,
                    exact,
                    order,
                    whole: self.config.selection.services.is_empty(),
                    names: self.names.as_ref(),
                };
                format::table(&listing, &options, out)?;
            }
            Subject::Save => format::save(&listing.table, self.names.as_ref(), out)?,
            Subject::Json => format::json::encode(&listing, out)?,
            Subject::Influx { extra_fields } => {
                format::influx::encode(&listing, extra_fields, out)?;
            }
            Subject::Metrics(form) => format::openmetrics::encode(&listing, form, out)?,
            Subject::Changes { json } => self.print_changes(listing, json, out)?,
            // These do not come from the table.
            Subject::Connections { .. }
            | Subject::Timeouts
            | Subject::Daemons
            | Subject::Netdata => {}
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
    names.renew(naming::PATIENCE);
    names.resolve(addresses);
}
