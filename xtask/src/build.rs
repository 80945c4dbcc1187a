//! What is built of the workspace: the agent as it is released, the lab as the VM's init, and the
//! tests that run in a VM. All are static binaries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    step,
    toolchain::{self, TARGET},
};

/// The agent is copied to directors by hand and by scripts: it stays below this.
const MAX_AGENT_BYTES: u64 = 8 * 1000 * 1000;

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
        let agent = release("ipvs-observer", "ipvs-observer")?;
        let bytes = size_bytes(&agent)?;
        if bytes >= MAX_AGENT_BYTES {
            bail!(
                "the agent has {bytes} bytes and must stay below {MAX_AGENT_BYTES}; see what a \
                 new dependency or feature added"
            );
        }
        Ok(agent)
    })
}

/// How large a program is.
pub(crate) fn size_bytes(program: &Path) -> Result<u64> {
    let metadata = fs::metadata(program)
        .with_context(|| format!("cannot read the size of {}", program.display()))?;
    Ok(metadata.len())
}

/// Builds the agent and the lab, each in a call of its own: in one call cargo would give the agent
/// the features that only the lab wants of their common dependencies, and what is tested would not
/// be what is released.
pub(crate) fn lab() -> Result<Binaries> {
    Ok(Binaries {
        agent: agent()?,
        lab: step::step("building the lab", || release("ipvs-observer-tests", "lab"))?,
        vm_tests: None,
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

fn release(package: &str, program: &str) -> Result<PathBuf> {
    let mut build = toolchain::cargo();
    build.args(["build", "--release", "--target", TARGET]);
    build.args(["--package", package, "--bin", program]);
    executable(&executables(&mut build)?, program)
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
