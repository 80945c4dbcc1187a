//! What is done with any bytes, and must hold for all of them: nothing panics, and what could be
//! read keeps the promises of its types.
//!
//! `tests/fuzz` hands these functions to a fuzzer. The tests of the host give them its corpora, so
//! that a fault that was found once is looked for on the stable toolchain too.

use ipvs_observer::{
    btf::{parse::Btf, resolve::resolve},
    ipvs::{
        procfs::{
            connections::{ConnectionFile, Connections},
            stats::{stats, stats_per_cpu},
            status::status,
            table::table,
        },
        wire::{self, Body, IPVS_GENL_NAME},
    },
    model::{
        filter::{ServerFilter, ServiceFilter},
        id::{AddressFamily, Protocol, ServiceId},
    },
    recording::{HEAD_BYTES, Recording},
};

/// Takes any bytes and tells how many things it could read.
pub type Target = fn(&[u8]) -> usize;

/// The targets by their names, which are those of their files and of their corpora.
pub const TARGETS: [(&str, Target); 5] = [
    ("netlink", netlink),
    ("procfs", procfs),
    ("btf", btf),
    ("filters", filters),
    ("recording", recording),
];

/// A datagram, each message of which is taken for an answer to every request.
pub fn netlink(datagram: &[u8]) -> usize {
    wire::messages(datagram)
        .map_while(Result::ok)
        .map(|message| match message.body {
            Body::Family { attributes, .. } => answer(attributes),
            Body::Done(_) | Body::Error(_) | Body::Noop | Body::Overrun | Body::Unknown(_) => 0,
        })
        .sum()
}

fn answer(attributes: &[u8]) -> usize {
    let service = wire::service(attributes);
    if let Ok(ServiceId::FirewallMark { mark, .. }) = service.as_ref().map(|service| service.id) {
        assert!(mark != 0, "a mark is not 0");
    }
    let families = [AddressFamily::Ipv4, AddressFamily::Ipv6];
    let is_destination = families.map(|family| wire::destination(attributes, family).is_ok());
    let number = wire::family_number(attributes, IPVS_GENL_NAME);
    if let Ok(Some(number)) = number {
        assert!(number >= 16, "{number} is the number of no family");
    }
    let nests = [
        service.is_ok(),
        is_destination.contains(&true),
        wire::daemon(attributes).is_ok(),
    ];
    let read = [
        wire::info(attributes).is_ok(),
        wire::timeouts(attributes).is_ok(),
        matches!(number, Ok(Some(_))),
    ];
    assert!(how_many(&nests) <= 1, "an answer is about one thing");
    how_many(&nests) + how_many(&read)
}

fn how_many(outcomes: &[bool]) -> usize {
    outcomes.iter().filter(|is_read| **is_read).count()
}

/// A text file of IPVS, taken for each of them.
pub fn procfs(text: &[u8]) -> usize {
    let files = [
        table(text).is_ok(),
        stats(text).is_ok(),
        stats_per_cpu(text).is_ok(),
        status(text).is_ok(),
    ];
    let connections = [ConnectionFile::Conn, ConnectionFile::ConnSync]
        .map(|file| Connections::start(file, text).map_or(0, count));
    how_many(&files) + connections.iter().sum::<usize>()
}

/// The connections that can be read; a line that cannot be read is passed over.
fn count(mut connections: Connections<&[u8]>) -> usize {
    let mut read = 0;
    loop {
        match connections.advance() {
            Ok(Some(_)) => read += 1,
            Ok(None) => return read,
            Err(_) => {}
        }
    }
}

/// BTF of a kernel and of a module: the length of the first, in four bytes of little endian, then
/// both.
pub fn btf(bytes: &[u8]) -> usize {
    let Some((length, images)) = bytes.split_first_chunk() else {
        return 0;
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (base, split) = images
        .split_at_checked(length)
        .map_or((images, None), |(base, split)| (base, Some(split)));
    let Ok(btf) = Btf::parse(base, split) else {
        return 0;
    };
    let resolved = resolve(&btf);
    drop(format!("{resolved:?}"));
    (0..btf.n_types())
        .filter(|id| btf.get(*id).is_ok_and(|of| !btf.name(&of).is_empty()))
        .inspect(|id| drop(btf.size(*id)))
        .count()
}

/// An argument of `-t`, `-f` and `-r`.
///
/// # Panics
///
/// If it does not mean the same when it is written out again.
pub fn filters(argument: &[u8]) -> usize {
    let Ok(text) = str::from_utf8(argument) else {
        return 0;
    };
    let service = ServiceFilter::address(Protocol::TCP, text).ok();
    if let Some(id) = service.as_ref().and_then(ServiceFilter::identity) {
        let written = id.to_string();
        let again = ServiceFilter::address(Protocol::TCP, written.trim_start_matches("TCP "));
        assert_eq!(again.ok(), service, "{text:?} is not {written}");
    }
    let mark = ServiceFilter::firewall_mark(text, None).ok();
    if let Some(mark) = mark {
        let written = mark.to_string();
        let again = ServiceFilter::firewall_mark(written.trim_start_matches("FWM "), None);
        assert_eq!(again.ok(), Some(mark), "{text:?} is not {written}");
    }
    let server = ServerFilter::parse(text).ok();
    if let Some(server) = server {
        let written = server.to_string().replace(" at any port", ":*");
        // An address of IPv6 with a port has brackets.
        let bracketed = written
            .strip_suffix(":*")
            .filter(|address| address.contains(':'))
            .map(|address| format!("[{address}]:*"));
        let written = bracketed.unwrap_or(written);
        let again = ServerFilter::parse(&written);
        assert_eq!(again.ok(), Some(server), "{text:?} is not {written}");
    }
    assert_eq!(service.is_some(), server.is_some(), "{text:?}");
    how_many(&[service.is_some(), mark.is_some(), server.is_some()])
}

/// A recording, whose checksums are made to fit; tells how many windows it has.
pub fn recording(bytes: &[u8]) -> usize {
    let bytes = checked(bytes);
    let Ok(mut recording) = Recording::open(&bytes[..]) else {
        return 0;
    };
    let mut windows = 0;
    while let Ok(Some(snapshot)) = recording.next_snapshot() {
        drop(snapshot);
        windows += 1;
    }
    windows
}

/// Sets the checksum of each frame: kind, length in four bytes, checksum in four bytes, contents.
fn checked(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.get_mut(HEAD_BYTES..).unwrap_or_default();
    while let Some((head, contents)) = rest.split_first_chunk_mut::<9>() {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((contents, others)) = contents.split_at_mut_checked(length) else {
            break;
        };
        let sum = crc32([&head[..5], &*contents].concat());
        head[5..].copy_from_slice(&sum.to_le_bytes());
        rest = others;
    }
    bytes
}

/// CRC-32 as in ISO 3309, bit by bit.
fn crc32(bytes: Vec<u8>) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let polynomial = if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
            sum = sum >> 1 ^ polynomial;
        }
    }
    !sum
}
