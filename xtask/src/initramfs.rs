//! The root file system of the VM: a cpio archive in the kernel's "newc" format, holding the lab
//! binary as init, the agent, the tests, the modules, what init is to do, and for some the peers.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{build::Binaries, modules::Modules, peers, qemu::Machine};

const MODULES: &str = "/lib/modules";

/// Writes the archive of one boot. `tests/src/bin/lab.rs` is what starts in it.
pub(crate) fn write(
    path: &Path,
    binaries: &Binaries,
    modules: &Modules,
    machine: &Machine,
) -> Result<()> {
    let mut archive = Archive::default();
    // Init's output goes nowhere without it: the kernel opens it before anything is mounted.
    archive.node("/dev/console", 5, 1);
    archive.program("/init", &binaries.lab)?;
    for link in ["/bin/lab", "/sbin/modprobe"] {
        archive.link(link, "/init");
    }
    archive.program("/bin/ipvs-observer", &binaries.agent)?;
    if let Some(tests) = &binaries.vm_tests {
        archive.program("/bin/vm-tests", tests)?;
    }
    for module in &modules.loadable {
        archive.file(&format!("{MODULES}/{}.ko", module.name), &module.image)?;
    }
    archive.file(
        &format!("{MODULES}/index"),
        modules.index(MODULES).as_bytes(),
    )?;
    // One word per line; an argument with a line break in it has no use in a VM.
    archive.file("/etc/lab/load", lines(&machine.load).as_bytes())?;
    archive.file("/etc/lab/command", lines(&machine.command).as_bytes())?;
    if let Some(peers) = &machine.peers {
        for (path, source) in peers.files() {
            archive.program(path, &source)?;
        }
        for (path, content) in peers::CONFIGURATION {
            archive.file(path, content.as_bytes())?;
        }
        let (link, target) = peers::LOADER_LINK;
        archive.link(link, target);
    }
    let bytes = archive.finish();
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn lines(words: &[String]) -> String {
    words.iter().flat_map(|word| [word, "\n"]).collect()
}

const FOLDER: u32 = 0o04_0755;
const FILE: u32 = 0o10_0644;
const PROGRAM: u32 = 0o10_0755;
const LINK: u32 = 0o12_0777;
const CHARACTER_DEVICE: u32 = 0o02_0600;

/// A newc archive in the making. Whatever is put into it brings its folders along.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    fn folders_of(&mut self, path: &str) {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            let folder = &path[..end];
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, (0, 0), 0, &[]);
            }
        }
    }

    fn node(&mut self, path: &str, major: u32, minor: u32) {
        self.folders_of(path);
        self.entry(path, CHARACTER_DEVICE, (major, minor), 0, &[]);
    }

    fn link(&mut self, path: &str, target: &str) {
        let size = u32::try_from(target.len()).unwrap_or(u32::MAX);
        self.folders_of(path);
        self.entry(path, LINK, (0, 0), size, target.as_bytes());
    }

    fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.sized(path, FILE, content)
    }

    fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        let content =
            fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.sized(path, PROGRAM, &content)
    }

    fn sized(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len())
            .with_context(|| format!("{path} is too large for an initramfs"))?;
        self.folders_of(path);
        self.entry(path, mode, (0, 0), size, content);
        Ok(())
    }

    /// Header, name and content, the last two padded to four bytes. All numbers are eight hex
    /// digits; times are zero so that an archive depends on its content alone.
    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), size: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.entries += 1;
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let links = if mode == FOLDER { 2 } else { 1 };
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_header_name_and_content_aligned() {
        let mut archive = Archive::default();
        archive.file("/x", b"hello").unwrap();
        let bytes = archive.finish();
        let header = std::str::from_utf8(&bytes[..110]).unwrap();
        let expected = "070701\
            00000001000081a40000000000000000000000010000000000000005\
            00000000000000000000000000000000\
            0000000200000000";
        assert_eq!(header, expected);
        assert_eq!(&bytes[110..112], b"x\0");
        assert_eq!(&bytes[112..120], b"hello\0\0\0");
        assert_eq!(&bytes[120..126], b"070701");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/usr/lib/a", b"").unwrap();
        archive.file("/usr/lib/b", b"").unwrap();
        let text = String::from_utf8(archive.finish()).unwrap();
        let names = text
            .split("070701")
            .filter_map(|entry| entry.get(104..)?.split('\0').next())
            .collect::<Vec<_>>();
        assert_eq!(
            names,
            ["usr", "usr/lib", "usr/lib/a", "usr/lib/b", "TRAILER!!!"]
        );
    }

    #[test]
    fn devices_and_links_carry_their_modes() {
        let mut archive = Archive::default();
        archive.node("/dev/console", 5, 1);
        archive.link("/bin/lab", "/init");
        let text = String::from_utf8(archive.finish()).unwrap();
        assert!(text.contains("0707010000000200002180"));
        assert!(text.contains("0000000500000001"));
        assert!(text.contains("bin/lab\0\0\0/init"));
    }
}
