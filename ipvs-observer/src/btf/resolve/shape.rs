//! What a program can read at an offset or in a register, and whether a type is that.

use crate::btf::parse::{Btf, BtfError, Kind, Type};

/// What a program can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An integer of one of these sizes.
    Integer(&'static [u32]),
    /// An `atomic_t`.
    Atomic,
    /// The address of such a structure.
    Pointer(&'static str),
    /// The address of bytes.
    Bytes,
    /// The address of anything, a `void *`.
    Anything,
    /// An address, whatever is there.
    Address,
    /// An array of addresses, whatever is there; its length is not asked for.
    Addresses,
    /// An integer of 64 bits, or a structure around one as `u64_stats_t` is.
    Counter,
    /// A structure or union of this name; its size is not asked for.
    Record(&'static str),
}

impl Shape {
    /// Whether a type is of this shape.
    pub(super) fn fits(self, btf: &Btf<'_>, id: u32) -> Result<bool, BtfError> {
        if id == 0 {
            return Ok(false);
        }
        let bare = btf.bare(id)?;
        Ok(match self {
            Self::Integer(sizes) => bare.kind == Kind::Int && sizes.contains(&btf.size(id)?),
            Self::Atomic => bare.kind == Kind::Struct && btf.size(id)? == 4,
            Self::Pointer(name) => {
                pointee(btf, &bare).is_some_and(|target| is_record(btf, &target, name))
            }
            Self::Bytes => pointee(btf, &bare).is_some_and(|target| target.kind == Kind::Int),
            Self::Anything => bare.kind == Kind::Ptr && Btf::target(&bare) == 0,
            Self::Address => bare.kind == Kind::Ptr,
            Self::Addresses => match Btf::element(&bare) {
                Some(element) => btf.bare(element)?.kind == Kind::Ptr,
                None => false,
            },
            Self::Counter => matches!(bare.kind, Kind::Int | Kind::Struct) && btf.size(id)? == 8,
            Self::Record(name) => bare.kind != Kind::Fwd && is_record(btf, &bare, name),
        })
    }

    /// The shape in words, for the reason of a refusal.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Integer(sizes) => {
                let sizes: Vec<_> = sizes.iter().map(ToString::to_string).collect();
                format!("an integer of {} bytes", sizes.join(" or "))
            }
            Self::Atomic => "an atomic_t".to_owned(),
            Self::Pointer(name) => format!("a pointer to {name}"),
            Self::Bytes => "a pointer to bytes".to_owned(),
            Self::Anything => "a pointer to anything".to_owned(),
            Self::Address => "a pointer".to_owned(),
            Self::Addresses => "an array of pointers".to_owned(),
            Self::Counter => "a counter of 64 bits".to_owned(),
            Self::Record(name) => name.to_owned(),
        }
    }
}

/// What a pointer points to; none for `void` and for what is no pointer.
fn pointee<'a>(btf: &Btf<'a>, bare: &Type<'_>) -> Option<Type<'a>> {
    if bare.kind != Kind::Ptr {
        return None;
    }
    btf.bare(Btf::target(bare)).ok()
}

/// A module may know a structure of the kernel by its name alone.
fn is_record(btf: &Btf<'_>, bare: &Type<'_>, name: &str) -> bool {
    matches!(bare.kind, Kind::Struct | Kind::Union | Kind::Fwd) && btf.is_named(bare, name)
}

/// A type in words, for the reason of a refusal.
pub(super) fn describe(btf: &Btf<'_>, id: u32) -> String {
    let Ok(bare) = btf.bare(id) else {
        return "nothing".to_owned();
    };
    let name = String::from_utf8_lossy(btf.name(&bare)).into_owned();
    if bare.kind == Kind::Ptr {
        return match pointee(btf, &bare) {
            Some(target) if btf.name(&target).is_empty() => "another pointer".to_owned(),
            Some(target) => format!(
                "a pointer to {}",
                String::from_utf8_lossy(btf.name(&target))
            ),
            None => "a pointer to anything".to_owned(),
        };
    }
    match btf.size(id) {
        Ok(size) if bare.kind == Kind::Int => format!("an integer of {size} bytes"),
        _ if name.is_empty() => format!("a nameless {:?}", bare.kind),
        _ => name,
    }
}
