//! What is built of the workspace: the agent as it is released, the lab as the VM's init, and the
//! tests that run in a VM. All are static binaries.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    step,
    toolchain::{self, TARGET},
};

/// What a VM is filled with.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) agent: PathBuf,
    pub(crate) lab: PathBuf,
    pub(crate) vm_tests: Option<PathBuf>,
}

/// Builds the release agent.
pub(crate) fn agent() -> Result<PathBuf> {
    step::step("building the agent", || {
        let mut build = release("build");
        build.args(["--package", "ipvs-observer"]);
        executable(&executables(&mut build)?, "ipvs-observer")
    })
}

/// Builds the agent and the lab.
pub(crate) fn lab() -> Result<Binaries> {
    step::step("building the agent and the lab", || {
        let mut build = release("build");
        build.args([
            "--package",
            "ipvs-observer",
            "--package",
            "ipvs-observer-tests",
            "--bins",
        ]);
        let executables = executables(&mut build)?;
        Ok(Binaries {
            agent: executable(&executables, "ipvs-observer")?,
            lab: executable(&executables, "lab")?,
            vm_tests: None,
        })
    })
}

/// Builds the agent, the lab and the tests for a VM.
pub(crate) fn lab_with_tests() -> Result<Binaries> {
    let binaries = lab()?;
    let tests = step::step("building the tests for a VM", || {
        let mut build = toolchain::cargo();
        build.args(["test", "--no-run", "--target", TARGET]);
        build.args([
            "--package",
            "ipvs-observer-tests",
            "--test",
            "vm",
            "--features",
            "vm",
        ]);
        executable(&executables(&mut build)?, "vm")
    })?;
    Ok(Binaries {
        vm_tests: Some(tests),
        ..binaries
    })
}

fn release(command: &str) -> Command {
    let mut cargo = toolchain::cargo();
    cargo.args([command, "--release", "--target", TARGET]);
    cargo
}

/// Runs cargo and gives the programs that it made, by the names of their targets.
fn executables(cargo: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo ended with {}; its messages are above", output.status);
    }
    let messages = String::from_utf8(output.stdout).context("cargo printed no text")?;
    let mut executables = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed no JSON")?;
        let path = message["executable"].as_str();
        if let (Some(path), Some(name)) = (path, message["target"]["name"].as_str()) {
            executables.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    Ok(executables)
}

fn executable(executables: &[(String, PathBuf)], name: &str) -> Result<PathBuf> {
    executables
        .iter()
        .find(|(target, _)| target == name)
        .map(|(_, path)| path.clone())
        .with_context(|| format!("cargo built no program {name}"))
}
