//! The same programs for `stream`, which send events of single connections too; see `main.rs`.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "this target has atomic adds, and no other way to ask for one"
)]
#![expect(
    unsafe_code,
    reason = "programs read kernel memory and write into maps by pointer"
)]
#![expect(
    clippy::map_err_ignore,
    reason = "the number that a helper returns says no more than the loss that is counted"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the signature of a program is aya's"
)]

/// See `main.rs`.
const STREAMS: bool = true;

include!("programs.in");

mod commands;
mod packets;
