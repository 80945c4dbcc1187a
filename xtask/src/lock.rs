//! Advisory file locks, so that two runs of this tool do not write the same files at once.
//!
//! The set-up holds one for whatever it installs or fetches, and each VM's folder has one of its
//! own for the time of a boot. No thread ever holds two.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{host, step};

/// Waits until no other run sets anything up. The lock ends with the value.
pub(crate) fn set_up() -> Result<File> {
    lock(&host::target().join("xtask.lock"), "the set-up")
}

/// Waits until no other run boots in this folder. The lock ends with the value.
pub(crate) fn vm(folder: &Path) -> Result<File> {
    lock(&folder.join("lock"), "this VM")
}

fn lock(path: &Path, what: &str) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            step::say(&format!(
                "waiting for another run that uses {what} and has locked {}",
                path.display()
            ));
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
    .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
