//! Compiles the eBPF programs, so that the agent carries them.

use std::{env, fs, path::Path};

use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Whose LLVM the linker of eBPF objects is built with; `cargo xtask` installs both.
const EBPF_TOOLCHAIN: &str = "nightly-2026-10-29";
const OBJECTS: [&str; 2] = ["ipvs-observer-ebpf", "ipvs-observer-ebpf-streaming"];
/// What only debuggers read, four fifths of an object: the kernel takes `.BTF` and `.BTF.ext`.
const DEBUGGING: [&str; 2] = [".debug_", ".rel.debug_"];

fn main() -> aya_build::Result<()> {
    let programs = Package {
        name: "ipvs-observer-ebpf",
        root_dir: "../ipvs-observer-ebpf",
        ..Package::default()
    };
    aya_build::build_ebpf([programs], Toolchain::Custom(EBPF_TOOLCHAIN)).map_err(|error| {
        error.context(
            "cannot compile the eBPF programs; `cargo xtask build` installs what that takes",
        )
    })?;
    let folder = env::var("OUT_DIR")?;
    for name in OBJECTS {
        strip(&Path::new(&folder).join(name))?;
    }
    Ok(())
}

fn strip(path: &Path) -> aya_build::Result<()> {
    let whole = fs::read(path)?;
    let mut object = Builder::read(whole.as_slice())?;
    for section in &mut object.sections {
        let name = section.name.to_string();
        section.delete = DEBUGGING.iter().any(|prefix| name.starts_with(prefix));
    }
    object.delete_orphans();
    // The linker has one table of names for symbols and sections; what is written here has one for each.
    let names = object.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped)?;
    fs::write(path, stripped)?;
    Ok(())
}
