//! The network namespaces of this host, as far as files show them: those with a name, which are mounts, and those of
//! processes.
//!
//! Mounts are looked for where they are listed, not in `/run/netns` alone: Docker has those of its swarm elsewhere, with no
//! process in them. A namespace that only a socket, a descriptor or a thread other than the first of its process keeps alive
//! is not found.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{
    Kernel, NetnsError,
    netns::{NAMES, enter, open_file},
};
use crate::model::id::Netns;

/// A network namespace; it lives at least as long as this does.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// Its name, if it has one: that of the file that stands for it.
    pub name: Option<String>,
    path: PathBuf,
    file: OwnedFd,
}

impl NetworkNamespace {
    /// Moves the calling thread there, for good.
    pub fn enter(&self) -> Result<(), NetnsError> {
        enter(self.path.clone(), &self.file)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct FoundNamespaces {
    /// Each once.
    pub namespaces: BTreeMap<Netns, NetworkNamespace>,
    /// Processes whose namespace this process may not see, for want of `CAP_SYS_PTRACE`.
    pub hidden_processes: usize,
}

impl Kernel {
    /// Looks for all network namespaces; what is not there any more when it is opened is left out.
    pub fn network_namespaces(&self) -> FoundNamespaces {
        let mut found = FoundNamespaces::default();
        let mounts = fs::read(self.root.join("proc/self/mountinfo")).unwrap_or_default();
        for (netns, path) in named(&mounts) {
            let name = path.file_name().map(printable);
            found.add(netns, path, name);
        }
        let processes = fs::read_dir(self.root.join("proc")).into_iter().flatten();
        for process in processes.flatten() {
            if !is_number(&process.file_name()) {
                continue;
            }
            let path = process.path().join("ns/net");
            match rustix::fs::readlink(&path, Vec::new()) {
                Ok(target) => {
                    if let Some(netns) = number(target.as_bytes()) {
                        found.add(netns, path, None);
                    }
                }
                Err(Errno::ACCESS | Errno::PERM) => found.hidden_processes += 1,
                // It has ended.
                Err(_) => {}
            }
        }
        found
    }
}

impl FoundNamespaces {
    fn add(&mut self, netns: Netns, path: PathBuf, name: Option<String>) {
        if self.namespaces.contains_key(&netns) {
            return;
        }
        let Ok(file) = open_file(&path) else {
            return;
        };
        // By now the path may be another's.
        if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_ino == u64::from(netns.0)) {
            let namespace = NetworkNamespace { name, path, file };
            self.namespaces.insert(netns, namespace);
        }
    }
}

/// The network namespaces that are mounted, those of `ip netns` first, each in the order of the paths.
fn named(mountinfo: &[u8]) -> Vec<(Netns, PathBuf)> {
    let lines = mountinfo.split(|&byte| byte == b'\n');
    let mut mounts: Vec<_> = lines.filter_map(mounted).collect();
    let is_of_ip_netns = |path: &Path| {
        let parent = path.parent();
        parent.is_some_and(|parent| NAMES.iter().any(|names| parent.ends_with(names)))
    };
    mounts.sort_by_cached_key(|(_, path)| (!is_of_ip_netns(path), path.clone()));
    mounts
}

/// The network namespace that a line of `mountinfo` is about, and where it is mounted: in the fourth and fifth field, as in
/// `… net:[4026532201] /run/netns/blue rw … - nsfs nsfs rw` (`fs/proc_namespace.c`).
fn mounted(line: &[u8]) -> Option<(Netns, PathBuf)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let netns = number(fields.nth(3)?)?;
    Some((netns, PathBuf::from(unescaped(fields.next()?))))
}

/// The inode number in `net:[4026532201]`.
fn number(text: &[u8]) -> Option<Netns> {
    let number = text.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    let number = str::from_utf8(number).ok()?;
    number.parse().ok().map(Netns)
}

/// A path of `mountinfo`, where space, tab, line feed and backslash are octal numbers (`mangle_path`).
fn unescaped(path: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let value = octal.and_then(|digits| {
            let digits = str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(value.unwrap_or(byte));
        rest = match value {
            Some(_) => &after[3..],
            None => after,
        };
    }
    OsString::from_vec(bytes)
}

/// A name that does to no terminal what it should not.
fn printable(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let printable = name.chars().map(|character| match character {
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    });
    printable.collect()
}

fn is_number(name: &OsStr) -> bool {
    name.as_bytes().iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

    use super::{Kernel, named, number, printable};
    use crate::model::id::Netns;

    const MOUNTINFO: &[u8] = b"\
24 1 0:22 / /proc rw,nosuid - proc proc rw
310 60 0:4 net:[4026532290] /run/docker/netns/ingress_sbox rw shared:5 - nsfs nsfs rw
311 60 0:4 mnt:[4026532291] /run/snapd/ns/x.mnt rw - nsfs nsfs rw
312 60 0:4 net:[4026532201] /run/user/netns/also rw - nsfs nsfs rw
313 60 0:4 net:[4026532201] /run/netns/two\\040words rw - nsfs nsfs rw
314 60 0:4 net:[4026532203] /run/netns/back\\134slash
315 60 0:4 net:[4026532x] /run/netns/no-number rw - nsfs nsfs rw
316 60 0:4
";

    #[test]
    fn names_are_mounts_and_those_of_ip_netns_come_first() {
        let expected = [
            (4_026_532_203, "/run/netns/back\\slash"),
            (4_026_532_201, "/run/netns/two words"),
            (4_026_532_290, "/run/docker/netns/ingress_sbox"),
            (4_026_532_201, "/run/user/netns/also"),
        ];
        let expected = expected.map(|(number, path)| (Netns(number), Path::new(path).into()));
        assert_eq!(named(MOUNTINFO), expected);
    }

    #[test]
    fn only_links_of_network_namespaces_have_a_number() {
        assert_eq!(number(b"net:[4026531840]"), Some(Netns(4_026_531_840)));
        for other in ["mnt:[4026531840]", "net:[]", "net:[4294967296]", "/x"] {
            assert_eq!(number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_name_is_no_command_to_a_terminal() {
        let name = OsStr::from_bytes(b"a\x1b[31m\nb\xff");
        assert_eq!(printable(name), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn the_namespace_of_this_process_is_found_once_and_by_its_number() {
        let kernel = Kernel::at("/");
        let own = kernel.network_namespace().unwrap();
        assert!(kernel.network_namespaces().namespaces.contains_key(&own));
        let nowhere = Kernel::at("/nonexistent").network_namespaces();
        assert!(nowhere.namespaces.is_empty());
    }
}
