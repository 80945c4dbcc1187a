//! The nouns of the field and what is derived from them, without IO, clock or threads.
//!
//! [`Sample`](sample::Sample) is one instant as it was read, [`Ledger`](ledger::Ledger) turns one after the other into
//! [`Snapshot`](snapshot::Snapshot)s, and outputs see nothing else.

pub mod activity;
pub mod changes;
pub mod circumstances;
pub mod command;
pub mod condition;
mod copies;
mod counters;
pub mod drain;
pub mod event;
pub mod filter;
pub mod id;
pub mod latency;
pub mod ledger;
pub mod listing;
pub mod memory;
pub mod rates;
pub mod sample;
pub mod snapshot;
pub mod split;
pub mod states;
pub mod symbols;
