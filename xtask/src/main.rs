//! The project's own build tool: sets up the toolchains, builds, fetches kernels and boots them.
//!
//! It runs on a stock stable toolchain and calls the pinned ones for everything else, so nothing
//! of the workspace but this package may be needed to compile it. `main` parses the command line
//! and chooses the exit status; each suite lives in a module of its own.

mod apt;
mod archive;
mod bench;
mod build;
mod demo;
mod host;
mod initramfs;
mod kernel;
mod libtest;
mod lock;
mod modinfo;
mod modules;
mod peers;
mod qemu;
mod step;
mod test;
mod toolchain;
mod verdict;
mod version;
mod vm;

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Parser};

use crate::{kernel::KernelChoice, qemu::Clock};

/// Builds, tests and shows ipvs-observer.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Xtask {
    /// Measures the promises of speed and memory beside peers, in VMs, and writes BENCHMARKS.md.
    Bench {
        /// Repeats less, to be done in ten minutes.
        #[arg(long)]
        quick: bool,
        /// Measures only these sections, and writes no file.
        #[arg(long)]
        section: Vec<String>,
        /// Measures only on these kernels, each a version like 6.12, and writes no file.
        #[arg(long)]
        kernel: Vec<String>,
    },
    /// Boots a director with real servers under load in a disposable VM and shows `top` on it.
    Demo {
        /// How long `top` runs, for example 20s or 2m.
        #[arg(short, long, default_value = "20s", value_parser = demo::duration)]
        duration: String,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Checks formatting, lints, and runs every test, on the host and in VMs.
    Test {
        /// Leaves the VMs out.
        #[arg(long)]
        host: bool,
        /// Tests only these kernels, each a version prefix like 6.12.
        #[arg(long)]
        kernel: Vec<String>,
    },
    /// Runs one command in one kernel and exits with its status.
    Vm {
        #[command(flatten)]
        kernel: KernelArgs,
        /// Guest time counts instructions: exact, repeatable, one CPU.
        #[arg(long)]
        icount: bool,
        /// CPUs of the guest.
        #[arg(long, default_value_t = 2, conflicts_with = "icount")]
        smp: u32,
        /// Puts the programs of others that ours is compared with into the VM.
        #[arg(long)]
        peers: bool,
        /// Modules to load at boot, separated by commas.
        #[arg(long, value_delimiter = ',', value_name = "MODULE")]
        load: Vec<String>,
        /// The command and its arguments, as found in the VM.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Builds the release agent and runs it on this machine.
    Run {
        /// The agent's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Sets up the toolchains and builds the release agent.
    Build,
}

#[derive(Args)]
struct KernelArgs {
    /// A Debian kernel version prefix like 6.12, or the path of a kernel image.
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// The lib/modules/VERSION folder of a kernel image given by its path.
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
}

impl KernelArgs {
    fn choice(self) -> Result<KernelChoice> {
        KernelChoice::new(self.kernel, self.modules)
    }
}

fn main() -> ExitCode {
    match run(Xtask::parse()) {
        Ok(status) => status,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Xtask) -> Result<ExitCode> {
    match task {
        Xtask::Bench {
            quick,
            section,
            kernel,
        } => bench::run(quick, &section, &kernel),
        Xtask::Demo { duration, kernel } => demo::run(&duration, &kernel.choice()?),
        Xtask::Test { host, kernel } => test::run(host, &kernel),
        Xtask::Vm {
            kernel,
            icount,
            smp,
            peers,
            load,
            command,
        } => {
            let clock = if icount {
                Clock::Instructions
            } else {
                Clock::Wall { cpus: smp }
            };
            vm::run(&kernel.choice()?, peers, clock, load, command)
        }
        Xtask::Run { args } => {
            let agent = build_agent()?;
            let error = std::process::Command::new(&agent).args(args).exec();
            Err(error).with_context(|| format!("cannot start {}", agent.display()))
        }
        Xtask::Build => {
            let agent = build_agent()?;
            let bytes = build::size_bytes(&agent)?;
            step::say(&format!("the agent is {}, {bytes} bytes", agent.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build_agent() -> Result<PathBuf> {
    host::check_space()?;
    toolchain::set_up()?;
    build::agent()
}
