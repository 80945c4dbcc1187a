//! Events for people, one aligned line each.

use std::{
    fmt::Arguments,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Lines, Lost, TableChange};
use crate::model::{
    event::{ConnectionEvent, What},
    id::ServiceId,
};

/// The longest name of an event.
const NAME: usize = 11;
/// `[2001:db8::1]:65535` and all of IPv4; longer ones push the rest to the right.
const ENDPOINT: usize = 21;

pub(super) fn event(lines: &mut Lines, event: &ConnectionEvent, out: &mut Vec<u8>) {
    head(lines, event.what.name(), event.at_ns, Some(event.cpu), out);
    endpoint(event.client, out);
    put(out, format_args!(" > "));
    match event.service {
        Some(ServiceId::Address { address, port, .. }) => endpoint(Some((address, port)), out),
        Some(ServiceId::FirewallMark { mark, .. }) => {
            put(
                out,
                format_args!("FWM {mark:<width$}", width = ENDPOINT - 4),
            );
        }
        None => endpoint(None, out),
    }
    put(out, format_args!(" > "));
    endpoint(
        event.server.map(|server| (server.address, server.port)),
        out,
    );
    match event.what {
        What::Opened | What::Established => {}
        What::Slow(stage, took_ns) => {
            put(out, format_args!("  {} {}", stage.name(), Time(took_ns)));
        }
        What::Ended(ending) => put(out, format_args!("  {}", ending.name())),
        What::Dropped(reason) => put(out, format_args!("  {}", reason.name())),
    }
    if let Some(trace) = &event.trace
        && !matches!(event.what, What::Slow(..))
    {
        for (stage, took_ns) in trace.stages() {
            put(out, format_args!("  {}={}", stage.name(), Time(took_ns)));
        }
    }
    if let (Some(trace), What::Ended(_)) = (&event.trace, event.what) {
        let ([packets, replies], [bytes, reply_bytes]) = (trace.packets, trace.bytes);
        put(
            out,
            format_args!("  in={packets}/{bytes}B out={replies}/{reply_bytes}B"),
        );
        if trace.syn_repeated > 0 {
            put(out, format_args!("  syn_repeated={}", trace.syn_repeated));
        }
    }
    if event.preexisting {
        put(out, format_args!("  preexisting"));
    }
    trim(out);
    out.push(b'\n');
}

pub(super) fn lost(lines: &mut Lines, lost: &Lost, out: &mut Vec<u8>) {
    head(lines, "lost", lost.at_ns, Some(lost.cpu), out);
    put(out, format_args!("{} events\n", lost.total()));
}

pub(super) fn change(lines: &mut Lines, change: &TableChange, out: &mut Vec<u8>) {
    head(lines, "config", change.at_ns, change.cpu, out);
    out.extend_from_slice(change.kind.as_bytes());
    if let Some(service) = change.service {
        put(out, format_args!(" {service}"));
    }
    if let Some(server) = change.server {
        put(out, format_args!(" > {server}"));
    }
    if let Some(process) = change.process {
        let name = process.name();
        put(
            out,
            format_args!("  by {} ({})", name.escape_default(), process.id),
        );
    }
    out.push(b'\n');
}

fn head(lines: &mut Lines, name: &str, at_ns: u64, cpu: Option<u32>, out: &mut Vec<u8>) {
    lines.wall.time(at_ns, out);
    match cpu {
        Some(cpu) => put(out, format_args!(" {cpu:>3} ")),
        None => put(out, format_args!("   - ")),
    }
    put(out, format_args!("{name:<NAME$} "));
}

/// Pads by what was written, since an address formats itself through a buffer only where it is padded.
fn endpoint(endpoint: Option<(IpAddr, u16)>, out: &mut Vec<u8>) {
    let start = out.len();
    match endpoint {
        Some((address, port)) => put(out, format_args!("{}", SocketAddr::new(address, port))),
        None => out.push(b'-'),
    }
    out.resize(out.len().max(start + ENDPOINT), b' ');
}

fn trim(out: &mut Vec<u8>) {
    let kept = out.trim_ascii_end().len();
    out.truncate(kept);
}

/// A time with the three digits that people read.
struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = Duration::from_nanos(self.0);
        match self.0 {
            0..1_000 => write!(f, "{time:?}"),
            1_000..1_000_000 => write!(f, "{time:.1?}"),
            _ => write!(f, "{time:.2?}"),
        }
    }
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    // Writing into memory does not fail.
    drop(out.write_fmt(text));
}
