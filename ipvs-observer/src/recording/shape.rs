//! What a frame holds, thing by thing: one walk, by which it is written and read.
//!
//! Each function takes a thing and passes its members in a fixed order; to read, it is given a blank one and makes another
//! of what it is told. So what is written and what is read cannot differ.
//! The kernel's own smoothed rates are not kept: no snapshot shows them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipvs_observer_common::{Event, Loss, TCP_STATES};

use super::{
    columns::{Flaw, Walk},
    histogram::{Cut, activity},
    names::{Column, Plain},
};
use crate::{
    ipvs::table::{
        Destination, Netmask, Service, Stats, Table, Thresholds, Traffic, Tunnel, TunnelKind,
    },
    model::{
        activity::Activity,
        circumstances::Circumstances,
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        listing::Setting,
        memory::Memory,
        sample::{NamespaceSample, Namespaces, Readings, Sample, ServerId, Timestamp},
        snapshot::{Namespace, ProbeHealth},
        split::OwnCost,
        states::{States, Sweep},
    },
};

/// A window, as it is given to the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// What was read at its end.
    pub sample: Sample,
    /// Whether it is the last of the run.
    pub is_final: bool,
    /// Windows that an output had missed by then.
    pub missed_windows: u64,
}

const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const BLANK_SERVICE_ID: ServiceId = ServiceId::FirewallMark {
    mark: 0,
    family: AddressFamily::Ipv4,
};
const BLANK_DESTINATION_ID: DestinationId = DestinationId {
    address: UNSPECIFIED,
    port: 0,
};
const NO_TIME: Timestamp = Timestamp {
    wall: Duration::ZERO,
    monotonic: Duration::ZERO,
};

/// A window to read into.
pub(super) fn blank_window() -> Window {
    Window {
        sample: Sample {
            at: NO_TIME,
            readings: Readings::default(),
            namespaces: Namespaces::new(),
            table_took: Duration::ZERO,
            packets: None,
            own_cost: None,
            sweep: None,
        },
        is_final: false,
        missed_windows: 0,
    }
}

/// The tables before the first window.
pub(super) fn start(
    walk: &mut impl Walk,
    at: Timestamp,
    tables: &Namespaces,
) -> Result<(Timestamp, Namespaces), Flaw> {
    Ok((timestamp(walk, at)?, namespaces(walk, tables)?))
}

/// A blank beginning.
pub(super) const fn blank_start() -> (Timestamp, Namespaces) {
    (NO_TIME, Namespaces::new())
}

pub(super) fn window(walk: &mut impl Walk, of: &Window, cut: &mut Cut) -> Result<Window, Flaw> {
    let Window {
        sample,
        is_final,
        missed_windows,
    } = of;
    let at = timestamp(walk, sample.at)?;
    let namespaces = namespaces(walk, &sample.namespaces)?;
    let known = servers_of(&namespaces);
    Ok(Window {
        sample: Sample {
            at,
            readings: readings(walk, &sample.readings, &known, cut)?,
            namespaces,
            table_took: duration(walk, Plain::TableTook, sample.table_took)?,
            packets: option(
                walk,
                Plain::HasPackets,
                sample.packets.as_ref(),
                &0,
                |walk, of| walk.count(Column::Plain(Plain::Packets), *of),
            )?,
            own_cost: option(
                walk,
                Plain::HasCost,
                sample.own_cost.as_ref(),
                &OwnCost::default(),
                own_cost,
            )?,
            sweep: option(
                walk,
                Plain::HasSweep,
                sample.sweep.as_ref(),
                &Sweep::default(),
                |walk, of| sweep(walk, of, &known),
            )?,
        },
        is_final: flag(walk, Plain::IsFinal, *is_final)?,
        missed_windows: count(walk, Plain::Missed, *missed_windows)?,
    })
}

/// Services and servers of the tables in their order, by which others name them.
fn servers_of(namespaces: &Namespaces) -> Vec<ServerId> {
    let tables = namespaces.iter();
    let mut known: Vec<ServerId> = tables
        .flat_map(|(&netns, read)| {
            read.table.services.iter().flat_map(move |service| {
                let servers = service.destinations.iter();
                let servers = servers.map(move |server| (netns, service.id, Some(server.id)));
                servers.chain([(netns, service.id, None)])
            })
        })
        .collect();
    known.sort_unstable();
    known.dedup();
    known
}

