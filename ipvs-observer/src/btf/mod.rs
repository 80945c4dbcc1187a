//! What the running kernel's BTF says about the structures and functions of IPVS.
//!
//! [`parse`] reads the format and [`resolve`] asks it for the few numbers that the programs
//! need. Both are pure functions over bytes: reading `/sys/kernel/btf` and attaching what was
//! not refused is the caller's part. Layouts change within one LTS branch, so nothing here
//! knows a kernel version.

pub mod parse;
pub mod resolve;

#[cfg(test)]
mod testing;
