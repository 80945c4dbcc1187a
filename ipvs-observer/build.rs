//! Compiles the eBPF programs, so that the agent carries them.

use aya_build::{Package, Toolchain};

/// Whose LLVM the linker of eBPF objects is built with; `cargo xtask` installs both.
const EBPF_TOOLCHAIN: &str = "nightly-2026-10-29";

fn main() -> aya_build::Result<()> {
    let programs = Package {
        name: "ipvs-observer-ebpf",
        root_dir: "../ipvs-observer-ebpf",
        ..Package::default()
    };
    aya_build::build_ebpf([programs], Toolchain::Custom(EBPF_TOOLCHAIN)).map_err(|error| {
        error.context(
            "cannot compile the eBPF programs; `cargo xtask build` installs what that takes",
        )
    })
}
