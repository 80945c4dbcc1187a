//! What is measured.

use crate::{Range, Scale};

/// A latency; its histogram's place among those of a server is in [`crate::Settings::positions`].
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// `ip_vs_schedule` entry to return, where a connection was made.
    Schedule,
    /// First SYN to the real server's SYN-ACK, both at the director.
    Connect,
    /// SYN-ACK at the director to the client's ACK.
    Client,
    /// First SYN to the ACK that completes the handshake.
    Handshake,
    /// First request packet with payload to the first response packet with payload.
    FirstByte,
    /// Last request packet before the turn to the first response packet, at every turn.
    Response,
    /// First packet to last packet.
    Duration,
    /// The state transition of a packet from the client to the end of its forwarding function, which includes the way out
    /// of the host that this calls.
    Xmit,
    /// The whole of `ip_vs_in_hook`.
    Hook,
    /// One call of the statistics estimator, of the host and not of a server.
    Estimator,
}

impl Measure {
    /// Every measure in the order of its index.
    pub const ALL: [Self; 10] = [
        Self::Schedule,
        Self::Connect,
        Self::Client,
        Self::Handshake,
        Self::FirstByte,
        Self::Response,
        Self::Duration,
        Self::Xmit,
        Self::Hook,
        Self::Estimator,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Connect => "connect",
            Self::Client => "client",
            Self::Handshake => "handshake",
            Self::FirstByte => "first_byte",
            Self::Response => "response",
            Self::Duration => "duration",
            Self::Xmit => "xmit",
            Self::Hook => "hook",
            Self::Estimator => "estimator",
        }
    }

    /// Whether it is measured unless somebody says otherwise: what costs nothing per packet.
    pub const fn is_default(self) -> bool {
        !matches!(
            self,
            Self::Response | Self::Xmit | Self::Hook | Self::Estimator
        )
    }

    /// Whether it takes packets from the real server, which do not pass the director with every forwarding method.
    pub const fn needs_return_path(self) -> bool {
        matches!(
            self,
            Self::Connect | Self::Client | Self::FirstByte | Self::Response
        )
    }

    /// Whether it is of the host itself and not of a server.
    pub const fn is_of_host(self) -> bool {
        matches!(self, Self::Estimator)
    }

    /// How its histogram is cut with so many grouping bits.
    #[inline(always)]
    pub const fn scale(self, grouping_bits: u32) -> Scale {
        Scale::new(self.range(), grouping_bits)
    }

    /// The range of its histogram.
    #[inline(always)]
    pub const fn range(self) -> Range {
        match self {
            Self::Schedule | Self::Xmit | Self::Hook | Self::Estimator => Range::DIRECTOR,
            Self::Connect | Self::Client | Self::Handshake | Self::FirstByte | Self::Response => {
                Range::NETWORK
            }
            Self::Duration => Range::LONG,
        }
    }
}
