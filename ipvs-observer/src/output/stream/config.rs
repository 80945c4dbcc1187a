//! Changes of the table, on their way into a stream: rare, so that they may own what they say.

use super::super::list::changes::{SidesObject, kind, whose};
use crate::model::{
    changes::Change,
    id::{DestinationId, Netns, ServiceId},
    listing::Source,
};

/// A service or a real server was added, removed or edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// When the reading that shows it began, on `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    pub(super) netns: Netns,
    pub(super) kind: &'static str,
    pub(super) service: ServiceId,
    pub(super) server: Option<DestinationId>,
    /// `old` and `new`, as members of a JSON object.
    pub(super) settings: String,
}

impl TableChange {
    /// What `change` says of the table of `netns`.
    pub fn of(change: &Change<'_>, netns: Netns, at_ns: u64) -> Self {
        let (service, server) = whose(change);
        let settings = serde_json::to_string(&SidesObject::of(change, Source::Netlink));
        Self {
            at_ns,
            netns,
            kind: kind(change),
            service,
            server,
            // Numbers and texts under names that are texts: there is nothing that JSON could not say.
            settings: settings.unwrap_or_default(),
        }
    }
}
