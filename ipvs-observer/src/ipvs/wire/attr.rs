//! The top level of a message, and how values of attributes are read and written.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, ErrorContext as _, NLA_F_NESTED, Nla, NlaBuffer,
    NlasIterator, Parseable,
};

use super::{destination::DestinationAttribute, service::ServiceAttribute};

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;

/// The proof that every writer of a fixed-size value relies on.
pub(super) const EXACT_BUFFER: &str = "Nla::emit hands over a buffer of value_len() bytes";

/// An attribute at the top level of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `IPVS_CMD_ATTR_SERVICE`
    Service(Vec<ServiceAttribute>),
    /// `IPVS_CMD_ATTR_DEST`
    Destination(Vec<DestinationAttribute>),
    /// What belongs to commands that this program does not use, or is not known to it.
    Other(DefaultNla),
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Service(nest) => nest.as_slice().buffer_len(),
            Self::Destination(nest) => nest.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Service(_) => IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED,
            Self::Destination(_) => IPVS_CMD_ATTR_DEST | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Service(nest) => nest.as_slice().emit(buffer),
            Self::Destination(nest) => nest.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl Parseable<NlaBuffer<&[u8]>> for Attribute {
    fn parse(buffer: &NlaBuffer<&[u8]>) -> Result<Self, DecodeError> {
        let value = buffer.value();
        Ok(match buffer.kind() {
            IPVS_CMD_ATTR_SERVICE => {
                Self::Service(parse_all(value).context("IPVS_CMD_ATTR_SERVICE")?)
            }
            IPVS_CMD_ATTR_DEST => {
                Self::Destination(parse_all(value).context("IPVS_CMD_ATTR_DEST")?)
            }
            _ => Self::Other(DefaultNla::parse(buffer)?),
        })
    }
}

/// Reads all attributes of a message or nest.
pub(super) fn parse_all<A>(bytes: &[u8]) -> Result<Vec<A>, DecodeError>
where
    A: for<'a> Parseable<NlaBuffer<&'a [u8]>>,
{
    NlasIterator::new(bytes)
        .map(|attribute| A::parse(&attribute?))
        .collect()
}

/// Reads a value that is exactly `N` bytes.
pub(super) fn parse_bytes<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value
        .try_into()
        .map_err(|_wrong_length| DecodeError::invalid_number(N, value.len()))
}

/// The length of `text` with the NUL that ends it.
pub(super) fn string_len(text: &str) -> usize {
    text.len() + 1
}

/// Writes `text` and the NUL that ends it.
pub(super) fn emit_string(buffer: &mut [u8], text: &str) {
    let bytes = text.bytes().chain(std::iter::once(0));
    for (slot, byte) in buffer.iter_mut().zip(bytes) {
        *slot = byte;
    }
}
