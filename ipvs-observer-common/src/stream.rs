//! Events of single connections: what a stream asks of the programs, and what they send through the ring buffer.
//!
//! All of it is there only while a stream is open: without one [`StreamSettings::kinds`] is 0, which is frozen, so that
//! the verifier leaves out of the programs whatever depends on it.

use crate::{Measure, ServerKey};

/// What a record of the ring buffer tells of.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A connection was made.
    Opened,
    /// Its handshake was completed.
    Established,
    /// A stage took as long as the stream asks for, or longer.
    Slow,
    /// It ended after it was established, or was none that could be.
    Closed,
    /// The real server, or a router before it, would not have it.
    Refused,
    /// Nobody completed its handshake before it expired.
    Unanswered,
    /// A packet was dropped.
    Dropped,
}

impl EventKind {
    /// Every kind in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Opened,
        Self::Established,
        Self::Slow,
        Self::Closed,
        Self::Refused,
        Self::Unanswered,
        Self::Dropped,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Established => "established",
            Self::Slow => "slow",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Dropped => "dropped",
        }
    }

    /// Its bit in [`StreamSettings::kinds`].
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// How a connection came to its end.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Both sides, or the one that is seen, had enough.
    Finished,
    /// An RST of the client.
    ResetByClient,
    /// An RST of the real server.
    ResetByServer,
    /// No packet came before its timeout; the end of what has no state.
    Expired,
    /// As [`EventKind::Refused`].
    Refused,
    /// As [`EventKind::Unanswered`].
    Unanswered,
}

impl Ending {
    /// Every ending in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::Finished,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::Expired,
        Self::Refused,
        Self::Unanswered,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }

    /// Its bit in [`StreamSettings::endings`].
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Stages that a [`Trace`] keeps: the measures from [`Measure::Schedule`] to [`Measure::Duration`].
pub const STAGES: usize = Measure::Duration as usize + 1;

/// What is kept of a connection for its events, beside its record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Packets from the client, and from the server where they pass here.
    pub packets: [u64; 2],
    /// Their bytes, with the network header.
    pub bytes: [u64; 2],
    /// SYNs that came again.
    pub syn_repeated: u64,
    /// TCP states, four bits each and the newest in the lowest; the 16 newest.
    pub history: u64,
    /// What each stage took; of [`Measure::Response`] the longest.
    pub stages_ns: [u64; STAGES],
    /// Bits of the stages that are known, by the number of the measure.
    pub known: u64,
}

/// One record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Events that this CPU could not send so far, by [`StreamLoss`], modulo 2^32.
    pub lost: [u32; StreamLoss::ALL.len()],
    /// Of the connection so far.
    pub trace: Trace,
    /// Time of its first packet, `CLOCK_MONOTONIC`; 0 if that was not seen.
    pub first_ns: u64,
    /// Time of its newest packet; 0 if none was seen.
    pub last_ns: u64,
    /// What [`Self::detail`] took, where it is a measure.
    pub value_ns: u64,
    /// The client's address in network order, an IPv4 address in the first word.
    pub client: [u32; 4],
    /// Service and real server; not written where nothing is known of them.
    pub server: ServerKey,
    /// One of [`EventKind`].
    pub kind: u32,
    /// Of a drop the [`crate::Event`] that is its reason, of a slow stage its [`Measure`], of an end the [`Ending`].
    pub detail: u32,
    /// The CPU.
    pub cpu: u32,
    /// Of the client; 0 if it is not known.
    pub client_family: u16,
    /// The client's port in network order.
    pub client_port: u16,
    /// IP protocol of the packets; 0 if it is not known.
    pub protocol: u16,
    /// `IP_VS_CONN_F_FWD_MASK` of its flags, and [`Self::NO_METHOD`] without a connection.
    pub method: u8,
    /// Bits of [`Self::HAS_TRACE`] and its like.
    pub flags: u8,
}

