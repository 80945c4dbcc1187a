//! How numbers, addresses and times get into a line: digits straight into the buffer, since the machinery of formatting
//! takes longer than all else that happens to an event.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, UNIX_EPOCH},
};

use crate::model::sample::Timestamp;

const SECOND_NS: u64 = 1_000_000_000;
/// `2026-09-21T14:13:25.`
const SECOND_BYTES: usize = 20;

pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
    number(first, out);
    for octet in rest {
        out.push(b'.');
        number(octet, out);
    }
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
        let (second, mut rest) = (wall_ns / SECOND_NS, wall_ns % SECOND_NS);
        if second != self.second {
            self.second = second;
            self.write_second();
        }
        out.extend_from_slice(&self.written);
        let mut digits = *b"000000000Z";
        for digit in digits[..9].iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        out.extend_from_slice(&digits);
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

    use super::{Wall, address, socket};
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
