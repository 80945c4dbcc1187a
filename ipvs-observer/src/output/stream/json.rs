//! Events as JSON, one object in a line.

use std::{io::Write as _, net::IpAddr};

use ipvs_observer_common::{Ending, Measure, StreamLoss, TCP_STATE_NAMES};
use serde_json::Value;

use super::{
    Lines, Lost, Stack, TableChange,
    write::{Short, address, number, socket, text},
};
use crate::{
    model::{
        event::{ConnectionEvent, What},
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
    },
    output::object::family_name,
};

pub(super) fn event(
    lines: &mut Lines,
    event: &ConnectionEvent,
    stack: Option<Stack<'_>>,
    sequence: u64,
    out: &mut Vec<u8>,
) {
    head(
        lines,
        event.what.name(),
        event.at_ns,
        sequence,
        Some(event.cpu),
        out,
    );
    lines.places.write(
        &Place {
            netns: event.netns.or(lines.netns),
            service: event.service,
            server: event.server,
        },
        out,
    );
    if let Some((address, port)) = event.client {
        endpoint(",\"client\":{\"address\":\"", address, port, out);
    }
    if let Some(protocol) = event.protocol {
        text(",\"packet_protocol\":\"", out);
        self::protocol(protocol, out);
        out.push(b'"');
    }
    if let Some(method) = event.method {
        text(",\"method\":\"", out);
        self::method(method, out);
        out.push(b'"');
    }
    match event.what {
        What::Opened | What::Established => {}
        What::Slow(stage, took_ns) => {
            name(",\"stage\":\"", stage.name(), out);
            member(",\"took_ns\":", took_ns, out);
        }
        What::Ended(ending) => {
            text(",\"outcome\":", out);
            ENDINGS[ending as usize].write(out);
        }
        What::Dropped(reason) => name(",\"reason\":\"", reason.name(), out),
    }
    if let Some(age_ns) = event.age_ns {
        member(",\"age_ns\":", age_ns, out);
    }
    trace(event, out);
    if event.preexisting {
        text(",\"preexisting\":true", out);
    }
    if let Some(stack) = stack {
        super::stack::json(stack, out);
    }
    text("}\n", out);
}

/// Where an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    netns: Option<Netns>,
    service: Option<ServiceId>,
    server: Option<DestinationId>,
}

/// How places are written, of which events have the same few: the last that had each of so many numbers.
#[derive(Clone, Debug)]
pub(super) struct Places(Vec<(Option<Place>, Vec<u8>)>);

impl Places {
    const COUNT: usize = 64;
    /// Of the longest addresses.
    const BYTES: usize = 384;

    pub(super) fn new() -> Self {
        let place = || (None, Vec::with_capacity(Self::BYTES));
        Self((0..Self::COUNT).map(|_| place()).collect())
    }

    fn write(&mut self, place: &Place, out: &mut Vec<u8>) {
        let number = place.server.map_or(0, |server| {
            let last = match server.address {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(address) => address.octets()[15],
            };
            usize::from(last) ^ usize::from(server.port)
        });
        let Some((known, written)) = self.0.get_mut(number % Self::COUNT) else {
            return;
        };
        if known.as_ref() != Some(place) {
            *known = Some(*place);
            written.clear();
            place.write(written);
        }
        out.extend_from_slice(written);
    }
}

impl Place {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(Netns(inode)) = self.netns {
            member(",\"netns_inode\":", inode, out);
        }
        if let Some(service) = &self.service {
            self::service(service, out);
        }
        if let Some(server) = self.server {
            endpoint(
                ",\"server\":{\"address\":\"",
                server.address,
                server.port,
                out,
            );
        }
    }
}

pub(super) fn lost(lines: &mut Lines, lost: &Lost, sequence: u64, out: &mut Vec<u8>) {
    head(lines, "lost", lost.at_ns, sequence, Some(lost.cpu), out);
    member(",\"lost\":", lost.total(), out);
    for (cause, count) in StreamLoss::ALL.into_iter().zip(lost.causes) {
        if count != 0 {
            text(",\"", out);
            text(cause.name(), out);
            member("\":", count, out);
        }
    }
    text("}\n", out);
}

pub(super) fn change(lines: &mut Lines, change: &TableChange, sequence: u64, out: &mut Vec<u8>) {
    head(lines, "config", change.at_ns, sequence, change.cpu, out);
    member(",\"netns_inode\":", change.netns.0, out);
    name(",\"change\":\"", change.kind, out);
    if let Some(service) = &change.service {
        self::service(service, out);
    }
    if let Some(server) = change.server {
        endpoint(
            ",\"server\":{\"address\":\"",
            server.address,
            server.port,
            out,
        );
    }
    if let Some(process) = &change.process {
        member(",\"process\":{\"pid\":", process.id, out);
        text(",\"comm\":", out);
        text(&Value::from(process.name()).to_string(), out);
        out.push(b'}');
    }
    let members = change.settings.strip_prefix('{');
    let members = members.and_then(|rest| rest.strip_suffix('}'));
    if let Some(members) = members.filter(|members| !members.is_empty()) {
        out.push(b',');
        text(members, out);
    }
    text("}\n", out);
}

