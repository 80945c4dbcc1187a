//! Kernels to boot: Debian's by a version prefix, fetched once and kept under `target/kernels`,
//! or an image of one's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{apt::Apt, host, lock, modules::Modules, step, version};

/// How often a newest package may turn out to have left the mirror before one gives up.
const ATTEMPTS: usize = 3;
const ELSEWHERE: &str = "a kernel of your own needs no package: --kernel IMAGE --modules DIR";

/// What the user asked for.
#[derive(Debug, Clone)]
pub(crate) enum KernelChoice {
    /// The newest Debian kernel whose version starts so.
    Debian(String),
    /// An image and its `lib/modules/VERSION` folder.
    Own { image: PathBuf, modules: PathBuf },
}

/// A kernel that is ready to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What messages and folders call it.
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    pub(crate) modules: PathBuf,
}

impl KernelChoice {
    pub(crate) fn new(kernel: String, modules: Option<PathBuf>) -> Result<Self> {
        match (version::is_prefix(&kernel), modules) {
            (true, None) => Ok(Self::Debian(kernel)),
            (true, Some(_)) => bail!(
                "--modules goes with a kernel image of your own, and {kernel} is a version: give --kernel IMAGE"
            ),
            (false, Some(modules)) => Ok(Self::Own {
                image: kernel.into(),
                modules,
            }),
            (false, None) => bail!(
                "{kernel} is not a version like 6.12; a kernel image needs its modules too: --modules DIR"
            ),
        }
    }

    /// Finds the kernel, and fetches it if it has never been fetched.
    pub(crate) fn get(&self) -> Result<Kernel> {
        match self {
            Self::Debian(prefix) => debian(prefix),
            Self::Own { image, modules } => {
                for path in [image, modules] {
                    fs::metadata(path)
                        .with_context(|| format!("cannot find {}", path.display()))?;
                }
                Ok(Kernel {
                    name: "own".to_owned(),
                    image: image.clone(),
                    modules: modules.clone(),
                })
            }
        }
    }
}

fn debian(prefix: &str) -> Result<Kernel> {
    let kernels = host::target().join("kernels");
    let folder = kernels.join(prefix);
    let kernel = Kernel {
        name: prefix.to_owned(),
        image: folder.join("vmlinuz"),
        modules: folder.join("modules"),
    };
    let _lock = lock::set_up()?;
    // The folder gets its name only when it is complete, but one of an older version of this tool
    // may lack what the lab needs now.
    if folder.exists() {
        let missing = Modules::missing(&kernel.modules)?;
        if missing.is_empty() {
            return Ok(kernel);
        }
        step::say(&format!(
            "the kernel in {} is fetched again: it lacks {}",
            folder.display(),
            missing.join(", ")
        ));
    }
    let apt = Apt::update().context(ELSEWHERE)?;
    let listing = apt.kernels(version::FLAVOUR)?;
    let candidates = version::candidates(&listing, prefix);
    if candidates.is_empty() {
        bail!(
            "found no Debian kernel {prefix}: {}; {ELSEWHERE}",
            apt.advice()
        );
    }
    // Behind lists that could not be refreshed, the mirror is out of reach.
    let attempts = if apt.is_complete { ATTEMPTS } else { 1 };
    let mut result = Ok(());
    for candidate in candidates.into_iter().take(attempts) {
        let what = format!("fetching the Debian kernel {}", candidate.version);
        result = step::step(&what, || {
            fetch(&apt, &candidate.packages, &kernels, &folder).with_context(|| {
                format!(
                    "see that this machine reaches its mirror and that {} has room",
                    kernels.display()
                )
            })
        });
        match &result {
            Ok(()) => break,
            Err(error) => step::say(&format!("{error:#}")),
        }
    }
    result.map(|()| kernel)
}

/// Unpacks a kernel and keeps only what a VM needs of it.
fn fetch(apt: &Apt, packages: &[String], kernels: &Path, folder: &Path) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let work = kernels.join(format!("{name}.partial"));
    if work.exists() {
        remove(&work)?;
    }
    let unpacked = work.join("unpacked");
    apt.unpack(packages, &unpacked)?;
    let root = unpacked.join("root");
    let kept = work.join("kept");
    let source = module_folder(&root)?;
    Modules::read(&source)?.write(&kept.join("modules"))?;
    let image = kept.join("vmlinuz");
    let packed = find_image(&root, &source)?;
    fs::copy(&packed, &image).with_context(|| format!("cannot copy {}", packed.display()))?;
    if folder.exists() {
        remove(folder)?;
    }
    fs::rename(&kept, folder).with_context(|| format!("cannot make {}", folder.display()))?;
    remove(&work)
}

/// Debian moved the modules below usr with 6.16.
fn module_folder(root: &Path) -> Result<PathBuf> {
    for parent in ["usr/lib/modules", "lib/modules"] {
        if let Some(folder) = entries(&root.join(parent))
            .into_iter()
            .find(|path| path.is_dir())
        {
            return Ok(folder);
        }
    }
    bail!("the package has no folder lib/modules")
}

/// The image lies in boot, or beside the modules where the package is split.
fn find_image(root: &Path, modules: &Path) -> Result<PathBuf> {
    [&root.join("boot"), modules]
        .into_iter()
        .flat_map(entries)
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("vmlinuz")
        })
        .context("the package has no vmlinuz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect()
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
