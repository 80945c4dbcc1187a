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
};

/// Takes any bytes and tells how many things it could read.
pub type Target = fn(&[u8]) -> usize;

/// The targets by their names, which are those of their files and of their corpora.
pub const TARGETS: [(&str, Target); 4] = [
    ("netlink", netlink),
    ("procfs", procfs),
    ("btf", btf),
    ("filters", filters),
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