impl StreamEvent {
    /// There is no connection that could have a forwarding method.
    pub const NO_METHOD: u8 = u8::MAX;
    /// [`Self::trace`] is known.
    pub const HAS_TRACE: u8 = 1;
    /// The connection is older than the stream, so that the beginning of all sums is missing.
    pub const PREEXISTING: u8 = 2;
}

const _: () = assert!(size_of::<Trace>() == (7 + STAGES) * 8);
const _: () = assert!(size_of::<StreamEvent>() == 16 + 112 + 24 + 16 + 52 + 12 + 8);

/// Functions of a kernel stack that an event can have; what is further out is cut off.
pub const STACK_FRAMES: usize = 48;

/// The kernel stack of an event, taken where it happened.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelStack {
    /// Addresses of code, innermost first.
    pub frames: [u64; STACK_FRAMES],
    /// Bytes of them that are known; 0 if the kernel gave none.
    pub bytes: u64,
    /// Among them the innermost that is not the work of a tracepoint; 0 for a probe, whose stack has no others.
    pub from: u64,
}

/// One record of the ring buffer while stacks are asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackedEvent {
    /// As without.
    pub event: StreamEvent,
    /// Where it happened.
    pub stack: KernelStack,
}

const _: () = assert!(size_of::<KernelStack>() == (STACK_FRAMES + 2) * 8);
const _: () =
    assert!(size_of::<StackedEvent>() == size_of::<StreamEvent>() + size_of::<KernelStack>());

/// A prefix of client addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientPrefix {
    /// In network order, without the bits behind the prefix.
    pub address: [u32; 4],
    /// The bits that count.
    pub mask: [u32; 4],
}

/// A service or a real server that is wanted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// In network order, an IPv4 address in the first word; zero for a firewall mark.
    pub address: [u32; 4],
    /// Of a service that is known by it, else 0.
    pub firewall_mark: u32,
    /// Address family; 0 is any.
    pub family: u16,
    /// Of a service; 0 is any.
    pub protocol: u16,
    /// In network order.
    pub port: u16,
    /// One of the constants here.
    pub ports: u16,
}

impl Pattern {
    /// The port of the pattern.
    pub const THIS_PORT: u16 = 0;
    /// Any port.
    pub const ANY_PORT: u16 = 1;
    /// Of a real server: that of its service.
    pub const SERVICE_PORT: u16 = 2;
}

/// Patterns and prefixes that a stream can have of each.
pub const PATTERNS: usize = 16;

/// Constants of a stream, frozen as those of the run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSettings {
    /// The least that each stage must take, by the number of its measure; 0 asks nothing.
    pub slower_than_ns: [u64; STAGES],
    /// Bytes that wake the reader.
    pub watermark_bytes: u64,
    /// Bits of the events that are wanted; 0 is no stream.
    pub kinds: u32,
    /// Bits of the endings that are wanted; 0 is all.
    pub endings: u32,
    /// One of so many connections is wanted, by [`sample_hash`]; 0 and 1 are all.
    pub sample: u32,
    /// Whether any of [`Self::slower_than_ns`] is not 0.
    pub is_slow_only: u32,
    /// Bits of the protocols that are wanted, by [`protocol_bit`]; 0 is all.
    pub protocols: u32,
    /// How many of each of the next are set.
    pub clients: u32,
    /// See there.
    pub services: u32,
    /// See there.
    pub servers: u32,
    /// Whether the kernel stack is wanted, where an event can have one.
    pub stacks: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
    /// Clients, one of which is wanted.
    pub client: [ClientPrefix; PATTERNS],
    /// Family of each.
    pub client_family: [u16; PATTERNS],
    /// Services, one of which is wanted.
    pub service: [Pattern; PATTERNS],
    /// Real servers, one of which is wanted.
    pub server: [Pattern; PATTERNS],
}

const _: () = assert!(
    size_of::<StreamSettings>() == (STAGES + 1) * 8 + 10 * 4 + PATTERNS * (32 + 2 + 28 + 28)
);

