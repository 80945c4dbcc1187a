//! The metric families `node_ipvs_*` of `node_exporter`, as text that Prometheus reads.
//!
//! Names, types and labels are `node_exporter`'s, so that dashboards go on working. Different are: SCTP services have their
//! own real servers, and where one mark names services of both families and a real server is of the other family than its
//! service, the label `local_family` says which service is meant, since nothing else would. Of a network namespace that
//! was asked for, every sample has the label `netns`. The counters are of all services, as `/proc/net/ip_vs_stats` has
//! them; what is not known is left out.

use std::{fmt::Display, io};

use crate::{
    ipvs::table::{Destination, Service, Traffic},
    model::{
        id::{AddressFamily, ServiceId},
        listing::Listing,
    },
};

/// The two forms of the text. The samples are the same; they differ in what a counter is called where it is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `OpenMetrics` 1.0: the name of a counter's family is without `_total`, and the end is marked.
    OpenMetrics,
    /// Prometheus text 0.0.4, which `promtool check metrics`, `node_exporter`'s textfile collector and the Pushgateway take.
    Prometheus,
}

/// Writes the families that are known.
pub fn encode(listing: &Listing, form: Form, out: &mut impl io::Write) -> io::Result<()> {
    let netns = match &listing.netns {
        Some(netns) => format!("netns=\"{}\"", escape(netns)),
        None => String::new(),
    };
    if let Some(totals) = &listing.copied_totals {
        for counter in &COUNTERS {
            counter.encode(totals, &netns, form, out)?;
        }
    }
    for gauge in &GAUGES {
        gauge.encode(listing, &netns, out)?;
    }
    match form {
        Form::OpenMetrics => writeln!(out, "# EOF"),
        Form::Prometheus => Ok(()),
    }
}

/// A counter of all services.
struct Counter {
    /// Without `_total`.
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&Traffic) -> u64,
}

const COUNTERS: [Counter; 5] = [
    Counter {
        name: "node_ipvs_connections",
        unit: None,
        help: "Connections scheduled by IPVS.",
        value: |traffic| traffic.connections,
    },
    Counter {
        name: "node_ipvs_incoming_packets",
        unit: None,
        help: "Packets from clients.",
        value: |traffic| traffic.in_packets,
    },
    Counter {
        name: "node_ipvs_outgoing_packets",
        unit: None,
        help: "Packets to clients.",
        value: |traffic| traffic.out_packets,
    },
    Counter {
        name: "node_ipvs_incoming_bytes",
        unit: Some("bytes"),
        help: "Bytes from clients.",
        value: |traffic| traffic.in_bytes,
    },
    Counter {
        name: "node_ipvs_outgoing_bytes",
        unit: Some("bytes"),
        help: "Bytes to clients.",
        value: |traffic| traffic.out_bytes,
    },
];

impl Counter {
    fn encode(
        &self,
        totals: &Traffic,
        labels: &str,
        form: Form,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        let Self { name, help, .. } = self;
        let described = match form {
            Form::OpenMetrics => "",
            Form::Prometheus => "_total",
        };
        writeln!(out, "# TYPE {name}{described} counter")?;
        if let (Form::OpenMetrics, Some(unit)) = (form, self.unit) {
            writeln!(out, "# UNIT {name} {unit}")?;
        }
        writeln!(out, "# HELP {name}{described} {help}")?;
        let value = (self.value)(totals);
        if labels.is_empty() {
            writeln!(out, "{name}_total {value}")
        } else {
            writeln!(out, "{name}_total{{{labels}}} {value}")
        }
    }
}

/// A number of each real server.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&Destination) -> u32,
}

const GAUGES: [Gauge; 3] = [
    Gauge {
        name: "node_ipvs_backend_connections_active",
        help: "Connections of a real server in an established state.",
        value: |destination| destination.active,
    },
    Gauge {
        name: "node_ipvs_backend_connections_inactive",
        help: "Connections of a real server in any other state.",
        value: |destination| destination.inactive,
    },
    Gauge {
        name: "node_ipvs_backend_weight",
        help: "Share of new connections that a real server is given.",
        value: |destination| destination.weight,
    },
];

impl Gauge {
    fn encode(&self, listing: &Listing, labels: &str, out: &mut impl io::Write) -> io::Result<()> {
        let Self { name, help, value } = self;
        writeln!(out, "# TYPE {name} gauge")?;
        writeln!(out, "# HELP {name} {help}")?;
        let separator = if labels.is_empty() { "" } else { "," };
        for service in &listing.table.services {
            for destination in &service.destinations {
                write!(out, "{name}{{")?;
                identity(service, destination, out)?;
                writeln!(out, "{separator}{labels}}} {}", value(destination))?;
            }
        }
        Ok(())
    }
}

fn identity(
    service: &Service,
    destination: &Destination,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let remote = destination.id;
    let mut labels =
        |address: &dyn Display, port: u16, protocol: &dyn Display, mark: &dyn Display| {
            write!(out, "local_address=\"{address}\",local_port=\"{port}\",")?;
            write!(
                out,
                "remote_address=\"{}\",remote_port=\"{}\",",
                remote.address, remote.port
            )?;
            write!(out, "proto=\"{protocol}\",local_mark=\"{mark}\"")
        };
    match service.id {
        ServiceId::Address {
            protocol,
            address,
            port,
        } => labels(&address, port, &protocol, &""),
        ServiceId::FirewallMark { mark, family } => {
            // The mark is written as in `/proc/net/ip_vs`, where `node_exporter` takes it from.
            labels(&"", 0, &"FWM", &format_args!("{mark:08X}"))?;
            if family == AddressFamily::of(remote.address) {
                return Ok(());
            }
            let family = match family {
                AddressFamily::Ipv4 => "ipv4",
                AddressFamily::Ipv6 => "ipv6",
            };
            write!(out, ",local_family=\"{family}\"")
        }
    }
}

/// A label's value, as both forms escape it.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
