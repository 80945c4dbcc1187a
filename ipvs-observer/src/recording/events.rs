//! Events of single connections in a recording; written and read as `shape` does.
//!
//! A frame has the kinds of its events, and where they happened, once each: an event names both by their numbers. Kinds are
//! texts, so that one of a later program is passed over. An event does not say what was lost before it; the frame does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipvs_observer_common::{Ending, Event, EventKind, Measure, STAGES, StreamLoss};

use super::{
    columns::{Flaw, Walk, difference, sum},
    members::{count, flag, list, maybe, number, small, text},
    names::{Column, Plain},
    tables::{BLANK_DESTINATION_ID, BLANK_SERVICE_ID, destination_id, service_id},
};
use crate::model::{
    event::{ConnectionEvent, ConnectionTrace, What},
    id::{DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
};

/// Which events a recording has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsAsked {
    /// Their kinds.
    pub kinds: Vec<EventKind>,
    /// Of one of so many connections.
    pub sample: u32,
    /// The filters, as they were typed.
    pub filters: Vec<String>,
}

/// Events that followed each other, and what else there would have been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// In the order in which the programs sent them; [`ConnectionEvent::lost`] is not kept.
    pub events: Vec<ConnectionEvent>,
    /// By CPU and [`StreamLoss`]; CPUs that lost nothing are left out.
    pub lost: Vec<(u32, [u64; StreamLoss::ALL.len()])>,
    /// Events that the disk was too slow for.
    pub unwritten: u64,
    /// Events that a filter kept back.
    pub filtered: u64,
    /// Events of connections outside of the sample.
    pub sampled: u64,
    /// Connections whose events lack packets and bytes for want of room.
    pub untraced: u64,
}

