//! Rates of live counters, over the time between two readings of each entry.

use std::collections::BTreeMap;

use crate::{
    ipvs::table::{Live, Stats, Table},
    model::{
        id::{DestinationId, ServiceId},
        rates::between,
    },
};

/// What the reading before has shown.
#[derive(Debug, Default)]
pub(super) struct LiveRates {
    previous: BTreeMap<(ServiceId, Option<DestinationId>), Live>,
}

impl LiveRates {
    /// Puts rates to the entries that were read live now and before.
    pub(super) fn apply(&mut self, table: &mut Table) {
        let mut current = BTreeMap::new();
        for service in &mut table.services {
            let entries = service
                .destinations
                .iter_mut()
                .map(|destination| (Some(destination.id), &mut destination.stats));
            for (destination, stats) in entries.chain([(None, &mut service.stats)]) {
                let Some((stats, reading)) = stats.as_mut().and_then(|stats| {
                    let reading = live(stats)?;
                    Some((stats, reading))
                }) else {
                    continue;
                };
                let id = (service.id, destination);
                let before = self.previous.get(&id);
                stats.rates = before.and_then(|before| {
                    let elapsed = reading.read_at.checked_sub(before.read_at)?;
                    between(&before.traffic, &reading.traffic, elapsed)
                });
                current.insert(id, reading);
            }
        }
        self.previous = current;
    }
}

fn live(stats: &Stats) -> Option<Live> {
    Some(Live {
        traffic: stats.traffic,
        read_at: stats.read_at?,
    })
}
