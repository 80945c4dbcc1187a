//! Services and real servers, `/proc/net/ip_vs`: what there is without `CAP_NET_ADMIN`.
//!
//! The file has no counters, thresholds, tunnels, persistence engines nor flags of schedulers,
//! and no `ops` for services at an IPv6 address. Persistence timeouts are in jiffies, whose
//! length is not in the file. Of a firewall mark it does not say the family; see `family_of`.
//! The kernel keeps no lock between the parts that are read: where services come or go
//! meanwhile, one may be missing, which cannot be told, or be there twice, which makes the table
//! [torn](Table::torn).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    ProcfsError,
    line::{Fields, Lines, Unreadable, address, decimal, hex_u32, int, port, protocol, word},
};
use crate::{
    ipvs::{
        table::{Destination, Info, Netmask, Service, Table},
        wire::{IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT},
    },
    model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
};

/// The file's name in `/proc/net`.
pub const TABLE: &str = "ip_vs";

const ARROW: &[u8] = b"->";

/// All that the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcTable {
    /// Version and size.
    pub info: Info,
    /// The services whose identity is known.
    pub table: Table,
    /// The others, in the kernel's order.
    pub marks: Vec<MarkService>,
}

/// A service of a firewall mark that may be of either family.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkService {
    /// The mark.
    pub mark: u32,
    /// The kernel's name of the algorithm that chooses a real server.
    pub scheduler: String,
    /// `IP_VS_SVC_F_` bits, as far as the file tells them.
    pub flags: u32,
    /// Its real servers in the kernel's order.
    pub destinations: Vec<Destination>,
}

/// A service as the file describes it.
#[derive(Debug)]
struct Entry {
    name: Name,
    scheduler: String,
    flags: u32,
    /// The mask of persistence: of IPv4, or a prefix length with its bytes in network order.
    mask: Option<u32>,
    destinations: Vec<Destination>,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Address(Protocol, IpAddr, u16),
    Mark(u32),
}

/// Reads the file.
pub fn table(reader: impl BufRead) -> Result<ProcTable, ProcfsError> {
    let mut lines = Lines::new(TABLE, reader);
    let line = lines.expect("its version")?;
    let info = info(line.fields()).map_err(|what| line.error(what))?;
    lines.expect_words("Prot LocalAddress:Port Scheduler Flags")?;
    lines.expect_words("-> RemoteAddress:Port Forward Weight ActiveConn InActConn")?;
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(line) = lines.next()? {
        let mut fields = line.fields();
        if fields.clone().next() != Some(ARROW) {
            entries.push(entry(fields).map_err(|what| line.error(what))?);
            continue;
        }
        fields.next();
        let destination = destination(fields).map_err(|what| line.error(what))?;
        let service = entries.last_mut();
        let service = service.ok_or_else(|| line.error("the service, which is missing,"))?;
        service.destinations.push(destination);
    }
    Ok(identify(info, entries))
}

/// `IP Virtual Server version 1.2.1 (size=4096)`.
fn info(mut fields: Fields<'_>) -> Result<Info, Unreadable> {
    for expected in ["IP", "Virtual", "Server", "version"] {
        fields.read("the header", |field| {
            (field == expected.as_bytes()).then_some(())
        })?;
    }
    let version = fields.read("the version", |field| {
        let mut parts = word(field)?.split('.').map(str::parse::<u8>);
        let mut part = || parts.next()?.ok().map(u32::from);
        let version = part()? << 16 | part()? << 8 | part()?;
        parts.next().is_none().then_some(version)
    })?;
    let connection_table_size = fields.read("the size", |field| {
        decimal(field.strip_prefix(b"(size=")?.strip_suffix(b")")?)
    })?;
    fields.end()?;
    Ok(Info {
        version,
        connection_table_size,
    })
}

/// `TCP  C000020A:01BB wrr  persistent 90000 FFFFFF00` or `FWM  0000002F rr ops `.
fn entry(mut fields: Fields<'_>) -> Result<Entry, Unreadable> {
    let name = match fields.next() {
        Some(b"FWM") => Name::Mark(fields.read("the mark", hex_u32)?),
        other => {
            let protocol = other.and_then(protocol).ok_or("Prot")?;
            let (address, port) = fields.read("LocalAddress:Port", endpoint)?;
            Name::Address(protocol, address, port)
        }
    };
    let scheduler = fields.read("Scheduler", word)?.to_owned();
    let mut flags = IP_VS_SVC_F_HASHED;
    let mut mask = None;
    let mut flag = fields.next();
    if flag == Some(b"ops") {
        flags |= IP_VS_SVC_F_ONEPACKET;
        flag = fields.next();
    }
    match flag {
        Some(b"persistent") => {
            flags |= IP_VS_SVC_F_PERSISTENT;
            fields.read("the timeout", int)?;
            mask = Some(fields.read("the mask", hex_u32)?);
        }
        None => {}
        Some(_) => return Err("Flags"),
    }
    fields.end()?;
    Ok(Entry {
        name,
        scheduler,
        flags,
        mask,
        destinations: Vec::new(),
    })
}

