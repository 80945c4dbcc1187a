//! The BTF format: a section of types and one of strings, and a second pair of a module, whose
//! numbering continues the kernel's.
//!
//! One pass notes where each type lies; everything else is read in place when it is asked for.
//! The kernel has more than 100 000 types and this program needs about ten.

mod section;

use std::ops::RangeInclusive;

use thiserror::Error;

pub use self::section::Kind;
use self::section::{BTF_VERSION, MEMBER_BYTES, PARAM_BYTES, Section, TYPE_BYTES, word};

/// Chains of typedefs and qualifiers are short; one that is longer is a loop.
const MAX_CHAIN: u32 = 64;

/// Why BTF cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The header or a section ends too early.
    #[error("BTF ends in the middle of its {0}")]
    Truncated(&'static str),
    /// The first bytes are another format's.
    #[error("not BTF: it starts with {0:#06x}")]
    Magic(u16),
    /// BTF of a machine of the other byte order.
    #[error("BTF has the other byte order")]
    ByteOrder,
    /// A version that does not exist yet.
    #[error("BTF has version {0}, and this program reads version {BTF_VERSION}")]
    Version(u8),
    /// A kind of type whose size is not known, so that nothing after it can be found.
    #[error("BTF type {id} is of the unknown kind {info:#010x}")]
    Kind {
        /// The number of the type.
        id: u32,
        /// Its info word.
        info: u32,
    },
    /// A number that stands for no type.
    #[error("BTF has no type {0}")]
    NoType(u32),
    /// A type that refers to itself through typedefs and qualifiers.
    #[error("BTF type {0} is a loop")]
    Loop(u32),
    /// A type that has no size.
    #[error("BTF type {0} has no size")]
    Unsized(u32),
}

/// BTF of the kernel, and of a module on top of it.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    base: Section<'a>,
    split: Section<'a>,
    /// Where type `n + 1` lies in its section.
    places: Vec<u32>,
    base_types: usize,
}

/// One type.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its number.
    pub id: u32,
    /// Its kind.
    pub kind: Kind,
    name: u32,
    /// Whether the members of a structure carry their own size in bits.
    has_bitfields: bool,
    /// The size of what has one; else the number of the type that this one is about.
    size_or_target: u32,
    trailer: &'a [u8],
}

/// A member of a structure or union.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name; empty for a structure or union that is written in place.
    pub name: &'a [u8],
    /// The number of its type.
    pub type_id: u32,
    /// How far it is from the start.
    pub bit_offset: u32,
    /// Whether it is a number of bits and not a whole type.
    pub is_bitfield: bool,
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The number of its type.
    pub type_id: u32,
}

impl<'a> Btf<'a> {
    /// Reads the kernel's blob and that of a module, where what is looked for is in one.
    pub fn parse(base: &'a [u8], split: Option<&'a [u8]>) -> Result<Self, BtfError> {
        let base = Section::parse(base)?;
        let split = split.map(Section::parse).transpose()?.unwrap_or_default();
        // A type has 12 bytes, and few of the kernel's have less than 24.
        let mut places = Vec::with_capacity((base.types.len() + split.types.len()) / 20);
        base.locate(&mut places)?;
        let base_types = places.len();
        split.locate(&mut places)?;
        Ok(Self {
            base,
            split,
            places,
            base_types,
        })
    }

    /// How many types there are; they are numbered from 1 to this.
    pub fn n_types(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// The types of the module, or all where there is none.
    pub fn module_types(&self) -> RangeInclusive<u32> {
        let base = u32::try_from(self.base_types).unwrap_or(u32::MAX);
        let first = if base < self.n_types() { base + 1 } else { 1 };
        first..=self.n_types()
    }

    /// Type `id`. `void`, which is 0, is none.
    pub fn get(&self, id: u32) -> Result<Type<'a>, BtfError> {
        self.find(id).ok_or(BtfError::NoType(id))
    }

