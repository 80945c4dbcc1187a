//! Sets up and changes the IPVS table of the calling thread's network namespace, as an
//! administrator's tool would.
//!
//! The agent never writes to IPVS, so the writing half of the protocol is used here and
//! nowhere else. What the requests say is in `message`; how they reach the kernel is
//! `genetlink`'s.

pub mod bulk;
mod message;

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::{
    ipvs::{
        netlink::Ipvs,
        table::{DaemonState, Thresholds, Tunnel, TunnelKind},
        wire::{
            IPVS_CMD_DEL_DEST, IPVS_CMD_DEL_SERVICE, IPVS_CMD_FLUSH, IPVS_CMD_NEW_DAEMON,
            IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_SERVICE, IPVS_CMD_SET_DEST, IPVS_CMD_ZERO,
        },
    },
    model::id::{DestinationId, ForwardingMethod, ServiceId},
};
use netlink_packet_core::DefaultNla;

use self::message::Affinity;
use crate::genetlink::{self, Request};

/// Adds a service without destinations.
pub fn add_service(service: &ServiceId, scheduler: &str) -> Result<()> {
    new_service(service, scheduler, Affinity::Connection)
}

/// Adds a service whose clients stay with their real server for `timeout_s`.
pub fn add_persistent_service(service: &ServiceId, scheduler: &str, timeout_s: u32) -> Result<()> {
    new_service(service, scheduler, Affinity::Client(timeout_s))
}

/// Adds a service that schedules each packet by itself, as only UDP can have it.
pub fn add_one_packet_service(service: &ServiceId, scheduler: &str) -> Result<()> {
    new_service(service, scheduler, Affinity::Packet)
}

/// Removes a service with all its destinations.
pub fn delete_service(service: &ServiceId) -> Result<()> {
    execute(IPVS_CMD_DEL_SERVICE, vec![message::service(service)])
        .with_context(|| format!("cannot delete service {service}"))
}

/// Zeroes all counters.
pub fn zero() -> Result<()> {
    execute(IPVS_CMD_ZERO, Vec::new()).context("cannot zero the counters")
}

/// Zeroes the counters of a service and its destinations.
pub fn zero_service(service: &ServiceId) -> Result<()> {
    execute(IPVS_CMD_ZERO, vec![message::service(service)])
        .with_context(|| format!("cannot zero the counters of {service}"))
}

/// Adds a real server to a service.
pub fn add_destination(
    service: &ServiceId,
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
) -> Result<()> {
    let settings = message::full_destination(destination, method, weight);
    new_destination(service, destination, settings)
}

/// Adds a real server at the end of a tunnel to a service.
pub fn add_tunnel_destination(
    service: &ServiceId,
    destination: &DestinationId,
    tunnel: Tunnel,
    weight: u32,
) -> Result<()> {
    let settings = message::tunnel_destination(destination, tunnel, weight);
    new_destination(service, destination, settings)
}

/// Changes the weight of a real server, and nothing else about it.
pub fn set_weight(service: &ServiceId, destination: &DestinationId, weight: u32) -> Result<()> {
    // The request replaces all that can be set, so the rest is read first.
    let table = Ipvs::open()?.service(service, &mut |_, _| None)?;
    let current = table
        .with_context(|| format!("there is no service {service}"))?
        .services
        .into_iter()
        .flat_map(|service| service.destinations)
        .find(|current| current.id == *destination)
        .with_context(|| format!("service {service} has no destination {destination}"))?;
    ensure!(
        current.thresholds.unwrap_or_default() == Thresholds::default(),
        "{destination} has thresholds, which setting the weight would drop"
    );
    ensure!(
        current
            .tunnel
            .is_none_or(|tunnel| tunnel.kind == TunnelKind::IpIp),
        "{destination} has a tunnel, which setting the weight would drop"
    );
    let settings = message::full_destination(destination, current.method, weight);
    execute(IPVS_CMD_SET_DEST, vec![message::service(service), settings])
        .with_context(|| format!("cannot set the weight of {destination} of service {service}"))
}

/// Bounds the connections of a real server of weight 1.
pub fn set_upper_threshold(
    service: &ServiceId,
    destination: &DestinationId,
    method: ForwardingMethod,
    connections: u32,
) -> Result<()> {
    edit_destination(service, destination, method, 1, connections)
}

/// Changes what can be changed of a real server: its weight, and how many connections it may
/// have, any number with 0.
pub fn edit_destination(
    service: &ServiceId,
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
    connections: u32,
) -> Result<()> {
    let settings = message::bounded_destination(destination, method, weight, connections);
    let attributes = vec![message::service(service), settings];
    execute(IPVS_CMD_SET_DEST, attributes)
        .with_context(|| format!("cannot edit {destination} of service {service}"))
}

/// Removes a real server from a service.
pub fn delete_destination(service: &ServiceId, destination: &DestinationId) -> Result<()> {
    let attributes = vec![message::service(service), message::destination(destination)];
    execute(IPVS_CMD_DEL_DEST, attributes)
        .with_context(|| format!("cannot delete {destination} of service {service}"))
}

/// Removes all services of the network namespace.
pub fn flush() -> Result<()> {
    execute(IPVS_CMD_FLUSH, Vec::new()).context("cannot flush the IPVS table")
}

/// Starts a thread that sends connections to other directors over `interface`, or takes
/// those that they send; both sides have the same `sync_id`.
pub fn start_daemon(state: DaemonState, interface: &str, sync_id: u32) -> Result<()> {
    let attributes = vec![message::daemon(state, interface, sync_id)];
    execute(IPVS_CMD_NEW_DAEMON, attributes)
        .with_context(|| format!("cannot start a daemon on {interface}: {state:?}"))
}

fn new_service(service: &ServiceId, scheduler: &str, affinity: Affinity) -> Result<()> {
    let settings = message::full_service(service, scheduler, affinity);
    execute(IPVS_CMD_NEW_SERVICE, vec![settings])
        .with_context(|| format!("cannot add service {service} with scheduler {scheduler}"))
}

fn new_destination(
    service: &ServiceId,
    destination: &DestinationId,
    settings: DefaultNla,
) -> Result<()> {
    execute(IPVS_CMD_NEW_DEST, vec![message::service(service), settings])
        .with_context(|| format!("cannot add {destination} to service {service}"))
}

/// Sends one request and waits until the kernel has done it.
fn execute(command: u8, attributes: Vec<DefaultNla>) -> Result<()> {
    genetlink::execute(Request {
        family: Ipvs::open()?.family(),
        command,
        attributes,
    })
}
