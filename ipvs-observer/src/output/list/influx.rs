//! Influx line protocol with the measurements of Telegraf's input `ipvs`.
//!
//! Measurements, tags and fields are those of its page, so that dashboards go on working; Telegraf's agent adds `host` to
//! them. Different are: counters have all their bits, up to the largest integer of the protocol; the netmask of IPv6 is the
//! prefix length; and where one mark names services of both families and a real server is of the other family than its
//! service, `virtual_address_family` says which service is meant, since nothing else would. Of a network namespace that was
//! asked for, every line has the tag `netns`. What is not known is left out, with the line if nothing is left.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use crate::{
    ipvs::table::{Destination, Netmask, Service, Stats},
    model::{
        id::{AddressFamily, Protocol, ServiceId},
        listing::Listing,
    },
};

/// Writes a line for each service and each real server, all with the time of the reading.
///
/// With `extra_fields` come the tag `host` and what Telegraf does not report: byte rates of both; weight, forwarding method,
/// persistent connections and thresholds of real servers. The method is a field, since a tag would make another series of
/// a real server that is edited.
pub fn encode(listing: &Listing, extra_fields: bool, out: &mut impl io::Write) -> io::Result<()> {
    let mut encoder = Encoder {
        listing,
        extra_fields,
        line: Line::default(),
    };
    for service in &listing.table.services {
        encoder.service(service)?;
        encoder.end(out)?;
        for destination in &service.destinations {
            encoder.destination(service, destination)?;
            encoder.end(out)?;
        }
    }
    Ok(())
}

struct Encoder<'a> {
    listing: &'a Listing,
    extra_fields: bool,
    line: Line,
}

impl Encoder<'_> {
    /// Tags are in the order of their names, as Telegraf writes them.
    fn service(&mut self, service: &Service) -> io::Result<()> {
        let id = service.id;
        self.line.start("ipvs_virtual_server")?;
        if let ServiceId::Address { address, .. } = id {
            self.line.tag("address", address)?;
        }
        self.line.tag("address_family", family(id.family()))?;
        if let ServiceId::FirewallMark { mark, .. } = id {
            self.line.tag("fwmark", mark)?;
        }
        self.host()?;
        if let Some(netmask) = service.netmask {
            self.line.tag("netmask", prefix_length(netmask))?;
        }
        self.netns()?;
        if let ServiceId::Address { protocol, port, .. } = id {
            self.line.tag("port", port)?;
            self.line.tag("protocol", protocol_name(protocol))?;
        }
        self.line.text_tag("sched", &service.scheduler)?;
        self.stats(service.stats.as_ref())
    }

    fn destination(&mut self, service: &Service, destination: &Destination) -> io::Result<()> {
        let id = destination.id;
        let own_family = AddressFamily::of(id.address);
        self.line.start("ipvs_real_server")?;
        self.line.tag("address", id.address)?;
        self.line.tag("address_family", family(own_family))?;
        self.host()?;
        self.netns()?;
        self.line.tag("port", id.port)?;
        match service.id {
            ServiceId::Address {
                protocol,
                address,
                port,
            } => {
                self.line.tag("virtual_address", address)?;
                self.line.tag("virtual_port", port)?;
                self.line.tag("virtual_protocol", protocol_name(protocol))?;
            }
            ServiceId::FirewallMark {
                mark,
                family: service_family,
            } => {
                if service_family != own_family {
                    self.line
                        .tag("virtual_address_family", family(service_family))?;
                }
                self.line.tag("virtual_fwmark", mark)?;
            }
        }
        self.line
            .integer("active_connections", destination.active.into())?;
        self.line
            .integer("inactive_connections", destination.inactive.into())?;
        self.stats(destination.stats.as_ref())?;
        if self.extra_fields {
            self.settings(destination)?;
        }
        Ok(())
    }

    fn settings(&mut self, destination: &Destination) -> io::Result<()> {
        self.line.integer("weight", destination.weight.into())?;
        self.line.text("method", destination.method)?;
        if let Some(persistent) = destination.persistent {
            self.line
                .integer("persistent_connections", persistent.into())?;
        }
        if let Some(thresholds) = destination.thresholds {
            self.line
                .integer("upper_threshold", thresholds.upper.into())?;
            self.line
                .integer("lower_threshold", thresholds.lower.into())?;
        }
        Ok(())
    }

    fn stats(&mut self, stats: Option<&Stats>) -> io::Result<()> {
        let Some(Stats { traffic, rates, .. }) = stats else {
            return Ok(());
        };
        self.line.integer("connections", traffic.connections)?;
        self.line.integer("pkts_in", traffic.in_packets)?;
        self.line.integer("pkts_out", traffic.out_packets)?;
        self.line.integer("bytes_in", traffic.in_bytes)?;
        self.line.integer("bytes_out", traffic.out_bytes)?;
        let Some(rates) = rates else {
            return Ok(());
        };
        self.line.rate("pps_in", rates.in_packets)?;
        self.line.rate("pps_out", rates.out_packets)?;
        self.line.rate("cps", rates.connections)?;
        if self.extra_fields {
            self.line.rate("bytes_per_s_in", rates.in_bytes)?;
            self.line.rate("bytes_per_s_out", rates.out_bytes)?;
        }
        Ok(())
    }

    fn host(&mut self) -> io::Result<()> {
        if self.extra_fields {
            self.line.text_tag("host", &self.listing.host)?;
        }
        Ok(())
    }

    fn netns(&mut self) -> io::Result<()> {
        if let Some(netns) = &self.listing.netns {
            self.line.text_tag("netns", netns)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        if !self.line.has_fields {
            return Ok(());
        }
        let time_ns = i64::try_from(self.listing.at.wall.as_nanos()).unwrap_or(i64::MAX);
        out.write_all(&self.line.text)?;
        writeln!(out, " {time_ns}")
    }
}