/// `C0A80009:01BB      Tunnel  100    0          0         `, after the arrow.
fn destination(mut fields: Fields<'_>) -> Result<Destination, Unreadable> {
    let (address, port) = fields.read("RemoteAddress:Port", endpoint)?;
    let destination = Destination {
        id: DestinationId { address, port },
        method: fields.read("Forward", method)?,
        weight: fields.read("Weight", int)?,
        active: fields.read("ActiveConn", int)?,
        inactive: fields.read("InActConn", int)?,
        persistent: None,
        thresholds: None,
        tunnel: None,
        stats: None,
    };
    fields.end()?;
    Ok(destination)
}

/// `C000020A:0050` or `[2001:0db8:0000:0000:0000:0000:0000:0080]:0050`.
fn endpoint(field: &[u8]) -> Option<(IpAddr, u16)> {
    let (host, digits) = field.split_at_checked(field.len().checked_sub(5)?)?;
    let port = port(digits.strip_prefix(b":")?)?;
    let host = match host.strip_prefix(b"[") {
        Some(host) => host.strip_suffix(b"]")?,
        None => host,
    };
    Some((address(host)?, port))
}

/// A method by the name that `ip_vs_fwd_name` gives it; it has none for bypassing.
fn method(field: &[u8]) -> Option<ForwardingMethod> {
    match field {
        b"Masq" => Some(ForwardingMethod::Masquerade),
        b"Local" => Some(ForwardingMethod::Local),
        b"Tunnel" => Some(ForwardingMethod::Tunnel),
        b"Route" => Some(ForwardingMethod::DirectRoute),
        _ => None,
    }
}

/// Gives each entry the identity that it has.
fn identify(info: Info, entries: Vec<Entry>) -> ProcTable {
    let mut told = BTreeMap::new();
    for entry in &entries {
        if let (Name::Mark(mark), Some(family)) = (entry.name, family_of(entry)) {
            told.insert(mark, family);
        }
    }
    let mut seen = BTreeSet::new();
    let mut table = Table::default();
    let mut marks = Vec::new();
    for entry in entries {
        let id = match entry.name {
            Name::Address(protocol, address, port) => ServiceId::Address {
                protocol,
                address,
                port,
            },
            Name::Mark(mark) => {
                // No two services of a family have the same mark.
                let sibling = told.get(&mark).copied().map(other);
                let Some(family) = family_of(&entry).or(sibling) else {
                    marks.push(MarkService {
                        mark,
                        scheduler: entry.scheduler,
                        flags: entry.flags,
                        destinations: entry.destinations,
                    });
                    continue;
                };
                ServiceId::FirewallMark { mark, family }
            }
        };
        if seen.insert(id) {
            table.services.push(service(id, entry));
        } else {
            table.torn = true;
        }
    }
    ProcTable { info, table, marks }
}

/// The family of a firewall mark's service, where something tells it: a real server that is not
/// reached through a tunnel, since only tunnels may lead to the other family (`ip_vs_ctl.c`), or
/// a mask that is no prefix length and so one of IPv4.
fn family_of(entry: &Entry) -> Option<AddressFamily> {
    let plain = entry
        .destinations
        .iter()
        .find(|destination| destination.method != ForwardingMethod::Tunnel);
    if let Some(destination) = plain {
        return Some(AddressFamily::of(destination.id.address));
    }
    let is_prefix = (1..=128).contains(&prefix_length(entry.mask?));
    (!is_prefix).then_some(AddressFamily::Ipv4)
}

const fn other(family: AddressFamily) -> AddressFamily {
    match family {
        AddressFamily::Ipv4 => AddressFamily::Ipv6,
        AddressFamily::Ipv6 => AddressFamily::Ipv4,
    }
}

fn service(id: ServiceId, entry: Entry) -> Service {
    Service {
        id,
        scheduler: entry.scheduler,
        flags: entry.flags,
        timeout_s: None,
        netmask: entry.mask.map(|mask| match id.family() {
            AddressFamily::Ipv4 => Netmask::Ipv4(Ipv4Addr::from_bits(mask)),
            AddressFamily::Ipv6 => Netmask::Ipv6(prefix_length(mask)),
        }),
        engine: None,
        stats: None,
        destinations: entry.destinations,
    }
}

/// The kernel turns the mask from network to host order, and does so even with the prefix length
/// of IPv6, which is in host order already.
const fn prefix_length(mask: u32) -> u32 {
    u32::from_be(mask)
}

#[cfg(test)]
mod tests;