fn readings(
    walk: &mut impl Walk,
    of: &Readings,
    known: &[ServerId],
    cut: &mut Cut,
) -> Result<Readings, Flaw> {
    let Readings {
        host,
        servers,
        transitions,
        losses,
        probes,
        memory: maps,
    } = of;
    let host = activity(walk, host, cut)?;
    let servers = by_server(walk, servers, known, &Activity::none(), |walk, of| {
        activity(walk, of, cut)
    })?;
    let transitions = count(walk, Plain::Transitions, *transitions)?;
    let mut its_losses = *losses;
    for (loss, count) in Loss::ALL.into_iter().zip(&mut its_losses) {
        *count = walk.count(Column::Loss(loss), *count)?;
    }
    let blank = ProbeHealth {
        name: "".into(),
        function: "".into(),
        missed: None,
        recursion_misses: None,
    };
    Ok(Readings {
        host,
        servers,
        transitions,
        losses: its_losses,
        probes: list(walk, Plain::Probes, probes, &blank, probe)?,
        memory: memory(walk, maps)?,
    })
}

fn by_server<W: Walk, T>(
    walk: &mut W,
    of: &BTreeMap<ServerId, T>,
    known: &[ServerId],
    blank: &T,
    mut each: impl FnMut(&mut W, &T) -> Result<T, Flaw>,
) -> Result<BTreeMap<ServerId, T>, Flaw> {
    let mut given = of.iter();
    let length = number(walk, Plain::Seen, of.len() as u64)?;
    let mut made = BTreeMap::new();
    for _ in 0..length {
        let (id, value) = given.next().unwrap_or((
            &(Netns(0), BLANK_SERVICE_ID, Some(BLANK_DESTINATION_ID)),
            blank,
        ));
        let id = server_id(walk, id, known)?;
        made.insert(id, each(walk, value)?);
    }
    Ok(made)
}

/// By its place among those of the table, counted from 1; what is not in the table any more by all that identifies it.
fn server_id(walk: &mut impl Walk, of: &ServerId, known: &[ServerId]) -> Result<ServerId, Flaw> {
    let place = known.binary_search(of).map_or(0, |place| place as u64 + 1);
    let place = number(walk, Plain::Place, place)?;
    if let Some(place) = place.checked_sub(1) {
        let place = usize::try_from(place).ok();
        let id = place.and_then(|place| known.get(place));
        return id.copied().ok_or("a server has a place that no table has");
    }
    let (netns, service, server) = of;
    Ok((
        Netns(small(walk, Plain::Netns, netns.0)?),
        service_id(walk, service)?,
        option(
            walk,
            Plain::HasOption,
            server.as_ref(),
            &BLANK_DESTINATION_ID,
            destination_id,
        )?,
    ))
}

fn sweep(walk: &mut impl Walk, of: &Sweep, known: &[ServerId]) -> Result<Sweep, Flaw> {
    Ok(Sweep {
        took: duration(walk, Plain::SweepTook, of.took)?,
        servers: by_server(walk, &of.servers, known, &States::NONE, states)?,
    })
}

fn states(walk: &mut impl Walk, of: &States) -> Result<States, Flaw> {
    let mut tcp = [0; TCP_STATES];
    for (state, (made, given)) in tcp.iter_mut().zip(of.tcp).enumerate() {
        *made = walk.count(Column::State(state), given)?;
    }
    Ok(States {
        tcp,
        other: count(walk, Plain::StatesOther, of.other)?,
        begun_unseen: count(walk, Plain::StatesUnseen, of.begun_unseen)?,
        unanswered: maybe(walk, Plain::StatesUnanswered, of.unanswered)?,
        oldest: maybe_duration(walk, Plain::StatesOldest, of.oldest)?,
        oldest_syn_recv: maybe_duration(walk, Plain::StatesOldest, of.oldest_syn_recv)?,
    })
}

fn probe(walk: &mut impl Walk, of: &ProbeHealth) -> Result<ProbeHealth, Flaw> {
    Ok(ProbeHealth {
        name: text(walk, &of.name)?.into(),
        function: text(walk, &of.function)?.into(),
        missed: maybe(walk, Plain::ProbeMissed, of.missed)?,
        recursion_misses: maybe(walk, Plain::ProbeRecursion, of.recursion_misses)?,
    })
}

fn memory(walk: &mut impl Walk, of: &Memory) -> Result<Memory, Flaw> {
    let configured = count(walk, Plain::Memory, of.configured as u64)?;
    Ok(Memory {
        configured: usize::try_from(configured).unwrap_or(usize::MAX),
        server_bytes: count(walk, Plain::Memory, of.server_bytes)?,
        record_bytes: count(walk, Plain::Memory, of.record_bytes)?,
        fixed_bytes: count(walk, Plain::Memory, of.fixed_bytes)?,
        cpus: small(walk, Plain::Memory, of.cpus)?,
        partitions: small(walk, Plain::Memory, of.partitions)?,
        grouping_bits: small(walk, Plain::Memory, of.grouping_bits)?,
        slots: small(walk, Plain::Memory, of.slots)?,
        max_slots: small(walk, Plain::Memory, of.max_slots)?,
        slots_used: small(walk, Plain::Memory, of.slots_used)?,
        connections: small(walk, Plain::Memory, of.connections)?,
        connections_wanted: small(walk, Plain::Memory, of.connections_wanted)?,
        records_used: maybe(walk, Plain::Memory, of.records_used)?,
    })
}

