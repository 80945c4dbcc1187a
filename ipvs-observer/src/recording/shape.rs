//! What a window holds, thing by thing: one walk, by which it is written and read.
//!
//! Each function takes a thing and passes its members in a fixed order; to read, it is given a blank one and makes another
//! of what it is told. So what is written and what is read cannot differ. Tables are `tables`'s, what all have in common
//! is `members`'s, histograms are `histogram`'s.

use std::{collections::BTreeMap, time::Duration};

use ipvs_observer_common::{Counters, Event, Loss, TCP_STATES};

use super::{
    columns::{Flaw, Walk},
    histogram::{Cut, activity},
    members::{
        count, duration, flag, list, maybe, maybe_duration, number, option, small, text, timestamp,
    },
    names::{Column, Plain},
    tables::{BLANK_DESTINATION_ID, BLANK_SERVICE_ID, destination_id, namespaces, service_id},
};
use crate::model::{
    activity::Activity,
    id::Netns,
    memory::Memory,
    sample::{Namespaces, Readings, Sample, ServerId, Timestamp},
    snapshot::ProbeHealth,
    split::OwnCost,
    states::{States, Sweep},
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

/// The events of an activity.
pub(super) fn events(walk: &mut impl Walk, of: Counters) -> Result<Counters, Flaw> {
    let mut made = of;
    for event in Event::ALL {
        made.0[event as usize] = walk.count(Column::Event(event), of.get(event))?;
    }
    Ok(made)
}
