//! How numbers, addresses and times get into a line: digits straight into the buffer, since the machinery of formatting
//! takes longer than all else that happens to an event.

#![expect(
    clippy::cast_possible_truncation,
    reason = "digits and pairs of them have eight bits"
)]

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, UNIX_EPOCH},
};

use crate::model::sample::Timestamp;

const SECOND_NS: u64 = 1_000_000_000;
/// `2026-09-21T14:13:25.`
const SECOND_BYTES: usize = 20;

/// The digits of every octet, and how many they are.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut number = 0_u16;
    while number < 256 {
        let [hundreds, tens, ones] = [number / 100, number / 10 % 10, number % 10];
        let digits = [hundreds as u8, tens as u8, ones as u8];
        let skipped = if number >= 100 {
            0
        } else if number >= 10 {
            1
        } else {
            2
        };
        let mut place = 0;
        while place + skipped < 3 {
            octets[number as usize].0[place] = b'0' + digits[place + skipped];
            place += 1;
        }
        octets[number as usize].1 = place as u8;
        number += 1;
    }
    octets
};

#[inline(always)]
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends the first `length` of `bytes`: to copy as many as there can be takes a few moves in place of a call.
#[inline(always)]
fn part<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// A short text that is written often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    bytes: [u8; Self::BYTES],
    length: usize,
}

impl Short {
    const BYTES: usize = 24;

    /// These, one behind the other.
    pub(super) const fn new(texts: [&str; 3]) -> Self {
        let mut short = Self {
            bytes: [0; Self::BYTES],
            length: 0,
        };
        let mut which = 0;
        while which < texts.len() {
            let bytes = texts[which].as_bytes();
            let mut place = 0;
            while place < bytes.len() {
                short.bytes[short.length] = bytes[place];
                short.length += 1;
                place += 1;
            }
            which += 1;
        }
        short
    }

    #[inline(always)]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        part(&self.bytes, self.length, out);
    }
}

/// Numbers below this have eight digits and fewer.
const EIGHT: u64 = 100_000_000;
/// The digit 0, eight times.
const ZEROS: u64 = 0x3030_3030_3030_3030;

#[inline(always)]
pub(super) fn number(number: impl Into<u64>, out: &mut Vec<u8>) {
    let number = number.into();
    if number < EIGHT {
        leading(number as u32, out);
    } else {
        large(number, out);
    }
}

fn large(number: u64, out: &mut Vec<u8>) {
    let (high, low) = (number / EIGHT, number % EIGHT);
    if high < EIGHT {
        leading(high as u32, out);
    } else {
        leading((high / EIGHT) as u32, out);
        all_eight((high % EIGHT) as u32, out);
    }
    all_eight(low as u32, out);
}

/// Without zeros in front.
#[inline(always)]
fn leading(number: u32, out: &mut Vec<u8>) {
    let digits = eight(number);
    let skipped = (digits.trailing_zeros() / 8).min(7);
    let written = (digits | ZEROS) >> (8 * skipped);
    part(&written.to_le_bytes(), 8 - skipped as usize, out);
}

#[inline(always)]
fn all_eight(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(eight(number) | ZEROS).to_le_bytes());
}

/// The digits of a number below 10^8 as numbers, the first in the lowest byte: two divisions by 10 000, four by 100 and
/// eight by 10 at once, by multiplying with their reciprocals, which are exact for so few digits.
#[inline(always)]
const fn eight(number: u32) -> u64 {
    let fours = (number / 10_000) as u64 | ((number % 10_000) as u64) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

pub(super) fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => address_v4(address, out),
        // Writing into memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

fn address_v4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let [first, rest @ ..] = address.octets();
    octet(first, out);
    for number in rest {
        out.push(b'.');
        octet(number, out);
    }
}

#[inline(always)]
fn octet(number: u8, out: &mut Vec<u8>) {
    let (digits, length) = &OCTETS[usize::from(number)];
    part(digits, usize::from(*length), out);
}

