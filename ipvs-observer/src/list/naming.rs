//! How long names are waited for, and what is said of those that did not come.

use std::time::Duration;

use crate::output::list::Names;

/// How long host names are waited for, all together.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The warning of addresses whose names are not known, if there are any.
pub(super) fn unresolved(names: &Names) -> Option<String> {
    let count = names.unanswered();
    (count > 0).then(|| {
        format!(
            "{count} addresses are printed as numbers: there was no answer within {} s; -n asks for none",
            PATIENCE.as_secs()
        )
    })
}
