//! The inside of the VM: what runs as process 1, and how kernel modules get into its kernel.
//!
//! `cargo xtask` puts the binary `lab` into an initramfs as `/init` and `/sbin/modprobe`, and
//! reads from the console how the command ended.

pub mod init;
pub mod modules;
