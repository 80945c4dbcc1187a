//! Shows live, per virtual service and real server, what a Linux IPVS director does to traffic.
//!
//! ```text
//!  ip_vs functions ── programs ── maps ─────▶ probe ──┐
//!                                                      ├─▶ model::sample ─▶ model::ledger ─▶ model::snapshot ─▶ output
//!  IPVS generic netlink ─────────────────────▶ ipvs ───┘
//!  BTF, /proc, capabilities ─▶ kernel, btf ─▶ (layout of the programs, facts of the run)
//! ```
//!
//! One tick of [`observer`]: take the time, drain the maps, dump the table, derive a snapshot, hand it to the outputs.

pub mod btf;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod error;
pub mod ipvs;
pub mod kernel;
pub mod list;
pub mod messages;
pub mod model;
pub mod observer;
pub mod output;
pub mod probe;
pub mod record;
pub mod recording;
pub mod report;
pub mod signals;
pub mod stream;