fn own_cost(walk: &mut impl Walk, of: &OwnCost) -> Result<OwnCost, Flaw> {
    Ok(OwnCost {
        runs: count(walk, Plain::CostRuns, of.runs)?,
        run_time_ns: number(walk, Plain::CostTime, of.run_time_ns)?,
    })
}

fn namespaces(walk: &mut impl Walk, of: &Namespaces) -> Result<Namespaces, Flaw> {
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

fn service_id(walk: &mut impl Walk, of: &ServiceId) -> Result<ServiceId, Flaw> {
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

fn destination_id(walk: &mut impl Walk, of: &DestinationId) -> Result<DestinationId, Flaw> {
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

fn timestamp(walk: &mut impl Walk, of: Timestamp) -> Result<Timestamp, Flaw> {
    Ok(Timestamp {
        wall: duration(walk, Plain::Wall, of.wall)?,
        monotonic: duration(walk, Plain::Monotonic, of.monotonic)?,
    })
}

fn text(walk: &mut impl Walk, of: &str) -> Result<String, Flaw> {
    let length = number(walk, Plain::TextLength, of.len() as u64)?;
    let mut given = of.bytes();
    let mut bytes = Vec::new();
    for _ in 0..length {
        bytes.push(small(walk, Plain::Text, given.next().unwrap_or_default())?);
    }
    String::from_utf8(bytes).map_err(|_bytes| "a text is not UTF-8")
}

fn list<W: Walk, T, R>(
    walk: &mut W,
    column: Plain,
    of: &[T],
    blank: &T,
    mut each: impl FnMut(&mut W, &T) -> Result<R, Flaw>,
) -> Result<Vec<R>, Flaw> {
    let length = number(walk, column, of.len() as u64)?;
    let mut given = of.iter();
    let mut made = Vec::new();
    for _ in 0..length {
        made.push(each(walk, given.next().unwrap_or(blank))?);
    }
    Ok(made)
}

fn option<W: Walk, T>(
    walk: &mut W,
    column: Plain,
    of: Option<&T>,
    blank: &T,
    each: impl FnOnce(&mut W, &T) -> Result<T, Flaw>,
) -> Result<Option<T>, Flaw> {
    if flag(walk, column, of.is_some())? {
        each(walk, of.unwrap_or(blank)).map(Some)
    } else {
        Ok(None)
    }
}

/// A number that may be absent, in one column.
fn maybe(walk: &mut impl Walk, column: Plain, of: Option<u64>) -> Result<Option<u64>, Flaw> {
    let value = count(walk, column, of.map_or(0, |value| value.saturating_add(1)))?;
    Ok(value.checked_sub(1))
}

fn maybe_duration(
    walk: &mut impl Walk,
    column: Plain,
    of: Option<Duration>,
) -> Result<Option<Duration>, Flaw> {
    let value = of.map_or(0, |of| nanoseconds(of).saturating_add(1));
    let value = number(walk, column, value)?;
    Ok(value.checked_sub(1).map(Duration::from_nanos))
}

fn duration(walk: &mut impl Walk, column: Plain, of: Duration) -> Result<Duration, Flaw> {
    Ok(Duration::from_nanos(number(walk, column, nanoseconds(of))?))
}

fn flag(walk: &mut impl Walk, column: Plain, of: bool) -> Result<bool, Flaw> {
    Ok(number(walk, column, u64::from(of))? != 0)
}

fn small<T: Into<u64> + TryFrom<u64>>(
    walk: &mut impl Walk,
    column: Plain,
    of: T,
) -> Result<T, Flaw> {
    let value = number(walk, column, of.into())?;
    T::try_from(value).map_err(|_wider| "a number is too large for what it means")
}

fn count(walk: &mut impl Walk, column: Plain, of: u64) -> Result<u64, Flaw> {
    walk.count(Column::Plain(column), of)
}

fn number(walk: &mut impl Walk, column: Plain, of: u64) -> Result<u64, Flaw> {
    walk.number(Column::Plain(column), of)
}

/// At most 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The events of an activity.
pub(super) fn events(
    walk: &mut impl Walk,
    of: ipvs_observer_common::Counters,
) -> Result<ipvs_observer_common::Counters, Flaw> {
    let mut made = of;
    for event in Event::ALL {
        made.0[event as usize] = walk.count(Column::Event(event), of.get(event))?;
    }
    Ok(made)
}
