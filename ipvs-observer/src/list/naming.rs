//! How long names are waited for, and what is said of those that did not come.

use std::time::Duration;

use crate::output::list::Names;

/// How long host names are waited for, all together.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn tell_unresolved(names: &Names) {
    let count = names.unanswered();
    if count > 0 {
        log::warn!(
            "{count} addresses are printed as numbers: there was no answer within {} s; -n asks for none",
            PATIENCE.as_secs()
        );
    }
}
