//! Commands that change IPVS's table, as processes give them: the other records of a stream's ring buffer.

use crate::StreamLoss;

/// One record, told apart from a [`crate::StreamEvent`] by its size.
///
/// A call makes two: before the table can have changed, and when it is over.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEvent {
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// As [`crate::StreamEvent::lost`].
    pub lost: [u32; StreamLoss::ALL.len()],
    /// What the two records of a call have in common, and no call beside it.
    pub call: u64,
    /// The process's `comm`, with zeros behind it.
    pub name: [u8; 16],
    /// What names the service, as the process wrote it: [`Self::NETLINK`] the attributes in `IPVS_CMD_ATTR_SERVICE`,
    /// [`Self::SOCKET_OPTION`] the start of `struct ip_vs_service_user`.
    pub service: [u8; 64],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Number of the process in the first PID namespace.
    pub process: u32,
    /// The CPU.
    pub cpu: u32,
    /// `IPVS_CMD_*` or `IP_VS_SO_SET_*`.
    pub command: u32,
    /// [`Self::NETLINK`] or [`Self::SOCKET_OPTION`].
    pub way: u16,
    /// One of the phases here.
    pub phase: u16,
    /// Bytes of [`Self::service`] that are there.
    pub service_bytes: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u16,
}

impl CommandEvent {
    /// By generic netlink.
    pub const NETLINK: u16 = 0;
    /// By `setsockopt(2)`.
    pub const SOCKET_OPTION: u16 = 1;
    /// The call begins.
    pub const BEGUN: u16 = 0;
    /// It has done what it was told.
    pub const DONE: u16 = 1;
    /// It has failed.
    pub const FAILED: u16 = 2;
}

const _: () = assert!(size_of::<CommandEvent>() == 24 + 16 + 64 + 16 + 8);
const _: () = assert!(size_of::<CommandEvent>() != size_of::<crate::StreamEvent>());
