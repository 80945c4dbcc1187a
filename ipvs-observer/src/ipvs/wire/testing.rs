//! Bytes as the kernel lays them out, put together from numbers and not by the code under test.

#![expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]

use super::WireError;

/// `NLA_F_NESTED`, added to the type of an attribute.
pub(crate) const NESTED: u16 = 0x8000;
/// 192.0.2.10 in the 16 bytes of an address.
pub(crate) const V4: [u8; 16] = [192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An attribute with its header and padding.
pub(crate) fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(crate) fn nla_u16(kind: u16, value: u16) -> Vec<u8> {
    nla(kind, &value.to_ne_bytes())
}

pub(crate) fn nla_u32(kind: u16, value: u32) -> Vec<u8> {
    nla(kind, &value.to_ne_bytes())
}

pub(crate) fn nla_u64(kind: u16, value: u64) -> Vec<u8> {
    nla(kind, &value.to_ne_bytes())
}

/// A `STATS` nest of the counters and rates 1 to 10.
pub(crate) fn stats_nest() -> Vec<u8> {
    let number = |kind| match kind {
        4 | 5 => nla_u64(kind, kind.into()),
        _ => nla_u32(kind, kind.into()),
    };
    (1..=10).flat_map(number).collect()
}

/// A `STATS64` nest of counters and rates that do not fit 32 bits, padded as the kernel pads.
pub(crate) fn stats64_nest() -> Vec<u8> {
    (1..=10)
        .flat_map(|kind| [nla(11, &[]), nla_u64(kind, (u64::from(kind) << 32) + 7)].concat())
        .collect()
}

/// What must hold of every reader of an answer that is spoilt in some way: an error or an answer,
/// never a panic, and an error for a length that cannot be.
pub(crate) fn survives<T>(answer: &[u8], read: impl Fn(&[u8]) -> Result<T, WireError>) {
    for end in 1..answer.len() {
        // The outer attribute no longer fits.
        assert!(
            read(answer.split_at(end).0).is_err(),
            "cut at {end} of {}",
            answer.len()
        );
    }
    for at in 0..answer.len() {
        for value in [0, 1, 3, 4, 0x7F, 0x80, 0xFF] {
            let mut spoilt = answer.to_vec();
            if let Some(byte) = spoilt.get_mut(at) {
                *byte = value;
            }
            drop(read(&spoilt));
        }
    }
}

/// A netlink message with its header and padding.
pub(crate) fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
