//! The one place that asks the time.
#![expect(
    clippy::disallowed_methods,
    reason = "time enters here and is passed down"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::sample::Timestamp;

/// The time on both clocks; the monotonic one is that of the programs.
pub fn now() -> Timestamp {
    let monotonic = clock_gettime(ClockId::Monotonic);
    Timestamp {
        wall: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
        monotonic: Duration::new(
            monotonic.tv_sec.unsigned_abs(),
            u32::try_from(monotonic.tv_nsec).unwrap_or_default(),
        ),
    }
}
