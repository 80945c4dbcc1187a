//! Which real servers a block shows, and in which order.

use std::collections::BTreeSet;

use ipvs_observer_common::{Event, Measure};

use crate::{
    cli::SortColumn,
    model::{
        id::DestinationId,
        latency::Percentiles,
        sample::ServiceKey,
        snapshot::{DestinationRow, ServiceRow, Snapshot},
    },
};

/// The rows of a block.
pub(super) struct Rows<'a> {
    pub(super) services: Vec<ServiceRows<'a>>,
    /// Real servers that are not among them.
    pub(super) servers_left_out: usize,
    /// Services that are not among them.
    pub(super) services_left_out: usize,
}

/// A service and those of its real servers that are shown.
pub(super) struct ServiceRows<'a> {
    pub(super) key: ServiceKey,
    pub(super) service: &'a ServiceRow,
    pub(super) servers: Vec<(DestinationId, &'a DestinationRow)>,
}

impl<'a> Rows<'a> {
    /// The first `limit` real servers by `sort` under their services, and as many services that have none among them.
    pub(super) fn choose(
        snapshot: &'a Snapshot,
        sort: SortColumn,
        limit: Option<usize>,
        percentiles: &mut Percentiles,
    ) -> Self {
        let mut servers = Vec::new();
        for (key, service) in &snapshot.services {
            for (id, server) in &service.destinations {
                let weight = weight(snapshot, server, sort, percentiles);
                servers.push((weight, *key, *id, server));
            }
        }
        // Stable, so that equals stay in the order of the table.
        servers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shown = limit.unwrap_or(usize::MAX).min(servers.len());
        let left_out = servers.len() - shown;
        let mut services: Vec<ServiceRows<'_>> = Vec::new();
        for (_, key, id, server) in servers.into_iter().take(shown) {
            if let Some(rows) = services.iter_mut().find(|rows| rows.key == key) {
                rows.servers.push((id, server));
            } else if let Some(service) = snapshot.services.get(&key) {
                services.push(ServiceRows {
                    key,
                    service,
                    servers: vec![(id, server)],
                });
            }
        }
        let chosen: BTreeSet<_> = services.iter().map(|rows| rows.key).collect();
        let others = snapshot
            .services
            .iter()
            .filter(|(key, _)| !chosen.contains(key));
        let others = others.map(|(&key, service)| ServiceRows {
            key,
            service,
            servers: Vec::new(),
        });
        services.extend(others.take(limit.unwrap_or(usize::MAX)));
        if sort == SortColumn::Name {
            services.sort_by_key(|rows| rows.key);
        }
        Self {
            servers_left_out: left_out,
            services_left_out: snapshot.services.len() - services.len(),
            services,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only the order matters")]
fn weight(
    snapshot: &Snapshot,
    server: &DestinationRow,
    sort: SortColumn,
    percentiles: &mut Percentiles,
) -> f64 {
    let row = &server.row;
    let activity = if snapshot.is_final {
        &row.total
    } else {
        &row.interval
    };
    let rates = if snapshot.is_final {
        row.run_rates
    } else {
        row.rates
    };
    let mut p99 = |measure| {
        let shown = percentiles.of(activity.latency(measure));
        shown.map_or(-1.0, |[_, _, p99, _]| p99 as f64)
    };
    match sort {
        SortColumn::Name => 0.0,
        SortColumn::Connections => activity.counters.get(Event::Scheduled) as f64,
        SortColumn::Packets => rates.map_or(-1.0, |rates| rates.in_packets + rates.out_packets),
        SortColumn::Bytes => rates.map_or(-1.0, |rates| rates.in_bytes + rates.out_bytes),
        SortColumn::Active => server.facts.map_or(-1.0, |facts| f64::from(facts.active)),
        SortColumn::Inactive => server.facts.map_or(-1.0, |facts| f64::from(facts.inactive)),
        SortColumn::Refused => activity.counters.get(Event::Refused) as f64,
        SortColumn::Dropped => activity.dropped() as f64,
        SortColumn::Schedule => p99(Measure::Schedule),
        SortColumn::Connect => p99(Measure::Connect),
        SortColumn::Client => p99(Measure::Client),
        SortColumn::Handshake => p99(Measure::Handshake),
        SortColumn::FirstByte => p99(Measure::FirstByte),
        SortColumn::Response => p99(Measure::Response),
        SortColumn::Duration => p99(Measure::Duration),
        SortColumn::Xmit => p99(Measure::Xmit),
        SortColumn::Hook => p99(Measure::Hook),
    }
}