fn head(
    lines: &mut Lines,
    name: &str,
    at_ns: u64,
    sequence: u64,
    cpu: Option<u32>,
    out: &mut Vec<u8>,
) {
    text("{\"event\":\"", out);
    text(name, out);
    text("\",\"time\":\"", out);
    lines.wall.time(at_ns, out);
    member("\",\"monotonic_ns\":", at_ns, out);
    member(",\"sequence\":", sequence, out);
    if let Some(cpu) = cpu {
        member(",\"cpu\":", cpu, out);
    }
}

/// The name of the member that says what each stage took.
static STAGE_MEMBERS: [Short; Measure::ALL.len()] = {
    let mut members = [Short::new([""; 3]); Measure::ALL.len()];
    let mut index = 0;
    while index < members.len() {
        members[index] = Short::new([",\"", Measure::ALL[index].name(), "_ns\":"]);
        index += 1;
    }
    members
};

/// Each ending as a text.
static ENDINGS: [Short; Ending::ALL.len()] = {
    let mut endings = [Short::new([""; 3]); Ending::ALL.len()];
    let mut index = 0;
    while index < endings.len() {
        endings[index] = Short::new(["\"", Ending::ALL[index].name(), "\""]);
        index += 1;
    }
    endings
};

/// Each state as a text.
static STATES: [Short; TCP_STATE_NAMES.len()] = {
    let mut states = [Short::new([""; 3]); TCP_STATE_NAMES.len()];
    let mut index = 0;
    while index < states.len() {
        states[index] = Short::new(["\"", TCP_STATE_NAMES[index], "\""]);
        index += 1;
    }
    states
};

/// What the connection had so far: its stages, and at its end all that was counted.
fn trace(event: &ConnectionEvent, out: &mut Vec<u8>) {
    let Some(trace) = &event.trace else {
        return;
    };
    for (stage, took_ns) in trace.stages() {
        STAGE_MEMBERS[stage as usize].write(out);
        number(took_ns, out);
    }
    if matches!(event.what, What::Opened) {
        return;
    }
    let ([in_packets, out_packets], [in_bytes, out_bytes]) = (trace.packets, trace.bytes);
    member(",\"in_packets\":", in_packets, out);
    member(",\"in_bytes\":", in_bytes, out);
    // Where replies take another way, none is no answer.
    let is_seen = event.method.is_none_or(ForwardingMethod::has_return_path);
    if is_seen || out_packets > 0 {
        member(",\"out_packets\":", out_packets, out);
        member(",\"out_bytes\":", out_bytes, out);
    }
    member(",\"syn_repeated\":", trace.syn_repeated, out);
    let mut is_first = true;
    for state in trace.state_numbers() {
        if is_first {
            text(",\"states\":[", out);
        } else {
            out.push(b',');
        }
        is_first = false;
        STATES[state].write(out);
    }
    if !is_first {
        out.push(b']');
    }
}

fn service(id: &ServiceId, out: &mut Vec<u8>) {
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            text(",\"service\":\"", out);
            self::protocol(protocol, out);
            out.push(b' ');
            socket(address, port, out);
            text("\",\"protocol\":\"", out);
            self::protocol(protocol, out);
            text("\",\"address\":\"", out);
            self::address(address, out);
            member("\",\"port\":", port, out);
        }
        ServiceId::FirewallMark { mark, family } => {
            member(",\"service\":\"FWM ", mark, out);
            text(
                match family {
                    AddressFamily::Ipv4 => "",
                    AddressFamily::Ipv6 => " IPv6",
                },
                out,
            );
            member("\",\"firewall_mark\":", mark, out);
            name(",\"family\":\"", family_name(family), out);
        }
    }
}

/// `start` begins the object and its first member.
fn endpoint(start: &str, ip: IpAddr, port: u16, out: &mut Vec<u8>) {
    text(start, out);
    address(ip, out);
    member("\",\"port\":", port, out);
    out.push(b'}');
}

fn protocol(protocol: Protocol, out: &mut Vec<u8>) {
    match protocol {
        Protocol::TCP => text("TCP", out),
        Protocol::UDP => text("UDP", out),
        other => drop(write!(out, "{other}")),
    }
}

fn method(method: ForwardingMethod, out: &mut Vec<u8>) {
    if method == ForwardingMethod::Masquerade {
        text("Masq", out);
    } else {
        drop(write!(out, "{method}"));
    }
}

/// A member whose value is a number.
#[inline(always)]
fn member(start: &str, value: impl Into<u64>, out: &mut Vec<u8>) {
    text(start, out);
    number(value, out);
}

/// A member whose value is a name of ours, which needs no escapes.
#[inline(always)]
fn name(start: &str, value: &str, out: &mut Vec<u8>) {
    text(start, out);
    text(value, out);
    out.push(b'"');
}
