//! `cargo xtask test`: everything that decides whether a change is good, ended by one line that
//! says so. A step that fails counts as one failure, and the others still run.
//!
//! The tests in VMs are those of `guests`, the verdict is `report`'s.

mod guests;
mod report;

use std::{
    io::{self, Read as _, Write as _},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

use self::{guests::Fetched, report::Report};
use crate::{
    host,
    libtest::Results,
    qemu, step,
    toolchain::{self, TARGET},
};

/// The program, and its package.
const BROWSER: &str = "chromium";

pub(crate) fn run(host_only: bool, kernels: &[String]) -> Result<ExitCode> {
    let mut report = Report::default();
    if report.step("set-up", || set_up(host_only)) {
        // Whatever needs the network comes first: nobody waits for tests to learn that it is not
        // there.
        let fetched = if host_only {
            Fetched::default()
        } else {
            guests::fetch(&mut report, kernels)
        };
        report.step("formatting", formatting);
        report.step("clippy", clippy);
        report.step("clippy of the eBPF programs", clippy_ebpf);
        let host = "unit and host tests";
        report.suite(host, step::step(host, host_tests));
        if !host_only {
            guests::run(&mut report, &fetched);
        }
    }
    report.finish()
}

fn set_up(host_only: bool) -> Result<()> {
    host::check_space()?;
    if !host_only {
        qemu::set_up()?;
    }
    // For the tests of the page that `report --html` writes.
    if !host::has(BROWSER) {
        host::install(BROWSER, BROWSER)?;
    }
    toolchain::set_up()
}

fn formatting() -> Result<()> {
    step::run(toolchain::cargo().args(["fmt", "--all", "--check"])).context("type: cargo fmt --all")
}

fn clippy() -> Result<()> {
    let mut clippy = toolchain::cargo();
    clippy.args(["clippy", "--all-targets", "--target", TARGET, "--workspace"]);
    clippy.args([
        "--exclude",
        "ipvs-observer-ebpf",
        "--features",
        "ipvs-observer-tests/vm",
    ]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

fn clippy_ebpf() -> Result<()> {
    let mut clippy = toolchain::nightly_cargo();
    clippy.args(["clippy", "--package", "ipvs-observer-ebpf", "--release"]);
    clippy.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

fn host_tests() -> Result<Results> {
    let mut test = toolchain::cargo();
    test.args(["test", "--no-fail-fast", "--target", TARGET, "--workspace"]);
    test.args(["--exclude", "ipvs-observer-ebpf"]);
    let (output, succeeded) = copy_output(&mut test)?;
    judge(Results::parse(&output), succeeded)
}

/// A suite that runs nothing, leaves tests out, or ends badly without a failed test, has failed
/// itself.
fn judge(results: Results, succeeded: bool) -> Result<Results> {
    match (results.passed + results.failed, succeeded) {
        (0, true) => bail!("not one test ran"),
        (0, false) => bail!("the tests did not start; why is written above"),
        _ => {}
    }
    if !succeeded && results.failed == 0 {
        bail!("the test program ended before its tests did");
    }
    if results.ignored > 0 {
        bail!("{} tests are ignored, and none may be", results.ignored);
    }
    Ok(results)
}

/// Runs a child whose output is for the reader and for us; its messages go to stderr.
fn copy_output(command: &mut Command) -> Result<(String, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut output = child.stdout.take().context("cargo has no output")?;
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = output
            .read(&mut chunk)
            .context("cannot read what cargo prints")?;
        if length == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..length]);
        io::stdout()
            .write_all(&chunk[..length])
            .context("cannot write to stdout")?;
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((
        String::from_utf8_lossy(&kept).into_owned(),
        status.success(),
    ))
}
