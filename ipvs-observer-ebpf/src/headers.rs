//! What the headers of packets say: read where `kread` says that they lie, and only as far as something can be told by it.

use aya_ebpf::programs::ProbeContext;
use ipvs_observer_common::Loss;

use crate::{
    globals::frozen,
    kread::{AF_INET, AF_INET6, IPPROTO_TCP, Peer, fingerprint, read, read_at},
};

/// `IP_VS_HDR_ICMP` of `include/net/ip_vs.h`.
const IP_VS_HDR_ICMP: u32 = 0x2;
/// `IPPROTO_ICMPV6` of the uapi header `in6.h`.
const IPPROTO_ICMPV6: u8 = 58;
/// Bytes of an IPv6 header without extensions.
const IPV6_HEADER_BYTES: u32 = 40;
/// Version and length of an IPv4 header without options, its first byte.
const PLAIN_IPV4: u8 = 0x45;
const PLAIN_IPV4_BYTES: u32 = 20;

/// The first bytes of a packet: of almost every one an IPv4 header without options and what is read of the TCP header
/// behind it, in one read instead of one for each member.
///
/// The linear part of a packet is followed by `struct skb_shared_info`, so that a shorter one can be read too.
type Start = [u8; 36];

/// What is read of a packet's TCP header.
pub(crate) struct Segment {
    /// Byte 13 of the header.
    flags: u8,
    /// Bytes behind the header.
    pub(crate) payload_bytes: u32,
}

impl Segment {
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// Reads the header of the packet that `tcp_state_transition` was called with.
    #[inline(always)]
    pub(crate) fn read(ctx: &ProbeContext) -> Result<Self, Loss> {
        let skb: u64 = ctx.arg(2).ok_or(Loss::Unreadable)?;
        let data: u64 = read(skb, frozen!(LAYOUT.skb.data.offset))?;
        // The kernel's own count, where it passes one.
        if frozen!(LAYOUT.tcp_transition_has_iph_len) != 0 {
            return Self::behind(skb, data, ctx.arg(4).ok_or(Loss::Unreadable)?);
        }
        let start: Start = read_at(data)?;
        if start[0] == PLAIN_IPV4 {
            return Self::of(skb, PLAIN_IPV4_BYTES, [start[32], start[33]]);
        }
        Self::behind(skb, data, network_header_bytes(&start)?)
    }

    /// Reads the header of the packet `skb` behind so many bytes.
    #[inline(always)]
    fn behind(skb: u64, data: u64, network_bytes: u32) -> Result<Self, Loss> {
        // Data offset and flags are the 13th and 14th byte.
        let members = read_at(data + u64::from(network_bytes) + 12)?;
        Self::of(skb, network_bytes, members)
    }

    #[inline(always)]
    fn of(skb: u64, network_bytes: u32, [offset, flags]: [u8; 2]) -> Result<Self, Loss> {
        let (len, data_len) = lengths(skb)?;
        if network_bytes + 20 > len.wrapping_sub(data_len) {
            return Err(Loss::HeaderUnreadable);
        }
        let header_bytes = u32::from(offset >> 4) * 4;
        Ok(Self {
            flags,
            payload_bytes: len.saturating_sub(network_bytes + header_bytes),
        })
    }

    pub(crate) fn is_syn(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }

    pub(crate) fn is_syn_ack(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK | Self::RST) == Self::SYN | Self::ACK
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.flags & Self::RST != 0
    }
}

/// `struct sk_buff *` of a packet in the hook, with the `struct ip_vs_iphdr *` that says where its headers are.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) skb: u64,
    pub(crate) iphdr: u64,
}

impl Packet {
    /// Whether its headers are those of the packet that an ICMP error is about.
    #[inline(always)]
    pub(crate) fn is_icmp(self) -> Result<bool, Loss> {
        let flags: u32 = read(self.iphdr, frozen!(LAYOUT.iphdr_flags.offset))?;
        Ok(flags & IP_VS_HDR_ICMP != 0)
    }

    /// Its TCP header.
    #[inline(always)]
    pub(crate) fn segment(self) -> Result<Segment, Loss> {
        let data: u64 = read(self.skb, frozen!(LAYOUT.skb.data.offset))?;
        Segment::behind(
            self.skb,
            data,
            read(self.iphdr, frozen!(LAYOUT.iphdr_len.offset))?,
        )
    }
}

/// Whether the packet `skb` is an ICMP error that says nobody is there: the destination is unreachable, and not for want of
/// a fragment.
#[inline(always)]
pub(crate) fn is_unreachable(skb: u64, is_v6: bool) -> Result<bool, Loss> {
    /// `ICMP_DEST_UNREACH` of the uapi header `icmp.h`.
    const ICMP_DEST_UNREACH: u8 = 3;
    /// `ICMP_FRAG_NEEDED` of the uapi header `icmp.h`.
    const ICMP_FRAG_NEEDED: u8 = 4;
    /// `ICMPV6_DEST_UNREACH` of the uapi header `icmpv6.h`.
    const ICMPV6_DEST_UNREACH: u8 = 1;
    let data: u64 = read(skb, frozen!(LAYOUT.skb.data.offset))?;
    if is_v6 {
        let [next_header]: [u8; 1] = read_at(data + 6)?;
        if next_header != IPPROTO_ICMPV6 {
            return Err(Loss::HeaderUnreadable);
        }
        let [kind]: [u8; 1] = read_at(data + u64::from(IPV6_HEADER_BYTES))?;
        return Ok(kind == ICMPV6_DEST_UNREACH);
    }
    let [version_and_words]: [u8; 1] = read_at(data)?;
    let [kind, code]: [u8; 2] = read_at(data + u64::from(version_and_words & 0xf) * 4)?;
    Ok(kind == ICMP_DEST_UNREACH && code != ICMP_FRAG_NEEDED)
}

