//! The contract between the eBPF programs and the agent.
//!
//! Everything that lies in a map or in a global of the object is defined here, once, and used by both sides.
//! Rules of this boundary: fixed widths, no padding, no `bool`, no `enum`, no `Option`, since any bit pattern may arrive;
//! addresses and ports in network order as the kernel keeps them, everything else in host order.
//! The agent carries the object that was built with it, so the two cannot disagree.

#![no_std]

mod block;
mod command;
mod connection;
mod ended;
mod event;
mod histogram;
mod key;
mod layout;
mod live;
pub mod maps;
mod measure;
mod settings;
mod stream;
mod sweep;

pub use block::{Coarse, Control, CpuBlock, Extremes, Fine, Histogram, Loss, Medium, Summary};
pub use command::CommandEvent;
pub use connection::{BUCKET_PLACES, Bucket, CLAIMED, Connection, FREE, buckets_of, phase};
pub use ended::{ENDED_PLACES, Ended, ended_place};
pub use event::{Counters, Event};
pub use histogram::{COARSEST_GROUPING_BITS, FINEST_GROUPING_BITS, OCTAVES, Range, Scale, buckets};
pub use key::ServerKey;
pub use layout::{
    CommandLayout, ConnLayout, DestLayout, Field, Layout, ServiceLayout, SkbLayout, StatsLayout,
    StatusLayout,
};
pub use live::{LIVE_ENTRIES, LiveEntry};
pub use measure::Measure;
pub use settings::{OFF, Settings};
pub use stream::{
    ClientPrefix, Ending, EventKind, KernelStack, PATTERNS, Pattern, STACK_FRAMES, STAGES,
    StackedEvent, StreamCounts, StreamEvent, StreamLoss, StreamSettings, Trace, protocol_bit,
    sample_hash,
};
pub use sweep::{SYN_RECV, Swept, TCP_STATE_NAMES, TCP_STATES};
