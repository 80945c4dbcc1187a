//! The numbers that the programs need, asked of BTF by name and by type.
//!
//! `structure` lists what the programs read and `function` how they are called. Whatever does
//! not fit exactly is refused together with the functions that depend on it, and everything else
//! goes on. The BTF of a module may hold a structure several times: copies that agree on what
//! is asked for are one, copies that do not are a refusal.

mod function;
mod shape;
mod structure;

use std::collections::BTreeMap;

use ipvs_observer_common::Layout;
use thiserror::Error;

use self::{
    function::FUNCTIONS,
    structure::{Reader, Structure},
};
use super::parse::{Btf, BtfError, Kind};

/// What the programs get, and which of them cannot run.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The offsets and sizes; all zero for a structure that is refused.
    pub layout: Layout,
    /// Each function that is probed, and why it cannot be.
    pub functions: BTreeMap<&'static str, Result<(), Refusal>>,
}

/// Why a function cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not compiled in, inlined, or of another name.
    #[error("this kernel has no function {0}")]
    NoFunction(&'static str),
    /// Not in BTF.
    #[error("this kernel has no struct {0}")]
    NoStructure(&'static str),
    /// Not in the structure.
    #[error("struct {structure} of this kernel has no member {member}")]
    NoMember {
        /// The structure.
        structure: &'static str,
        /// The member, with a dot before a member of a member.
        member: &'static str,
    },
    /// There, but not what the programs can read.
    #[error("{member} of struct {structure} is {found} in this kernel, not {expected}")]
    Member {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
        /// What the programs read.
        expected: String,
        /// What the kernel has.
        found: String,
    },
    /// Several structures of one name.
    #[error("BTF has copies of struct {structure} that disagree on {member}")]
    Copies {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// Called in another way than the programs expect.
    #[error("{function} of this kernel has {found}, not {expected}")]
    Prototype {
        /// The function.
        function: &'static str,
        /// What the programs read.
        expected: String,
        /// What the kernel has.
        found: String,
    },
    /// Several functions of one name.
    #[error("BTF has copies of {0} that disagree on their parameters")]
    FunctionCopies(&'static str),
    /// A reference of a type leads nowhere.
    #[error("BTF is damaged")]
    Damaged(#[from] BtfError),
}

/// Finds what the programs need.
pub fn resolve(btf: &Btf<'_>) -> Resolved {
    let found = Found::scan(btf);
    let mut layout = Layout::default();
    let mut refused = BTreeMap::new();
    for structure in Structure::ALL {
        let copies = found.structures.get(&structure);
        let reader = Reader {
            btf,
            structure,
            copies: copies.map_or(&[], Vec::as_slice),
        };
        if let Err(refusal) = reader.fill(&mut layout) {
            refused.insert(structure, refusal);
        }
    }

    let mut functions = BTreeMap::new();
    for function in &FUNCTIONS {
        let copies = found.functions.get(function.name);
        let fits = function.check(btf, copies.map_or(&[], Vec::as_slice));
        let outcome = fits.and_then(|has_iph_len| {
            if function.name == "tcp_state_transition" {
                layout.tcp_transition_has_iph_len = has_iph_len.into();
            }
            let refusal = function.reads.iter().find_map(|needed| refused.get(needed));
            refusal.cloned().map_or(Ok(()), Err)
        });
        functions.insert(function.name, outcome);
    }
    Resolved { layout, functions }
}

/// The types that have the names asked for.
#[derive(Default)]
struct Found {
    structures: BTreeMap<Structure, Vec<u32>>,
    functions: BTreeMap<&'static str, Vec<u32>>,
}

impl Found {
    fn scan(btf: &Btf<'_>) -> Self {
        let mut found = Self::default();
        // A function of the kernel that has such a name is another one.
        let of_ip_vs = btf.module_types();
        for id in 1..=btf.n_types() {
            let Ok(candidate) = btf.get(id) else {
                continue;
            };
            if candidate.kind == Kind::Struct {
                for structure in Structure::ALL {
                    if btf.is_named(&candidate, structure.name()) {
                        found.structures.entry(structure).or_default().push(id);
                    }
                }
            } else if candidate.kind == Kind::Func && of_ip_vs.contains(&id) {
                for function in &FUNCTIONS {
                    if btf.is_named(&candidate, function.name) {
                        found.functions.entry(function.name).or_default().push(id);
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
