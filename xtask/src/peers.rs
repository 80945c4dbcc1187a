//! The programs of others that ours is compared with, from Debian: fetched once and kept under
//! `target/peers`, with the libraries that they need and nothing else of their packages.
//!
//! Which of them a VM gets is the suite's matter, or the section's; `tests/src/peers.rs` runs them there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{apt::Apt, host, lock, step};

/// Programs that a VM gets together, with their libraries.
#[derive(Debug)]
struct Set {
    /// Below `target`.
    folder: &'static str,
    /// The packages, each from the suite whose version is wanted.
    packages: &'static [&'static str],
    /// What is kept of them, at the paths that it has in the packages and in the VM.
    files: &'static [&'static str],
}

/// What lists, exports and takes tables. All but promtool are of one suite, so that they share the
/// libraries; the promtool of bookworm is half as large as later ones.
static PROGRAMS: Set = Set {
    folder: "peers",
    packages: &[
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
    ],
    files: &[
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
    ],
};

/// bpftrace, whose compiler is larger than all else together.
static TRACER: Set = Set {
    folder: "tracer",
    packages: &[
        "bpftrace/trixie",
        "libbpf1/trixie",
        "libbpfcc/trixie",
        "libbsd0/trixie",
        "libc6/trixie",
        "libclang1-19/trixie",
        "libedit2/trixie",
        "libelf1t64/trixie",
        "libffi8/trixie",
        "libgcc-s1/trixie",
        "libllvm19/trixie",
        "liblzma5/trixie",
        "libmd0/trixie",
        "libsframe1/trixie",
        "libstdc++6/trixie",
        "libtinfo6/trixie",
        "libxml2/trixie",
        "libz3-4/trixie",
        "libzstd1/trixie",
        "zlib1g/trixie",
    ],
    files: &[
        "/usr/bin/bpftrace",
        "/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1",
        "/usr/lib/x86_64-linux-gnu/libbcc_bpf.so.0",
        "/usr/lib/x86_64-linux-gnu/libbpf.so.1",
        "/usr/lib/x86_64-linux-gnu/libbsd.so.0",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/x86_64-linux-gnu/libclang-19.so.19",
        "/usr/lib/x86_64-linux-gnu/libedit.so.2",
        "/usr/lib/x86_64-linux-gnu/libelf.so.1",
        "/usr/lib/x86_64-linux-gnu/libffi.so.8",
        "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
        "/usr/lib/x86_64-linux-gnu/liblzma.so.5",
        "/usr/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/x86_64-linux-gnu/libmd.so.0",
        "/usr/lib/x86_64-linux-gnu/libsframe.so.1",
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        "/usr/lib/x86_64-linux-gnu/libtinfo.so.6",
        "/usr/lib/x86_64-linux-gnu/libxml2.so.2",
        "/usr/lib/x86_64-linux-gnu/libz.so.1",
        "/usr/lib/x86_64-linux-gnu/libz3.so.4",
        "/usr/lib/x86_64-linux-gnu/libzstd.so.1",
        "/usr/lib64/ld-linux-x86-64.so.2",
    ],
};

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
    set: &'static Set,
    folder: PathBuf,
}

impl Peers {
    /// Finds all peers but the tracer, and fetches them if they have never been fetched.
    pub(crate) fn get() -> Result<Self> {
        Self::of(&PROGRAMS)
    }

    /// The same for the tracer alone.
    pub(crate) fn tracer() -> Result<Self> {
        Self::of(&TRACER)
    }

    fn of(set: &'static Set) -> Result<Self> {
        let folder = host::target().join(set.folder);
        let _lock = lock::set_up()?;
        // The folder gets its name only when it is complete.
        let is_current =
            fs::read_to_string(folder.join(CONTENTS)).is_ok_and(|found| found == set.contents());
        if !is_current {
            let apt = Apt::update()?;
            step::step("fetching the peers", || {
                fetch(&apt, set, &folder).with_context(|| {
                    format!(
                        "see that this machine reaches its mirror, that the mirror has {}, and \
                         that {} has room",
                        set.packages.join(", "),
                        folder.display()
                    )
                })
            })?;
        }
        Ok(Self { set, folder })
    }

    /// All files, by their paths in the VM and here.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let files = self.set.files.iter();
        files.map(|path| (*path, below(&self.folder, path)))
    }
}

/// Unpacks the packages and keeps only what a VM needs of them.
fn fetch(apt: &Apt, set: &Set, folder: &Path) -> Result<()> {
    let work = folder.with_extension("partial");
    remove(&work)?;
    let unpacked = work.join("unpacked");
    apt.unpack(set.packages, &unpacked)?;
    let root = unpacked.join("root");
    let kept = work.join("kept");
    for path in set.files {
        // A library is a link to the file with its version; the copy is the file.
        copy(&below(&root, path), &below(&kept, path))?;
    }
    let list = kept.join(CONTENTS);
    fs::write(&list, set.contents()).with_context(|| format!("cannot write {}", list.display()))?;
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

impl Set {
    fn contents(&self) -> String {
        let lines = self.packages.iter().chain(self.files);
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}
