//! The table of services and real servers.

use std::io::{self, Write};

use super::{
    names::Names,
    order::Order,
    page::{Page, naming_protocol},
    scheduling, tunnel,
};
use crate::{
    ipvs::table::{Destination, Info, Service, Stats, Traffic, TrafficRates},
    model::{
        id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId},
        listing::Listing,
    },
};

/// Characters of a service where figures follow it, and the most that one of an IPv4 address has anywhere.
const SERVICE_WIDTH: usize = 33;
/// The same of a real server.
const DESTINATION_WIDTH: usize = 28;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What each line says.
    pub columns: Columns,
    /// `--exact`: figures with all their digits.
    pub exact: bool,
    /// The order of the services, and of the real servers of each.
    pub order: Order,
    /// Whether this is the whole table, which begins with version and size, and not the one service asked for.
    pub whole: bool,
    /// What stands for addresses and ports; absent with `-n`.
    pub names: Option<&'a Names>,
}

/// What each line of the table says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// How services schedule; forwarding, weight and connections of real servers.
    #[default]
    Forwarding,
    /// `--stats`: counters.
    Stats,
    /// `--rate`: rates.
    Rate,
    /// `--thresholds`: how services schedule; thresholds and connections of real servers.
    Thresholds,
    /// `--persistent-conn`: how services schedule; weight and connections of real servers.
    PersistentConnections,
    /// `--tun-info`: as [`Columns::Forwarding`], with tunnels.
    Tunnel,
}

impl Columns {
    const fn header(self) -> &'static str {
        match self {
            Self::Forwarding => {
                "Prot LocalAddress:Port Scheduler Flags\n  \
                 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
            }
            Self::Stats => {
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
                 -> RemoteAddress:Port"
            }
            Self::Rate => {
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
                 -> RemoteAddress:Port"
            }
            Self::Thresholds => {
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
                 -> RemoteAddress:Port"
            }
            Self::PersistentConnections => {
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
                 -> RemoteAddress:Port"
            }
            Self::Tunnel => {
                "Prot LocalAddress:Port Scheduler Flags\n  \
                 -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn"
            }
        }
    }
}

/// Prints the table.
pub fn table(listing: &Listing, options: &Options<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page::new(out);
    if options.whole {
        version(listing.info, &mut page)?;
    }
    page.text(options.columns.header());
    page.end_line()?;
    let mut destinations = Vec::new();
    for service in options.order.services(&listing.table) {
        service_line(service, options, &mut page)?;
        options.order.destinations(service, &mut destinations);
        for destination in &destinations {
            destination_line(service, destination, options, &mut page)?;
        }
    }
    page.finish()
}

fn version(info: Info, page: &mut Page<'_, impl Write>) -> io::Result<()> {
    let [_, major, minor, patch] = info.version.to_be_bytes();
    for (text, number) in [
        ("IP Virtual Server version ", major),
        (".", minor),
        (".", patch),
    ] {
        page.text(text);
        page.number(number);
    }
    page.text(" (size=");
    page.number(info.connection_table_size);
    page.text(")");
    page.end_line()
}

fn service_line(
    service: &Service,
    options: &Options<'_>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    let start = page.position();
    identity(&service.id, options.names, page)?;
    match options.columns {
        Columns::Stats => {
            page.fill(start, SERVICE_WIDTH);
            figures(counters(service.stats), [options.exact; 5], page);
        }
        Columns::Rate => {
            page.fill(start, SERVICE_WIDTH);
            figures(rates(service.stats), [options.exact; 5], page);
        }
        Columns::Forwarding
        | Columns::Thresholds
        | Columns::PersistentConnections
        | Columns::Tunnel => schedule(service, page),
    }
    page.end_line()
}

fn identity(
    id: &ServiceId,
    names: Option<&Names>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    let start = page.position();
    match *id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => {
            page.protocol(protocol, 4)?;
            page.short_endpoint(Some(protocol), address, port, names)?;
            if address.is_ipv4() {
                page.cut(start, SERVICE_WIDTH);
            }
        }
        ServiceId::FirewallMark { mark, family } => {
            page.text("FWM  ");
            page.number(mark);
            if family == AddressFamily::Ipv6 {
                page.text(" IPv6");
            }
        }
    }
    Ok(())
}

fn schedule(service: &Service, page: &mut Page<'_, impl Write>) {
    page.text(" ");
    page.text(&service.scheduler);
    scheduling::flags(service, " (", ")", page);
    if service.is_persistent() {
        page.text(" persistent ");
        match service.timeout_s {
            Some(timeout_s) => page.number(timeout_s),
            None => page.text("-"),
        }
        scheduling::mask(service, " mask ", page);
        if let Some(engine) = &service.engine {
            page.text(" pe ");
            page.text(engine);
        }
    }
    if service.is_one_packet() {
        page.text(" ops");
    }
}

