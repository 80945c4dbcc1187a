//! The pinned toolchains and bpf-linker: found where they are, installed where they are not.
//!
//! Nothing here touches the network when everything is present. The rest of the project calls
//! cargo only through [`cargo`] and [`nightly_cargo`].

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{host, lock, step};

/// Builds everything that is not eBPF.
const RUST: &str = "1.99.1";
/// Builds the eBPF object; its LLVM and bpf-linker's have to be the same.
const NIGHTLY: &str = "nightly-2026-10-29";
const BPF_LINKER: &str = "0.13.0";
/// The agent and the lab are static binaries, so that they run on any distribution and in a VM
/// that holds nothing else.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// Installs what is missing.
pub(crate) fn set_up() -> Result<()> {
    if !host::has("rustup") {
        bail!("rustup is not installed; install it as its home page shows, then start again");
    }
    let _lock = lock::set_up()?;
    toolchain(RUST, &["clippy", "rustfmt"], Some(TARGET))?;
    toolchain(NIGHTLY, &["clippy", "rust-src"], None)?;
    bpf_linker()
}

/// Cargo of the pinned stable toolchain.
pub(crate) fn cargo() -> Command {
    pinned(RUST)
}

/// Cargo of the pinned nightly toolchain.
pub(crate) fn nightly_cargo() -> Command {
    pinned(NIGHTLY)
}

fn pinned(toolchain: &str) -> Command {
    let mut command = rustup(&["run", toolchain, "cargo"]);
    command.current_dir(host::workspace());
    command
}

/// Rustup, free of what the cargo that started this program put into the environment.
fn rustup(args: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(args);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || matches!(
                &*text,
                "CARGO" | "RUSTUP_TOOLCHAIN" | "LD_LIBRARY_PATH" | "RUST_RECURSION_COUNT"
            )
        {
            command.env_remove(&name);
        }
    }
    let tools = tools().join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools).chain(env::split_paths(&path));
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}

fn toolchain(name: &str, components: &[&str], target: Option<&str>) -> Result<()> {
    if is_complete(name, components, target)? {
        return Ok(());
    }
    step::step(&format!("installing the Rust toolchain {name}"), || {
        let mut install = rustup(&["toolchain", "install", name]);
        install.args(["--profile", "minimal", "--no-self-update"]);
        for component in components {
            install.args(["--component", component]);
        }
        if let Some(target) = target {
            install.args(["--target", target]);
        }
        step::run(&mut install).context(
            "see that this machine reaches the servers of rustup and has room in its home folder",
        )
    })
}

fn is_complete(name: &str, components: &[&str], target: Option<&str>) -> Result<bool> {
    let toolchains = step::output(&mut rustup(&["toolchain", "list"]))?;
    let prefix = format!("{name}-");
    if !toolchains.lines().any(|line| line.starts_with(&prefix)) {
        return Ok(false);
    }
    let list = |kind: &str| {
        step::output(&mut rustup(&[
            kind,
            "list",
            "--toolchain",
            name,
            "--installed",
        ]))
    };
    let installed = list("component")?;
    let has_components = components
        .iter()
        .all(|component| installed.lines().any(|line| line.starts_with(component)));
    let has_target = match target {
        Some(target) => list("target")?.lines().any(|line| line == target),
        None => true,
    };
    Ok(has_components && has_target)
}

fn tools() -> PathBuf {
    host::target().join("tools")
}

/// bpf-linker, built against the LLVM that the nightly compiler brings, so that no LLVM of the
/// system is needed and the bitcode of one is read by the same.
fn bpf_linker() -> Result<()> {
    // The search path has our own folder first, so this finds either.
    let wanted = format!("bpf-linker {BPF_LINKER}");
    let mut probe = rustup(&["run", NIGHTLY, "bpf-linker", "--version"]);
    if step::output(&mut probe).is_ok_and(|version| version.trim() == wanted) {
        return Ok(());
    }
    step::step(&format!("building {wanted}"), || {
        let llvm = tools().join("llvm");
        link_llvm(&llvm.join("lib"))?;
        let build = tools().join("build");
        let mut install = nightly_cargo();
        install
            .args([
                "install",
                &format!("bpf-linker@{BPF_LINKER}"),
                "--locked",
                "--force",
                "--root",
            ])
            .arg(tools())
            .env("LLVM_PREFIX", &llvm)
            .env("CARGO_TARGET_DIR", &build);
        step::run(&mut install)
            .context("see that this machine reaches the crates registry and has a C compiler")?;
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
    })
}

/// Gives the compiler's own LLVM library the name that a linker looks for.
fn link_llvm(folder: &Path) -> Result<()> {
    let sysroot = step::output(&mut rustup(&[
        "run", NIGHTLY, "rustc", "--print", "sysroot",
    ]))?;
    let lib = Path::new(sysroot.trim()).join("lib");
    let library = fs::read_dir(&lib)
        .with_context(|| format!("cannot read {}", lib.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libLLVM.so.")
        })
        .with_context(|| format!("{} holds no libLLVM.so", lib.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let own_name = library.file_name().context("a library without a name")?;
    for name in [own_name, "libLLVM.so".as_ref()] {
        let link = folder.join(name);
        if link.is_symlink() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        symlink(&library, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}
