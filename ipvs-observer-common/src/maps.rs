//! Names of the maps and globals, so that neither side spells one twice.

/// [`crate::ServerBlock`] of each CPU and slot, mapped by the agent; index `cpu * servers + slot`.
pub const SERVERS: &str = "SERVERS";
/// [`crate::ServerKey`] of each slot, mapped by the agent.
pub const SERVER_KEYS: &str = "SERVER_KEYS";
/// [`crate::CpuBlock`] of each CPU, mapped by the agent.
pub const CPUS: &str = "CPUS";
/// The one [`crate::Control`], mapped by the agent.
pub const CONTROL: &str = "CONTROL";
/// Slot of each [`crate::ServerKey`].
pub const SLOTS: &str = "SLOTS";
/// Slots that no server has yet.
pub const FREE_SLOTS: &str = "FREE_SLOTS";
/// [`crate::Connection`] of each `struct ip_vs_conn`, by its address.
pub const CONNECTIONS: &str = "CONNECTIONS";
/// The ring of [`crate::LiveEntry`], mapped by the agent.
pub const LIVE: &str = "LIVE";
/// The global with the [`crate::Settings`].
pub const SETTINGS: &str = "SETTINGS";
/// The global with the [`crate::Layout`].
pub const LAYOUT: &str = "LAYOUT";
/// Connections that can be followed at the same time; IPVS keeps one for two minutes after it is closed.
pub const MAX_CONNECTIONS: u32 = 1 << 19;
