//! What changed in the table from one reading to the next: services and real servers added, removed and edited.
//!
//! Counters and numbers of connections are no changes. Neither is what one of the readings does not know, and an entry that
//! is missing from a torn table may still be there. Who is removed and added again between two readings was there all the
//! time.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{DestinationId, ServiceId};
use crate::ipvs::{
    table::{Destination, Service, Table},
    wire::IP_VS_SVC_F_HASHED,
};

/// Something that changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<'a> {
    /// A service.
    Service(Difference<'a, Service, ServiceField>),
    /// A real server.
    Destination {
        /// The service it is of.
        service: ServiceId,
        /// How it changed.
        difference: Difference<'a, Destination, DestinationField>,
    },
}

/// How it changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference<'a, T, F> {
    /// It is new.
    Added(&'a T),
    /// It is gone.
    Removed(&'a T),
    /// It is set otherwise.
    Edited {
        /// As it was.
        old: &'a T,
        /// As it is.
        new: &'a T,
        /// What is not as it was; never empty.
        fields: Vec<F>,
    },
}

impl<'a, T, F> Difference<'a, T, F> {
    /// The entry as it was last seen.
    pub const fn newest(&self) -> &'a T {
        match self {
            Self::Added(it) | Self::Removed(it) | Self::Edited { new: it, .. } => it,
        }
    }
}

/// What can be set of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceField {
    /// [`Service::scheduler`].
    Scheduler,
    /// [`Service::flags`], without the one that the kernel keeps for itself.
    Flags,
    /// [`Service::timeout_s`].
    Timeout,
    /// [`Service::netmask`].
    Netmask,
    /// [`Service::engine`].
    Engine,
}

/// What can be set of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationField {
    /// [`Destination::method`].
    Method,
    /// [`Destination::weight`].
    Weight,
    /// The upper one of [`Destination::thresholds`].
    UpperThreshold,
    /// The lower one of [`Destination::thresholds`].
    LowerThreshold,
    /// [`Destination::wrapping`].
    Tunnel,
}

/// The table as it is known from all readings so far, which come from one source.
#[derive(Clone, Debug)]
pub struct Known {
    /// Torn if nothing but torn readings was there yet, so that what is not in it may have been there before.
    table: Table,
}

impl Known {
    /// After the first reading.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }

    /// What changed until `new`: what is gone in the old order, then everything else in the new one, a service before its
    /// real servers.
    pub fn changes<'a>(&'a self, new: &'a Table) -> Vec<Change<'a>> {
        let (old_services, new_services) = (by_id(&self.table.services), by_id(&new.services));
        let mut changes = Vec::new();
        for old in &self.table.services {
            if !new.torn && !new_services.contains_key(&old.id) {
                changes.push(Change::Service(Difference::Removed(old)));
                let servers = old.destinations.iter().map(Difference::Removed);
                changes.extend(servers.map(|difference| of_server(old.id, difference)));
            }
        }
        for new_service in &new.services {
            match old_services.get(&new_service.id) {
                Some(old) => self.edited(old, new_service, new.torn, &mut changes),
                None if self.table.torn => {}
                None => {
                    changes.push(Change::Service(Difference::Added(new_service)));
                    let servers = new_service.destinations.iter().map(Difference::Added);
                    changes.extend(servers.map(|difference| of_server(new_service.id, difference)));
                }
            }
        }
        changes
    }

    /// Takes in a reading; entries that a torn one lacks stay known.
    pub fn update(&mut self, mut new: Table) {
        let torn = new.torn && self.table.torn;
        if new.torn {
            keep_missing(std::mem::take(&mut self.table), &mut new);
        }
        self.table = Table { torn, ..new };
    }

