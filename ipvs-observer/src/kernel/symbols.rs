//! Addresses of the kernel's symbols, from `/proc/kallsyms`.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
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
    let file = File::open(path).map_err(SymbolError::Read)?;
    let mut lines = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .map_err(SymbolError::Read)?
        > 0
    {
        if let Some(address) = address_of(&line, name) {
            return if address == 0 {
                Err(SymbolError::Hidden)
            } else {
                Ok(address)
            };
        }
        line.clear();
    }
    Err(SymbolError::Absent(name))
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
    use super::address_of;

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
