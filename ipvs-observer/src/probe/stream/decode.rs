//! Records of the ring buffer become events of the model: bytes in, no copy that is kept, nothing allocated.

use std::{
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipvs_observer_common::{
    Ending, Event, EventKind, KernelStack, Measure, STACK_FRAMES, STAGES, ServerKey, StackedEvent,
    StreamEvent, Trace,
};

use super::super::decode::{AF_INET, AF_INET6, server_id};
use crate::model::{
    event::{ConnectionEvent, ConnectionTrace, What},
    id::{ForwardingMethod, Netns, Protocol},
};

/// Of one record; `None` for one that these programs cannot have sent.
#[inline(always)]
pub(super) fn event(record: &[u8]) -> Option<ConnectionEvent> {
    let record: &Record = record.first_chunk()?;
    let at = |offset| u64_at(record, offset);
    let server = server_id(&server_key(record));
    let flags = record[offset_of!(StreamEvent, flags)];
    let method = record[offset_of!(StreamEvent, method)];
    let protocol = u16_at(record, offset_of!(StreamEvent, protocol));
    let (first_ns, last_ns) = (
        at(offset_of!(StreamEvent, first_ns)),
        at(offset_of!(StreamEvent, last_ns)),
    );
    let lost = offset_of!(StreamEvent, lost);
    Some(ConnectionEvent {
        at_ns: at(offset_of!(StreamEvent, at_ns)),
        cpu: u32_at(record, offset_of!(StreamEvent, cpu)),
        lost: [u32_at(record, lost), u32_at(record, lost + 4)],
        what: what(record)?,
        netns: server
            .map(|(netns, ..)| netns)
            .filter(|&netns| netns != Netns(0)),
        service: server.map(|(_, service, _)| service),
        server: server.and_then(|(.., server)| server),
        client: client(record),
        protocol: (protocol != 0).then_some(Protocol(protocol)),
        method: (method != StreamEvent::NO_METHOD)
            .then(|| ForwardingMethod::from(u32::from(method))),
        age_ns: (first_ns != 0).then(|| last_ns.saturating_sub(first_ns)),
        trace: (flags & StreamEvent::HAS_TRACE != 0).then(|| trace(record)),
        preexisting: flags & StreamEvent::PREEXISTING != 0,
    })
}

/// Puts the kernel stack that a record has into `frames`, innermost first, without what a tracepoint adds to it; nothing if
/// it has none.
#[inline(always)]
pub(super) fn stack(record: &[u8], frames: &mut Vec<u64>) {
    frames.clear();
    if record.len() != size_of::<StackedEvent>() {
        return;
    }
    let number = |offset: usize| {
        let offset = offset_of!(StackedEvent, stack) + offset;
        let bytes = record.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let count = number(offset_of!(KernelStack, bytes)) / 8;
    let count = usize::try_from(count).map_or(STACK_FRAMES, |count| count.min(STACK_FRAMES));
    let all = (0..count).map(|index| number(offset_of!(KernelStack, frames) + index * 8));
    frames.extend(all);
    let from = number(offset_of!(KernelStack, from));
    let first = frames.iter().position(|&frame| frame == from);
    frames.drain(..first.unwrap_or(0));
}

type Record = [u8; size_of::<StreamEvent>()];

#[inline(always)]
fn what(record: &Record) -> Option<What> {
    let number = u32_at(record, offset_of!(StreamEvent, kind)) as usize;
    let detail = u32_at(record, offset_of!(StreamEvent, detail)) as usize;
    Some(match EventKind::ALL.get(number)? {
        EventKind::Opened => What::Opened,
        EventKind::Established => What::Established,
        EventKind::Slow => What::Slow(
            *Measure::ALL.get(detail)?,
            u64_at(record, offset_of!(StreamEvent, value_ns)),
        ),
        EventKind::Closed | EventKind::Refused | EventKind::Unanswered => {
            What::Ended(*Ending::ALL.get(detail)?)
        }
        EventKind::Dropped => What::Dropped(*Event::ALL.get(detail)?),
    })
}

#[inline(always)]
fn client(record: &Record) -> Option<(IpAddr, u16)> {
    let offset = offset_of!(StreamEvent, client);
    let address = match u16_at(record, offset_of!(StreamEvent, client_family)) {
        AF_INET => IpAddr::V4(Ipv4Addr::from(bytes_at::<4>(record, offset))),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes_at::<16>(record, offset))),
        _ => return None,
    };
    let port = bytes_at(record, offset_of!(StreamEvent, client_port));
    Some((address, u16::from_be_bytes(port)))
}

