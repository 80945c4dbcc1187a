//! The guest's side of `cargo xtask bench`: builds what is to be measured, measures, and tells
//! each result in a line of JSON on standard output, which `xtask/src/bench` reads.
//!
//! A section is measured in one boot and has a module of its own. What the figures mean, and
//! what they may be, is decided on the host: a guest tells what it saw, every run of it.

mod connections;
pub mod cost;
mod floor;
mod run;
pub mod stream;
mod table;

use std::{
    io::{self, Write as _},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// `bench SECTION [--quick]`: measures a section. The other commands are the programs that
/// sections run: `run` another program and tell what it took, or a floor.
pub fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["connections"] => connections::measure(false),
        ["connections", "--quick"] => connections::measure(true),
        ["cost"] => cost::measure(false),
        ["cost", "--quick"] => cost::measure(true),
        ["stream"] => stream::measure(false),
        ["stream", "--quick"] => stream::measure(true),
        ["table"] => table::measure(false),
        ["table", "--quick"] => table::measure(true),
        ["run", program, arguments @ ..] => run::run(program, arguments),
        ["walk"] => floor::walk(),
        ["read", path] => floor::read(path),
        _ => bail!(
            "usage: lab bench (table | connections | cost | stream) [--quick] | run PROGRAM … | \
             walk | read FILE"
        ),
    }
}

/// Tells that `measure` of `subject` in `case` was each of `values`.
fn tell(case: &str, subject: &str, measure: &str, values: &[u64]) -> Result<()> {
    line(&json!({ "case": case, "subject": subject, "measure": measure, "values": values }))
}

/// Tells on what, and with which programs, the section is measured.
fn tell_versions(programs: &[&str]) -> Result<()> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    line(&json!({ "version": format!("Linux {release}") }))?;
    for program in programs {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot start {program}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next();
        line(&json!({ "version": version.with_context(|| format!("{program} has no version"))? }))?;
    }
    Ok(())
}

fn line(value: &Value) -> Result<()> {
    writeln!(io::stdout(), "{value}").context("cannot write to standard output")
}
