//! One run of one program on an idle machine, and what it took.
//!
//! A process of its own starts the program: the kernel counts what children took together, and
//! this process has no other. Its own memory is small, so that the peak of the child, which the
//! kernel lets begin with its parent's, is the program's.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde_json::{Value, json};

use super::tell;
use crate::{netns::Netns, wait};

/// This program, as the guest has it.
const LAB: &str = "/bin/lab";

/// What a program took, run by run.
#[derive(Debug, Default)]
pub(super) struct Runs {
    total_ns: Vec<u64>,
    user_ns: Vec<u64>,
    peak_bytes: Vec<u64>,
}

impl Runs {
    /// Runs a program in a namespace `count` times, with its output thrown away.
    pub(super) fn of(netns: &Netns, command: &[&str], count: u32) -> Result<Self> {
        let mut runs = Self::default();
        for _ in 0..count {
            runs.repeat(netns, command)?;
        }
        Ok(runs)
    }

    fn repeat(&mut self, netns: &Netns, command: &[&str]) -> Result<()> {
        wait::idle_cpu()?;
        let output = netns
            .spawn(
                Command::new(LAB)
                    .args(["bench", "run"])
                    .args(command)
                    .stdout(Stdio::piped()),
            )?
            .wait_with_output()
            .with_context(|| format!("cannot wait for {command:?}"))?;
        ensure!(output.status.success(), "{command:?} failed");
        let taken: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the run of {command:?} told no JSON"))?;
        let number = |name: &str| {
            let value = taken.get(name).and_then(Value::as_u64);
            value.with_context(|| format!("the run of {command:?} told no {name}"))
        };
        self.total_ns.push(number("total_ns")?);
        self.user_ns.push(number("user_ns")?);
        self.peak_bytes.push(number("peak_bytes")?);
        Ok(())
    }

    /// Tells the runs of `subject` in `case`.
    pub(super) fn tell(&self, case: &str, subject: &str) -> Result<()> {
        tell(case, subject, "total_ns", &self.total_ns)?;
        tell(case, subject, "user_ns", &self.user_ns)?;
        tell(case, subject, "peak_bytes", &self.peak_bytes)
    }
}

/// `run PROGRAM …`: runs it and tells in JSON the time from its start to its end, how much of
/// that it was in user mode, and its peak memory.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let start_ns = wait::monotonic_ns();
    let status = command
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    let total_ns = wait::monotonic_ns() - start_ns;
    ensure!(status.success(), "{program} ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask what a child took")?;
    let user_ns = usage.user_time().num_nanoseconds();
    let peak_bytes = usage.max_rss() * 1024;
    let taken = json!({ "total_ns": total_ns, "user_ns": user_ns, "peak_bytes": peak_bytes });
    writeln!(io::stdout(), "{taken}").context("cannot write to standard output")
}
