//! One blob: its header, its two parts, and how long each kind of type is.

use super::BtfError;

pub(super) const BTF_VERSION: u8 = 1;
pub(super) const TYPE_BYTES: usize = 12;
pub(super) const PARAM_BYTES: usize = 8;
pub(super) const MEMBER_BYTES: usize = 12;

const BTF_MAGIC: u16 = 0xEB9F;
const HEADER_BYTES: usize = 24;
/// The bits of the info word that have a meaning; another one would change the size of the type.
const INFO_BITS: u32 = 0x9F00_FFFF;

/// The kinds of type, numbered as in the kernel's `btf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's")]
#[repr(u8)]
pub enum Kind {
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

impl Kind {
    pub(super) fn from_info(info: u32) -> Option<Self> {
        if info & !INFO_BITS != 0 {
            return None;
        }
        Some(match (info >> 24) & 0x1F {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::Datasec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => return None,
        })
    }

    /// The bytes that follow the common part of a type with `vlen` entries.
    pub(super) const fn trailer_bytes(self, vlen: usize) -> usize {
        match self {
            Self::Int | Self::Var | Self::DeclTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => vlen * MEMBER_BYTES,
            Self::Enum | Self::FuncProto => vlen * PARAM_BYTES,
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => 0,
        }
    }
}

/// The two parts of one blob.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section<'a> {
    pub(super) types: &'a [u8],
    pub(super) strings: &'a [u8],
}

impl<'a> Section<'a> {
    pub(super) fn parse(blob: &'a [u8]) -> Result<Self, BtfError> {
        let truncated = || BtfError::Truncated("header");
        let header = blob.get(..HEADER_BYTES).ok_or_else(truncated)?;
        let &[m0, m1, version, _flags, ..] = header else {
            return Err(truncated());
        };
        match native_u16([m0, m1]) {
            BTF_MAGIC => {}
            magic if magic.swap_bytes() == BTF_MAGIC => return Err(BtfError::ByteOrder),
            magic => return Err(BtfError::Magic(magic)),
        }
        if version != BTF_VERSION {
            return Err(BtfError::Version(version));
        }
        let part = |at, name| {
            let range = || {
                let start = length(header, 4)?.checked_add(length(header, at)?)?;
                let end = start.checked_add(length(header, at + 4)?)?;
                blob.get(start..end)
            };
            range().ok_or(BtfError::Truncated(name))
        };
        Ok(Self {
            types: part(8, "types")?,
            strings: part(16, "strings")?,
        })
    }

    /// Notes where each type of the section lies.
    pub(super) fn locate(&self, places: &mut Vec<u32>) -> Result<(), BtfError> {
        let mut rest = self.types;
        while !rest.is_empty() {
            let truncated = BtfError::Truncated("types");
            let Some(info) = word(rest, 4) else {
                return Err(truncated);
            };
            let Some(kind) = Kind::from_info(info) else {
                let id = u32::try_from(places.len() + 1).unwrap_or(u32::MAX);
                return Err(BtfError::Kind { id, info });
            };
            let Ok(place) = u32::try_from(self.types.len() - rest.len()) else {
                return Err(truncated);
            };
            let vlen = usize::try_from(info & 0xFFFF).unwrap_or(usize::MAX);
            let Some(after) = rest.get(TYPE_BYTES + kind.trailer_bytes(vlen)..) else {
                return Err(truncated);
            };
            places.push(place);
            rest = after;
        }
        Ok(())
    }
}

fn length(header: &[u8], at: usize) -> Option<usize> {
    usize::try_from(word(header, at)?).ok()
}

#[expect(
    clippy::host_endian_bytes,
    reason = "BTF has the byte order of the kernel, which is checked with the magic"
)]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the byte order is what this value tells"
)]
fn native_u16(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}
