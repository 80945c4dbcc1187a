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

mod connections;
mod defence;
mod drops;
mod forward;
mod frames;
mod globals;
mod headers;
mod icmp;
mod kread;
mod late;
mod life;
mod live;
mod maps;
mod pairing;
mod persistence;
mod phases;
mod record;
mod schedule;
mod slots;
mod stream;
mod sweep;
mod transition;

/// Which kernel helpers may be called: those that ask for a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A program that could panic does not load: the verifier refuses the endless loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