    fn find(&self, id: u32) -> Option<Type<'a>> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        let place = usize::try_from(*self.places.get(index)?).ok()?;
        let section = if index < self.base_types {
            &self.base
        } else {
            &self.split
        };
        let (common, rest) = section.types.get(place..)?.split_at_checked(TYPE_BYTES)?;
        let info = word(common, 4)?;
        let kind = Kind::from_info(info)?;
        let vlen = usize::try_from(info & 0xFFFF).ok()?;
        Some(Type {
            id,
            kind,
            name: word(common, 0)?,
            has_bitfields: info >> 31 != 0,
            size_or_target: word(common, 8)?,
            trailer: rest.get(..kind.trailer_bytes(vlen))?,
        })
    }

    /// The name of a type; empty where it has none.
    pub fn name(&self, of: &Type<'_>) -> &'a [u8] {
        self.string(of.name)
    }

    /// Whether a type is called `name`, without looking for the end of the name it has.
    pub fn is_named(&self, of: &Type<'_>, name: &str) -> bool {
        self.strings_from(of.name)
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The members of a structure or union, in the order of its declaration.
    pub fn members(&self, of: &Type<'a>) -> impl Iterator<Item = Member<'a>> {
        let has_bitfields = of.has_bitfields;
        let trailer = if matches!(of.kind, Kind::Struct | Kind::Union) {
            of.trailer
        } else {
            &[]
        };
        let (entries, _) = trailer.as_chunks::<MEMBER_BYTES>();
        entries.iter().filter_map(move |entry| {
            let offset = word(entry, 8)?;
            let type_id = word(entry, 4)?;
            let (bit_offset, is_bitfield) = if has_bitfields {
                (offset & 0x00FF_FFFF, offset >> 24 != 0)
            } else {
                (offset, self.is_partial_int(type_id))
            };
            Some(Member {
                name: self.string(word(entry, 0)?),
                type_id,
                bit_offset,
                is_bitfield,
            })
        })
    }

    /// The parameters of a prototype.
    pub fn parameters(&self, of: &Type<'a>) -> impl Iterator<Item = Parameter<'a>> {
        let trailer = if of.kind == Kind::FuncProto {
            of.trailer
        } else {
            &[]
        };
        let (entries, _) = trailer.as_chunks::<PARAM_BYTES>();
        entries.iter().filter_map(|entry| {
            Some(Parameter {
                name: self.string(word(entry, 0)?),
                type_id: word(entry, 4)?,
            })
        })
    }

    /// The number of the type that a pointer, function, prototype or typedef is about: what it
    /// points to, its prototype, what it returns, what it names.
    pub fn target(of: &Type<'_>) -> u32 {
        of.size_or_target
    }

    /// The number of the type of an array's elements.
    pub fn element(of: &Type<'_>) -> Option<u32> {
        (of.kind == Kind::Array)
            .then(|| word(of.trailer, 0))
            .flatten()
    }

    /// What remains of a type without typedefs and qualifiers.
    pub fn bare(&self, id: u32) -> Result<Type<'a>, BtfError> {
        let mut current = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            if !matches!(
                current.kind,
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag
            ) {
                return Ok(current);
            }
            current = self.get(current.size_or_target)?;
        }
        Err(BtfError::Loop(id))
    }

    /// The size of a type in bytes.
    pub fn size(&self, id: u32) -> Result<u32, BtfError> {
        let mut elements = 1_u32;
        let mut current = id;
        for _ in 0..MAX_CHAIN {
            let bare = self.bare(current)?;
            let size = match bare.kind {
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Float
                | Kind::Datasec => bare.size_or_target,
                Kind::Ptr => POINTER_BYTES,
                Kind::Array => {
                    let n = word(bare.trailer, 8).ok_or(BtfError::NoType(current))?;
                    elements = elements.checked_mul(n).ok_or(BtfError::Unsized(id))?;
                    current = Self::element(&bare).ok_or(BtfError::NoType(current))?;
                    continue;
                }
                Kind::Fwd
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag => return Err(BtfError::Unsized(id)),
            };
            return elements.checked_mul(size).ok_or(BtfError::Unsized(id));
        }
        Err(BtfError::Loop(id))
    }

    /// Whether an integer uses only some bits of its bytes, which is how old compilers write a
    /// bit field.
    fn is_partial_int(&self, id: u32) -> bool {
        let Ok(bare) = self.bare(id) else {
            return false;
        };
        if bare.kind != Kind::Int {
            return false;
        }
        let encoding = word(bare.trailer, 0).unwrap_or(0);
        let (bits, offset) = (encoding & 0xFF, (encoding >> 16) & 0xFF);
        offset != 0 || bits != bare.size_or_target.saturating_mul(8)
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let tail = self.strings_from(offset);
        let end = tail.iter().position(|byte| *byte == 0);
        end.and_then(|end| tail.get(..end)).unwrap_or_default()
    }

    /// The strings from `offset` on.
    fn strings_from(&self, offset: u32) -> &'a [u8] {
        let Ok(offset) = usize::try_from(offset) else {
            return &[];
        };
        let tail = match offset.checked_sub(self.base.strings.len()) {
            None => self.base.strings.get(offset..),
            Some(offset) => self.split.strings.get(offset..),
        };
        tail.unwrap_or_default()
    }
}

/// BTF does not say it; the kernel it describes is the one that runs this program.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a pointer has no more bytes than a u32 can count"
)]
const POINTER_BYTES: u32 = size_of::<usize>() as u32;

#[cfg(test)]
mod tests;
