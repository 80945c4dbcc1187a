//! Which functions the kernel has and where they are, and which of them can be probed.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use thiserror::Error;

use crate::model::symbols::Symbols;

/// The addresses cannot be had.
#[derive(Debug, Error)]
pub enum SymbolError {
    /// The file cannot be read.
    #[error("cannot read /proc/kallsyms")]
    Read(#[source] io::Error),
    /// The kernel shows zero in its place.
    #[error(
        "the kernel hides the addresses of its symbols; it takes CAP_SYSLOG and a kernel.kptr_restrict below 2"
    )]
    Hidden,
}

/// The file has a hundred thousand lines and more, which the kernel makes as they are read.
const BUFFER_BYTES: usize = 64 * 1024;

/// All functions with their addresses.
pub(super) fn all(path: &Path) -> Result<Symbols, SymbolError> {
    let mut read = Ok(());
    let symbols = Symbols::gather(|add| {
        read = each_line(path, |line| {
            if let Some((address, name, module)) = function_at(line) {
                add(address, name, module);
            }
        });
    });
    read.map_err(SymbolError::Read)?;
    if symbols.is_empty() {
        return Err(SymbolError::Hidden);
    }
    Ok(symbols)
}

/// Those of `names` that `/proc/kallsyms` has as functions.
pub(super) fn functions(
    path: &Path,
    names: &BTreeSet<&'static str>,
) -> io::Result<BTreeSet<&'static str>> {
    those_of(path, names, function_of)
}

/// Those of `names` that tracefs has in its `available_filter_functions`.
pub(super) fn traceable(
    path: &Path,
    names: &BTreeSet<&'static str>,
) -> io::Result<BTreeSet<&'static str>> {
    those_of(path, names, first_word)
}

fn those_of(
    path: &Path,
    names: &BTreeSet<&'static str>,
    name_of: fn(&[u8]) -> Option<&str>,
) -> io::Result<BTreeSet<&'static str>> {
    let mut found = BTreeSet::new();
    each_line(path, |line| {
        found.extend(name_of(line).and_then(|name| names.get(name)));
    })?;
    Ok(found)
}

fn each_line(path: &Path, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        look(&line);
        line.clear();
    }
    Ok(())
}

/// Address, name and module of a function whose address is shown; an empty module is the kernel itself.
fn function_at(line: &[u8]) -> Option<(u64, &str, &str)> {
    let name = function_of(line)?;
    let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let module = words.nth(2).unwrap_or_default();
    let module = module.trim_start_matches('[').trim_end_matches(']');
    (address != 0).then_some((address, name, module))
}

/// The name in a line of `/proc/kallsyms` that is of a function, global or not.
fn function_of(line: &[u8]) -> Option<&str> {
    let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let is_function = matches!(words.nth(1)?, "t" | "T" | "w" | "W");
    is_function.then(|| words.next())?
}

/// The name in a line of `available_filter_functions`, which that of a module follows.
fn first_word(line: &[u8]) -> Option<&str> {
    str::from_utf8(line).ok()?.split_ascii_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::{first_word, function_at, function_of};

    #[test]
    fn a_function_is_told_from_other_symbols() {
        for (line, expected) in [
            (
                &b"ffffffffc0a01230 t tcp_state_transition\t[ip_vs]\n"[..],
                Some("tcp_state_transition"),
            ),
            (
                b"0000000000000000 T ip_vs_conn_new\n",
                Some("ip_vs_conn_new"),
            ),
            (b"ffffffff82345680 R __per_cpu_offset\n", None),
            (b"ffffffff82345680 d tcp_state_transition\n", None),
            (b"ffffffff82345680\n", None),
            (b"\xff t x\n", None),
        ] {
            assert_eq!(function_of(line), expected);
        }
        assert_eq!(
            first_word(b"ip_vs_schedule [ip_vs]\n"),
            Some("ip_vs_schedule")
        );
        assert_eq!(first_word(b"\n"), None);
    }

    #[test]
    fn a_function_has_the_address_that_is_shown() {
        for (line, expected) in [
            (
                &b"ffffffffc0a01230 t tcp_state_transition\t[ip_vs]\n"[..],
                Some((0xffff_ffff_c0a0_1230, "tcp_state_transition", "ip_vs")),
            ),
            (
                b"ffffffff81002000 T nf_hook_slow\n",
                Some((0xffff_ffff_8100_2000, "nf_hook_slow", "")),
            ),
            (b"0000000000000000 T nf_hook_slow\n", None),
            (b"ffffffff82345680 R __per_cpu_offset\n", None),
            (b"xyz T nf_hook_slow\n", None),
        ] {
            assert_eq!(function_at(line), expected);
        }
    }
}
