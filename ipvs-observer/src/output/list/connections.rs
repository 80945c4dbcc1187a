//! The connections, one line each, as they come.
//!
//! Memory does not depend on how many there are, unless names are asked for: these are remembered, so that each is looked
//! up once.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use super::{names::Names, page::Page};
use crate::{
    ipvs::procfs::connections::{Connection, Engine},
    model::id::Protocol,
};

/// How many lines wait for the names of all of them, which are looked up at the same time.
const BATCH: usize = 1024;

/// A list of connections that is being printed.
pub struct Connections<'a, W> {
    page: Page<'a, W>,
    engines: bool,
    naming: Option<Naming<'a>>,
}

struct Naming<'a> {
    names: &'a mut Names,
    batch: Vec<Kept>,
}

impl<'a, W: Write> Connections<'a, W> {
    /// Begins with the header. `engines` is `--persistent-conn`; `names` are absent with `-n`.
    pub fn start(out: &'a mut W, engines: bool, names: Option<&'a mut Names>) -> io::Result<Self> {
        let mut page = Page::new(out);
        page.text("IPVS connection entries");
        page.end_line()?;
        page.text("pro expire state       source             virtual            destination");
        if engines {
            page.text("        pe name          pe_data");
        }
        page.end_line()?;
        let batch = Vec::new();
        Ok(Self {
            page,
            engines,
            naming: names.map(|names| Naming { names, batch }),
        })
    }

    /// Prints a connection, or keeps it until enough have come to look up their names.
    pub fn push(&mut self, connection: &Connection<'_>) -> io::Result<()> {
        match &mut self.naming {
            None => line(connection, self.engines, None, &mut self.page),
            Some(naming) => {
                naming.batch.push(Kept::of(connection));
                if naming.batch.len() < BATCH {
                    return Ok(());
                }
                naming.print(self.engines, &mut self.page)
            }
        }
    }

    /// Prints what is left.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(naming) = &mut self.naming {
            naming.print(self.engines, &mut self.page)?;
        }
        self.page.finish()
    }
}

impl Naming<'_> {
    fn print(&mut self, engines: bool, page: &mut Page<'_, impl Write>) -> io::Result<()> {
        let addresses = self.batch.iter().flat_map(|kept| {
            [kept.client, kept.vip, kept.destination].map(|endpoint| endpoint.ip())
        });
        self.names.resolve(addresses);
        for kept in self.batch.drain(..) {
            line(&kept.connection(), engines, Some(self.names), page)?;
        }
        Ok(())
    }
}

/// What is printed of a connection, while it waits for names.
struct Kept {
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    destination: SocketAddr,
    state: String,
    expires_s: u32,
    engine: Option<(String, Vec<u8>)>,
}

impl Kept {
    fn of(connection: &Connection<'_>) -> Self {
        let engine = connection.engine;
        Self {
            protocol: connection.protocol,
            client: connection.client,
            vip: connection.vip,
            destination: connection.destination,
            state: connection.state.to_owned(),
            expires_s: connection.expires_s,
            engine: engine.map(|Engine { name, data }| (name.to_owned(), data.to_owned())),
        }
    }

    fn connection(&self) -> Connection<'_> {
        let engine = self.engine.as_ref();
        Connection {
            protocol: self.protocol,
            client: self.client,
            vip: self.vip,
            destination: self.destination,
            state: &self.state,
            origin: None,
            expires_s: self.expires_s,
            engine: engine.map(|(name, data)| Engine { name, data }),
        }
    }
}

fn line(
    connection: &Connection<'_>,
    engines: bool,
    names: Option<&Names>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    page.protocol(connection.protocol, 3)?;
    expiry(connection.expires_s, page);
    page.left_text(connection.state, 11);
    let protocol = Some(connection.protocol);
    for endpoint in [connection.client, connection.vip] {
        let start = page.position();
        page.short_endpoint(protocol, endpoint.ip(), endpoint.port(), names)?;
        page.fill(start, 18);
        page.text(" ");
    }
    let start = page.position();
    let destination = connection.destination;
    page.short_endpoint(protocol, destination.ip(), destination.port(), names)?;
    if let Some(Engine { name, data }) = connection.engine.filter(|_| engines) {
        page.fill(start, 16);
        page.text(" ");
        page.left_text(name, 18);
        page.printable(data)?;
    }
    page.end_line()
}

/// Minutes and seconds.
fn expiry(expires_s: u32, page: &mut Page<'_, impl Write>) {
    let start = page.position();
    let (minutes, seconds) = (expires_s / 60, expires_s % 60);
    page.text(if minutes < 10 { "0" } else { "" });
    page.number(minutes);
    page.text(if seconds < 10 { ":0" } else { ":" });
    page.number(seconds);
    page.fill(start, 6);
    page.text(" ");
}

#[cfg(test)]
mod tests;