#[inline(always)]
fn trace(record: &Record) -> ConnectionTrace {
    let at = |offset| u64_at(record, offset_of!(StreamEvent, trace) + offset);
    let pair = |offset| [at(offset), at(offset + 8)];
    let known = at(offset_of!(Trace, known));
    let mut stages_ns = [None; STAGES];
    for (index, stage) in stages_ns.iter_mut().enumerate() {
        let took_ns = at(offset_of!(Trace, stages_ns) + index * 8);
        *stage = (known >> index & 1 == 1).then_some(took_ns);
    }
    ConnectionTrace {
        packets: pair(offset_of!(Trace, packets)),
        bytes: pair(offset_of!(Trace, bytes)),
        syn_repeated: at(offset_of!(Trace, syn_repeated)),
        stages_ns,
        history: at(offset_of!(Trace, history)),
    }
}

#[inline(always)]
fn server_key(record: &Record) -> ServerKey {
    let base = offset_of!(StreamEvent, server);
    let number = |offset| u16_at(record, base + offset);
    ServerKey {
        virtual_address: bytes_at(record, base + offset_of!(ServerKey, virtual_address)),
        address: bytes_at(record, base + offset_of!(ServerKey, address)),
        netns: u32_at(record, base + offset_of!(ServerKey, netns)),
        firewall_mark: u32_at(record, base + offset_of!(ServerKey, firewall_mark)),
        family: number(offset_of!(ServerKey, family)),
        protocol: number(offset_of!(ServerKey, protocol)),
        virtual_port: number(offset_of!(ServerKey, virtual_port)),
        port: number(offset_of!(ServerKey, port)),
        server_family: number(offset_of!(ServerKey, server_family)),
        written: number(offset_of!(ServerKey, written)),
    }
}

/// Zero where the record ends before, which no member of it does.
#[inline(always)]
fn bytes_at<const N: usize>(record: &Record, offset: usize) -> [u8; N] {
    let bytes = record.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.copied().unwrap_or([0; N])
}

#[inline(always)]
fn u16_at(record: &Record, offset: usize) -> u16 {
    u16::from_le_bytes(bytes_at(record, offset))
}

#[inline(always)]
fn u32_at(record: &Record, offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(record, offset))
}

