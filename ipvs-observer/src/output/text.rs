//! Plain blocks for people: a header, then services and under each its real servers, in at most 120 columns.

pub(super) mod explain;
mod latency;
pub(in crate::output) mod number;
mod rows;
mod states;

use std::time::Duration;

use ipvs_observer_common::Event;

use crate::{
    cli::SortColumn,
    model::{
        activity::Activity,
        circumstances::Bite,
        id::Netns,
        latency::Percentiles,
        snapshot::{ProbeHealth, Row, ServiceRow, Snapshot},
    },
};

use self::{number::short, rows::Rows};
use super::memory;

/// What a terminal is expected to have.
const COLUMNS: usize = 120;
/// Between facts that stand side by side.
const GAP: &str = "   ";
/// Columns of the name of a service or server.
const NAME_COLUMNS: usize = 33;

/// The snapshot as one block; the last one shows the whole run.
pub fn encode(snapshot: &Snapshot, sort: SortColumn, rows: Option<usize>) -> String {
    let mut block = Block {
        text: String::new(),
        snapshot,
        percentiles: Percentiles::new(),
    };
    block.header();
    if snapshot.services.is_empty() {
        block.line(if snapshot.run.all_netns {
            "no virtual services to show in any network namespace"
        } else {
            "no virtual services to show in this network namespace"
        });
    } else {
        block.titles();
    }
    let rows = Rows::choose(snapshot, sort, rows, &mut block.percentiles);
    for rows::ServiceRows {
        key: (netns, id),
        service,
        servers,
    } in &rows.services
    {
        block.service(&id.to_string(), *netns, service);
        let label = snapshot.label(*netns).map(|label| format!(" {label}"));
        let label = label.unwrap_or_default();
        for (id, server) in servers {
            let facts = server.facts.as_ref();
            let gone = if server.row.gone { " gone" } else { "" };
            let stats = Stats {
                method: facts.map(|facts| facts.method.to_string()),
                weight: facts.map(|facts| facts.weight),
                active: facts.map(|facts| u64::from(facts.active)),
                inactive: facts.map(|facts| u64::from(facts.inactive)),
            };
            block.row(&format!("  -> {id}{label}{gone}"), &stats, &server.row);
            if let Some(line) = states::line(server, snapshot.at) {
                block.line(&line);
            }
        }
    }
    for (left_out, what) in [
        (rows.servers_left_out, "real servers"),
        (rows.services_left_out, "services"),
    ] {
        if left_out > 0 {
            let line = format!("{left_out} more {what} (-n ROWS shows more, --sort COLUMN others)");
            block.line(&line);
        }
    }
    block.line("");
    block.text
}

struct Block<'a> {
    text: String,
    snapshot: &'a Snapshot,
    percentiles: Percentiles,
}

/// The columns that a service sums up and a server has from the table.
struct Stats {
    method: Option<String>,
    weight: Option<u32>,
    active: Option<u64>,
    inactive: Option<u64>,
}

