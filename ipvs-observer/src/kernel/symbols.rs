//! The kernel's symbols: their addresses from `/proc/kallsyms`, and which functions can be probed.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead as _, BufReader},
    ops::ControlFlow,
    path::Path,
};

use thiserror::Error;

/// The address cannot be had.
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
    /// The kernel was built without it.
    #[error("this kernel has no symbol {0}")]
    Absent(&'static str),
}

/// The file has a hundred thousand lines and more, which the kernel makes as they are read.
const BUFFER_BYTES: usize = 64 * 1024;

/// Lines are an address in hexadecimal, a letter, a name, and for a module its name.
pub(super) fn find(path: &Path, name: &'static str) -> Result<u64, SymbolError> {
    let mut found = None;
    let read = each_line(path, |line| {
        found = address_of(line, name);
        found.map_or(ControlFlow::Continue(()), |_| ControlFlow::Break(()))
    });
    read.map_err(SymbolError::Read)?;
    match found {
        Some(0) => Err(SymbolError::Hidden),
        Some(address) => Ok(address),
        None => Err(SymbolError::Absent(name)),
    }
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
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn each_line(path: &Path, mut look: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if look(&line).is_break() {
            break;
        }
        line.clear();
    }
    Ok(())
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

fn address_of(line: &[u8], name: &str) -> Option<u64> {
    let rest = line.trim_ascii_end().strip_suffix(name.as_bytes())?;
    let [address, kind, b""] = rest.splitn(3, |&byte| byte == b' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    if kind.len() != 1 {
        return None;
    }
    u64::from_str_radix(str::from_utf8(address).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{address_of, first_word, function_of};

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
    fn a_symbol_is_found_by_its_whole_name() {
        let name = "__per_cpu_offset";
        assert_eq!(
            address_of(b"ffffffff82345680 R __per_cpu_offset\n", name),
            Some(0xffff_ffff_8234_5680)
        );
        assert_eq!(
            address_of(b"0000000000000000 R __per_cpu_offset\n", name),
            Some(0)
        );
        for other in [
            &b"ffffffff82345680 R x__per_cpu_offset\n"[..],
            b"ffffffff82345680 R __per_cpu_offset\t[ip_vs]\n",
            b"ffffffff82345680 R __per_cpu_offsets\n",
            b"xyz R __per_cpu_offset\n",
            b"__per_cpu_offset\n",
            b"\xff",
        ] {
            assert_eq!(address_of(other, name), None);
        }
    }
}
