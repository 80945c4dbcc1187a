//! Messages of the programs, on their way to the agent's own log.

#![expect(
    unsafe_code,
    reason = "a descriptor can be watched only by who promises to keep it open"
)]

use std::{fmt, io};

use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use tokio::io::{Interest, unix::AsyncFd};

/// The programs' messages are debug messages; anything less verbose leaves them out of the loaded code altogether.
pub(super) const WANTED: Level = Level::Debug;

/// A queue of messages that the programs fill.
pub struct ProgramLog(AsyncFd<Messages>);

type Messages = EbpfLogger<&'static dyn ::log::Log>;

impl fmt::Debug for ProgramLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramLog").finish_non_exhaustive()
    }
}

impl ProgramLog {
    pub(super) fn new(ebpf: &mut Ebpf) -> io::Result<Self> {
        let messages = EbpfLogger::init(ebpf).map_err(io::Error::other)?;
        // SAFETY: the logger owns the ring buffer's descriptor and keeps it open and the same until it is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(messages, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Passes messages on as they come, until an error ends it.
    pub async fn forward(&mut self) -> io::Error {
        loop {
            match self.0.readable_mut().await {
                Ok(mut guard) => {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
                Err(error) => return error,
            }
        }
    }
}
