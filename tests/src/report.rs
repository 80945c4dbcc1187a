//! The agent's JSON as the tests read it: the one place that knows its names.
//!
//! Every accessor says what is missing, so that a renamed field fails by its name
//! and not as a wrong number. Running the agent is `agent`'s.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use ipvs_observer::cli::SchemaOf;
use serde_json::Value;

use crate::{proc_ipvs::PacketCounts, schema};

/// One object of `-o json`: an interval, or the whole run.
#[derive(Clone, Debug)]
pub struct Report {
    value: Value,
}

/// A service or a real server in a report.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    value: &'a Value,
}

/// The numbers of one measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many values there are.
    pub count: u64,
    /// Their exact sum.
    pub sum_ns: u64,
    /// The exact smallest.
    pub min_ns: u64,
    /// The median, as exact as the buckets.
    pub p50_ns: u64,
    /// The 99th percentile, as exact as the buckets.
    pub p99_ns: u64,
    /// The exact largest.
    pub max_ns: u64,
}

/// How many packets the programs saw, and how many the kernel counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Hits of the state transition functions.
    pub hits: u64,
    /// The per-CPU packet counts of the director.
    pub packets: u64,
}

/// How many packets pass in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacketRates {
    /// From clients.
    pub in_per_s: f64,
    /// From real servers.
    pub out_per_s: f64,
    /// How long ago the kernel's newest counts were first seen.
    pub age_ns: u64,
}

/// The drain of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Whether its weight became 0 during the run.
    pub begin_seen: bool,
    /// Packets since then.
    pub packets: Option<u64>,
    /// How long it took, once it is over.
    pub took_ns: Option<u64>,
}

impl Report {
    /// Reads one line, all of which is in the schema.
    pub fn parse(line: &str) -> Result<Self> {
        let value = schema::checked(SchemaOf::Top, line)?;
        Ok(Self { value })
    }

    /// Reads one line of a large table, which takes minutes to hold against the schema.
    pub fn unchecked(line: &str) -> Result<Self> {
        let value = serde_json::from_str(line).context("the agent printed what is not JSON")?;
        Ok(Self { value })
    }

    /// Whether it is the summary of the whole run.
    pub fn is_final(&self) -> bool {
        self.value
            .get("final")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// How long the interval was.
    pub fn window_ns(&self) -> Result<u64> {
        number(&self.value, "window_ns")
    }

    /// How long the run has been so far.
    pub fn elapsed_ns(&self) -> Result<u64> {
        number(&self.value, "elapsed_ns")
    }

    /// All that the programs gave up over the whole run so far, by reason.
    pub fn total_losses(&self) -> Result<Vec<String>> {
        let losses = self.value.pointer("/health/total/losses");
        let losses = losses
            .and_then(Value::as_object)
            .context("no health.total.losses")?;
        Ok(losses
            .iter()
            .map(|(reason, count)| format!("{reason}: {count}"))
            .collect())
    }

    /// How often the programs gave up for `reason` over the whole run so far; 0 where nothing is said.
    pub fn total_loss(&self, reason: &str) -> Result<u64> {
        let losses = self.value.pointer("/health/total/losses");
        let count = losses.context("no health.total.losses")?.get(reason);
        count.map_or(Ok(0), |count| count.as_u64().context("a loss is no count"))
    }

    /// The coverage of the whole run so far, as the health section states it.
    pub fn total_coverage(&self) -> Result<Coverage> {
        let coverage = self.value.pointer("/health/total/coverage");
        let coverage = coverage.context("no health.total.coverage")?;
        Ok(Coverage {
            hits: number(coverage, "hits")?,
            packets: number(coverage, "packets")?,
        })
    }

    /// The measures that are taken.
    pub fn measures(&self) -> Result<Vec<&str>> {
        let measures = self.value.pointer("/health/measures");
        let measures = measures
            .and_then(Value::as_array)
            .context("no health.measures")?;
        measures
            .iter()
            .map(|measure| measure.as_str().context("a measure is no text"))
            .collect()
    }

    /// A measure of the host over the whole run so far; one without a value is all zero.
    pub fn total_host_latency(&self, measure: &str) -> Result<Latency> {
        latency(self.value.pointer("/director/total/latency"), measure)
    }

    /// The functions that could not be probed, each with the reason.
    pub fn refused_probes(&self) -> Result<&[Value]> {
        self.value
            .pointer("/health/refused_probes")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .context("no health.refused_probes")
    }

    /// The names of the probes that are attached, in their order.
    pub fn probes(&self) -> Result<Vec<&str>> {
        let probes = self.value.pointer("/health/probes");
        let probes = probes
            .and_then(Value::as_array)
            .context("no health.probes")?;
        probes
            .iter()
            .map(|probe| probe["probe"].as_str().context("a probe has no name"))
            .collect()
    }

    /// How often the probe `name` did not run, where the kernel counts that.
    pub fn not_run(&self, name: &str) -> Result<Option<u64>> {
        let probes = self.value.pointer("/health/probes");
        let mut probes = probes
            .and_then(Value::as_array)
            .context("no health.probes")?
            .iter();
        let probe = probes.find(|probe| probe["probe"] == name);
        let probe = probe.with_context(|| format!("no probe {name}"))?;
        let counts = [&probe["missed"], &probe["recursion_misses"]].map(Value::as_u64);
        Ok(counts[0].zip(counts[1]).map(|(one, other)| one + other))
    }

    /// A number of what the maps hold and take.
    pub fn memory(&self, member: &str) -> Result<u64> {
        let memory = self.value.pointer("/health/memory");
        number(memory.context("no health.memory")?, member)
    }

    /// The service shown as `name`, such as `TCP 10.9.0.1:80`.
    pub fn service(&self, name: &str) -> Result<Row<'_>> {
        self.services()?
            .find(|row| row.value.get("service").and_then(Value::as_str) == Some(name))
            .with_context(|| format!("no service {name} in {}", self.value))
    }