impl Block<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn header(&mut self) {
        let (snapshot, run) = (self.snapshot, &self.snapshot.run);
        let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + snapshot.at.wall);
        let span = if snapshot.is_final {
            format!("whole run {:.3} s", snapshot.elapsed.as_secs_f64())
        } else {
            format!("window {:.3} s", snapshot.window.as_secs_f64())
        };
        self.line(&format!(
            "{}  Linux {}  {time}  {span}",
            run.host, run.kernel
        ));
        for line in wrapped(&health(snapshot)) {
            self.line(&line);
        }
        let reused = reused_ports(snapshot);
        if reused > 0 {
            self.line(&format!(
                "SYNs dropped for a reused port, each 1 s late: {reused} (net.ipv4.vs.conn_reuse_mode with \
                 net.ipv4.vs.conntrack; =0 ends it)"
            ));
        }
        for (netns, bite) in snapshot.bites() {
            if bite != Bite::ReusedPort || reused == 0 {
                let label = snapshot.label(netns).map(|label| format!("{label}: "));
                self.line(&(label.unwrap_or_default() + &describe(bite)));
            }
        }
        for compromise in snapshot.health.memory.compromises() {
            self.line(&memory::describe(compromise));
        }
        if let Some(line) = not_run(&snapshot.health.probes) {
            self.line(&line);
        }
        let host = if snapshot.is_final {
            &snapshot.director.total
        } else {
            &snapshot.director.interval
        };
        for line in latency::of_host(host, &run.measures, &mut self.percentiles) {
            self.line(&line);
        }
        if let Some(reason) = &run.no_live {
            self.line(&format!(
                "counters are copies that the kernel makes every 2 s: {reason}"
            ));
        }
        for refused in &run.refused_probes {
            self.line(&format!(
                "not probed: {}: {}",
                refused.function, refused.reason
            ));
        }
    }

    fn titles(&mut self) {
        let titles = [
            "METHOD",
            "WGHT",
            "CONN/S",
            "PKT/S IN",
            "OUT",
            "BYTE/S IN",
            "OUT",
            "ACTIVE",
            "INACT",
            "REFUSED",
            "DROPPED",
        ];
        let line = columns("SERVICE / SERVER", &titles.map(ToOwned::to_owned));
        self.line(&line);
        let line = latency::titles();
        self.line(&line);
    }

    fn service(&mut self, name: &str, netns: Netns, service: &ServiceRow) {
        let scheduler = service
            .facts
            .as_ref()
            .map_or("", |facts| facts.scheduler.as_str());
        let gone = if service.row.gone { " gone" } else { "" };
        let known = || {
            service
                .destinations
                .values()
                .filter(|server| !server.row.gone)
                .filter_map(|server| server.facts)
        };
        let stats = Stats {
            method: None,
            weight: None,
            active: Some(known().map(|facts| u64::from(facts.active)).sum()),
            inactive: Some(known().map(|facts| u64::from(facts.inactive)).sum()),
        };
        let place = self.place(netns);
        let title = format!("{name} {scheduler}{gone}{place}");
        self.row(&title, &stats, &service.row);
    }

    /// In which network namespace a service is, where several are observed.
    fn place(&self, netns: Netns) -> String {
        let label = self.snapshot.label(netns);
        label.map_or_else(String::new, |label| {
            let number = netns.to_string();
            if label == number {
                format!("   netns {number}")
            } else {
                format!("   netns {label} ({number})")
            }
        })
    }

    fn row(&mut self, name: &str, stats: &Stats, row: &Row) {
        let (activity, rates, span) = if self.snapshot.is_final {
            (&row.total, row.run_rates, self.snapshot.elapsed)
        } else {
            (&row.interval, row.rates, self.snapshot.window)
        };
        let run = &self.snapshot.run;
        let scheduled_per_s = activity.scheduled_per_s(span.as_secs_f64());
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), number::count);
        let cells = [
            stats.method.clone().unwrap_or_else(|| "-".to_owned()),
            count(stats.weight.map(u64::from)),
            number(run.known(Event::Scheduled, scheduled_per_s).flatten()),
            number(rates.map(|rates| rates.in_packets)),
            number(rates.map(|rates| rates.out_packets)),
            number(rates.map(|rates| rates.in_bytes)),
            number(rates.map(|rates| rates.out_bytes)),
            count(stats.active),
            count(stats.inactive),
            count(run.known(Event::Refused, activity.counters.get(Event::Refused))),
            count(run.known_drops(activity.dropped())),
        ];
        if name.chars().count() > NAME_COLUMNS {
            self.line(name);
            self.line(&columns("", &cells));
        } else {
            self.line(&columns(name, &cells));
        }
        self.latencies(row, activity);
    }

    fn latencies(&mut self, row: &Row, activity: &Activity) {
        let measured = self.snapshot.run.measures.iter().copied();
        let shown: Vec<_> = measured.filter(|&measure| row.shows(measure)).collect();
        for line in latency::lines(activity, &shown, &mut self.percentiles) {
            self.line(&line);
        }
    }
}

