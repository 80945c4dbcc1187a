//! `cargo xtask vm`: one command in one kernel.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    build, host,
    kernel::KernelChoice,
    qemu::{self, Machine},
    step, toolchain,
};

pub(crate) fn run(choice: &KernelChoice, machine: &Machine) -> Result<ExitCode> {
    host::check_space()?;
    qemu::set_up()?;
    toolchain::set_up()?;
    let kernel = choice.get()?;
    let binaries = build::lab_with_tests()?;
    let what = format!("running {} on {}", machine.command.join(" "), kernel.name);
    let ended = step::step(&what, || qemu::boot(&kernel, &binaries, machine))?;
    Ok(ExitCode::from(ended.status))
}
