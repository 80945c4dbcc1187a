//! Kernel modules in the VM: loaded by name or alias with all that they need, and unloaded.
//! The same code answers the kernel when it calls `/sbin/modprobe`.
//!
//! # The index
//! `/lib/modules/index` is written by `xtask/src/modules.rs`: one module per line, four fields
//! separated by tabs: name, path or `builtin`, the names of all modules to load before it in
//! order, its alias patterns; the last two separated by spaces.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::{
    io::Errno,
    system::{delete_module, finit_module},
};

const INDEX: &str = "/lib/modules/index";
/// What the kernel asked `/sbin/modprobe` for, one name or alias per line.
const LOG: &str = "/run/modprobe.log";
const BUILTIN: &str = "builtin";
/// With it `delete_module` refuses a module in use instead of waiting for its users.
const O_NONBLOCK: i32 = 0o4000;

/// Loads a module, named by itself or by an alias, and before it whatever it needs. A module
/// that is loaded already is left alone.
pub fn load(name: &str) -> Result<()> {
    let index = fs::read_to_string(INDEX).with_context(|| format!("cannot read {INDEX}"))?;
    let entries = index.lines().filter_map(Entry::parse).collect::<Vec<_>>();
    let module = entries
        .iter()
        .find(|entry| entry.answers_to(name))
        .with_context(|| format!("the VM has no module {name}"))?;
    for before in module.before.split_whitespace() {
        let needed = entries
            .iter()
            .find(|entry| entry.name == before)
            .with_context(|| format!("the VM lacks {before}, which {name} needs"))?;
        insert(needed)?;
    }
    insert(module)
}

/// Unloads a module and before it the modules that use it. A module that is not loaded is left
/// alone; one that something else holds is an error.
pub fn unload(name: &str) -> Result<()> {
    let list = fs::read_to_string("/proc/modules").context("cannot read /proc/modules")?;
    let Some(users) = users(&list, name) else {
        return Ok(());
    };
    for user in users {
        unload(user)?;
    }
    let module = CString::new(name).context("the name of a module holds no zero byte")?;
    delete_module(&module, O_NONBLOCK).with_context(|| format!("cannot unload the module {name}"))
}

/// Whether a module is loaded now.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// What `/sbin/modprobe` was asked for since the start.
pub fn requests() -> Vec<String> {
    let log = fs::read_to_string(LOG).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Is `/sbin/modprobe`, which the kernel calls with `-q -- NAME`.
pub fn modprobe(arguments: &[String]) -> Result<()> {
    for name in arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
    {
        let mut log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(LOG)
            .with_context(|| format!("cannot open {LOG}"))?;
        writeln!(log, "{name}").with_context(|| format!("cannot write {LOG}"))?;
        load(name)?;
    }
    Ok(())
}

/// One line of the index.
#[derive(Debug)]
struct Entry<'a> {
    name: &'a str,
    path: &'a str,
    before: &'a str,
    aliases: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('\t');
        Some(Self {
            name: fields.next()?,
            path: fields.next()?,
            before: fields.next()?,
            aliases: fields.next()?,
        })
    }

    fn answers_to(&self, name: &str) -> bool {
        // Dashes and underscores are the same in names of modules and in aliases.
        let name = name.replace('-', "_");
        let patterns = std::iter::once(self.name).chain(self.aliases.split_whitespace());
        patterns
            .map(|pattern| pattern.replace('-', "_"))
            .any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

fn insert(entry: &Entry<'_>) -> Result<()> {
    if entry.path == BUILTIN || is_loaded(entry.name) {
        return Ok(());
    }
    let file = File::open(entry.path).with_context(|| format!("cannot open {}", entry.path))?;
    match finit_module(file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot load the module {}", entry.name)),
    }
}

/// The modules that use one, from `/proc/modules`; None if it is not loaded.
fn users<'a>(list: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let line = list
        .lines()
        .find(|line| line.split(' ').next() == Some(name))?;
    let users = line.split(' ').nth(3)?;
    Some(
        users
            .split(',')
            .filter(|user| !matches!(*user, "" | "-"))
            .collect(),
    )
}

/// Matches the wildcards of module aliases, `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, text)
                || text
                    .split_first()
                    .is_some_and(|(_, text)| matches(pattern, text))
        }
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((wanted, rest)), Some((byte, text))) => wanted == byte && matches(rest, text),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_answers_to_its_name_and_its_aliases() {
        let line =
            "ip_vs\t/lib/modules/ip_vs.ko\tnf_conntrack\tnet-pf-16-proto-16-family-IPVS usb:v*p?1";
        let entry = Entry::parse(line).unwrap();
        for name in [
            "ip_vs",
            "ip-vs",
            "net-pf-16-proto-16-family-IPVS",
            "usb:v12pA1",
        ] {
            assert!(entry.answers_to(name), "{name}");
        }
        for name in ["ip_vs_rr", "net-pf-16", "usb:v12p1", ""] {
            assert!(!entry.answers_to(name), "{name}");
        }
    }

    #[test]
    fn a_builtin_module_has_empty_fields() {
        let entry = Entry::parse("dummy\tbuiltin\t\t").unwrap();
        assert_eq!((entry.path, entry.before, entry.aliases), (BUILTIN, "", ""));
        assert!(Entry::parse("dummy").is_none());
    }

    #[test]
    fn users_come_from_the_list_of_modules() {
        let list = "ip_vs_rr 16384 1 - Live 0x0\nip_vs 200704 3 ip_vs_rr,ip_vs_sh, Live 0x0\n";
        assert_eq!(users(list, "ip_vs").unwrap(), ["ip_vs_rr", "ip_vs_sh"]);
        assert_eq!(users(list, "ip_vs_rr").unwrap(), Vec::<&str>::new());
        assert!(users(list, "veth").is_none());
    }
}