    /// The same in the network namespace shown as `netns`.
    pub fn service_in(&self, netns: &str, name: &str) -> Result<Row<'_>> {
        self.services()?
            .find(|row| row.netns_name() == Some(netns) && row.service_name().ok() == Some(name))
            .with_context(|| format!("no service {name} of {netns} in {}", self.value))
    }

    /// All services, as listed.
    pub fn services(&self) -> Result<impl Iterator<Item = Row<'_>>> {
        rows(&self.value, "services")
    }
}

impl<'a> Row<'a> {
    /// The real servers of a service, as listed.
    pub fn servers(self) -> Result<impl Iterator<Item = Row<'a>>> {
        rows(self.value, "servers")
    }

    /// The real server of a service that has `address`, whatever its port.
    pub fn server(self, address: std::net::IpAddr) -> Result<Row<'a>> {
        let address = address.to_string();
        self.servers()?
            .find(|row| row.value.get("address").and_then(Value::as_str) == Some(&address))
            .with_context(|| format!("no real server {address} in {}", self.value))
    }

    /// A count of the whole run so far.
    pub fn total(self, counter: &str) -> Result<u64> {
        let counters = self
            .value
            .pointer("/total/counters")
            .context("no total.counters")?;
        number(counters, counter)
    }

    /// A count of the interval.
    pub fn counter(self, counter: &str) -> Result<u64> {
        number(self.value.get("counters").context("no counters")?, counter)
    }

    /// A measure over the whole run so far; one without a value is all zero.
    pub fn total_latency(self, measure: &str) -> Result<Latency> {
        latency(self.value.pointer("/total/latency"), measure)
    }

    /// Whether anything is said of a measure over the whole run so far.
    pub fn has_total_latency(self, measure: &str) -> Result<bool> {
        let latencies = self.value.pointer("/total/latency");
        Ok(latencies
            .context("no total.latency")?
            .get(measure)
            .is_some())
    }

    /// The histogram of a measure over the whole run: the lowest value of each bucket in nanoseconds, and how many values
    /// it has.
    pub fn total_buckets(self, measure: &str) -> Result<Vec<(u64, u64)>> {
        buckets(self.value.pointer("/total/latency"), measure)
    }

    /// A quantile of a measure over the whole run, by its name: `p50_ns`.
    pub fn total_quantile(self, measure: &str, name: &str) -> Result<u64> {
        let latency = self.value.pointer("/total/latency");
        number(member(latency, measure)?, name)
    }

    /// A measure in the interval; one without a value is all zero.
    pub fn latency(self, measure: &str) -> Result<Latency> {
        latency(self.value.get("latency"), measure)
    }

    /// The name of a service.
    pub fn service_name(self) -> Result<&'a str> {
        text(self.value, "service")
    }

    /// The name of a service's network namespace, where several are observed.
    pub fn netns_name(self) -> Option<&'a str> {
        self.value.get("netns_name").and_then(Value::as_str)
    }

    /// The address of a service or a real server.
    pub fn address(self) -> Result<&'a str> {
        text(self.value, "address")
    }

    /// Whether the real server is shown as removed.
    pub fn is_gone(self) -> bool {
        self.value
            .get("gone")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// The forwarding method as shown.
    pub fn method(self) -> Result<&'a str> {
        text(self.value, "method")
    }

    /// The scheduler as shown.
    pub fn scheduler(self) -> Result<&'a str> {
        text(self.value, "scheduler")
    }

    /// The packets that the kernel counted, by direction.
    pub fn kernel_packets(self) -> Result<PacketCounts> {
        let kernel = self.value.get("kernel").context("no kernel")?;
        Ok(PacketCounts {
            incoming: number(kernel, "in_packets")?,
            outgoing: number(kernel, "out_packets")?,
        })
    }

    /// The packet rates of the interval, where they are known.
    pub fn packet_rates(self) -> Result<Option<PacketRates>> {
        let rates = self.value.get("rates").context("no rates")?;
        if rates.get("in_packets_per_s").is_none() {
            return Ok(None);
        }
        let rate = |name| {
            let rate = rates.get(name).and_then(Value::as_f64);
            rate.with_context(|| format!("no rate {name} in {rates}"))
        };
        Ok(Some(PacketRates {
            in_per_s: rate("in_packets_per_s")?,
            out_per_s: rate("out_packets_per_s")?,
            age_ns: number(rates, "age_ns")?,
        }))
    }

    /// TCP connections by state, those that there are; `None` where they were not looked at.
    pub fn tcp_states(self) -> Option<BTreeMap<String, u64>> {
        let states = self.value.pointer("/states/tcp")?.as_object()?;
        let counts = states
            .iter()
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        Some(counts.filter(|&(_, count)| count > 0).collect())
    }

    /// What else is known of the connections: `other`, `begun_unseen`, `unanswered`, `oldest_age_ns`,
    /// `oldest_syn_recv_age_ns`.
    pub fn states(self, name: &str) -> Option<u64> {
        self.value.get("states")?.get(name)?.as_u64()
    }

    /// The drain of a real server whose weight is 0.
    pub fn drain(self) -> Option<Drain> {
        let drain = self.value.get("drain")?;
        let count = |name: &str| drain.get(name).and_then(Value::as_u64);
        Some(Drain {
            begin_seen: drain.get("begin_seen")?.as_bool()?,
            packets: count("packets"),
            took_ns: count("took_ns"),
        })
    }

    /// A setting or a gauge: `weight`, `active`, `inactive`.
    pub fn number(self, name: &str) -> Result<u64> {
        number(self.value, name)
    }
}