/// The bit of a protocol in [`StreamSettings::protocols`].
#[inline(always)]
pub const fn protocol_bit(protocol: u16) -> u32 {
    match protocol {
        6 => 1,
        17 => 2,
        132 => 4,
        _ => 8,
    }
}

/// What one CPU counts of a stream.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Events that a filter kept back.
    pub filtered: u64,
    /// Events of connections outside of the sample.
    pub sampled: u64,
    /// Events that were lost, by their [`StreamLoss`].
    pub lost: [u64; StreamLoss::ALL.len()],
    /// Connections without room for a [`Trace`], whose events lack it.
    pub untraced: u64,
    /// Events whose kernel stack was asked for and could not be taken.
    pub stackless: u64,
    /// The connection of the newest packet, for what drops it.
    pub conn: u64,
}

/// Why an event did not reach the ring buffer, or what it should have had did not.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamLoss {
    /// The reader was too slow.
    BufferFull,
    /// Kernel memory could not be read.
    Unreadable,
}

impl StreamLoss {
    /// Every cause in the order of its index.
    pub const ALL: [Self; 2] = [Self::BufferFull, Self::Unreadable];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer_full",
            Self::Unreadable => "unreadable",
        }
    }
}

/// By which connections are sampled: FNV-1a of 32 bits over the client's address (4 or 16 bytes), its port (2 bytes), both
/// in network order, and the protocol (1 byte), then the finalizer of `MurmurHash3`, because the lowest bits of FNV are as
/// regular as ports are.
///
/// `address` are the words of the address as they lie in memory, `port` likewise.
#[inline(always)]
pub fn sample_hash(address: [u32; 4], is_v4: bool, port: u16, protocol: u8) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    hash = with_word(hash, address[0]);
    if !is_v4 {
        hash = with_word(hash, address[1]);
        hash = with_word(hash, address[2]);
        hash = with_word(hash, address[3]);
    }
    let [first, second] = port.to_le_bytes();
    hash = with_byte(with_byte(hash, first), second);
    hash = with_byte(hash, protocol);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[inline(always)]
fn with_word(hash: u32, word: u32) -> u32 {
    let [a, b, c, d] = word.to_le_bytes();
    with_byte(with_byte(with_byte(with_byte(hash, a), b), c), d)
}

#[inline(always)]
const fn with_byte(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

#[cfg(feature = "user")]
mod pod {
    #![expect(
        unsafe_code,
        reason = "aya asks for this promise on types of maps and globals"
    )]
    use super::{StreamCounts, StreamSettings, Trace};

    // SAFETY: the type is `repr(C)` of integers, its size above leaves no padding, and every bit pattern is valid.
    unsafe impl aya::Pod for StreamSettings {}
    // SAFETY: the type is `repr(C)` of `u64`, and every bit pattern is valid.
    unsafe impl aya::Pod for StreamCounts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Trace {}
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::sample_hash;

    fn words(bytes: &[u8]) -> [u32; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    }

    #[test]
    fn the_hash_of_the_worked_example_is_the_published_one() {
        let client = Ipv4Addr::new(198, 51, 100, 7).octets();
        let port = 40_001_u16.to_be();
        assert_eq!(sample_hash(words(&client), true, port, 6), 0x17d2_2caa);
        let client = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(sample_hash(words(&client), false, port, 17), 0x1579_f2b0);
    }

    #[test]
    fn ports_of_one_parity_are_sampled_as_all_others_are() {
        let client = words(&Ipv4Addr::new(192, 0, 2, 1).octets());
        for n in [2_u32, 8, 10, 100] {
            let ports = (32_768..60_000_u16).step_by(2);
            let all = ports.clone().count();
            let sampled =
                ports.filter(|port| sample_hash(client, true, port.to_be(), 6).is_multiple_of(n));
            let share = sampled.count() * n as usize;
            assert!(
                share * 100 > all * 75 && share * 100 < all * 125,
                "1/{n}: {share} of {all}"
            );
        }
    }
}
