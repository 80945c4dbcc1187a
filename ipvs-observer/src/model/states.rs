//! The connections of a real server at one moment, as a sweep over all connections found them.

use std::{collections::BTreeMap, time::Duration};

use ipvs_observer_common::{SYN_RECV, TCP_STATES};

use super::{
    id::{ForwardingMethod, Protocol, ServiceId},
    sample::ServerId,
};
use crate::ipvs::table::Destination;

/// What one sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How long it took.
    pub took: Duration,
    /// Only those with a connection.
    pub servers: BTreeMap<ServerId, States>,
}

/// The connections of one real server, without persistence templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States {
    /// TCP connections by state, as `IP_VS_TCP_S_` numbers them.
    pub tcp: [u64; TCP_STATES],
    /// Connections of other protocols.
    pub other: u64,
    /// Connections whose beginning was not seen, and whose age is therefore not known.
    pub begun_unseen: u64,
    /// Connections that had packets from the client and none from the server; absent where that cannot be known: replies
    /// pass the director for certain only by Masquerade, and those of SCTP are not told apart.
    pub unanswered: Option<u64>,
    /// Age of the oldest connection whose beginning was seen; absent without any.
    pub oldest: Option<Duration>,
    /// The same of those in `SYN_RECV`.
    pub oldest_syn_recv: Option<Duration>,
}

impl States {
    /// No connection.
    pub const NONE: Self = Self {
        tcp: [0; TCP_STATES],
        other: 0,
        begun_unseen: 0,
        unanswered: Some(0),
        oldest: None,
        oldest_syn_recv: None,
    };

    /// All connections.
    pub fn connections(&self) -> u64 {
        self.tcp.iter().sum::<u64>() + self.other
    }

    /// TCP connections that wait for their handshake.
    pub const fn syn_recv(&self) -> u64 {
        self.tcp[SYN_RECV]
    }

    /// Adds what was found in another place.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.tcp.iter_mut().zip(other.tcp) {
            *sum += count;
        }
        self.other += other.other;
        self.begun_unseen += other.begun_unseen;
        self.unanswered = self
            .unanswered
            .zip(other.unanswered)
            .map(|(one, two)| one + two);
        self.oldest = self.oldest.max(other.oldest);
        self.oldest_syn_recv = self.oldest_syn_recv.max(other.oldest_syn_recv);
    }

    /// What of it can be known of `server` under `service`.
    #[must_use]
    pub fn known(self, service: &ServiceId, server: &Destination) -> Self {
        let is_sctp = matches!(
            service,
            ServiceId::Address {
                protocol: Protocol::SCTP,
                ..
            }
        );
        let is_seen = server.method == ForwardingMethod::Masquerade && !is_sctp;
        Self {
            unanswered: self.unanswered.filter(|_| is_seen),
            ..self
        }
    }
}
