//! The root file system of the VM: a cpio archive in the kernel's "newc" format, holding the lab
//! binary as init, the agent, the tests, the modules, and what init is to do.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{build::Binaries, modules::Modules};

const MODULES: &str = "/lib/modules";

/// Writes the archive of one boot. `tests/src/bin/lab.rs` is what starts in it.
pub(crate) fn write(
    path: &Path,
    binaries: &Binaries,
    modules: &Modules,
    load: &[String],
    command: &[String],
) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["/bin", "/sbin", "/dev", "/etc", "/etc/lab", "/lib", MODULES] {
        archive.folder(folder);
    }
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
    archive.file("/etc/lab/load", lines(load).as_bytes())?;
    archive.file("/etc/lab/command", lines(command).as_bytes())?;
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

/// A newc archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, (0, 0), 0, &[]);
    }

    fn node(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE, (major, minor), 0, &[]);
    }

    fn link(&mut self, path: &str, target: &str) {
        let size = u32::try_from(target.len()).unwrap_or(u32::MAX);
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
        archive.file("/etc/x", b"hello").unwrap();
        let bytes = archive.finish();
        let header = std::str::from_utf8(&bytes[..110]).unwrap();
        let expected = "070701\
            00000001000081a40000000000000000000000010000000000000005\
            00000000000000000000000000000000\
            0000000600000000";
        assert_eq!(header, expected);
        assert_eq!(&bytes[110..116], b"etc/x\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn devices_and_links_carry_their_modes() {
        let mut archive = Archive::default();
        archive.node("/dev/console", 5, 1);
        archive.link("/bin/lab", "/init");
        let text = String::from_utf8(archive.finish()).unwrap();
        assert!(text.starts_with("0707010000000100002180"));
        assert!(text.contains("0000000500000001"));
        assert!(text.contains("bin/lab\0\0\0/init"));
    }
}