    fn edited<'a>(
        &self,
        old: &'a Service,
        new: &'a Service,
        torn: bool,
        changes: &mut Vec<Change<'a>>,
    ) {
        let fields = ServiceField::differing(old, new);
        if !fields.is_empty() {
            changes.push(Change::Service(Difference::Edited { old, new, fields }));
        }
        let old_servers = servers_by_id(&old.destinations);
        let new_servers = servers_by_id(&new.destinations);
        let missing = old.destinations.iter();
        let missing = missing.filter(|server| !torn && !new_servers.contains_key(&server.id));
        changes.extend(missing.map(|server| of_server(new.id, Difference::Removed(server))));
        for server in &new.destinations {
            let difference = match old_servers.get(&server.id) {
                Some(old) => DestinationField::edited(old, server),
                None => (!self.table.torn).then_some(Difference::Added(server)),
            };
            changes.extend(difference.map(|difference| of_server(new.id, difference)));
        }
    }
}

impl ServiceField {
    /// Every field.
    pub const ALL: [Self; 5] = [
        Self::Scheduler,
        Self::Flags,
        Self::Timeout,
        Self::Netmask,
        Self::Engine,
    ];

    fn differing(old: &Service, new: &Service) -> Vec<Self> {
        let differs = |field: &Self| match field {
            Self::Scheduler => old.scheduler != new.scheduler,
            Self::Flags => (old.flags ^ new.flags) & !IP_VS_SVC_F_HASHED != 0,
            Self::Timeout => differ(old.timeout_s, new.timeout_s),
            Self::Netmask => differ(old.netmask, new.netmask),
            Self::Engine => old.engine != new.engine,
        };
        Self::ALL.into_iter().filter(differs).collect()
    }
}

impl DestinationField {
    /// Every field.
    pub const ALL: [Self; 5] = [
        Self::Method,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::Tunnel,
    ];

    fn edited<'a>(
        old: &'a Destination,
        new: &'a Destination,
    ) -> Option<Difference<'a, Destination, Self>> {
        let [old_upper, new_upper] = [old, new].map(|server| server.thresholds.map(|it| it.upper));
        let [old_lower, new_lower] = [old, new].map(|server| server.thresholds.map(|it| it.lower));
        let differs = |field: &Self| match field {
            Self::Method => old.method != new.method,
            Self::Weight => old.weight != new.weight,
            Self::UpperThreshold => differ(old_upper, new_upper),
            Self::LowerThreshold => differ(old_lower, new_lower),
            Self::Tunnel => old.wrapping() != new.wrapping(),
        };
        let fields: Vec<_> = Self::ALL.into_iter().filter(differs).collect();
        (!fields.is_empty()).then_some(Difference::Edited { old, new, fields })
    }
}

/// Whether both are known and not the same.
fn differ<T: PartialEq>(old: Option<T>, new: Option<T>) -> bool {
    old.zip(new).is_some_and(|(old, new)| old != new)
}

const fn of_server(
    service: ServiceId,
    difference: Difference<'_, Destination, DestinationField>,
) -> Change<'_> {
    Change::Destination {
        service,
        difference,
    }
}

/// Appends to `new` what only `old` has.
fn keep_missing(old: Table, new: &mut Table) {
    let ids = new.services.iter().map(|service| service.id);
    let places: BTreeMap<_, _> = ids.zip(0..).collect();
    for service in old.services {
        let place = places.get(&service.id).copied();
        let Some(kept) = place.and_then(|place: usize| new.services.get_mut(place)) else {
            new.services.push(service);
            continue;
        };
        let servers = kept.destinations.iter().map(|server| server.id);
        let servers: BTreeSet<_> = servers.collect();
        let missing = service.destinations.into_iter();
        kept.destinations
            .extend(missing.filter(|server| !servers.contains(&server.id)));
    }
}

fn by_id(services: &[Service]) -> BTreeMap<ServiceId, &Service> {
    services
        .iter()
        .map(|service| (service.id, service))
        .collect()
}

fn servers_by_id(servers: &[Destination]) -> BTreeMap<DestinationId, &Destination> {
    servers.iter().map(|server| (server.id, server)).collect()
}

#[cfg(test)]
mod tests;
