//! How attributes are read from bytes: one pass, nothing copied, every fault named.
//!
//! What an attribute means stands with its nest. Here is what all nests share: attributes follow
//! each other, each says its length, and a [`Field`] takes the value of one of them.

use std::mem;

use netlink_packet_core::NLA_TYPE_MASK;
use thiserror::Error;

/// Why an answer cannot be believed. Attributes bear the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// A message says that it is longer than the datagram, or shorter than its own header.
    #[error("a message claims {claimed} of the {left} bytes that are left of its datagram")]
    Message {
        /// What the message says.
        claimed: usize,
        /// What there is.
        left: usize,
    },
    /// A message is too short for the header that its kind begins with.
    #[error("{message} of {length} bytes is cut off")]
    Short {
        /// The kind of message.
        message: &'static str,
        /// Its length without the netlink header.
        length: usize,
    },
    /// An attribute says that it is longer than what holds it, or shorter than its own header.
    #[error("an attribute in {nest} claims {claimed} of the {left} bytes that are left of it")]
    Attribute {
        /// What holds the attribute.
        nest: &'static str,
        /// What the attribute says.
        claimed: usize,
        /// What there is.
        left: usize,
    },
    /// A value is not as long as its type.
    #[error("{attribute} is {length} bytes long and not {expected}")]
    Length {
        /// The attribute.
        attribute: &'static str,
        /// The length of its value.
        length: usize,
        /// The length of its type.
        expected: usize,
    },
    /// A name is not text.
    #[error("{attribute} is not text")]
    Text {
        /// The attribute.
        attribute: &'static str,
    },
    /// A value that the attribute cannot have.
    #[error("{attribute} is {value}, which it cannot be")]
    Value {
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: u32,
    },
    /// The message has no sense without an attribute that it lacks.
    #[error("{attribute} is missing")]
    Missing {
        /// The attribute.
        attribute: &'static str,
    },
    /// An attribute is there twice and says two things.
    #[error("{attribute} comes twice and says two things")]
    Contradiction {
        /// The attribute.
        attribute: &'static str,
    },
    /// Two attributes exclude each other.
    #[error("{attribute} comes with {other}, which excludes it")]
    Excluded {
        /// The attribute that should not be there.
        attribute: &'static str,
        /// What excludes it.
        other: &'static str,
    },
}

/// The attributes of a message or of a nest; the first that does not fit is the last.
#[derive(Clone, Debug)]
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
    nest: &'static str,
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`, which is the value of `nest`.
    pub(super) const fn new(bytes: &'a [u8], nest: &'static str) -> Self {
        Self { rest: bytes, nest }
    }

    /// Ends the nest with the error of an attribute that does not fit.
    #[cold]
    fn misfit(&mut self, claimed: usize) -> WireError {
        let left = mem::take(&mut self.rest).len();
        WireError::Attribute {
            nest: self.nest,
            claimed,
            left,
        }
    }
}

const HEADER_BYTES: usize = 4;
const ALIGNMENT_BYTES: usize = 4;

/// The types of the attributes, without their flags, and their values.
impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ([length, kind, ..], _) = self.rest.as_chunks() else {
            let left = self.rest.len();
            return (left > 0).then(|| Err(self.misfit(left)));
        };
        let length = usize::from(native_u16(*length));
        let kind = native_u16(*kind) & NLA_TYPE_MASK;
        let Some(value) = self.rest.get(HEADER_BYTES..length) else {
            return Some(Err(self.misfit(length)));
        };
        // The padding of the last attribute may be left out.
        let next = (length + ALIGNMENT_BYTES - 1) & !(ALIGNMENT_BYTES - 1);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(Ok((kind, value)))
    }
}

/// An attribute that a message has at most one of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<T> {
    attribute: &'static str,
    value: Option<T>,
}

impl<T> Field<T> {
    pub(super) const fn new(attribute: &'static str) -> Self {
        let value = None;
        Self { attribute, value }
    }

    /// Takes the value that the message has for the attribute.
    #[inline]
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(), WireError>
    where
        T: Value<'a>,
    {
        let attribute = self.attribute;
        once(&mut self.value, read(bytes, attribute)?, attribute)
    }

    /// The value, if the message has the attribute.
    pub(super) fn optional(self) -> Option<T> {
        self.value
    }

    /// The value of an attribute that must be there.
    pub(super) fn needed(self) -> Result<T, WireError> {
        let attribute = self.attribute;
        self.value.ok_or(WireError::Missing { attribute })
    }

    /// Refuses the attribute beside `other`.
    pub(super) fn excluded_by(&self, other: &'static str) -> Result<(), WireError> {
        let attribute = self.attribute;
        match self.value {
            Some(_) => Err(WireError::Excluded { attribute, other }),
            None => Ok(()),
        }
    }
}

/// Puts a value where none or the same may be.
#[inline]
pub(super) fn once<T: PartialEq>(
    slot: &mut Option<T>,
    value: T,
    attribute: &'static str,
) -> Result<(), WireError> {
    if slot.as_ref().is_some_and(|before| *before != value) {
        return Err(WireError::Contradiction { attribute });
    }
    *slot = Some(value);
    Ok(())
}

/// The value of `attribute`.
#[inline]
pub(super) fn read<'a, T: Value<'a>>(
    bytes: &'a [u8],
    attribute: &'static str,
) -> Result<T, WireError> {
    T::read(bytes).ok_or_else(|| T::refuse(bytes, attribute))
}

/// A type that attributes have.
pub(super) trait Value<'a>: Sized + PartialEq {
    fn read(bytes: &'a [u8]) -> Option<Self>;

    /// Why it cannot be read.
    #[cold]
    fn refuse(bytes: &[u8], attribute: &'static str) -> WireError {
        WireError::Length {
            attribute,
            length: bytes.len(),
            expected: size_of::<Self>(),
        }
    }
}

/// A nest, or bytes whose sense depends on other attributes.
impl<'a> Value<'a> for &'a [u8] {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        Some(bytes)
    }
}

impl<const N: usize> Value<'_> for [u8; N] {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Value<'_> for u8 {
    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 1]>::read(bytes).map(|[value]| value)
    }
}

impl Value<'_> for u16 {
    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 2]>::read(bytes).map(native_u16)
    }
}

impl Value<'_> for u32 {
    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 4]>::read(bytes).map(native_u32)
    }
}

impl Value<'_> for u64 {
    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 8]>::read(bytes).map(native_u64)
    }
}

/// A port in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

impl Value<'_> for Port {
    fn read(bytes: &[u8]) -> Option<Self> {
        <[u8; 2]>::read(bytes).map(|bytes| Self(u16::from_be_bytes(bytes)))
    }
}

/// Text, which the kernel ends with a NUL.
impl<'a> Value<'a> for &'a str {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()?;
        (!text.as_bytes().contains(&0)).then_some(text)
    }

    #[cold]
    fn refuse(_bytes: &[u8], attribute: &'static str) -> WireError {
        WireError::Text { attribute }
    }
}

#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]
const fn native_u16(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]
pub(super) const fn native_u32(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]
const fn native_u64(bytes: [u8; 8]) -> u64 {
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
