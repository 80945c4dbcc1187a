//! `cargo xtask demo`: the product on a terminal, from nothing.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    build, host,
    kernel::KernelChoice,
    qemu::{self, Clock, Machine},
    step, toolchain,
};

pub(crate) fn run(duration: &str, choice: &KernelChoice) -> Result<ExitCode> {
    host::check_space()?;
    qemu::set_up()?;
    toolchain::set_up()?;
    let kernel = choice.get()?;
    let binaries = build::lab()?;
    let machine = Machine {
        clock: Clock::Wall { cpus: 2 },
        load: Vec::new(),
        command: ["/bin/lab", "demo", "--duration", duration]
            .map(str::to_owned)
            .to_vec(),
    };
    step::say(&format!(
        "booting Linux {} as a director with two services and four real servers; \
         one server's application answers 20 ms late (see first_byte), \
         another's link is 10 ms longer (see connect too)",
        kernel.name
    ));
    let ended = step::step("the demo", || qemu::boot(&kernel, &binaries, &machine))?;
    if ended.status == 0 {
        step::say("on a director of your own: cargo xtask run -- top");
    }
    Ok(ExitCode::from(ended.status))
}
