//! The tables of a recording: namespaces, services, real servers and their counters; written and read as `shape` does.
//!
//! The kernel's own smoothed rates are not kept: no snapshot shows them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{
    columns::{Flaw, Walk},
    members::{duration, flag, list, number, option, small, text},
    names::Plain,
};
use crate::{
    ipvs::table::{
        Destination, Netmask, Service, Stats, Table, Thresholds, Traffic, Tunnel, TunnelKind,
    },
    model::{
        circumstances::Circumstances,
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        listing::Setting,
        sample::{NamespaceSample, Namespaces},
        snapshot::Namespace,
    },
};

const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const BLANK_SERVICE_ID: ServiceId = ServiceId::FirewallMark {
    mark: 0,
    family: AddressFamily::Ipv4,
};
pub(super) const BLANK_DESTINATION_ID: DestinationId = DestinationId {
    address: UNSPECIFIED,
    port: 0,
};
pub(super) fn namespaces(walk: &mut impl Walk, of: &Namespaces) -> Result<Namespaces, Flaw> {
    let given: Vec<_> = of.iter().map(|(netns, read)| (*netns, read)).collect();
    let blank = NamespaceSample::default();
    let made = list(
        walk,
        Plain::Namespaces,
        &given,
        &(Netns(0), &blank),
        |walk, (netns, read)| {
            let NamespaceSample { namespace, table } = read;
            let netns = Netns(small(walk, Plain::Netns, netns.0)?);
            let name = option(
                walk,
                Plain::HasText,
                namespace.name.as_ref(),
                &String::new(),
                |walk, of| text(walk, of),
            )?;
            let circumstances = circumstances(walk, &namespace.circumstances)?;
            let read = NamespaceSample {
                namespace: Namespace {
                    name,
                    circumstances,
                },
                table: Table {
                    services: list(
                        walk,
                        Plain::Services,
                        &table.services,
                        &blank_service(),
                        service,
                    )?,
                    torn: flag(walk, Plain::IsTorn, table.torn)?,
                },
            };
            Ok((netns, read))
        },
    )?;
    Ok(made.into_iter().collect())
}

fn circumstances(walk: &mut impl Walk, of: &Circumstances) -> Result<Circumstances, Flaw> {
    let blank = Setting {
        name: String::new(),
        value: String::new(),
    };
    Ok(Circumstances {
        settings: list(walk, Plain::Settings, &of.settings, &blank, |walk, of| {
            Ok(Setting {
                name: text(walk, &of.name)?,
                value: text(walk, &of.value)?,
            })
        })?,
        connection_table_size: option(
            walk,
            Plain::HasTableSize,
            of.connection_table_size.as_ref(),
            &0,
            |walk, of| small(walk, Plain::TableSize, *of),
        )?,
    })
}

const fn blank_service() -> Service {
    Service {
        id: BLANK_SERVICE_ID,
        scheduler: String::new(),
        flags: 0,
        timeout_s: None,
        netmask: None,
        engine: None,
        stats: None,
        destinations: Vec::new(),
    }
}

fn service(walk: &mut impl Walk, of: &Service) -> Result<Service, Flaw> {
    let blank = Destination {
        id: BLANK_DESTINATION_ID,
        method: ForwardingMethod::Masquerade,
        weight: 0,
        active: 0,
        inactive: 0,
        persistent: None,
        thresholds: None,
        tunnel: None,
        stats: None,
    };
    Ok(Service {
        id: service_id(walk, &of.id)?,
        scheduler: text(walk, &of.scheduler)?,
        flags: small(walk, Plain::Flags, of.flags)?,
        timeout_s: option(
            walk,
            Plain::HasOption,
            of.timeout_s.as_ref(),
            &0,
            |walk, of| small(walk, Plain::Timeout, *of),
        )?,
        netmask: option(
            walk,
            Plain::HasOption,
            of.netmask.as_ref(),
            &Netmask::Ipv6(0),
            netmask,
        )?,
        engine: option(
            walk,
            Plain::HasText,
            of.engine.as_ref(),
            &String::new(),
            |walk, of| text(walk, of),
        )?,
        stats: option(
            walk,
            Plain::HasStats,
            of.stats.as_ref(),
            &Stats::default(),
            stats,
        )?,
        destinations: list(walk, Plain::Servers, &of.destinations, &blank, destination)?,
    })
}