/// Coverage and losses, always; what else is wrong only where it is.
fn health(snapshot: &Snapshot) -> Vec<String> {
    let health = &snapshot.health;
    let shown = if snapshot.is_final {
        &health.total
    } else {
        &health.interval
    };
    let coverage = match (shown.coverage_percent(), shown.packets) {
        (Some(percent), Some(packets)) => format!("probes saw {percent:.2} % of {packets} packets"),
        (_, Some(_)) => "no packets".to_owned(),
        (_, None) => "probe coverage unknown".to_owned(),
    };
    let mut facts = vec![coverage, format!("lost {}", shown.lost())];
    facts.extend(
        shown
            .losses()
            .map(|(loss, count)| format!("{} {count}", loss.name())),
    );
    if health.torn {
        facts.push("table incomplete".to_owned());
    }
    if health.missed_windows > 0 {
        facts.push(format!(
            "windows not printed {} (slow reader)",
            health.missed_windows
        ));
    }
    facts.push(format!(
        "table read in {}",
        number::duration_ns(nanoseconds(snapshot.health.table_took))
    ));
    if let Some(took) = health.sweep_took {
        let took = number::duration_ns(nanoseconds(took));
        facts.push(format!("connections read in {took}"));
    }
    if let Some(age) = oldest_rates(snapshot) {
        facts.push(format!("packet rates {:.1} s old", age.as_secs_f64()));
    }
    facts
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// SYNs that were dropped for a reused port since the start.
fn reused_ports(snapshot: &Snapshot) -> u64 {
    let services = snapshot.services.values();
    services
        .map(|service| service.row.total.counters.get(Event::ReusedPort))
        .sum()
}

fn describe(bite: Bite) -> String {
    match bite {
        Bite::ReusedPort => {
            "conn_reuse_mode with conntrack: a client that uses a port again may wait 1 s for its \
                             connection (conn_reuse_mode=0 ends that)"
                .to_owned()
        }
        Bite::Frozen(sysctl) => {
            format!("{sysctl} keeps the kernel from refreshing the counters that it copies")
        }
        Bite::CrowdedTable {
            connections,
            buckets,
        } => format!(
            "the connection table has {buckets} buckets for {connections} connections (conn_tab_bits of ip_vs)"
        ),
    }
}

/// `facts` side by side, in as many lines as they take.
fn wrapped(facts: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        match lines.last_mut() {
            Some(line) if line.len() + GAP.len() + fact.len() <= COLUMNS => {
                line.push_str(GAP);
                line.push_str(fact);
            }
            _ => lines.push(fact.clone()),
        }
    }
    lines
}

/// The probes that are known not to have run each time, if there are any.
fn not_run(probes: &[ProbeHealth]) -> Option<String> {
    let missed = probes.iter().filter(|probe| probe.not_run() > 0);
    let missed = missed.map(|probe| format!("{} {}", probe.name, probe.not_run()));
    let missed: Vec<_> = missed.collect();
    (!missed.is_empty()).then(|| format!("probes not run since the start: {}", missed.join(", ")))
}

/// The age of the oldest copy of the kernel's counters behind the rates that are shown.
fn oldest_rates(snapshot: &Snapshot) -> Option<Duration> {
    let servers = snapshot.services.values().flat_map(|service| {
        let servers = service.destinations.values().map(|server| &server.row);
        servers.chain([&service.row])
    });
    let copied = servers.filter(|row| row.read_at.is_none());
    let rates = copied.filter_map(|row| {
        if snapshot.is_final {
            row.run_rates
        } else {
            row.rates
        }
    });
    // A rate of zero is as old as the silence.
    let moving = rates.filter(|rates| rates.in_packets > 0.0 || rates.out_packets > 0.0);
    moving.map(|rates| rates.age).max()
}

fn columns(name: &str, cells: &[String; 11]) -> String {
    let [
        method,
        weight,
        conn,
        pkt_in,
        pkt_out,
        byte_in,
        byte_out,
        active,
        inactive,
        refused,
        dropped,
    ] = cells;
    format!(
        "{name:<NAME_COLUMNS$} {method:<6} {weight:>4} {conn:>7} {pkt_in:>8} {pkt_out:>6} {byte_in:>9} {byte_out:>6} \
         {active:>6} {inactive:>6} {refused:>7} {dropped:>7}"
    )
}

#[cfg(test)]
mod tests;
