//! What this machine is to a set-up: its folders, its free space, whether one is root on it, and
//! the packages it lacks.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::step;

/// A cold set-up with its builds takes this much.
const NEEDED_BYTES: u64 = 5 << 30;
/// A build over an earlier one takes this much.
const NEEDED_WARM_BYTES: u64 = 1 << 30;

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .parent()
        .map_or_else(|| package.clone(), Path::to_path_buf)
}

/// Where everything that is made or fetched goes.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace().join("target"),
        |folder| workspace().join(folder),
    )
}

/// Fails early and plainly where a build would fail late and strangely.
pub(crate) fn check_space() -> Result<()> {
    let target = target();
    std::fs::create_dir_all(&target)
        .with_context(|| format!("cannot make the folder {}", target.display()))?;
    let volume = rustix::fs::statvfs(&target)
        .with_context(|| format!("cannot read the free space of {}", target.display()))?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    let needed =
        if target.join("tools").exists() || target.join("x86_64-unknown-linux-musl").exists() {
            NEEDED_WARM_BYTES
        } else {
            NEEDED_BYTES
        };
    if free < needed {
        bail!(
            "{} has {} MB free and {} MB are needed; make room, or set CARGO_TARGET_DIR to a larger disk",
            target.display(),
            free >> 20,
            needed >> 20,
        );
    }
    Ok(())
}

/// Whether packages can be installed without asking.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is on the search path.
pub(crate) fn has(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Installs a Debian package that brings `program`, or says how to get it.
pub(crate) fn install(program: &str, package: &str) -> Result<()> {
    if !has("apt-get") {
        bail!(
            "{program} is not installed and there is no apt-get here; install it from this distribution"
        );
    }
    let command = format!("sudo apt-get update && sudo apt-get install {package}");
    if !is_root() {
        bail!("{program} is not installed; type: {command}");
    }
    step::step(&format!("installing {package}"), || {
        let install = || {
            let mut apt = Command::new("apt-get");
            apt.args(["install", "--yes", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive");
            apt
        };
        // A fresh machine has no package lists, an old one outdated ones.
        if step::status(&mut install())?.success() {
            return Ok(());
        }
        step::run(Command::new("apt-get").arg("update"))?;
        step::run(&mut install()).with_context(|| format!("type: {command}"))
    })
}