/// Bytes of the packet `skb`, with its network header.
#[inline(always)]
pub(crate) fn packet_bytes(skb: u64) -> Result<u32, Loss> {
    read(skb, frozen!(LAYOUT.skb.len.offset))
}

/// Bytes of the packet `skb`, and how many of them do not lie in its linear part.
#[inline(always)]
fn lengths(skb: u64) -> Result<(u32, u32), Loss> {
    let [len, data_len] = [
        frozen!(LAYOUT.skb.len.offset),
        frozen!(LAYOUT.skb.data_len.offset),
    ];
    // They are neighbours in every kernel so far, and a read costs as much as all that is done with it.
    if data_len == len + 4 {
        let [len, data_len]: [u32; 2] = read(skb, len)?;
        return Ok((len, data_len));
    }
    Ok((read(skb, len)?, read(skb, data_len)?))
}

/// Takes IPv6 headers to have no extensions.
#[inline(always)]
fn network_header_bytes(start: &Start) -> Result<u32, Loss> {
    /// Of the two, in the first half of the first byte.
    const VERSION_4: u8 = 4;
    if start[0] >> 4 == VERSION_4 {
        return Ok(u32::from(start[0] & 0xf) * 4);
    }
    if start[6] == IPPROTO_TCP {
        Ok(IPV6_HEADER_BYTES)
    } else {
        Err(Loss::HeaderUnreadable)
    }
}

/// A TCP packet from a client that has no connection and opens none.
pub(crate) struct Orphan {
    /// As its connection would have it.
    pub(crate) fingerprint: u32,
    /// As [`ServerKey`] keeps it.
    pub(crate) virtual_address: [u8; 16],
}

impl Orphan {
    /// Reads the headers of the packet `skb`; `None` for any other.
    #[inline(always)]
    pub(crate) fn read(skb: u64, family: u32) -> Result<Option<Self>, Loss> {
        let data: u64 = read(skb, frozen!(LAYOUT.skb.data.offset))?;
        let is_v4 = family == u32::from(AF_INET);
        let start: Start = read_at(data)?;
        let (network_bytes, protocol) = if is_v4 {
            (u32::from(start[0] & 0xf) * 4, start[9])
        } else {
            (IPV6_HEADER_BYTES, start[6])
        };
        // Of an ICMP error it is not the packet's own.
        if protocol != IPPROTO_TCP {
            return Ok(None);
        }
        let (len, data_len) = lengths(skb)?;
        if network_bytes + 20 > len.wrapping_sub(data_len) {
            return Err(Loss::HeaderUnreadable);
        }
        let transport = data + u64::from(network_bytes);
        let [flags]: [u8; 1] = if network_bytes == PLAIN_IPV4_BYTES {
            [start[33]]
        } else {
            read_at(transport + 13)?
        };
        if flags & Segment::SYN != 0 {
            return Ok(None);
        }
        let [client, service]: [u16; 2] = read_at(transport)?;
        let mut address = [0; 4];
        let mut virtual_address = [0; 16];
        if is_v4 {
            address[0] = read_at(data + 12)?;
            let v4: [u8; 4] = read_at(data + 16)?;
            virtual_address[..4].copy_from_slice(&v4);
        } else {
            address = read_at(data + 8)?;
            virtual_address = read_at(data + 24)?;
        }
        Ok(Some(Self {
            fingerprint: fingerprint(address, is_v4, client, service),
            virtual_address,
        }))
    }
}

/// Who sent the packet `skb`, to which no connection belongs; nobody is known of none.
#[inline(always)]
pub(crate) fn sender(skb: u64) -> Result<Peer, Loss> {
    let mut peer = Peer::default();
    if skb == 0 || frozen!(LAYOUT.skb.data.size) == 0 {
        return Ok(peer);
    }
    let data: u64 = read(skb, frozen!(LAYOUT.skb.data.offset))?;
    let start: [u8; 10] = read_at(data)?;
    let network_bytes = if start[0] >> 4 == 4 {
        peer.family = AF_INET;
        peer.protocol = u16::from(start[9]);
        peer.address[0] = read_at(data + 12)?;
        u64::from(start[0] & 0xf) * 4
    } else {
        peer.family = AF_INET6;
        peer.protocol = u16::from(start[6]);
        peer.address = read_at(data + 8)?;
        40
    };
    peer.port = read_at(data + network_bytes)?;
    Ok(peer)
}
