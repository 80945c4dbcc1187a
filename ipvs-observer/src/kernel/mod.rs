//! Facts about this host and its kernel, read from files below a root that the caller names.
//!
//! It states facts and decides nothing; what follows from them is decided in `observer` and `probe::plan`.

mod capabilities;
mod ipvs;
mod modules;
mod namespaces;
mod netns;
mod symbols;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::model::symbols::Symbols;

pub use capabilities::{Capabilities, Capability};
pub use modules::Module;
pub use namespaces::{FoundNamespaces, NetworkNamespace};
pub use netns::NetnsError;
pub use symbols::SymbolError;

/// Where tracefs is mounted, by itself or by debugfs.
const TRACEFS: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// The file systems through which the kernel speaks.
#[derive(Clone, Debug)]
pub struct Kernel {
    root: PathBuf,
}

/// Type information of the running kernel, as bytes.
#[derive(Debug)]
pub struct BtfImages {
    /// Of the kernel itself.
    pub base: Vec<u8>,
    /// Of the module `ip_vs`; absent where it is built in.
    pub ip_vs: Option<Vec<u8>>,
}

/// A process and its PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number in the namespace.
    pub id: u32,
    /// Device of the namespace as the kernel writes it, which is not how `stat` does.
    pub namespace_device: u64,
    /// Inode number of the namespace.
    pub namespace_inode: u64,
}

/// A file that should be there and cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Kernel {
    /// The kernel whose file systems are mounted below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What this process is allowed to do.
    pub fn capabilities(&self) -> Result<Capabilities, ReadError> {
        self.read_text("proc/self/status")
            .map(|status| Capabilities::parse(&status))
    }

    /// `kernel.perf_event_paranoid`; none if the kernel has no perf events.
    pub fn perf_event_paranoid(&self) -> Option<i32> {
        let text = self.read_text("proc/sys/kernel/perf_event_paranoid").ok()?;
        text.trim().parse().ok()
    }

    /// Whether the kernel has BTF at all.
    pub fn has_btf(&self) -> bool {
        self.root.join("sys/kernel/btf/vmlinux").exists()
    }

    /// The BTF of kernel and module.
    pub fn btf(&self) -> Result<BtfImages, ReadError> {
        let module = self.root.join("sys/kernel/btf/ip_vs");
        Ok(BtfImages {
            base: self.read("sys/kernel/btf/vmlinux")?,
            ip_vs: if module.exists() {
                Some(read_file(module)?)
            } else {
                None
            },
        })
    }

    /// This process as the kernel finds it in the PID namespace it runs in.
    pub fn process(&self) -> Result<Process, ReadError> {
        let path = self.root.join("proc/self/ns/pid");
        let metadata = fs::metadata(&path).map_err(|source| ReadError { path, source })?;
        let device = metadata.dev();
        // `MKDEV` of `include/linux/kdev_t.h`.
        let device =
            u64::from(rustix::fs::major(device)) << 20 | u64::from(rustix::fs::minor(device));
        Ok(Process {
            id: std::process::id(),
            namespace_device: device,
            namespace_inode: metadata.ino(),
        })
    }

    /// All functions, for stacks.
    pub fn symbols(&self) -> Result<Symbols, SymbolError> {
        symbols::all(&self.root.join("proc/kallsyms"))
    }

    /// Those of `names` that are functions of the kernel or of a module, inlined ones not among them.
    pub fn functions(
        &self,
        names: &BTreeSet<&'static str>,
    ) -> Result<BTreeSet<&'static str>, ReadError> {
        let path = self.root.join("proc/kallsyms");
        symbols::functions(&path, names).map_err(|source| ReadError { path, source })
    }

    /// Those of `names` that the kernel lets be traced, which its probes ask for too.
    pub fn traceable(
        &self,
        names: &BTreeSet<&'static str>,
    ) -> Result<BTreeSet<&'static str>, ReadError> {
        let paths = TRACEFS.map(|folder| self.root.join(folder).join("available_filter_functions"));
        let [path, other] = paths;
        let path = if path.exists() { path } else { other };
        symbols::traceable(&path, names).map_err(|source| ReadError { path, source })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        read_file(self.root.join(path))
    }

    fn read_text(&self, path: &str) -> Result<String, ReadError> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(|source| ReadError { path, source })
    }
}

fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>, ReadError> {
    let path = path.as_ref();
    fs::read(path).map_err(|source| ReadError {
        path: path.to_owned(),
        source,
    })
}