/// An address with a port, as sockets are written.
pub(super) fn socket(ip: IpAddr, port: u16, out: &mut Vec<u8>) {
    if ip.is_ipv6() {
        out.push(b'[');
        address(ip, out);
        out.push(b']');
    } else {
        address(ip, out);
    }
    out.push(b':');
    number(port, out);
}

/// Makes wall times of monotonic ones; remembers how the second is written that it was asked for last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wall {
    /// What is to be added to a monotonic time, in ns.
    offset_ns: i64,
    second: u64,
    written: [u8; SECOND_BYTES],
}

impl Wall {
    /// By the two clocks at one time.
    pub(super) fn new(at: Timestamp) -> Self {
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(0);
        let mut wall = Self {
            offset_ns: 0,
            second: 0,
            written: [0; SECOND_BYTES],
        };
        wall.write_second();
        wall.offset_ns = nanoseconds(at.wall).saturating_sub(nanoseconds(at.monotonic));
        wall
    }

    /// Goes on with the clocks as they are now.
    pub(super) fn follow(&mut self, at: Timestamp) {
        self.offset_ns = Self::new(at).offset_ns;
    }

    /// Appends the wall time of `at_ns` as RFC 3339 has it.
    pub(super) fn time(&mut self, at_ns: u64, out: &mut Vec<u8>) {
        let wall_ns = at_ns.saturating_add_signed(self.offset_ns);
        let (second, rest) = (wall_ns / SECOND_NS, wall_ns % SECOND_NS);
        if second != self.second {
            self.second = second;
            self.write_second();
        }
        out.extend_from_slice(&self.written);
        out.push(b'0' + (rest / EIGHT) as u8);
        all_eight((rest % EIGHT) as u32, out);
        out.push(b'Z');
    }

    fn write_second(&mut self) {
        let time = UNIX_EPOCH + Duration::from_secs(self.second);
        let mut left = self.written.as_mut_slice();
        // A year of five digits pushes out what comes last.
        drop(write!(left, "{}", humantime::format_rfc3339_seconds(time)));
        self.written[SECOND_BYTES - 1] = b'.';
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, SocketAddr},
        time::{Duration, UNIX_EPOCH},
    };

    use super::{Wall, address, number, socket};
    use crate::model::sample::Timestamp;

    #[test]
    fn times_are_those_of_rfc_3339_across_seconds() {
        let at = Timestamp {
            wall: Duration::new(1_790_000_010, 999_999_990),
            monotonic: Duration::from_secs(10),
        };
        let mut wall = Wall::new(at);
        for at_ns in [0, 10_000_000_009, 10_000_000_010, 5, 86_400_000_000_000] {
            let mut out = Vec::new();
            wall.time(at_ns, &mut out);
            let expected = UNIX_EPOCH + at.wall - at.monotonic + Duration::from_nanos(at_ns);
            let expected = humantime::format_rfc3339_nanos(expected).to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        // A clock that says that it is before 1970.
        let mut wall = Wall::new(Timestamp {
            wall: Duration::ZERO,
            monotonic: Duration::from_secs(9),
        });
        let mut out = Vec::new();
        wall.time(1, &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn numbers_of_every_length_are_written() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]);
        let eights = (0..100_000_000).step_by(9_973);
        let all = edges.chain(0..10_100).chain(eights);
        for expected in all.chain([u64::MAX]) {
            let mut out = b"x".to_vec();
            number(expected, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{expected}"));
        }
    }

    #[test]
    fn every_octet_is_written() {
        for octet in 0..=u8::MAX {
            let ip = IpAddr::from([octet, 1, 22, octet]);
            let mut out = Vec::new();
            address(ip, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), ip.to_string());
        }
    }

    #[test]
    fn addresses_are_written_as_everywhere() {
        for ip in ["0.0.0.0", "255.10.9.100", "2001:db8::7", "::ffff:1.2.3.4"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut out = Vec::new();
            address(ip, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), ip.to_string());
            let mut out = Vec::new();
            socket(ip, 65_535, &mut out);
            let expected = SocketAddr::new(ip, 65_535).to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
