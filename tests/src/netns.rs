//! A network namespace for as long as its value lives.
//!
//! A namespace belongs to a thread, so all that happens in one happens on a thread
//! made for it: [`Netns::run`] for our own code, [`Netns::spawn`] for processes,
//! which start in the namespace of the thread that starts them. Read
//! `/proc/thread-self/net` there: `/proc/net` is the main thread's. Interfaces and
//! addresses are `link`'s.

#![expect(
    unsafe_code,
    reason = "rustix marks unshare unsafe for the sake of one flag"
)]

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::{link, rtnetlink::RouteSocket};

/// Where named namespaces are found by others, as `ip netns` has them.
const NAMES: &str = "/run/netns";

/// A network namespace with a name; closed and unnamed when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    handle: OwnedFd,
    route: RouteSocket,
}

impl Netns {
    /// Makes the namespace, names it under `/run/netns` and sets its loopback up.
    pub fn new(name: &str) -> Result<Self> {
        let (handle, route) = on_fresh_thread(|| {
            // SAFETY: only FILES takes descriptors away from other threads, and it is
            // not among the flags.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .context("cannot make a network namespace (this needs root)")?;
            let handle = File::open("/proc/thread-self/ns/net")
                .context("cannot open the new network namespace")?;
            Ok((OwnedFd::from(handle), RouteSocket::open()?))
        })
        .with_context(|| format!("cannot set up the namespace {name}"))?;
        let netns = Self {
            name: name.to_owned(),
            handle,
            route,
        };
        netns.publish()?;
        link::set_up(&netns, link::LOOPBACK)?;
        // Addresses are ours alone here: asking the link for duplicates would keep
        // them unusable for a second.
        netns.set_sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        netns.set_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        Ok(netns)
    }

    /// The name that it has under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace, for `setns` and for `--netns`.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// The namespace's own descriptor.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The namespace's rtnetlink socket.
    pub fn route(&self) -> &RouteSocket {
        &self.route
    }

    /// Does `work` on a fresh thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_fresh_thread(|| {
            self.enter()?;
            work()
        })
        .with_context(|| format!("in the namespace {}", self.name))
    }

    /// Moves the calling thread into the namespace for good: for threads that live
    /// there, such as a server's.
    pub fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.handle(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    /// Starts a process inside the namespace.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.run(|| {
            command
                .spawn()
                .with_context(|| format!("cannot start {command:?}"))
        })
    }

    /// Sets a sysctl of the namespace, named by its path under `/proc/sys`.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.run(|| {
            fs::write(Path::new("/proc/sys").join(path), value)
                .with_context(|| format!("cannot set {path} to {value}"))
        })
    }

    /// Reads a file of the namespace, named by its path under `/proc/net`.
    pub fn proc_net(&self, file: &str) -> Result<String> {
        self.run(|| {
            fs::read_to_string(Path::new("/proc/thread-self/net").join(file))
                .with_context(|| format!("cannot read /proc/net/{file}"))
        })
    }

    fn publish(&self) -> Result<()> {
        let path = self.path();
        fs::create_dir_all(NAMES).with_context(|| format!("cannot make {NAMES}"))?;
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        self.run(|| {
            mount_bind("/proc/thread-self/ns/net", &path)
                .with_context(|| format!("cannot bind the namespace to {}", path.display()))
        })
    }
}

impl Drop for Netns {
    /// A name that will not go away harms nobody but the next test of that name,
    /// which then says so.
    fn drop(&mut self) {
        let path = self.path();
        let unmounted = unmount(&path, UnmountFlags::DETACH);
        if unmounted.is_ok() {
            let _removed = fs::remove_file(&path);
        }
    }
}

fn on_fresh_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        worker
            .join()
            .unwrap_or_else(|_panic| Err(anyhow!("the thread inside panicked")))
    })
}
