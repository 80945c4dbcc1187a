//! Text on its way out: numbers, columns and addresses, appended to one buffer.
//!
//! A line costs no allocation and a write takes many lines. Positions are valid until the line ends.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv6Addr},
};

use super::names::Names;
use crate::model::id::{Protocol, ServiceId};

/// How much is kept before it is written.
const CHUNK_BYTES: usize = 64 * 1024;
/// Digits of the largest number.
const MAX_DIGITS: usize = 20;
/// The digits of the numbers below 100, since a division for each two digits is half of those for each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};
/// The longest text of an address with its port in a list, where ipvsadm's buffer ends.
const LONGEST_ENDPOINT: usize = 59;

pub(super) struct Page<'a, W> {
    out: &'a mut W,
    text: Vec<u8>,
}

impl<'a, W: Write> Page<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        Self {
            out,
            text: Vec::with_capacity(CHUNK_BYTES + 1024),
        }
    }

    /// Where the next byte goes.
    pub(super) const fn position(&self) -> usize {
        self.text.len()
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Bytes that may be anything; what does not print is escaped.
    pub(super) fn printable(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            match byte {
                b' '..=b'~' => self.text.push(byte),
                _ => write!(self.text, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }

    pub(super) fn number(&mut self, value: impl Into<u64>) {
        self.right(value.into(), 0);
    }

    /// Appends blanks until what began at `start` has `width` characters.
    pub(super) fn fill(&mut self, start: usize, width: usize) {
        let end = start + width;
        if self.text.len() < end {
            while self.text.len() < end {
                self.text.extend_from_slice(&[b' '; 32]);
            }
            self.text.truncate(end);
        }
    }

    /// Cuts what began at `start` to `width` characters.
    pub(super) fn cut(&mut self, start: usize, width: usize) {
        self.text.truncate(start + width);
    }

    /// A column of `width` characters after a blank, with a number to the left.
    pub(super) fn left(&mut self, value: Option<u32>, width: usize) {
        self.text(" ");
        let start = self.position();
        match value {
            Some(value) => self.number(value),
            None => self.text("-"),
        }
        self.fill(start, width);
    }

    /// A column of at least `width` characters with `text` to the left, before a blank.
    pub(super) fn left_text(&mut self, text: &str, width: usize) {
        let start = self.position();
        self.text(text);
        self.fill(start, width);
        self.text(" ");
    }

    /// At least `width` characters, which are no more than 20, with a number to the right.
    pub(super) fn right(&mut self, value: u64, width: usize) {
        let mut cell = [b' '; 2 * MAX_DIGITS];
        let mut start = MAX_DIGITS;
        let mut rest = value;
        while rest >= 10 {
            start -= 2;
            let [tens, ones] = PAIRS[(rest % 100) as usize];
            (cell[start], cell[start + 1]) = (tens, ones);
            rest /= 100;
        }
        if rest > 0 || value == 0 {
            start -= 1;
            cell[start] = b'0' + (rest % 10) as u8;
        }
        let start = start.min(MAX_DIGITS.saturating_sub(width));
        let mut text = [0; MAX_DIGITS];
        text.copy_from_slice(&cell[start..start + MAX_DIGITS]);
        self.beginning_of(text, MAX_DIGITS - start);
    }

    /// At least `width` characters with `text` to the right.
    pub(super) fn right_text(&mut self, text: &str, width: usize) {
        self.fill(self.position(), width.saturating_sub(text.len()));
        self.text(text);
    }

    /// A column of at least `width` characters before a blank, with a protocol to the left.
    pub(super) fn protocol(&mut self, protocol: Protocol, width: usize) -> io::Result<()> {
        write!(self.text, "{protocol:<width$} ")
    }

    /// An address as `inet_ntop` of glibc writes it, in brackets if it needs them, and a port; either of them by its
    /// name, if it has one.
    pub(super) fn endpoint(
        &mut self,
        protocol: Option<Protocol>,
        address: IpAddr,
        port: u16,
        names: Option<&Names>,
    ) -> io::Result<()> {
        if address.is_ipv6() {
            self.text("[");
        }
        match (names.and_then(|names| names.host(address)), address) {
            (Some(name), _) => self.text(name),
            (None, IpAddr::V4(address)) => self.octets(address.octets()),
            (None, IpAddr::V6(address)) => self.ipv6(address)?,
        }
        self.text(if address.is_ipv6() { "]:" } else { ":" });
        let service = names.zip(protocol);
        match service.and_then(|(names, protocol)| names.service(protocol, port)) {
            Some(name) => self.text(name),
            None => self.number(port),
        }
        Ok(())
    }

    /// The same no longer than a list has it.
    pub(super) fn short_endpoint(
        &mut self,
        protocol: Option<Protocol>,
        address: IpAddr,
        port: u16,
        names: Option<&Names>,
    ) -> io::Result<()> {
        let start = self.position();
        self.endpoint(protocol, address, port, names)?;
        self.cut(start, LONGEST_ENDPOINT);
        Ok(())
    }

    pub(super) fn octets(&mut self, octets: [u8; 4]) {
        let mut cell = [b'.'; 16];
        let mut length = 0;
        for octet in octets {
            if octet >= 100 {
                cell[length] = b'0' + octet / 100;
                length += 1;
            }
            if octet >= 10 {
                cell[length] = b'0' + octet / 10 % 10;
                length += 1;
            }
            cell[length] = b'0' + octet % 10;
            length += 2;
        }
        self.beginning_of(cell, length - 1);
    }

    /// Appends `length` bytes of `cell`. Copying a fixed number and cutting what is too much costs less than copying some.
    fn beginning_of<const N: usize>(&mut self, cell: [u8; N], length: usize) {
        let end = self.text.len() + length;
        self.text.extend_from_slice(&cell);
        self.text.truncate(end);
    }

    /// Rust writes IPv4-compatible addresses such as `::0.1.0.2` in hexadecimal digits.
    fn ipv6(&mut self, address: Ipv6Addr) -> io::Result<()> {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let [[a, b], [c, d]] = [high, low].map(u16::to_be_bytes);
                self.text("::");
                self.octets([a, b, c, d]);
                Ok(())
            }
            _ => write!(self.text, "{address}"),
        }
    }

    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.text.push(b'\n');
        if self.text.len() < CHUNK_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.out.flush()
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

/// The protocol by which ports below a service have names; ports of marked packets have none.
pub(super) const fn naming_protocol(id: &ServiceId) -> Option<Protocol> {
    match *id {
        ServiceId::Address { protocol, .. } => Some(protocol),
        ServiceId::FirewallMark { .. } => None,
    }
}