#[inline(always)]
fn u64_at(record: &Record, offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(record, offset))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use ipvs_observer_common::{
        Ending, KernelStack, Measure, STACK_FRAMES, ServerKey, StackedEvent, StreamEvent, Trace,
    };

    use super::{Record, event, stack};
    use crate::model::event::What;

    fn put(record: &mut Record, offset: usize, bytes: &[u8]) {
        record[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn closed() -> Record {
        let mut record = [0; size_of::<StreamEvent>()];
        let key = offset_of!(StreamEvent, server);
        let trace = offset_of!(StreamEvent, trace);
        for (offset, value) in [
            (offset_of!(StreamEvent, at_ns), 5_000_u64),
            (offset_of!(StreamEvent, first_ns), 1_000),
            (offset_of!(StreamEvent, last_ns), 4_000),
            (trace + offset_of!(Trace, packets), 6),
            (trace + offset_of!(Trace, packets) + 8, 5),
            (trace + offset_of!(Trace, history), 0x3145),
            (trace + offset_of!(Trace, stages_ns) + 8, 0),
            (
                trace + offset_of!(Trace, known),
                1 << Measure::Connect as u32,
            ),
        ] {
            put(&mut record, offset, &value.to_le_bytes());
        }
        put(&mut record, offset_of!(StreamEvent, kind), &[3]);
        put(&mut record, offset_of!(StreamEvent, detail), &[2]);
        put(&mut record, offset_of!(StreamEvent, lost), &[7, 0, 0, 0, 1]);
        put(
            &mut record,
            offset_of!(StreamEvent, client),
            &[198, 51, 100, 7],
        );
        put(&mut record, offset_of!(StreamEvent, client_family), &[2]);
        put(
            &mut record,
            offset_of!(StreamEvent, client_port),
            &[0x9c, 0x41],
        );
        put(&mut record, offset_of!(StreamEvent, flags), &[1]);
        put(&mut record, offset_of!(StreamEvent, method), &[3]);
        put(&mut record, key, &[192, 0, 2, 1]);
        put(&mut record, key + offset_of!(ServerKey, family), &[2]);
        put(&mut record, key + offset_of!(ServerKey, protocol), &[6]);
        put(
            &mut record,
            key + offset_of!(ServerKey, virtual_port),
            &[0, 80],
        );
        put(&mut record, key + offset_of!(ServerKey, netns), &[9]);
        put(&mut record, key + offset_of!(ServerKey, written), &[1]);
        record
    }

    #[test]
    fn every_member_of_a_record_finds_its_place() {
        let event = event(&closed()).unwrap();
        assert_eq!(event.what, What::Ended(Ending::ResetByServer));
        assert_eq!(
            (event.at_ns, event.age_ns, event.lost),
            (5_000, Some(3_000), [7, 1])
        );
        assert_eq!(event.service.unwrap().to_string(), "TCP 192.0.2.1:80");
        assert_eq!((event.server, event.protocol), (None, None));
        let (address, port) = event.client.unwrap();
        assert_eq!(
            (address.to_string().as_str(), port),
            ("198.51.100.7", 40_001)
        );
        assert_eq!(event.method.unwrap().to_string(), "Route");
        let trace = event.trace.unwrap();
        assert_eq!(trace.packets, [6, 5]);
        // A stage that took no time is known all the same.
        assert_eq!(trace.stages().collect::<Vec<_>>(), [(Measure::Connect, 0)]);
        let states: Vec<_> = trace.states().collect();
        assert_eq!(states, ["syn_recv", "established", "fin_wait", "time_wait"]);
    }

    /// A record with a stack of so many frames, from 1 on.
    fn stacked(count: u64, from: u64) -> Vec<u8> {
        let mut record = closed().to_vec();
        record.extend((1..=STACK_FRAMES as u64).flat_map(u64::to_le_bytes));
        record.extend((count * 8).to_le_bytes());
        record.extend(from.to_le_bytes());
        assert_eq!(record.len(), size_of::<StackedEvent>());
        assert_eq!(offset_of!(KernelStack, from), STACK_FRAMES * 8 + 8);
        record
    }

    #[test]
    fn a_stack_begins_where_a_tracepoint_was_reached() {
        let mut frames = vec![7];
        for (record, expected) in [
            (closed().to_vec(), &[][..]),
            (stacked(0, 0), &[]),
            (stacked(3, 0), &[1, 2, 3]),
            (stacked(3, 2), &[2, 3]),
            // Not among them: all is told.
            (stacked(3, 9), &[1, 2, 3]),
        ] {
            stack(&record, &mut frames);
            assert_eq!(frames, expected);
        }
        // No more than there is room for, whatever the record says.
        stack(&stacked(u64::MAX / 8, 0), &mut frames);
        assert_eq!(frames.len(), STACK_FRAMES);
        assert_eq!(event(&stacked(3, 0)), event(&closed()));
    }

    #[test]
    fn what_no_program_sends_is_no_event() {
        assert_eq!(event(&[]), None);
        assert_eq!(event(&closed()[1..]), None);
        for member in [
            offset_of!(StreamEvent, kind),
            offset_of!(StreamEvent, detail),
        ] {
            let mut record = closed();
            put(&mut record, member, &[200]);
            assert_eq!(event(&record), None);
        }
    }
}
