//! The kernel side: small programs on functions of `ip_vs` that turn packets into counters and histograms.
//!
//! A program measures; it decides nothing that can be decided later. What it finds goes into maps that the agent reads,
//! and every event it cannot use is counted with its reason (`Loss`). The agent (`probe/` there) chooses which programs to
//! attach, gives them the kernel's layout and the settings of the run, and holds them.

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

/// Whether the programs can send events of single connections: code that waits for a stream costs a run without one its
/// loading, even where the verifier leaves it out.
const STREAMS: bool = false;

include!("programs.in");
