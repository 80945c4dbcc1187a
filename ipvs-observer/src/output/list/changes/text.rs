//! Changes as lines: when, what happened, to whom, and what is set.

use std::io::{self, Write};

use super::{
    super::{page::Page, scheduling::flag_names, tunnel},
    kind, whose,
};
use crate::{
    ipvs::{
        table::{Destination, Netmask, Service},
        wire::IP_VS_SVC_F_HASHED,
    },
    model::{
        changes::{Change, DestinationField, Difference, ServiceField},
        listing::Listing,
    },
};

/// Flags that have no name: neither `persistent` and `ops`, nor one of [`flag_names`], nor the kernel's own.
const OTHER_FLAGS: u32 = !0x3F;

/// Writes a line for each change that `listing` shows, with its time. Of an edited entry it tells what is not as it was, of
/// another one what is set.
pub fn text(changes: &[Change<'_>], listing: &Listing, out: &mut impl Write) -> io::Result<()> {
    let time = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + listing.at.wall);
    let head = |change| {
        let subject = match whose(change) {
            (service, None) => service.to_string(),
            (service, Some(server)) => format!("{service} -> {server}"),
        };
        format!("{time}  {:<7}  {subject}", kind(change))
    };
    let heads: Vec<_> = changes.iter().map(head).collect();
    let width = heads.iter().map(String::len).max().unwrap_or_default();
    let mut page = Page::new(out);
    for (head, change) in heads.iter().zip(changes) {
        let start = page.position();
        page.text(head);
        page.fill(start, width);
        match change {
            Change::Service(difference) => {
                tell(
                    difference,
                    &SERVICE_FIELDS,
                    &mut page,
                    service_is_set,
                    service_value,
                );
            }
            Change::Destination { difference, .. } => {
                tell(
                    difference,
                    &SERVER_FIELDS,
                    &mut page,
                    server_is_set,
                    server_value,
                );
            }
        }
        page.end_line()?;
    }
    page.finish()
}

const SERVICE_FIELDS: [(ServiceField, &str); 5] = [
    (ServiceField::Scheduler, "scheduler"),
    (ServiceField::Flags, "flags"),
    (ServiceField::Timeout, "timeout"),
    (ServiceField::Netmask, "netmask"),
    (ServiceField::Engine, "engine"),
];

const SERVER_FIELDS: [(DestinationField, &str); 5] = [
    (DestinationField::Method, "method"),
    (DestinationField::Weight, "weight"),
    (DestinationField::UpperThreshold, "upper threshold"),
    (DestinationField::LowerThreshold, "lower threshold"),
    (DestinationField::Tunnel, "tunnel"),
];

/// Tells each field that is not as it was, or of an entry that came or went each that `is_set`, by its name and `value`.
fn tell<T, F: Copy + PartialEq, W: Write>(
    difference: &Difference<'_, T, F>,
    names: &[(F, &str)],
    page: &mut Page<'_, W>,
    is_set: impl Fn(F, &T) -> bool,
    value: impl Fn(F, &T, &mut Page<'_, W>),
) {
    let told = names.iter().filter(|&&(field, _)| match difference {
        Difference::Added(it) | Difference::Removed(it) => is_set(field, it),
        Difference::Edited { fields, .. } => fields.contains(&field),
    });
    let mut separator = "  ";
    for &(field, name) in told {
        page.text(separator);
        page.text(name);
        page.text(" ");
        match difference {
            Difference::Added(it) | Difference::Removed(it) => value(field, it, page),
            Difference::Edited { old, new, .. } => {
                value(field, old, page);
                page.text(" -> ");
                value(field, new, page);
            }
        }
        separator = ", ";
    }
}

fn service_is_set(field: ServiceField, service: &Service) -> bool {
    match field {
        ServiceField::Scheduler => true,
        ServiceField::Flags => service.flags & !IP_VS_SVC_F_HASHED != 0,
        ServiceField::Timeout | ServiceField::Netmask => service.is_persistent(),
        ServiceField::Engine => service.engine.is_some(),
    }
}

fn service_value(field: ServiceField, service: &Service, page: &mut Page<'_, impl Write>) {
    match field {
        ServiceField::Scheduler => page.text(&service.scheduler),
        ServiceField::Flags => flags(service, page),
        ServiceField::Timeout => match service.timeout_s {
            Some(timeout_s) => {
                page.number(timeout_s);
                page.text("s");
            }
            None => page.text("-"),
        },
        ServiceField::Netmask => match service.netmask {
            Some(Netmask::Ipv4(mask)) => page.octets(mask.octets()),
            Some(Netmask::Ipv6(length)) => page.number(length),
            None => page.text("-"),
        },
        ServiceField::Engine => page.text(service.engine.as_deref().unwrap_or("none")),
    }
}

/// By their names, and those that have none as a number.
fn flags(service: &Service, page: &mut Page<'_, impl Write>) {
    let persistent = service.is_persistent().then_some("persistent");
    let one_packet = service.is_one_packet().then_some("ops");
    let names = persistent.into_iter().chain(one_packet);
    let mut names: Vec<_> = names
        .chain(flag_names(service))
        .map(str::to_owned)
        .collect();
    let others = service.flags & OTHER_FLAGS;
    if others != 0 {
        names.push(format!("{others:#x}"));
    }
    if names.is_empty() {
        names.push("none".to_owned());
    }
    page.text(&names.join(","));
}

fn server_is_set(field: DestinationField, server: &Destination) -> bool {
    let thresholds = server.thresholds.unwrap_or_default();
    match field {
        DestinationField::Method | DestinationField::Weight => true,
        DestinationField::UpperThreshold => thresholds.upper != 0,
        DestinationField::LowerThreshold => thresholds.lower != 0,
        DestinationField::Tunnel => server.wrapping().is_some(),
    }
}

fn server_value(field: DestinationField, server: &Destination, page: &mut Page<'_, impl Write>) {
    let thresholds = server.thresholds;
    let number = match field {
        DestinationField::Method => return page.text(&server.method.to_string()),
        DestinationField::Tunnel => {
            return match server.wrapping() {
                Some(tunnel) => tunnel::cell(tunnel, page),
                None => page.text("none"),
            };
        }
        DestinationField::Weight => Some(server.weight),
        DestinationField::UpperThreshold => thresholds.map(|thresholds| thresholds.upper),
        DestinationField::LowerThreshold => thresholds.map(|thresholds| thresholds.lower),
    };
    match number {
        Some(number) => page.number(number),
        None => page.text("-"),
    }
}
