//! The contract between the eBPF programs and the agent.
//!
//! Everything that lies in a map or in a global of the object is defined here, once, and used by both sides.
//! Rules of this boundary: fixed widths, no padding, no `bool`, no `enum`, no `Option`, since any bit pattern may arrive;
//! addresses and ports in network order as the kernel keeps them, everything else in host order.
//! The agent carries the object that was built with it, so the two cannot disagree.

#![no_std]

mod block;
mod connection;
mod histogram;
mod key;
mod layout;
mod live;
pub mod maps;
mod settings;

pub use block::{Control, Counters, CpuBlock, Extremes, Histogram, Loss, Measure, ServerBlock};
pub use connection::{Connection, phase};
pub use histogram::{
    BUCKETS, GROUPING_BITS, OCTAVES, OVERFLOW, Range, SLOTS, UNDERFLOW, bounds_of, bucket_of,
};
pub use key::ServerKey;
pub use layout::{ConnLayout, DestLayout, Field, Layout, ServiceLayout, SkbLayout, StatsLayout};
pub use live::{LIVE_ENTRIES, LiveEntry};
pub use settings::Settings;
