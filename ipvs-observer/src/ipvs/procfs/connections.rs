//! The connections, `/proc/net/ip_vs_conn` and `/proc/net/ip_vs_conn_sync`, as a stream.
//!
//! A director may have millions: none is kept, and none costs an allocation. The kernel keeps
//! no lock between the parts that are read, so a connection that comes or goes meanwhile may be
//! missing; one-packet connections are in neither file. Before commit 178883fd039d (6.14) the
//! kernel needs time that grows with the square of their number.

use std::{
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use super::{
    ProcfsError,
    line::{Fields, Lines, Unreadable, address, decimal, port, protocol, word},
};
use crate::model::id::Protocol;

/// Which of the two files is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFile {
    /// `ip_vs_conn`: with what the persistence engine knows.
    Conn,
    /// `ip_vs_conn_sync`: with where the connection comes from.
    ConnSync,
}

impl ConnectionFile {
    /// Its name in `/proc/net`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conn => "ip_vs_conn",
            Self::ConnSync => "ip_vs_conn_sync",
        }
    }

    const fn header(self) -> &'static str {
        match self {
            Self::Conn => "Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires PEName PEData",
            Self::ConnSync => "Pro FromIP FPrt ToIP TPrt DestIP DPrt State Origin Expires",
        }
    }
}

/// One connection; it borrows from the line that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Its protocol; [`Protocol::IP`] in a template of a firewall mark.
    pub protocol: Protocol,
    /// The client. Port 0 is that of a [template](Self::is_template).
    pub client: SocketAddr,
    /// What the client talks to: an address of the service, or a [mark](Self::mark).
    pub vip: SocketAddr,
    /// The real server, whose family may be the other one (tunnels).
    pub destination: SocketAddr,
    /// The kernel's name of the state, known here or not.
    pub state: &'a str,
    /// Who made it; only `ip_vs_conn_sync` says.
    pub origin: Option<Origin>,
    /// Seconds until it is forgotten, if no packet comes.
    pub expires_s: u32,
    /// What its persistence engine remembers; only `ip_vs_conn` says.
    pub engine: Option<Engine<'a>>,
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A packet that this director balanced.
    Local,
    /// A message of the sync daemon of another director.
    Sync,
}

/// How a persistence engine recognises the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine<'a> {
    /// The engine, `sip` being the only one in the kernel.
    pub name: &'a str,
    /// What it took from the payload, at most 255 bytes of the client's choice: not always
    /// text, and it may contain blanks.
    pub data: &'a [u8],
}

impl Connection<'_> {
    /// Whether it is the template that keeps a client of a persistent service with its real
    /// server. A data connection that `ip_vs_ftp` expects is not told from it.
    pub const fn is_template(&self) -> bool {
        self.client.port() == 0
    }

    /// The mark, in a template of a firewall mark: the kernel puts it where the address of the
    /// service would be, in the first four bytes (`ip_vs_sched_persist`).
    pub const fn mark(&self) -> Option<u32> {
        if !matches!(self.protocol, Protocol::IP) || !self.is_template() {
            return None;
        }
        match self.vip.ip() {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.octets();
                Some(u32::from_be_bytes([a, b, c, d]))
            }
        }
    }
}

/// The connections in one of the files.
#[derive(Debug)]
pub struct Connections<R> {
    file: ConnectionFile,
    lines: Lines<R>,
}

impl<R: BufRead> Connections<R> {
    /// Begins with the header.
    pub fn start(file: ConnectionFile, reader: R) -> Result<Self, ProcfsError> {
        let mut lines = Lines::new(file.name(), reader);
        lines.expect_words(file.header())?;
        Ok(Self { file, lines })
    }

    /// The next connection, or none at the end. After an error it can be called again and goes
    /// on with the next line.
    pub fn advance(&mut self) -> Result<Option<Connection<'_>>, ProcfsError> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        connection(self.file, line.fields())
            .map(Some)
            .map_err(|what| line.error(what))
    }
}

fn connection(file: ConnectionFile, mut fields: Fields<'_>) -> Result<Connection<'_>, Unreadable> {
    let protocol = fields.read("Pro", protocol)?;
    let client = SocketAddr::new(fields.read("FromIP", address)?, fields.read("FPrt", port)?);
    let vip = SocketAddr::new(fields.read("ToIP", address)?, fields.read("TPrt", port)?);
    let destination = SocketAddr::new(fields.read("DestIP", address)?, fields.read("DPrt", port)?);
    let state = fields.read("State", word)?;
    let origin = match file {
        ConnectionFile::Conn => None,
        ConnectionFile::ConnSync => Some(fields.read("Origin", origin)?),
    };
    let expires_s = fields.read("Expires", decimal)?;
    let engine = match file {
        ConnectionFile::Conn => engine(fields.rest())?,
        ConnectionFile::ConnSync => {
            fields.end()?;
            None
        }
    };
    Ok(Connection {
        protocol,
        client,
        vip,
        destination,
        state,
        origin,
        expires_s,
        engine,
    })
}

fn origin(field: &[u8]) -> Option<Origin> {
    match field {
        b"LOCAL" => Some(Origin::Local),
        b"SYNC" => Some(Origin::Sync),
        _ => None,
    }
}

/// A blank, the name, a blank, the data; or nothing.
fn engine(rest: &[u8]) -> Result<Option<Engine<'_>>, Unreadable> {
    let Some(rest) = rest.strip_prefix(b" ") else {
        return Ok(None);
    };
    let blank = rest.iter().position(|&byte| byte == b' ');
    let parts = blank.and_then(|blank| rest.split_at_checked(blank));
    let (name, data) = parts.ok_or("PEData")?;
    let name = word(name).filter(|name| !name.is_empty());
    Ok(Some(Engine {
        name: name.ok_or("PEName")?,
        data: data.strip_prefix(b" ").unwrap_or(data),
    }))
}

#[cfg(test)]
mod tests;
