//! The programs of others that ours is compared with, from Debian: fetched once and kept under
//! `target/peers`, with the libraries that they need and nothing else of their packages.
//!
//! Which of them a VM gets is the suite's matter; `tests/src/peers.rs` runs them there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{apt::Apt, host, lock, step};

/// The packages, each from the suite whose version is wanted. All but promtool are of one suite,
/// so that they share the libraries; the promtool of bookworm is half as large as later ones.
const PACKAGES: &[&str] = &[
    "ipvsadm/trixie",
    "libc6/trixie",
    "libnl-3-200/trixie",
    "libnl-genl-3-200/trixie",
    "libpopt0/trixie",
    "libzstd1/trixie",
    "netbase/trixie",
    "prometheus/bookworm",
    "prometheus-node-exporter/trixie",
    "victoria-metrics/trixie",
];
/// What is kept of them, at the paths that it has in the packages and in the VM.
const FILES: &[&str] = &[
    "/etc/protocols",
    "/etc/services",
    "/usr/bin/prometheus-node-exporter",
    "/usr/bin/promtool",
    "/usr/bin/victoria-metrics",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libnl-3.so.200",
    "/usr/lib/x86_64-linux-gnu/libnl-genl-3.so.200",
    "/usr/lib/x86_64-linux-gnu/libpopt.so.0",
    "/usr/lib/x86_64-linux-gnu/libzstd.so.1",
    "/usr/lib64/ld-linux-x86-64.so.2",
    "/usr/sbin/ipvsadm",
];
/// The link by which programs name their loader.
pub(crate) const LOADER_LINK: (&str, &str) = ("/lib64", "usr/lib64");
/// Names are looked up in files alone: a VM has no network.
pub(crate) const CONFIGURATION: &[(&str, &str)] = &[
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/nsswitch.conf",
        "hosts: files\nservices: files\nprotocols: files\n",
    ),
];
/// What a folder was made of: one that says something else is made again.
const CONTENTS: &str = "contents";

/// The peers on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Finds the peers, and fetches them if they have never been fetched.
    pub(crate) fn get() -> Result<Self> {
        let folder = host::target().join("peers");
        let _lock = lock::set_up()?;
        // The folder gets its name only when it is complete.
        let is_current =
            fs::read_to_string(folder.join(CONTENTS)).is_ok_and(|found| found == contents());
        if !is_current {
            let apt = Apt::update()?;
            step::step("fetching the peers", || {
                fetch(&apt, &folder).with_context(|| {
                    format!(
                        "see that this machine reaches its mirror, that the mirror has {}, and \
                         that {} has room",
                        PACKAGES.join(", "),
                        folder.display()
                    )
                })
            })?;
        }
        Ok(Self { folder })
    }

    /// All files, by their paths in the VM and here.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        FILES.iter().map(|path| (*path, below(&self.folder, path)))
    }
}

/// Unpacks the packages and keeps only what a VM needs of them.
fn fetch(apt: &Apt, folder: &Path) -> Result<()> {
    let work = folder.with_extension("partial");
    remove(&work)?;
    let unpacked = work.join("unpacked");
    apt.unpack(PACKAGES, &unpacked)?;
    let root = unpacked.join("root");
    let kept = work.join("kept");
    for path in FILES {
        // A library is a link to the file with its version; the copy is the file.
        copy(&below(&root, path), &below(&kept, path))?;
    }
    let list = kept.join(CONTENTS);
    fs::write(&list, contents()).with_context(|| format!("cannot write {}", list.display()))?;
    remove(folder)?;
    fs::rename(&kept, folder).with_context(|| format!("cannot make {}", folder.display()))?;
    remove(&work)
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    let folder = target.parent().unwrap_or(target);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(source, target).with_context(|| format!("no package has {}", source.display()))?;
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn contents() -> String {
    let lines = PACKAGES.iter().chain(FILES);
    lines.flat_map(|line| [line, "\n"]).collect()
}
