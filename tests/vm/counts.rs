//! Numbers that are known beforehand or that the kernel counts too: every one must be
//! met exactly.

mod bad_input;
mod connections;
mod environment;
mod kernel_agrees;
mod module;
mod servers;
