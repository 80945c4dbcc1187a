//! Slow steps: each says what it does, how long it took, and fails with its name, its cause and
//! what to do. The clock is read here and nowhere else.
//!
//! Everything goes to stderr: stdout belongs to what a VM prints and to the result of the tests.

use std::{
    io::{self, Write as _},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// One line to the person who waits.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when stderr itself is closed.
    drop(writeln!(io::stderr().lock(), "xtask: {line}"));
}

/// Does `work`, which is slow, and names it in its messages and in its error.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(&format!("{what} …"));
    let start = now();
    let value = work().with_context(|| format!("{what} failed"))?;
    say(&format!("{what}: done in {}", seconds(start.elapsed())));
    Ok(value)
}

/// Runs a child to its end with its output on stderr, so that its own progress is seen.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(())
}

/// Runs a child with its output on stderr and gives its status.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    let child = command.stdin(Stdio::null()).stdout(io::stderr());
    child
        .status()
        .with_context(|| format!("cannot start {}", name(command)))
}

/// Runs a child and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            name(command),
            output.status,
            stderr.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", name(command)))
}

/// The time by which durations of steps and deadlines of guests are measured.
#[expect(clippy::disallowed_methods, reason = "the build tool's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A duration as the messages print it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The program and its first words without options: what one would look for in a history.
fn name(command: &Command) -> String {
    let words = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .filter(|word| !word.starts_with('-') && !word.contains('='))
        .take(4);
    std::iter::once(command.get_program().to_string_lossy())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