impl Events {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What many events have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Where {
    netns: Option<Netns>,
    service: Option<ServiceId>,
    server: Option<DestinationId>,
    protocol: Option<u16>,
    method: Option<u32>,
}

impl Where {
    fn of(event: &ConnectionEvent) -> Self {
        Self {
            netns: event.netns,
            service: event.service,
            server: event.server,
            protocol: event.protocol.map(|protocol| protocol.0),
            method: event.method.map(u32::from),
        }
    }
}

/// The two tables of a frame.
#[derive(Default)]
struct Tables {
    kinds: Vec<String>,
    wheres: Vec<Where>,
}

/// Where the events to be written are in the tables.
#[derive(Default)]
struct Places {
    kinds: BTreeMap<String, u64>,
    wheres: BTreeMap<Where, u64>,
}

const NO_TRACE: ConnectionTrace = ConnectionTrace {
    packets: [0; 2],
    bytes: [0; 2],
    syn_repeated: 0,
    stages_ns: [None; STAGES],
    history: 0,
};
const BLANK: ConnectionEvent = ConnectionEvent {
    at_ns: 0,
    cpu: 0,
    lost: [0; 2],
    what: What::Opened,
    netns: None,
    service: None,
    server: None,
    client: None,
    protocol: None,
    method: None,
    age_ns: None,
    trace: None,
    preexisting: false,
};

/// One frame of events.
pub(super) fn events(walk: &mut impl Walk, of: &Events) -> Result<Events, Flaw> {
    let (tables, places) = tables(&of.events);
    let tables = Tables {
        kinds: list(
            walk,
            Plain::ToldTexts,
            &tables.kinds,
            &String::new(),
            |walk, of| text(walk, of),
        )?,
        wheres: list(
            walk,
            Plain::ToldWheres,
            &tables.wheres,
            &Where::default(),
            place,
        )?,
    };
    let told = list(walk, Plain::ToldEvents, &of.events, &BLANK, |walk, of| {
        event(walk, of, &tables, &places)
    })?;
    let blank = (0, [0; StreamLoss::ALL.len()]);
    Ok(Events {
        events: told.into_iter().flatten().collect(),
        lost: list(walk, Plain::ToldLosses, &of.lost, &blank, |walk, of| {
            let cpu = small(walk, Plain::ToldLostCpu, of.0)?;
            let mut causes = of.1;
            for cause in &mut causes {
                *cause = count(walk, Plain::ToldLost, *cause)?;
            }
            Ok((cpu, causes))
        })?,
        unwritten: count(walk, Plain::ToldUnwritten, of.unwritten)?,
        filtered: count(walk, Plain::ToldFiltered, of.filtered)?,
        sampled: count(walk, Plain::ToldSampled, of.sampled)?,
        untraced: count(walk, Plain::ToldUntraced, of.untraced)?,
    })
}

fn tables(events: &[ConnectionEvent]) -> (Tables, Places) {
    let (mut tables, mut places) = (Tables::default(), Places::default());
    for event in events {
        let (name, place) = (name(event.what), Where::of(event));
        places.kinds.entry(name).or_insert_with_key(|name| {
            tables.kinds.push(name.clone());
            tables.kinds.len() as u64 - 1
        });
        places.wheres.entry(place).or_insert_with(|| {
            tables.wheres.push(place);
            tables.wheres.len() as u64 - 1
        });
    }
    (tables, places)
}

/// A kind with its detail.
fn name(what: What) -> String {
    let detail = match what {
        What::Opened | What::Established => return what.name().to_owned(),
        What::Slow(stage, _) => stage.name(),
        What::Ended(ending) => ending.name(),
        What::Dropped(reason) => reason.name(),
    };
    format!("{} {detail}", what.name())
}

/// What a name stands for; none for what this program does not know.
fn what(name: &str, took_ns: u64) -> Option<What> {
    let (kind, detail) = name.split_once(' ').unwrap_or((name, ""));
    let mut kinds = EventKind::ALL.into_iter();
    Some(match kinds.find(|its| its.name() == kind)? {
        EventKind::Opened => What::Opened,
        EventKind::Established => What::Established,
        EventKind::Slow => {
            let mut stages = Measure::ALL.into_iter();
            What::Slow(stages.find(|stage| stage.name() == detail)?, took_ns)
        }
        EventKind::Closed | EventKind::Refused | EventKind::Unanswered => {
            let mut endings = Ending::ALL.into_iter();
            What::Ended(endings.find(|ending| ending.name() == detail)?)
        }
        EventKind::Dropped => {
            let mut reasons = Event::ALL.into_iter();
            What::Dropped(reasons.find(|reason| reason.name() == detail)?)
        }
    })
}

fn place(walk: &mut impl Walk, of: &Where) -> Result<Where, Flaw> {
    let netns = of.netns.map(|netns| u64::from(netns.0));
    let netns = small_of(maybe(walk, Plain::ToldNetns, netns)?)?;
    let has_service = flag(walk, Plain::ToldHas, of.service.is_some())?;
    let service = has_service
        .then(|| service_id(walk, &of.service.unwrap_or(BLANK_SERVICE_ID)))
        .transpose()?;
    let has_server = flag(walk, Plain::ToldHas, of.server.is_some())?;
    let server = has_server
        .then(|| destination_id(walk, &of.server.unwrap_or(BLANK_DESTINATION_ID)))
        .transpose()?;
    let protocol = maybe(walk, Plain::ToldProtocol, of.protocol.map(u64::from))?;
    let method = maybe(walk, Plain::ToldMethod, of.method.map(u64::from))?;
    Ok(Where {
        netns: netns.map(Netns),
        service,
        server,
        protocol: small_of(protocol)?,
        method: small_of(method)?,
    })
}

fn small_of<T: TryFrom<u64>>(value: Option<u64>) -> Result<Option<T>, Flaw> {
    let value = value.map(T::try_from).transpose();
    value.map_err(|_wider| "a number is too large for what it means")
}

/// One event; none for one of a kind that this program does not know.
fn event(
    walk: &mut impl Walk,
    of: &ConnectionEvent,
    tables: &Tables,
    places: &Places,
) -> Result<Option<ConnectionEvent>, Flaw> {
    let kind = places.kinds.get(&name(of.what)).copied();
    let kind = number(walk, Plain::ToldKind, kind.unwrap_or_default())?;
    let name = entry(&tables.kinds, kind)?;
    let given = places.wheres.get(&Where::of(of)).copied();
    let given = number(walk, Plain::ToldWhere, given.unwrap_or_default())?;
    let Where {
        netns,
        service,
        server,
        protocol,
        method,
    } = *entry(&tables.wheres, given)?;
    let took_ns = match of.what {
        What::Slow(_, took_ns) => took_ns,
        What::Opened | What::Established | What::Ended(_) | What::Dropped(_) => 0,
    };
    let at_ns = number(walk, Plain::ToldAt, of.at_ns)?;
    let cpu = small(walk, Plain::ToldCpu, of.cpu)?;
    let took_ns = number(walk, Plain::ToldTook, took_ns)?;
    let client = client(walk, of.client)?;
    let age_ns = number(
        walk,
        Plain::ToldAge,
        of.age_ns.map_or(0, |age| age.saturating_add(1)),
    )?
    .checked_sub(1);
    let flags = u8::from(of.trace.is_some()) | u8::from(of.preexisting) << 1;
    let flags = number(walk, Plain::ToldFlags, flags.into())?;
    let trace = (flags & 1 == 1)
        .then(|| trace(walk, &of.trace.unwrap_or(NO_TRACE), age_ns))
        .transpose()?;
    Ok(what(name, took_ns).map(|what| ConnectionEvent {
        at_ns,
        cpu,
        lost: [0; 2],
        what,
        netns,
        service,
        server,
        client,
        protocol: protocol.map(Protocol),
        method: method.map(ForwardingMethod::from),
        age_ns,
        trace,
        preexisting: flags & 2 != 0,
    }))
}

fn entry<T>(table: &[T], place: u64) -> Result<&T, Flaw> {
    let place = usize::try_from(place).ok();
    let entry = place.and_then(|place| table.get(place));
    entry.ok_or("an event names what its frame does not have")
}

fn client(walk: &mut impl Walk, of: Option<(IpAddr, u16)>) -> Result<Option<(IpAddr, u16)>, Flaw> {
    let (kind, bits, port) = match of {
        None => (0, 0, 0),
        Some((IpAddr::V4(address), port)) => (1, u128::from(address.to_bits()), port),
        Some((IpAddr::V6(address), port)) => (2, address.to_bits(), port),
    };
    let kind = number(walk, Plain::ToldClientKind, kind)?;
    if kind == 0 {
        return Ok(None);
    }
    let high = u64::try_from(bits >> u64::BITS).unwrap_or_default();
    let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    let address = if kind == 1 {
        let low = number(walk, Plain::ToldClientLow, low)?;
        let bits = u32::try_from(low).map_err(|_wider| "an address of IPv4 is too long")?;
        Ipv4Addr::from_bits(bits).into()
    } else {
        let high = number(walk, Plain::ToldClientHigh, high)?;
        let low = number(walk, Plain::ToldClientLow, low)?;
        Ipv6Addr::from_bits(u128::from(high) << u64::BITS | u128::from(low)).into()
    };
    Ok(Some((address, small(walk, Plain::ToldClientPort, port)?)))
}

fn trace(
    walk: &mut impl Walk,
    of: &ConnectionTrace,
    age_ns: Option<u64>,
) -> Result<ConnectionTrace, Flaw> {
    let [packets, replies] = of.packets;
    let [bytes, reply_bytes] = of.bytes;
    let known = of.stages_ns.iter().enumerate();
    let known = known.filter(|(_, stage)| stage.is_some());
    let known = number(
        walk,
        Plain::ToldStages,
        known.map(|(place, _)| 1_u64 << place).sum(),
    )?;
    let mut stages_ns = [None; STAGES];
    for measure in Measure::ALL.into_iter().take(STAGES) {
        let place = measure as usize;
        if known >> place & 1 == 1 {
            let expected = expected_ns(measure, &stages_ns, age_ns);
            let given = of.stages_ns[place].unwrap_or_default();
            let residual = walk.number(Column::Stage(measure), difference(given, expected))?;
            stages_ns[place] = Some(sum(expected, residual));
        }
    }
    Ok(ConnectionTrace {
        packets: [
            count(walk, Plain::ToldPackets, packets)?,
            count(walk, Plain::ToldReplies, replies)?,
        ],
        bytes: [
            number(walk, Plain::ToldBytes, bytes)?,
            number(walk, Plain::ToldReplyBytes, reply_bytes)?,
        ],
        syn_repeated: count(walk, Plain::ToldSyns, of.syn_repeated)?,
        stages_ns,
        history: number(walk, Plain::ToldHistory, of.history)?,
    })
}

/// A handshake is the way to the server and the way to the client, and a duration is an age.
fn expected_ns(measure: Measure, before: &[Option<u64>; STAGES], age_ns: Option<u64>) -> u64 {
    let of = |measure: Measure| before[measure as usize];
    let expected = match measure {
        Measure::Handshake => of(Measure::Connect)
            .zip(of(Measure::Client))
            .map(|(connect, client)| connect.wrapping_add(client)),
        Measure::Duration => age_ns,
        Measure::Schedule
        | Measure::Connect
        | Measure::Client
        | Measure::FirstByte
        | Measure::Response
        | Measure::Xmit
        | Measure::Hook
        | Measure::Estimator => None,
    };
    expected.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::EventKind;

    use super::{Events, events, what};
    use crate::recording::{
        columns::{Before, Packer, Unpacker},
        names,
        testing::some_events,
    };

    fn packed(events: &Events, before: &mut Before) -> Vec<u8> {
        let mut packer = Packer::new();
        super::events(&mut packer, events).unwrap();
        packer.pack(before).bytes
    }

    #[test]
    fn whatever_an_event_has_is_kept() {
        let given = Events {
            events: some_events(500),
            lost: vec![(3, [9, 0]), (7, [1, 2])],
            unwritten: 5,
            filtered: 4,
            sampled: 3,
            untraced: 2,
        };
        let kinds: Vec<_> = EventKind::ALL.map(EventKind::name).into();
        let names: Vec<_> = given.events.iter().map(|event| event.what.name()).collect();
        assert!(kinds.iter().all(|kind| names.contains(kind)));
        let places: Vec<_> = names::all().map(Some).collect();
        let (mut written, mut read) = (
            Before::nothing(names::COLUMNS),
            Before::nothing(names::COLUMNS),
        );
        for _ in 0..2 {
            let bytes = packed(&given, &mut written);
            let mut columns = Unpacker::unpack(&bytes, &places, &mut read).unwrap();
            assert_eq!(events(&mut columns, &Events::default()).unwrap(), given);
            columns.finish().unwrap();
        }
    }

    #[test]
    fn a_kind_of_a_later_program_is_passed_over() {
        assert_eq!(what("paused client", 0), None);
        assert_eq!(what("closed by_lightning", 0), None);
    }
}
