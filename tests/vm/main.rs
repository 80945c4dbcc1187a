//! The tests that need a real kernel with IPVS: they run as root in a machine made for
//! them, one at a time, and check truth, not plausibility.
//!
//! `counts` runs on two CPUs, where time means nothing; `timed` where guest time is
//! exact and an idle moment costs nothing; `once` as `counts` does, on one kernel; `peers` as `counts` does, where the programs
//! of others are installed; `refusal` on a kernel that cannot be observed, where the
//! others cannot run. `cargo xtask vm` boots all. Nothing skips: what cannot be
//! tested here has failed.

#![cfg_attr(
    not(feature = "vm"),
    expect(
        dead_code,
        reason = "compiled everywhere, run only with the feature vm"
    )
)]

mod counts;
mod fixture;
mod once;
mod peers;
mod refusal;
mod timed;
