//! How attributes are read from bytes: one pass, nothing copied, every fault named.
//!
//! What an attribute means stands with its nest. Here is what all nests share: attributes follow
//! each other, each says its length, and a [`Field`] takes the value of one of them.

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

    /// The type without its flags, the value, and what follows.
    fn split(rest: &'a [u8]) -> Result<(u16, &'a [u8], &'a [u8]), usize> {
        let Some(([length_0, length_1, kind_0, kind_1], _)) = rest.split_first_chunk() else {
            return Err(rest.len());
        };
        let length = usize::from(native_u16([*length_0, *length_1]));
        let value = rest.get(HEADER_BYTES..length).ok_or(length)?;
        let kind = native_u16([*kind_0, *kind_1]) & NLA_TYPE_MASK;
        // The padding of the last attribute may be left out.
        let next = rest.get(length.next_multiple_of(ALIGNMENT_BYTES)..);
        Ok((kind, value, next.unwrap_or_default()))
    }
}

const HEADER_BYTES: usize = 4;
const ALIGNMENT_BYTES: usize = 4;

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = Self::split(self.rest).map_err(|claimed| WireError::Attribute {
            nest: self.nest,
            claimed,
            left: self.rest.len(),
        });
        self.rest = split.as_ref().map_or(&[], |(_, _, next)| *next);
        Some(split.map(|(kind, value, _)| (kind, value)))
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
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(), WireError>
    where
        T: Value<'a>,
    {
        let attribute = self.attribute;
        let value = T::read(bytes, attribute)?;
        if self.value.as_ref().is_some_and(|before| *before != value) {
            return Err(WireError::Contradiction { attribute });
        }
        self.value = Some(value);
        Ok(())
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

/// A type that attributes have.
pub(super) trait Value<'a>: Sized + PartialEq {
    fn read(bytes: &'a [u8], attribute: &'static str) -> Result<Self, WireError>;
}

/// A nest, or bytes whose sense depends on other attributes.
impl<'a> Value<'a> for &'a [u8] {
    fn read(bytes: &'a [u8], _attribute: &'static str) -> Result<Self, WireError> {
        Ok(bytes)
    }
}

impl<const N: usize> Value<'_> for [u8; N] {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        bytes.try_into().map_err(|_length| WireError::Length {
            attribute,
            length: bytes.len(),
            expected: N,
        })
    }
}

impl Value<'_> for u8 {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        <[u8; 1]>::read(bytes, attribute).map(|[value]| value)
    }
}

impl Value<'_> for u16 {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        <[u8; 2]>::read(bytes, attribute).map(native_u16)
    }
}

impl Value<'_> for u32 {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        <[u8; 4]>::read(bytes, attribute).map(native_u32)
    }
}

impl Value<'_> for u64 {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        <[u8; 8]>::read(bytes, attribute).map(native_u64)
    }
}

/// A port in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

impl Value<'_> for Port {
    fn read(bytes: &[u8], attribute: &'static str) -> Result<Self, WireError> {
        <[u8; 2]>::read(bytes, attribute).map(|bytes| Self(u16::from_be_bytes(bytes)))
    }
}

/// Text, which the kernel ends with a NUL.
impl<'a> Value<'a> for &'a str {
    fn read(bytes: &'a [u8], attribute: &'static str) -> Result<Self, WireError> {
        let text = str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes));
        match text {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(WireError::Text { attribute }),
        }
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