fn rows<'a>(value: &'a Value, name: &str) -> Result<impl Iterator<Item = Row<'a>>> {
    let rows = value.get(name).and_then(Value::as_array);
    let rows = rows.with_context(|| format!("no list {name} in {value}"))?;
    Ok(rows.iter().map(|value| Row { value }))
}

fn latency(latencies: Option<&Value>, measure: &str) -> Result<Latency> {
    let Some(latency) = latencies.context("no latency")?.get(measure) else {
        return Ok(Latency::default());
    };
    let count = number(latency, "count")?;
    if count == 0 {
        return Ok(Latency::default());
    }
    Ok(Latency {
        count,
        sum_ns: number(latency, "sum_ns")?,
        min_ns: number(latency, "min_ns")?,
        p50_ns: number(latency, "p50_ns")?,
        p99_ns: number(latency, "p99_ns")?,
        max_ns: number(latency, "max_ns")?,
    })
}

fn member<'a>(latencies: Option<&'a Value>, measure: &str) -> Result<&'a Value> {
    let latency = latencies.and_then(|latencies| latencies.get(measure));
    latency.with_context(|| format!("no latency {measure}"))
}

fn buckets(latencies: Option<&Value>, measure: &str) -> Result<Vec<(u64, u64)>> {
    let buckets = member(latencies, measure)?.get("buckets");
    let buckets = buckets.cloned().context("a latency has buckets")?;
    Ok(serde_json::from_value(buckets)?)
}

fn number(value: &Value, name: &str) -> Result<u64> {
    value
        .get(name)
        .and_then(Value::as_u64)
        .with_context(|| format!("no number {name} in {value}"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .with_context(|| format!("no text {name} in {value}"))
}
