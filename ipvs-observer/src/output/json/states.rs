//! The connections of a real server by state, and its drain.

use ipvs_observer_common::TCP_STATE_NAMES;
use serde::Serialize;

use crate::{
    model::{drain::Drain, states::States},
    output::object::{Pairs, nanoseconds, time},
};

/// The connections of a real server.
#[derive(Serialize)]
pub(super) struct StatesObject {
    tcp: Pairs<&'static str, u64>,
    other: u64,
    begun_unseen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_syn_recv_age_ns: Option<u64>,
}

impl StatesObject {
    pub(super) fn of(states: &States) -> Self {
        Self {
            tcp: Pairs(TCP_STATE_NAMES.into_iter().zip(states.tcp).collect()),
            other: states.other,
            begun_unseen: states.begun_unseen,
            unanswered: states.unanswered,
            oldest_age_ns: states.oldest.map(nanoseconds),
            oldest_syn_recv_age_ns: states.oldest_syn_recv.map(nanoseconds),
        }
    }
}

/// The drain of a real server.
#[derive(Serialize)]
pub(super) struct DrainObject {
    since: String,
    begin_seen: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drained: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ns: Option<u64>,
}

impl DrainObject {
    pub(super) fn of(drain: &Drain) -> Self {
        Self {
            since: time(drain.since()),
            begin_seen: drain.is_begin_seen(),
            packets: drain.packets(),
            drained: drain.drained_at().map(time),
            took_ns: drain.took().map(nanoseconds),
        }
    }
}
