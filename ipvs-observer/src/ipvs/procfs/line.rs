//! Lines of the kernel's tables, their fields, and the notations of numbers and addresses.
//!
//! One buffer serves all lines of a file and never grows, whatever the file holds.

use std::{
    io::{BufRead, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::ProcfsError;
use crate::model::id::Protocol;

/// More than twice the longest line there is: a connection between IPv6 addresses with 16 bytes
/// of a persistence engine's name and 255 of its data takes 440.
const LONGEST_LINE: usize = 1024;
/// How much of a line an error shows.
const SHOWN_BYTES: usize = 80;

/// The lines of a file, one at a time.
#[derive(Debug)]
pub(super) struct Lines<R> {
    file: &'static str,
    reader: R,
    buffer: Vec<u8>,
    number: u64,
}

/// One line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    file: &'static str,
    number: u64,
    text: &'a [u8],
}

/// The part of a line that cannot be read.
pub(super) type Unreadable = &'static str;

impl<R: BufRead> Lines<R> {
    pub(super) fn new(file: &'static str, reader: R) -> Self {
        Self {
            file,
            reader,
            buffer: Vec::with_capacity(LONGEST_LINE),
            number: 0,
        }
    }

    /// The next line, or none at the end of the file. After a line in error, the one after it.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, ProcfsError> {
        self.buffer.clear();
        let mut reader = self.reader.by_ref().take(LONGEST_LINE as u64);
        let read = reader.read_until(b'\n', &mut self.buffer);
        if read.map_err(|source| self.unread(source))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Some(self.line()));
        }
        if self.buffer.len() < LONGEST_LINE {
            return Err(self.line().error("the end, which is cut,"));
        }
        let skipped = self.reader.skip_until(b'\n');
        skipped.map_err(|source| self.unread(source))?;
        Err(self.line().error("the length"))
    }

    /// The next line, which has to be there.
    pub(super) fn expect(&mut self, missing: &'static str) -> Result<Line<'_>, ProcfsError> {
        let file = self.file;
        self.next()?.ok_or(ProcfsError::Short { file, missing })
    }

    /// Skips a line that has to consist of these words.
    pub(super) fn expect_words(&mut self, words: &str) -> Result<(), ProcfsError> {
        let line = self.expect("the end of its header")?;
        if line
            .fields()
            .eq(words.split_whitespace().map(str::as_bytes))
        {
            Ok(())
        } else {
            Err(line.error("the header"))
        }
    }

    fn line(&self) -> Line<'_> {
        Line {
            file: self.file,
            number: self.number,
            text: &self.buffer,
        }
    }

    fn unread(&self, source: std::io::Error) -> ProcfsError {
        ProcfsError::Read {
            file: self.file,
            source,
        }
    }
}

impl<'a> Line<'a> {
    pub(super) const fn text(self) -> &'a [u8] {
        self.text
    }

    pub(super) const fn fields(self) -> Fields<'a> {
        Fields { rest: self.text }
    }

    /// The error that `what` in this line cannot be read.
    pub(super) fn error(self, what: Unreadable) -> ProcfsError {
        let shown = self.text.get(..SHOWN_BYTES).unwrap_or(self.text);
        ProcfsError::Line {
            file: self.file,
            line: self.number,
            what,
            text: shown.escape_ascii().to_string(),
        }
    }
}

/// What stands between the blanks of a line.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the next field, which is named `column`.
    pub(super) fn read<T>(
        &mut self,
        column: Unreadable,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, Unreadable> {
        self.next().and_then(parse).ok_or(column)
    }

    /// All that has not been read, beginning with the blank after the last field.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Refuses anything more than blanks.
    pub(super) fn end(mut self) -> Result<(), Unreadable> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err("the columns after the last"),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|&byte| byte != b' ')?;
        let (_, from) = self.rest.split_at_checked(start)?;
        let length = from.iter().position(|&byte| byte == b' ');
        let (field, rest) = from.split_at_checked(length.unwrap_or(from.len()))?;
        self.rest = rest;
        Some(field)
    }
}

/// A word of the kernel's, which is ASCII wherever it is one.
pub(super) fn word(field: &[u8]) -> Option<&str> {
    str::from_utf8(field).ok()
}

/// Hexadecimal digits, as many as the number has.
pub(super) fn hex(field: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&field.len()) {
        return None;
    }
    field.iter().try_fold(0, |number, &digit| {
        Some(number << 4 | u64::from(hex_digit(digit)?))
    })
}

/// A port: four hexadecimal digits.
pub(super) fn port(field: &[u8]) -> Option<u16> {
    let digits: &[u8; 4] = field.try_into().ok()?;
    digits.iter().try_fold(0, |number, &digit| {
        Some(number << 4 | u16::from(hex_digit(digit)?))
    })
}

/// A number of 32 bits: eight hexadecimal digits.
pub(super) fn hex_u32(field: &[u8]) -> Option<u32> {
    let digits: &[u8; 8] = field.try_into().ok()?;
    digits.iter().try_fold(0, |number, &digit| {
        Some(number << 4 | u32::from(hex_digit(digit)?))
    })
}

/// An address: `C000020A` or `2001:0db8:0000:0000:0000:0000:0000:0080`.
pub(super) fn address(field: &[u8]) -> Option<IpAddr> {
    match field.len() {
        8 => Some(Ipv4Addr::from_bits(hex_u32(field)?).into()),
        39 => Some(ipv6(field)?.into()),
        _ => None,
    }
}

fn ipv6(field: &[u8]) -> Option<Ipv6Addr> {
    let mut bits = 0;
    for (index, &letter) in field.iter().enumerate() {
        if index % 5 != 4 {
            bits = bits << 4 | u128::from(hex_digit(letter)?);
        } else if letter != b':' {
            return None;
        }
    }
    Some(Ipv6Addr::from_bits(bits))
}

/// A protocol by the name that `ip_vs_proto_name` gives it.
pub(super) fn protocol(field: &[u8]) -> Option<Protocol> {
    match field {
        b"TCP" => Some(Protocol::TCP),
        b"UDP" => Some(Protocol::UDP),
        b"SCTP" => Some(Protocol::SCTP),
        b"IP" => Some(Protocol::IP),
        b"ICMP" => Some(Protocol::ICMP),
        b"ICMPv6" => Some(Protocol::ICMPV6),
        other => {
            let number = decimal(other.strip_prefix(b"IP_")?)?;
            Some(Protocol(number.try_into().ok()?))
        }
    }
}

/// Decimal digits without a sign.
pub(super) fn decimal(field: &[u8]) -> Option<u32> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u32, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A number that the kernel prints as a signed `int`, whatever it keeps it as.
pub(super) fn int(field: &[u8]) -> Option<u32> {
    let magnitude = decimal(field.strip_prefix(b"-").unwrap_or(field))?;
    if field.starts_with(b"-") {
        0_i32
            .checked_sub_unsigned(magnitude)
            .map(i32::cast_unsigned)
    } else {
        Some(magnitude)
    }
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
