//! Rules that make the table again when `ipvsadm -R` reads them.
//!
//! What ipvsadm has no option for gets one that it refuses, so that nothing is restored otherwise than it was.

use std::io::{self, Write};

use super::{
    names::Names,
    order::Order,
    page::{Page, naming_protocol},
    scheduling, tunnel,
};
use crate::{
    ipvs::table::{Destination, Service, Table},
    model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
};

/// Prints `-S`: sorted, without anything before the rules. Names are given without `-n`.
pub fn save(table: &Table, names: Option<&Names>, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page::new(out);
    let mut destinations = Vec::new();
    for service in Order::Sorted.services(table) {
        page.text("-A ");
        identity(&service.id, names, &mut page)?;
        schedule(service, &mut page);
        page.end_line()?;
        Order::Sorted.destinations(service, &mut destinations);
        for destination in &destinations {
            page.text("-a ");
            identity(&service.id, names, &mut page)?;
            server(destination, naming_protocol(&service.id), names, &mut page)?;
            page.end_line()?;
        }
    }
    page.finish()
}

fn identity(
    id: &ServiceId,
    names: Option<&Names>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            match protocol {
                Protocol::TCP => page.text("-t "),
                Protocol::UDP => page.text("-u "),
                Protocol::SCTP => page.text("--sctp-service "),
                Protocol(number) => {
                    page.text("--protocol-");
                    page.number(number);
                    page.text("-service ");
                }
            }
            page.endpoint(Some(protocol), address, port, names)
        }
        ServiceId::FirewallMark { mark, family } => {
            page.text("-f ");
            page.number(mark);
            if family == AddressFamily::Ipv6 {
                page.text(" -6");
            }
            Ok(())
        }
    }
}

fn schedule(service: &Service, page: &mut Page<'_, impl Write>) {
    page.text(" -s ");
    page.text(&service.scheduler);
    if service.is_persistent() {
        page.text(" -p ");
        match service.timeout_s {
            Some(timeout_s) => page.number(timeout_s),
            None => page.text("-"),
        }
        scheduling::mask(service, " -M ", page);
    }
    if let Some(engine) = &service.engine {
        page.text(" --pe ");
        page.text(engine);
    }
    if service.is_one_packet() {
        page.text(" -o");
    }
    scheduling::flags(service, " -b ", "", page);
}

fn server(
    destination: &Destination,
    protocol: Option<Protocol>,
    names: Option<&Names>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    page.text(" -r ");
    let DestinationId { address, port } = destination.id;
    page.endpoint(protocol, address, port, names)?;
    match destination.method {
        ForwardingMethod::Masquerade => page.text(" -m"),
        ForwardingMethod::Tunnel => page.text(" -i"),
        // The kernel itself makes a direct route local where the address is its own.
        ForwardingMethod::DirectRoute | ForwardingMethod::Local => page.text(" -g"),
        ForwardingMethod::Bypass | ForwardingMethod::Unknown(_) => {
            page.text(" --forwarding-method ");
            page.number(u32::from(destination.method));
        }
    }
    page.text(" -w ");
    page.number(destination.weight);
    let thresholds = destination.thresholds.unwrap_or_default();
    for (option, limit) in [(" -x ", thresholds.upper), (" -y ", thresholds.lower)] {
        if limit != 0 {
            page.text(option);
            page.number(limit);
        }
    }
    if destination.method == ForwardingMethod::Tunnel
        && let Some(tunnel) = destination.tunnel
    {
        tunnel::options(tunnel, page);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
