//! Events as JSON, one object in a line.

use std::{
    fmt::Arguments,
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use ipvs_observer_common::StreamLoss;

use super::{Lines, Lost, TableChange};
use crate::{
    model::{
        event::{ConnectionEvent, What},
        id::{AddressFamily, ForwardingMethod, Netns, ServiceId},
    },
    output::object::family_name,
};

pub(super) fn event(lines: &Lines, event: &ConnectionEvent, sequence: u64, out: &mut Vec<u8>) {
    head(
        lines,
        event.what.name(),
        event.at_ns,
        sequence,
        Some(event.cpu),
        out,
    );
    if let Some(Netns(inode)) = event.netns.or(lines.netns) {
        put(out, format_args!(",\"netns_inode\":{inode}"));
    }
    if let Some(service) = &event.service {
        self::service(service, out);
    }
    if let Some(server) = event.server {
        endpoint("server", server.address, server.port, out);
    }
    if let Some((address, port)) = event.client {
        endpoint("client", address, port, out);
    }
    if let Some(protocol) = event.protocol {
        put(out, format_args!(",\"packet_protocol\":\"{protocol}\""));
    }
    if let Some(method) = event.method {
        put(out, format_args!(",\"method\":\"{method}\""));
    }
    match event.what {
        What::Opened | What::Established => {}
        What::Slow(stage, took_ns) => {
            let stage = stage.name();
            put(
                out,
                format_args!(",\"stage\":\"{stage}\",\"took_ns\":{took_ns}"),
            );
        }
        What::Ended(ending) => put(out, format_args!(",\"outcome\":\"{}\"", ending.name())),
        What::Dropped(reason) => put(out, format_args!(",\"reason\":\"{}\"", reason.name())),
    }
    if let Some(age_ns) = event.age_ns {
        put(out, format_args!(",\"age_ns\":{age_ns}"));
    }
    trace(event, out);
    if event.preexisting {
        put(out, format_args!(",\"preexisting\":true"));
    }
    out.extend_from_slice(b"}\n");
}

pub(super) fn lost(lines: &Lines, lost: &Lost, sequence: u64, out: &mut Vec<u8>) {
    head(lines, "lost", lost.at_ns, sequence, Some(lost.cpu), out);
    put(out, format_args!(",\"lost\":{}", lost.total()));
    for (cause, count) in StreamLoss::ALL.into_iter().zip(lost.causes) {
        if count != 0 {
            put(out, format_args!(",\"{}\":{count}", cause.name()));
        }
    }
    out.extend_from_slice(b"}\n");
}

pub(super) fn change(lines: &Lines, change: &TableChange, sequence: u64, out: &mut Vec<u8>) {
    head(lines, "config", change.at_ns, sequence, None, out);
    let (Netns(inode), kind) = (change.netns, change.kind);
    put(
        out,
        format_args!(",\"netns_inode\":{inode},\"change\":\"{kind}\""),
    );
    service(&change.service, out);
    if let Some(server) = change.server {
        endpoint("server", server.address, server.port, out);
    }
    let members = change.settings.strip_prefix('{');
    let members = members.and_then(|rest| rest.strip_suffix('}'));
    if let Some(members) = members.filter(|members| !members.is_empty()) {
        put(out, format_args!(",{members}"));
    }
    out.extend_from_slice(b"}\n");
}

fn head(lines: &Lines, name: &str, at_ns: u64, sequence: u64, cpu: Option<u32>, out: &mut Vec<u8>) {
    let time = lines.wall(at_ns);
    put(
        out,
        format_args!(
            "{{\"event\":\"{name}\",\"time\":\"{time}\",\"monotonic_ns\":{at_ns},\"sequence\":{sequence}"
        ),
    );
    if let Some(cpu) = cpu {
        put(out, format_args!(",\"cpu\":{cpu}"));
    }
}

/// What the connection had so far: its stages, and at its end all that was counted.
fn trace(event: &ConnectionEvent, out: &mut Vec<u8>) {
    let Some(trace) = &event.trace else {
        return;
    };
    for (stage, took_ns) in trace.stages() {
        put(out, format_args!(",\"{}_ns\":{took_ns}", stage.name()));
    }
    if matches!(event.what, What::Opened) {
        return;
    }
    let ([in_packets, out_packets], [in_bytes, out_bytes]) = (trace.packets, trace.bytes);
    put(
        out,
        format_args!(",\"in_packets\":{in_packets},\"in_bytes\":{in_bytes}"),
    );
    // Where replies take another way, none is no answer.
    let is_seen = event.method.is_none_or(ForwardingMethod::has_return_path);
    if is_seen || out_packets > 0 {
        put(
            out,
            format_args!(",\"out_packets\":{out_packets},\"out_bytes\":{out_bytes}"),
        );
    }
    put(
        out,
        format_args!(",\"syn_repeated\":{}", trace.syn_repeated),
    );
    let mut separator = ",\"states\":[";
    for state in trace.states() {
        put(out, format_args!("{separator}\"{state}\""));
        separator = ",";
    }
    if separator == "," {
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
            let endpoint = SocketAddr::new(address, port);
            put(
                out,
                format_args!(
                    ",\"service\":\"{protocol} {endpoint}\",\"protocol\":\"{protocol}\",\"address\":\"{address}\",\"port\":{port}"
                ),
            );
        }
        ServiceId::FirewallMark { mark, family } => {
            let suffix = match family {
                AddressFamily::Ipv4 => "",
                AddressFamily::Ipv6 => " IPv6",
            };
            let family = family_name(family);
            put(
                out,
                format_args!(
                    ",\"service\":\"FWM {mark}{suffix}\",\"firewall_mark\":{mark},\"family\":\"{family}\""
                ),
            );
        }
    }
}

fn endpoint(name: &str, address: IpAddr, port: u16, out: &mut Vec<u8>) {
    put(
        out,
        format_args!(",\"{name}\":{{\"address\":\"{address}\",\"port\":{port}}}"),
    );
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    // Writing into memory does not fail.
    drop(out.write_fmt(text));
}
