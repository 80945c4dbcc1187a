//! What changed since the reading before: lines for people, and JSON objects.

mod json;
mod text;

pub(in crate::output) use self::json::SidesObject;
pub use self::{json::json, text::text};
use crate::model::{
    changes::{Change, Difference},
    id::{DestinationId, ServiceId},
};

pub(in crate::output) fn kind(change: &Change<'_>) -> &'static str {
    match change {
        Change::Service(Difference::Added(_))
        | Change::Destination {
            difference: Difference::Added(_),
            ..
        } => "added",
        Change::Service(Difference::Removed(_))
        | Change::Destination {
            difference: Difference::Removed(_),
            ..
        } => "removed",
        Change::Service(Difference::Edited { .. })
        | Change::Destination {
            difference: Difference::Edited { .. },
            ..
        } => "edited",
    }
}

/// The service, and the real server if it is one that changed.
pub(in crate::output) fn whose(change: &Change<'_>) -> (ServiceId, Option<DestinationId>) {
    match change {
        Change::Service(difference) => (difference.newest().id, None),
        Change::Destination {
            service,
            difference,
        } => (*service, Some(difference.newest().id)),
    }
}

#[cfg(test)]
mod tests;
