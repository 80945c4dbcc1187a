//! One instant as it was read: what the programs saw since the instant before, and the table.

use std::{collections::BTreeMap, time::Duration};

use ipvs_observer_common::Loss;

use super::{
    activity::Activity,
    id::{DestinationId, Netns, ServiceId},
    memory::Memory,
    snapshot::{Namespace, ProbeHealth},
    split::OwnCost,
    states::Sweep,
};
use crate::ipvs::table::Table;

/// A virtual service where it is: another namespace can have one of the same address.
pub type ServiceKey = (Netns, ServiceId);

/// A real server under its service, or with `None` the service itself.
pub type ServerId = (Netns, ServiceId, Option<DestinationId>);

/// The network namespaces that were read at one time.
pub type Namespaces = BTreeMap<Netns, NamespaceSample>;

/// What was read in one network namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceSample {
    /// What it is.
    pub namespace: Namespace,
    /// What IPVS says there.
    pub table: Table,
}

/// A time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Since 1970, for people.
    pub wall: Duration,
    /// On `CLOCK_MONOTONIC`, for differences.
    pub monotonic: Duration,
}

/// What the programs saw since the previous reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Of the host itself.
    pub host: Activity,
    /// Only those with anything new.
    pub servers: BTreeMap<ServerId, Activity>,
    /// Packets of the observed namespaces that reached a state transition.
    pub transitions: u64,
    /// Events given up, by [`Loss`].
    pub losses: [u64; Loss::ALL.len()],
    /// What attached probes missed since they were attached.
    pub probes: Vec<ProbeHealth>,
    /// What the maps hold and take.
    pub memory: Memory,
}

/// Everything that one tick read.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When the maps were read.
    pub at: Timestamp,
    /// What the programs saw.
    pub readings: Readings,
    /// What IPVS says, by network namespace.
    pub namespaces: Namespaces,
    /// How long reading the tables took.
    pub table_took: Duration,
    /// IPVS's own count of packets in all these namespaces since the previous sample, from its per-CPU counters.
    pub packets: Option<u64>,
    /// What the programs took since the start, where that is counted.
    pub own_cost: Option<OwnCost>,
    /// All connections by server, if they were looked at.
    pub sweep: Option<Sweep>,
}
