//! `cargo xtask vm`: one command in one kernel.

use std::{io, process::ExitCode};

use anyhow::Result;

use crate::{
    build, host,
    kernel::KernelChoice,
    peers::Peers,
    qemu::{self, Clock, Machine},
    step, toolchain,
};

pub(crate) fn run(
    choice: &KernelChoice,
    has_peers: bool,
    clock: Clock,
    load: Vec<String>,
    command: Vec<String>,
) -> Result<ExitCode> {
    host::check_space()?;
    qemu::set_up()?;
    toolchain::set_up()?;
    let kernel = choice.get()?;
    let machine = Machine {
        clock,
        silence: None,
        deadline: None,
        peers: has_peers.then(Peers::get).transpose()?,
        load,
        command,
    };
    let binaries = build::lab_with_tests()?;
    let what = format!("running {} on {}", machine.command.join(" "), kernel.name);
    let ended = step::step(&what, || {
        qemu::boot(&kernel, &binaries, &machine, io::stdout())
    })?;
    Ok(ExitCode::from(ended.status))
}
