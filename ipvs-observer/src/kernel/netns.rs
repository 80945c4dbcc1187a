//! Entering the network namespace that the user names.
//!
//! A namespace belongs to a thread, and a thread that is started gets that of its starter. So the
//! main thread enters it before it starts any other and before it opens anything: every thread,
//! socket and file of the agent then belongs to it. `/proc/net` and `/proc/self/ns/net` are the
//! main thread's; the files of [`Kernel`] are read under `/proc/thread-self`, and the sysctls
//! are those of whoever opens them, so that neither depends on which thread reads.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use thiserror::Error;

use super::{Capability, Kernel, ReadError};
use crate::model::id::Netns;

/// Where `ip netns` puts names; the second is what it writes, which is the first on most systems.
pub(super) const NAMES: [&str; 2] = ["run/netns", "var/run/netns"];

/// Why a network namespace cannot be entered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// There is none of this name.
    #[error("no network namespace is named {0:?}; `ip netns list` shows the names")]
    NoName(String),
    /// There is no process of this number.
    #[error("no process {0} has a network namespace to enter")]
    NoProcess(String),
    /// The file is something else, such as a name that a dead namespace has left.
    #[error("{} is not a network namespace", .0.display())]
    NotANamespace(PathBuf),
    /// Some privilege is missing.
    #[error("not permitted to enter the network namespace {}: run as root, or give the process {missing}", path.display())]
    NotPermitted {
        /// The file that stands for the namespace.
        path: PathBuf,
        /// What would permit it.
        missing: Capability,
    },
    /// The file cannot be opened.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refuses for a reason of its own.
    #[error("cannot enter the network namespace {}", path.display())]
    Enter {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the user means by a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named<'a> {
    /// A text with a slash: a file, such as the one below `/run/netns` of a name that is a number.
    Path(&'a str),
    /// Digits: that of a process.
    Process(&'a str),
    /// Anything else: one that `ip netns` has named.
    Name(&'a str),
}

impl<'a> From<&'a str> for Named<'a> {
    fn from(text: &'a str) -> Self {
        if text.contains('/') {
            Self::Path(text)
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Self::Process(text)
        } else {
            Self::Name(text)
        }
    }
}

impl Kernel {
    /// Inode number of this thread's network namespace, by which the kernel knows it too.
    pub fn network_namespace(&self) -> Result<Netns, ReadError> {
        let path = self.root.join("proc/thread-self/ns/net");
        let metadata = fs::metadata(&path).map_err(|source| ReadError { path, source })?;
        // The kernel's inode numbers of namespaces are `unsigned int`.
        Ok(Netns(u32::try_from(metadata.ino()).unwrap_or_default()))
    }

    /// Moves the calling thread into the network namespace of a process (digits), of a file (with
    /// a slash) or of a name, for good.
    pub fn enter_network_namespace(&self, netns: &str) -> Result<(), NetnsError> {
        let (path, file) = self.open_network_namespace(netns.into())?;
        enter(path, &file)
    }

    fn open_network_namespace(&self, netns: Named<'_>) -> Result<(PathBuf, OwnedFd), NetnsError> {
        match netns {
            Named::Path(path) => open(path.into(), NetnsError::open),
            Named::Process(number) => {
                let path = self.root.join("proc").join(number).join("ns/net");
                open(path, |path, error| match error {
                    Errno::NOENT => NetnsError::NoProcess(number.to_owned()),
                    Errno::ACCESS | Errno::PERM => NetnsError::NotPermitted {
                        path,
                        missing: Capability::SysPtrace,
                    },
                    other => NetnsError::open(path, other),
                })
            }
            Named::Name(name) => {
                let path = |folder| self.root.join(folder).join(name);
                let named = NAMES.map(path).into_iter().find(|path| path.exists());
                let path = named.ok_or_else(|| NetnsError::NoName(name.to_owned()))?;
                open(path, NetnsError::open)
            }
        }
    }
}

impl NetnsError {
    fn open(path: PathBuf, error: Errno) -> Self {
        Self::Open {
            path,
            source: error.into(),
        }
    }
}

/// Moves the calling thread into the network namespace that `file`, opened at `path`, stands for.
pub(super) fn enter(path: PathBuf, file: &OwnedFd) -> Result<(), NetnsError> {
    let entered = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
    entered.map_err(|error| match error {
        Errno::INVAL => NetnsError::NotANamespace(path),
        Errno::PERM => NetnsError::NotPermitted {
            path,
            missing: Capability::SysAdmin,
        },
        other => NetnsError::Enter {
            path,
            source: other.into(),
        },
    })
}

fn open(
    path: PathBuf,
    refused: impl FnOnce(PathBuf, Errno) -> NetnsError,
) -> Result<(PathBuf, OwnedFd), NetnsError> {
    match open_file(&path) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(refused(path, error)),
    }
}

/// A path can be that of anything, and opening a pipe waits for its writer.
pub(super) fn open_file(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Named};

    fn refusal(netns: &str) -> String {
        let kernel = Kernel::at("/");
        let error = kernel.enter_network_namespace(netns).unwrap_err();
        error.to_string()
    }

    #[test]
    fn digits_are_a_process_and_a_slash_makes_a_path() {
        assert_eq!(Named::from("4711"), Named::Process("4711"));
        assert_eq!(Named::from("blue"), Named::Name("blue"));
        assert_eq!(Named::from("4711b"), Named::Name("4711b"));
        assert_eq!(Named::from("-1"), Named::Name("-1"));
        assert_eq!(Named::from(""), Named::Name(""));
        for path in ["/run/netns/4711", "./4711", "ns/net"] {
            assert_eq!(Named::from(path), Named::Path(path));
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(
            refusal("no such name"),
            "no network namespace is named \"no such name\"; `ip netns list` shows the names"
        );
        assert_eq!(
            refusal("99999999999"),
            "no process 99999999999 has a network namespace to enter"
        );
        assert_eq!(
            refusal("/nonexistent/net"),
            "cannot open the network namespace /nonexistent/net"
        );
    }

    #[test]
    fn what_is_something_else_is_not_entered() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let other_kind = "/proc/self/ns/uts";
        for path in [file, other_kind, "/proc/"] {
            assert_eq!(refusal(path), format!("{path} is not a network namespace"));
        }
    }
}
