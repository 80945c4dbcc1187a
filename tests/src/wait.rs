//! Waiting for something in the guest with an end to it, and the guest's clock.
//!
//! A test never sleeps in the hope that something has happened by then: it says
//! what it waits for, and how long that may take before it counts as a failure.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};

/// How long something that happens at once on an idle machine may take here.
///
/// Wide, because a guest under emulation may be stopped for seconds by its host.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks; short against every delay the lab injects.
const PAUSE: Duration = Duration::from_millis(1);

/// Nanoseconds on the guest's monotonic clock, which starts at zero.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Asks `look` until it has an answer; fails after `patience`, naming `what`.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start_ns = monotonic_ns();
    loop {
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        let waited = Duration::from_nanos(monotonic_ns() - start_ns);
        if waited >= patience {
            bail!("waited {waited:?} in vain for {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until the kernel has nothing of its own to do: it tests its ciphers when modules
/// come, and cleans up after namespaces and processes, at the expense of whoever is timed
/// meanwhile.
pub fn idle_cpu() -> Result<()> {
    let window = Duration::from_secs(1);
    until("the CPU to be idle", PATIENCE, || {
        let before = idle_ticks()?;
        thread::sleep(window);
        Ok((idle_ticks()? - before >= 98).then_some(()))
    })
}

/// Hundredths of a second that the CPU was idle since boot.
fn idle_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let idle = stat.split_whitespace().nth(4);
    idle.and_then(|ticks| ticks.parse().ok())
        .context("idle time is not the fourth of the first line of /proc/stat")
}
