//! What a stream tells of one connection, or of a packet that got none.

use std::net::IpAddr;

use ipvs_observer_common::{Ending, Event, EventKind, Measure, STAGES, TCP_STATE_NAMES};

use super::id::{DestinationId, ForwardingMethod, Netns, Protocol, ServiceId};

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// On `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The CPU that saw it.
    pub cpu: u32,
    /// Events that this CPU could not send so far, by cause, modulo 2^32.
    pub lost: [u32; 2],
    /// What happened.
    pub what: What,
    /// Where, where that is known.
    pub netns: Option<Netns>,
    /// To which service.
    pub service: Option<ServiceId>,
    /// To which of its real servers.
    pub server: Option<DestinationId>,
    /// Address and port.
    pub client: Option<(IpAddr, u16)>,
    /// Of the packets.
    pub protocol: Option<Protocol>,
    /// How packets go on.
    pub method: Option<ForwardingMethod>,
    /// From its first packet to its newest.
    pub age_ns: Option<u64>,
    /// What was counted of it, where there was room to count.
    pub trace: Option<ConnectionTrace>,
    /// It is older than the stream, so that sums lack their beginning.
    pub preexisting: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// See [`EventKind::Opened`].
    Opened,
    /// See [`EventKind::Established`].
    Established,
    /// See [`EventKind::Slow`]: which stage, and what it took.
    Slow(Measure, u64),
    /// See [`EventKind::Closed`], [`EventKind::Refused`] and [`EventKind::Unanswered`].
    Ended(Ending),
    /// Why.
    Dropped(Event),
}

impl What {
    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => EventKind::Opened,
            Self::Established => EventKind::Established,
            Self::Slow(..) => EventKind::Slow,
            Self::Ended(Ending::Refused) => EventKind::Refused,
            Self::Ended(Ending::Unanswered) => EventKind::Unanswered,
            Self::Ended(
                Ending::Finished | Ending::ResetByClient | Ending::ResetByServer | Ending::Expired,
            ) => EventKind::Closed,
            Self::Dropped(_) => EventKind::Dropped,
        }
        .name()
    }
}

/// What was counted of a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTrace {
    /// From the client, and from the server where they pass the director.
    pub packets: [u64; 2],
    /// The same, with network headers.
    pub bytes: [u64; 2],
    /// SYNs that came again.
    pub syn_repeated: u64,
    /// What each stage took, by the number of its measure.
    pub stages_ns: [Option<u64>; STAGES],
    /// See [`Self::states`].
    pub history: u64,
}

impl ConnectionTrace {
    /// The stages that are known.
    pub fn stages(&self) -> impl Iterator<Item = (Measure, u64)> {
        let all = Measure::ALL.into_iter().zip(self.stages_ns);
        all.filter_map(|(measure, took_ns)| Some((measure, took_ns?)))
    }

    /// The newest 16 TCP states in their order; none of what has no states.
    pub fn states(&self) -> impl Iterator<Item = &'static str> {
        let numbers = self.state_numbers();
        numbers.filter_map(|number| TCP_STATE_NAMES.get(number).copied())
    }

    /// The same as indexes of their names.
    pub fn state_numbers(&self) -> impl Iterator<Item = usize> {
        let history = self.history;
        let places = history.bit_width().div_ceil(4);
        let numbers = (0..places)
            .rev()
            .map(move |place| history >> (place * 4) & 0xf);
        let numbers = numbers.filter_map(|number| usize::try_from(number).ok());
        numbers.filter(|number| (1..TCP_STATE_NAMES.len()).contains(number))
    }
}
