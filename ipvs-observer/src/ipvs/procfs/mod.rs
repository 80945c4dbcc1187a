//! What IPVS says as text: the files `ip_vs*` of `/proc/net` and the sysctls under `net/ipv4/vs`.
//!
//! Pure: text in, values out. Which file is opened, and in which network namespace, is
//! [`crate::kernel`]'s affair. Each file of this folder knows one file of the kernel;
//! `line` knows what they have in common. The formats are those of `ip_vs_conn.c` and
//! `ip_vs_ctl.c` of Linux 6.1, 6.12 and 7.2.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod connections;
mod line;
pub mod stats;
pub mod status;
pub mod table;
#[cfg(test)]
mod testing;

use std::io;

use thiserror::Error;

/// A file of `/proc/net` that cannot be read or is not as the kernel writes it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcfsError {
    /// It cannot be opened or read; where it does not exist, IPVS is not loaded or the kernel
    /// is older than the file.
    #[error("cannot read /proc/net/{file}")]
    Read {
        /// Its name.
        file: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of it is none that the kernel writes.
    #[error("cannot make sense of {what} in line {line} of /proc/net/{file}: \"{text}\"")]
    Line {
        /// Its name.
        file: &'static str,
        /// The line's number, from 1.
        line: u64,
        /// The part that cannot be read, in the words of the file's header.
        what: &'static str,
        /// How the line begins, at most 80 bytes of it, with escapes for what is not ASCII.
        text: String,
    },
    /// It has fewer lines than the kernel writes.
    #[error("/proc/net/{file} ends before {missing}")]
    Short {
        /// Its name.
        file: &'static str,
        /// What should have come.
        missing: &'static str,
    },
}