fn destination_line(
    service: &Service,
    destination: &Destination,
    options: &Options<'_>,
    page: &mut Page<'_, impl Write>,
) -> io::Result<()> {
    page.text("  -> ");
    let start = page.position();
    let DestinationId { address, port } = destination.id;
    page.short_endpoint(naming_protocol(&service.id), address, port, options.names)?;
    if address.is_ipv4() {
        page.cut(start, DESTINATION_WIDTH);
    }
    page.fill(start, DESTINATION_WIDTH);
    match options.columns {
        Columns::Forwarding => {
            method(destination.method, page);
            page.left(Some(destination.weight), 6);
            connections(destination, page);
        }
        Columns::Tunnel => {
            method(destination.method, page);
            tunnel_info(destination, page);
            page.left(Some(destination.weight), 6);
            connections(destination, page);
        }
        Columns::Thresholds => {
            let thresholds = destination.thresholds;
            page.left(thresholds.map(|thresholds| thresholds.upper), 10);
            page.left(thresholds.map(|thresholds| thresholds.lower), 10);
            connections(destination, page);
        }
        Columns::PersistentConnections => {
            page.left(Some(destination.weight), 9);
            page.left(destination.persistent, 11);
            connections(destination, page);
        }
        Columns::Stats => figures(counters(destination.stats), [options.exact; 5], page),
        Columns::Rate => {
            let exact = [true, true, true, options.exact, options.exact];
            figures(rates(destination.stats), exact, page);
        }
    }
    page.end_line()
}

fn connections(destination: &Destination, page: &mut Page<'_, impl Write>) {
    page.left(Some(destination.active), 10);
    page.left(Some(destination.inactive), 10);
}

fn method(method: ForwardingMethod, page: &mut Page<'_, impl Write>) {
    page.text(" ");
    let start = page.position();
    match method {
        ForwardingMethod::Masquerade => page.text("Masq"),
        ForwardingMethod::Local => page.text("Local"),
        ForwardingMethod::Tunnel => page.text("Tunnel"),
        ForwardingMethod::DirectRoute => page.text("Route"),
        ForwardingMethod::Bypass => page.text("Bypass"),
        ForwardingMethod::Unknown(number) => page.number(number),
    }
    page.fill(start, 7);
}

fn tunnel_info(destination: &Destination, page: &mut Page<'_, impl Write>) {
    page.text(" ");
    let start = page.position();
    match (destination.method, destination.tunnel) {
        (ForwardingMethod::Tunnel, Some(tunnel)) => tunnel::cell(tunnel, page),
        (ForwardingMethod::Tunnel, None) => page.text("-"),
        _ => page.text("n/a"),
    }
    page.fill(start, 13);
}

/// Connections, packets and bytes, each where it is known.
type Figures = [Option<u64>; 5];

fn counters(stats: Option<Stats>) -> Figures {
    stats.map_or([None; 5], |stats| {
        let Traffic {
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = stats.traffic;
        [connections, in_packets, out_packets, in_bytes, out_bytes].map(Some)
    })
}

fn rates(stats: Option<Stats>) -> Figures {
    stats
        .and_then(|stats| stats.rates)
        .map_or([None; 5], |rates| {
            let TrafficRates {
                connections,
                in_packets,
                out_packets,
                in_bytes,
                out_bytes,
            } = rates;
            [connections, in_packets, out_packets, in_bytes, out_bytes].map(whole)
        })
}

/// The integer below a rate, unless it is no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the fraction is not shown, and a rate is not negative"
)]
fn whole(rate: f64) -> Option<u64> {
    (rate.is_finite() && rate >= 0.0).then_some(rate as u64)
}

/// Figures to the right of their columns, each with all its digits where `exact` says so.
fn figures(figures: Figures, exact: [bool; 5], page: &mut Page<'_, impl Write>) {
    for (figure, exact) in figures.into_iter().zip(exact) {
        match figure {
            None => page.right_text("-", 9),
            Some(value) if exact => {
                page.text(" ");
                page.right(value, 8);
            }
            Some(value) => abbreviated(value, page),
        }
    }
}

/// Nine characters, the first of which is a blank below a trillion. Digits are left out, never rounded.
fn abbreviated(value: u64, page: &mut Page<'_, impl Write>) {
    let (number, unit) = match value {
        0..100_000_000 => return page.right(value, 9),
        100_000_000..1_000_000_000 => (value / 1_000, "K"),
        1_000_000_000..100_000_000_000 => (value / 1_000_000, "M"),
        100_000_000_000..100_000_000_000_000 => (value / 1_000_000_000, "G"),
        100_000_000_000_000.. => (value / 1_000_000_000_000, "T"),
    };
    page.right(number, 8);
    page.text(unit);
}

#[cfg(test)]
mod tests;