/// A line without its time, which is not written unless it says something.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    has_fields: bool,
}

impl Line {
    fn start(&mut self, measurement: &str) -> io::Result<()> {
        self.text.clear();
        self.has_fields = false;
        write!(self.text, "{measurement}")
    }

    /// A tag whose value has nothing to escape.
    fn tag(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        write!(self.text, ",{name}={value}")
    }

    /// A tag of any text. One that is empty or ends in a backslash cannot be written, and is left out as by Telegraf.
    fn text_tag(&mut self, name: &str, value: &str) -> io::Result<()> {
        if value.is_empty() || value.ends_with('\\') {
            return Ok(());
        }
        write!(self.text, ",{name}=")?;
        for letter in value.chars() {
            match letter {
                ',' | '=' | ' ' => write!(self.text, "\\{letter}")?,
                control if control.is_ascii_control() => {
                    write!(self.text, "{}", control.escape_default())?;
                }
                other => write!(self.text, "{other}")?,
            }
        }
        Ok(())
    }

    fn integer(&mut self, name: &str, value: u64) -> io::Result<()> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.field(name, format_args!("{value}i"))
    }

    /// Rates are integers, as Telegraf's are; a live one is the nearest.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a rate beyond the protocol's integers is the largest of them"
    )]
    fn rate(&mut self, name: &str, per_second: f64) -> io::Result<()> {
        self.field(name, format_args!("{}i", per_second.round() as i64))
    }

    /// A field of a text that has nothing to escape.
    fn text(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        self.field(name, format_args!("\"{value}\""))
    }

    fn field(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        let separator = if self.has_fields { ',' } else { ' ' };
        self.has_fields = true;
        write!(self.text, "{separator}{name}={value}")
    }
}

const fn family(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::Ipv4 => "inet",
        AddressFamily::Ipv6 => "inet6",
    }
}

fn protocol_name(protocol: Protocol) -> String {
    match protocol {
        Protocol::TCP => "tcp".to_owned(),
        Protocol::UDP => "udp".to_owned(),
        Protocol::SCTP => "sctp".to_owned(),
        Protocol(number) => number.to_string(),
    }
}

/// Of a mask that is not contiguous it is the number of its bits, as in Telegraf.
fn prefix_length(netmask: Netmask) -> u32 {
    match netmask {
        Netmask::Ipv4(mask) => mask.to_bits().count_ones(),
        Netmask::Ipv6(length) => length,
    }
}

#[cfg(test)]
mod tests;