fn destination(walk: &mut impl Walk, of: &Destination) -> Result<Destination, Flaw> {
    Ok(Destination {
        id: destination_id(walk, &of.id)?,
        method: ForwardingMethod::from(small(walk, Plain::Method, u32::from(of.method))?),
        weight: small(walk, Plain::Weight, of.weight)?,
        active: small(walk, Plain::Active, of.active)?,
        inactive: small(walk, Plain::Inactive, of.inactive)?,
        persistent: option(
            walk,
            Plain::HasOption,
            of.persistent.as_ref(),
            &0,
            |walk, of| small(walk, Plain::Persistent, *of),
        )?,
        thresholds: option(
            walk,
            Plain::HasThresholds,
            of.thresholds.as_ref(),
            &Thresholds::default(),
            |walk, of| {
                Ok(Thresholds {
                    upper: small(walk, Plain::Upper, of.upper)?,
                    lower: small(walk, Plain::Lower, of.lower)?,
                })
            },
        )?,
        tunnel: option(
            walk,
            Plain::TunnelKind,
            of.tunnel.as_ref(),
            &Tunnel {
                kind: TunnelKind::IpIp,
                port: 0,
                flags: 0,
            },
            tunnel,
        )?,
        stats: option(
            walk,
            Plain::HasStats,
            of.stats.as_ref(),
            &Stats::default(),
            stats,
        )?,
    })
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what is walked over is borrowed"
)]
fn tunnel(walk: &mut impl Walk, of: &Tunnel) -> Result<Tunnel, Flaw> {
    let kind: u8 = match of.kind {
        TunnelKind::IpIp => 0,
        TunnelKind::Gue => 1,
        TunnelKind::Gre => 2,
        TunnelKind::Unknown(other) => other,
    };
    Ok(Tunnel {
        kind: match small(walk, Plain::TunnelType, kind)? {
            0 => TunnelKind::IpIp,
            1 => TunnelKind::Gue,
            2 => TunnelKind::Gre,
            other => TunnelKind::Unknown(other),
        },
        port: small(walk, Plain::TunnelPort, of.port)?,
        flags: small(walk, Plain::TunnelFlags, of.flags)?,
    })
}

fn stats(walk: &mut impl Walk, of: &Stats) -> Result<Stats, Flaw> {
    let Stats {
        traffic,
        rates: _,
        read_at,
    } = of;
    Ok(Stats {
        traffic: Traffic {
            connections: traffic_count(walk, Plain::Connections, traffic.connections)?,
            in_packets: traffic_count(walk, Plain::InPackets, traffic.in_packets)?,
            out_packets: traffic_count(walk, Plain::OutPackets, traffic.out_packets)?,
            in_bytes: traffic_count(walk, Plain::InBytes, traffic.in_bytes)?,
            out_bytes: traffic_count(walk, Plain::OutBytes, traffic.out_bytes)?,
        },
        rates: None,
        read_at: option(
            walk,
            Plain::HasOption,
            read_at.as_ref(),
            &Duration::ZERO,
            |walk, of| duration(walk, Plain::ReadAt, *of),
        )?,
    })
}

/// Counters of the kernel are not bounded as counts of a window are; two of them are added up.
fn traffic_count(walk: &mut impl Walk, column: Plain, value: u64) -> Result<u64, Flaw> {
    let value = number(walk, column, value)?;
    if value < u64::MAX / 2 {
        Ok(value)
    } else {
        Err("a counter is larger than any can be")
    }
}

pub(super) fn service_id(walk: &mut impl Walk, of: &ServiceId) -> Result<ServiceId, Flaw> {
    let is_mark = matches!(of, ServiceId::FirewallMark { .. });
    if flag(walk, Plain::IdKind, is_mark)? {
        let (mark, family) = match *of {
            ServiceId::FirewallMark { mark, family } => (mark, family),
            ServiceId::Address { .. } => (0, AddressFamily::Ipv4),
        };
        let is_ipv6 = flag(walk, Plain::Family, family == AddressFamily::Ipv6)?;
        return Ok(ServiceId::FirewallMark {
            mark: small(walk, Plain::Mark, mark)?,
            family: if is_ipv6 {
                AddressFamily::Ipv6
            } else {
                AddressFamily::Ipv4
            },
        });
    }
    let (of_protocol, of_address, of_port) = match *of {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => (protocol, address, port),
        ServiceId::FirewallMark { .. } => (Protocol::IP, UNSPECIFIED, 0),
    };
    Ok(ServiceId::Address {
        protocol: Protocol(small(walk, Plain::Protocol, of_protocol.0)?),
        address: address(walk, of_address)?,
        port: small(walk, Plain::Port, of_port)?,
    })
}

pub(super) fn destination_id(
    walk: &mut impl Walk,
    of: &DestinationId,
) -> Result<DestinationId, Flaw> {
    Ok(DestinationId {
        address: address(walk, of.address)?,
        port: small(walk, Plain::Port, of.port)?,
    })
}

fn address(walk: &mut impl Walk, of: IpAddr) -> Result<IpAddr, Flaw> {
    let bits = match of {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    if !flag(walk, Plain::Family, of.is_ipv6())? {
        let low = number(walk, Plain::AddressLow, low)?;
        let bits = u32::try_from(low).map_err(|_wider| "an address of IPv4 is too long")?;
        return Ok(Ipv4Addr::from_bits(bits).into());
    }
    let high = u64::try_from(bits >> u64::BITS).unwrap_or_default();
    let high = number(walk, Plain::AddressHigh, high)?;
    let low = number(walk, Plain::AddressLow, low)?;
    Ok(Ipv6Addr::from_bits(u128::from(high) << u64::BITS | u128::from(low)).into())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what is walked over is borrowed"
)]
fn netmask(walk: &mut impl Walk, of: &Netmask) -> Result<Netmask, Flaw> {
    let (is_ipv4, bits) = match *of {
        Netmask::Ipv4(mask) => (true, mask.to_bits()),
        Netmask::Ipv6(length) => (false, length),
    };
    let is_ipv4 = flag(walk, Plain::NetmaskKind, is_ipv4)?;
    let bits = small(walk, Plain::Netmask, bits)?;
    Ok(if is_ipv4 {
        Netmask::Ipv4(Ipv4Addr::from_bits(bits))
    } else {
        Netmask::Ipv6(bits)
    })
}
