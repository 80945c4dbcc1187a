//! How a table is put together from dumps that leave much open, and how that is found out.
//!
//! A dump that does not fit one datagram resumes at an index, counted anew: a service or
//! destination that is added or removed in between makes it repeat or skip one, and nothing in
//! the dump says so (`ip_vs_genl_dump_services` and `ip_vs_genl_dump_dests` in
//! `net/netfilter/ipvs/ip_vs_ctl.c`). A dump of the destinations of a service that is gone is
//! empty, like that of a service that has none. Therefore:
//!
//! - services are dumped again after all destinations, and where a service is new or has changed,
//!   its destinations are read again;
//! - a dump of destinations that took several datagrams is repeated until two agree;
//! - an entry that is repeated counts once, as it came last;
//! - a table that never holds still is marked as torn.
//!
//! What no reader can find out: that a service was removed, added again as it was, and had other
//! destinations meanwhile; that two dumps skipped the same entry; and that a destination came or
//! went once the dump that it belongs to was over. A table is not of one instant: each service is
//! as it was when it was read.

use std::{collections::BTreeMap, mem, slice};

use super::{ATTEMPTS, NetlinkError, answer::Extent};
use crate::{
    ipvs::table::{Destination, Service, Table},
    model::id::ServiceId,
};

/// What is asked of the kernel, and where its answer is put, in place of what is there.
#[derive(Debug)]
pub(super) enum Query<'a> {
    /// All services, without their destinations.
    Services(&'a mut Vec<Service>),
    /// One service, without its destinations; nothing if there is no such service.
    Service(&'a ServiceId, &'a mut Vec<Service>),
    /// The destinations of a service; nothing if there is no such service.
    Destinations(&'a ServiceId, &'a mut Vec<Destination>),
}

/// Reads all services with their destinations.
pub(super) fn table(
    ask: &mut impl FnMut(Query<'_>) -> Result<Extent, NetlinkError>,
) -> Result<Table, NetlinkError> {
    let mut services = Vec::new();
    let extent = ask(Query::Services(&mut services))?;
    if !extent.is_whole() {
        keep_last(&mut services, |service| service.id);
    }
    let mut unread: Vec<usize> = (0..services.len()).collect();
    let mut destinations = Vec::new();
    let mut torn = false;
    for attempt in 1.. {
        for index in unread {
            if let Some(service) = services.get_mut(index) {
                torn |= !read_destinations(&service.id, &mut destinations, ask)?;
                service.destinations.clone_from(&destinations);
            }
        }
        let mut after = Vec::with_capacity(services.len());
        ask(Query::Services(&mut after))?;
        if is_unchanged(&services, &after) {
            break;
        }
        keep_last(&mut after, |service| service.id);
        let earlier = find_each(&after, &services);
        if earlier.len() == services.len() && earlier.iter().all(Option::is_some) {
            // Only their order has changed.
            break;
        }
        if attempt == ATTEMPTS {
            torn = true;
            break;
        }
        unread = hand_over(&mut services, &mut after, &earlier);
        services = after;
    }
    Ok(Table { services, torn })
}

/// Reads one service with its destinations; none if there is no such service.
pub(super) fn service(
    id: &ServiceId,
    ask: &mut impl FnMut(Query<'_>) -> Result<Extent, NetlinkError>,
) -> Result<Option<Table>, NetlinkError> {
    let mut found = Vec::new();
    ask(Query::Service(id, &mut found))?;
    let mut attempt = 1;
    while let Some(mut service) = found.pop() {
        let is_steady = read_destinations(id, &mut service.destinations, ask)?;
        ask(Query::Service(id, &mut found))?;
        let is_unchanged = is_unchanged(slice::from_ref(&service), &found);
        if is_unchanged || (attempt == ATTEMPTS && !found.is_empty()) {
            return Ok(Some(Table {
                services: vec![service],
                torn: !(is_steady && is_unchanged),
            }));
        }
        attempt += 1;
    }
    Ok(None)
}

/// Reads the destinations of a service; `false` if no two readings agreed on which there are.
fn read_destinations(
    service: &ServiceId,
    destinations: &mut Vec<Destination>,
    ask: &mut impl FnMut(Query<'_>) -> Result<Extent, NetlinkError>,
) -> Result<bool, NetlinkError> {
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let extent = ask(Query::Destinations(service, destinations))?;
        if extent.is_whole() {
            return Ok(true);
        }
        keep_last(destinations, |destination| destination.id);
        let ids: Vec<_> = destinations
            .iter()
            .map(|destination| destination.id)
            .collect();
        if before.as_ref() == Some(&ids) {
            return Ok(true);
        }
        before = Some(ids);
    }
    Ok(false)
}

/// Whether two dumps show the same services in the same order.
fn is_unchanged(before: &[Service], after: &[Service]) -> bool {
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(before, after)| before.is_defined_as(after))
}

/// Where each of `wanted` stands in `services` with the same definition.
fn find_each(wanted: &[Service], services: &[Service]) -> Vec<Option<usize>> {
    let places: BTreeMap<ServiceId, usize> = services
        .iter()
        .enumerate()
        .map(|(place, service)| (service.id, place))
        .collect();
    let is_same = |place: &usize, wanted: &Service| {
        let service = services.get(*place);
        service.is_some_and(|service| service.is_defined_as(wanted))
    };
    wanted
        .iter()
        .map(|wanted| {
            let place = places.get(&wanted.id).copied();
            place.filter(|place| is_same(place, wanted))
        })
        .collect()
}

/// Gives the destinations that have been read to their services in `after`, and returns which of
/// those have none yet.
fn hand_over(
    before: &mut [Service],
    after: &mut [Service],
    places: &[Option<usize>],
) -> Vec<usize> {
    let mut unread = Vec::new();
    for (index, (service, place)) in after.iter_mut().zip(places).enumerate() {
        match place.and_then(|place| before.get_mut(place)) {
            Some(earlier) => service.destinations = mem::take(&mut earlier.destinations),
            None => unread.push(index),
        }
    }
    unread
}

/// Leaves one entry for each key: the last, in the place of the first.
fn keep_last<T, K: Ord>(entries: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut keys: Vec<K> = entries.iter().map(&key).collect();
    keys.sort_unstable();
    if keys.is_sorted_by(|one, next| one < next) {
        return;
    }
    let mut places = BTreeMap::new();
    let mut kept: Vec<T> = Vec::with_capacity(entries.len());
    for entry in mem::take(entries) {
        let place = *places.entry(key(&entry)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = entry,
            None => kept.push(entry),
        }
    }
    *entries = kept;
}

#[cfg(test)]
mod tests;
