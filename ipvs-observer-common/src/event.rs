//! What is counted of a service or a real server, one by one and exactly.

/// An event; the index of its count in [`Counters`].
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A connection that `ip_vs_schedule` made.
    Scheduled,
    /// A handshake completed.
    Established,
    /// A SYN answered by an RST or an ICMP error, or a datagram by an ICMP error, from the side of the real server.
    Refused,
    /// A SYN that came again before the handshake was complete.
    SynRepeated,
    /// A connection that ended without the handshake's last ACK and without a refusal.
    Unanswered,
    /// An established connection that an RST of the client ended.
    ResetByClient,
    /// An established connection that an RST of the real server ended.
    ResetByServer,
    /// A connection where the real server sent payload before the client.
    ServerFirst,
    /// A connection whose SYN carried payload.
    DataInSyn,
    /// A connection that was older than the agent when first seen.
    Preexisting,
    /// A connection that the sync daemon made.
    Synchronised,
    /// A datagram scheduled on its own.
    OnePacket,
    /// A persistence template that was found and valid.
    PersistenceHit,
    /// A client without a persistence template.
    PersistenceMiss,
    /// A persistence template whose real server is gone or takes no more.
    PersistenceInvalid,
    /// A packet that came for a connection which had just ended.
    Late,
    /// A record of a connection made.
    RecordMade,
    /// A record of a connection taken away.
    RecordEnded,
    /// Dropped: the service had no real server to give.
    NoDestination,
    /// Dropped: every real server that the service could give is over its threshold.
    Overloaded,
    /// Dropped: the connection's real server is not available any more.
    DestinationUnavailable,
    /// Dropped: a SYN for a reused port, whose conntrack entry is that of the connection before.
    ReusedPort,
    /// Dropped: no memory for a connection, or `conn_max` reached.
    NoConnection,
    /// Dropped: the `drop_packet` defence, or a header that is too short.
    Defence,
    /// Dropped: no route to the real server, or a packet larger than its MTU.
    Unroutable,
}

impl Event {
    /// Every event in the order of its index.
    pub const ALL: [Self; 25] = [
        Self::Scheduled,
        Self::Established,
        Self::Refused,
        Self::SynRepeated,
        Self::Unanswered,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::ServerFirst,
        Self::DataInSyn,
        Self::Preexisting,
        Self::Synchronised,
        Self::OnePacket,
        Self::PersistenceHit,
        Self::PersistenceMiss,
        Self::PersistenceInvalid,
        Self::Late,
        Self::RecordMade,
        Self::RecordEnded,
        Self::NoDestination,
        Self::Overloaded,
        Self::DestinationUnavailable,
        Self::ReusedPort,
        Self::NoConnection,
        Self::Defence,
        Self::Unroutable,
    ];

    /// The name that every output uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Established => "established",
            Self::Refused => "refused",
            Self::SynRepeated => "syn_repeated",
            Self::Unanswered => "unanswered",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::ServerFirst => "server_first",
            Self::DataInSyn => "data_in_syn",
            Self::Preexisting => "preexisting",
            Self::Synchronised => "synchronised",
            Self::OnePacket => "one_packet",
            Self::PersistenceHit => "persistence_hit",
            Self::PersistenceMiss => "persistence_miss",
            Self::PersistenceInvalid => "persistence_invalid",
            Self::Late => "late",
            Self::RecordMade => "record_made",
            Self::RecordEnded => "record_ended",
            Self::NoDestination => "no_destination",
            Self::Overloaded => "overloaded",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ReusedPort => "reused_port",
            Self::NoConnection => "no_connection",
            Self::Defence => "defence",
            Self::Unroutable => "unroutable",
        }
    }

    /// Whether it is the reason for which IPVS dropped a packet.
    pub const fn is_drop(self) -> bool {
        matches!(
            self,
            Self::NoDestination
                | Self::Overloaded
                | Self::DestinationUnavailable
                | Self::ReusedPort
                | Self::NoConnection
                | Self::Defence
                | Self::Unroutable
        )
    }
}

/// How often each [`Event`] happened, by its index.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub [u64; Event::ALL.len()]);

impl Counters {
    /// The count of `event`.
    pub const fn get(&self, event: Event) -> u64 {
        self.0[event as usize]
    }
}

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of maps")]
// SAFETY: the type is an array of `u64`, and every bit pattern is valid.
unsafe impl aya::Pod for Counters {}
