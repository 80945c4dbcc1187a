//! `cargo xtask bench`: the promises of speed and memory, measured beside peers in the same guest
//! and held against their budgets.
//!
//! A section is what one guest measures in one boot, for each of its kernels, and has a module of
//! its own, which names the guest and makes figures of what it told. `tests/src/bench` is the guest's side. The results are
//! written for people into `BENCHMARKS.md` and for programs into `target/bench.json`.

mod connections;
mod cost;
mod figure;
mod measurements;
mod report;
mod stream;
mod table;

use std::{io, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};

use self::{figure::Figure, measurements::Measurements};
use crate::{
    build::{self, Binaries},
    host,
    kernel::{Kernel, KernelChoice},
    peers::Peers,
    qemu::{self, Clock, Machine},
    step, toolchain,
};

/// One run of the slowest program on the largest table takes a quarter of this on a slow machine.
const SILENCE: Duration = Duration::from_mins(5);

const SECTIONS: &[Section] = &[
    table::SECTION,
    connections::SECTION,
    cost::SECTION,
    stream::SECTION,
];

/// What is measured in one boot, of each of its kernels.
struct Section {
    /// The guest's command, `/bin/lab bench NAME`.
    name: &'static str,
    title: &'static str,
    /// What is measured on what, for the reader of the figures.
    about: &'static str,
    kernels: &'static [&'static str],
    peers: fn() -> Result<Peers>,
    clock: Clock,
    load: &'static [&'static str],
    figures: fn(&Measurements) -> Result<Vec<Figure>>,
}

/// A section that has been measured.
struct Measured {
    section: &'static Section,
    measurements: Measurements,
    figures: Vec<Figure>,
}

/// Measures the `sections` on the `kernels`: all where none is named, and then the results are
/// written too.
pub(crate) fn run(is_quick: bool, sections: &[String], kernels: &[String]) -> Result<ExitCode> {
    host::check_space()?;
    qemu::set_up()?;
    toolchain::set_up()?;
    let boots = boots(sections, kernels)?;
    let binaries = build::lab()?;
    let mut results = Vec::new();
    for (section, peers, kernel) in &boots {
        let what = format!("measuring {} on {}", section.name, kernel.name);
        results.push(step::step(&what, || {
            measure(section, kernel, peers, &binaries, is_quick)
        })?);
    }
    let is_all = sections.is_empty() && kernels.is_empty();
    report::write(&results, is_quick, is_all)?;
    let exceeded = results
        .iter()
        .flat_map(|measured| &measured.figures)
        .filter(|figure| figure.is_held() == Some(false));
    let mut status = ExitCode::SUCCESS;
    for figure in exceeded {
        step::say(&format!("over budget: {figure}"));
        status = ExitCode::FAILURE;
    }
    Ok(status)
}

/// Every boot that is wanted, with what it takes.
fn boots(
    sections: &[String],
    kernels: &[String],
) -> Result<Vec<(&'static Section, Peers, Kernel)>> {
    let is_wanted =
        |wanted: &[String], name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let mut boots = Vec::new();
    for section in SECTIONS {
        if !is_wanted(sections, section.name) {
            continue;
        }
        for name in section.kernels {
            if is_wanted(kernels, name) {
                let kernel = KernelChoice::new((*name).to_owned(), None)?.get()?;
                boots.push((section, (section.peers)()?, kernel));
            }
        }
    }
    ensure!(!boots.is_empty(), "no section has such a name or kernel");
    Ok(boots)
}

fn measure(
    section: &'static Section,
    kernel: &Kernel,
    peers: &Peers,
    binaries: &Binaries,
    is_quick: bool,
) -> Result<Measured> {
    let mut command = ["/bin/lab", "bench", section.name]
        .map(str::to_owned)
        .to_vec();
    if is_quick {
        command.push("--quick".to_owned());
    }
    let machine = Machine {
        clock: section.clock,
        silence: Some(SILENCE),
        deadline: None,
        peers: Some(peers.clone()),
        load: section.load.iter().map(ToString::to_string).collect(),
        command,
    };
    let ended = qemu::boot(kernel, binaries, &machine, io::stdout())?;
    ensure!(
        ended.status == 0,
        "the guest could not measure; why is written above"
    );
    let measurements = Measurements::parse(&ended.output, section.clock)?;
    let figures = (section.figures)(&measurements)
        .with_context(|| format!("section {} is not complete", section.name))?;
    Ok(Measured {
        section,
        measurements,
        figures,
    })
}
