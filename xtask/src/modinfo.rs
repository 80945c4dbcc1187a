//! What a kernel module says about itself in its `.modinfo` section: `key=value` strings, each
//! ended by a zero byte.

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};

/// The facts by which modules are found and ordered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Modinfo {
    /// Modules whose symbols it uses.
    pub(crate) depends: Vec<String>,
    /// Modules, by name or alias, that it wants loaded before it where they exist.
    pub(crate) wants: Vec<String>,
    /// Patterns under which the kernel asks for it.
    pub(crate) aliases: Vec<String>,
}

/// Reads the section of an ELF image.
pub(crate) fn read(image: &[u8]) -> Result<Modinfo> {
    let file = object::File::parse(image).context("this is no ELF file")?;
    let section = file
        .section_by_name(".modinfo")
        .context("it has no section .modinfo")?;
    Ok(parse(
        section
            .data()
            .context("its section .modinfo cannot be read")?,
    ))
}

fn parse(section: &[u8]) -> Modinfo {
    let mut modinfo = Modinfo::default();
    for entry in section.split(|byte| *byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        match entry.split_once('=') {
            Some(("depends", names)) => {
                let names = names.split(',').filter(|name| !name.is_empty());
                modinfo
                    .depends
                    .extend(names.map(|name| name.replace('-', "_")));
            }
            Some(("softdep", words)) => {
                // The words after "pre:" up to the next word with a colon come before it.
                let pre = words
                    .split_whitespace()
                    .skip_while(|word| *word != "pre:")
                    .skip(1)
                    .take_while(|word| !word.ends_with(':'));
                modinfo.wants.extend(pre.map(str::to_owned));
            }
            Some(("alias", pattern)) => modinfo.aliases.push(pattern.to_owned()),
            Some(_) | None => {}
        }
    }
    modinfo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_by_their_keys() {
        let modinfo = parse(
            b"alias=net-pf-16-proto-16-family-IPVS\0license=GPL\0depends=nf_conntrack,lib-crc\0\
              softdep=pre: crc32c sha1 post: late\0retpoline=Y\0name=ip_vs\0",
        );
        assert_eq!(modinfo.depends, ["nf_conntrack", "lib_crc"]);
        assert_eq!(modinfo.wants, ["crc32c", "sha1"]);
        assert_eq!(modinfo.aliases, ["net-pf-16-proto-16-family-IPVS"]);
    }

    #[test]
    fn no_dependencies_are_no_names() {
        assert_eq!(parse(b"depends=\0"), Modinfo::default());
        assert_eq!(parse(b""), Modinfo::default());
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(read(b"\x1f\x8b").is_err());
    }
}
