//! With what rights the agent runs: users and capabilities, given up or handed down by the
//! thread that starts it.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command},
};

use anyhow::{Context as _, Result};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits,
};

use super::BINARY;
use crate::netns::Netns;

/// A user without any privilege: Debian's `nobody`.
const NOBODY: u32 = 65534;

/// With what rights an agent is started.
#[derive(Clone, Copy, Debug)]
pub enum Rights {
    /// Root, with every capability.
    Root,
    /// Root, but these capabilities can no longer be had.
    RootWithout(CapabilitySet),
    /// A user without any capability.
    Nobody,
    /// A user with these capabilities and no others.
    NobodyWith(CapabilitySet),
}

/// Starts the binary with these rights.
pub(super) fn spawn(netns: &Netns, rights: Rights, command: &mut Command) -> Result<Child> {
    if let Rights::Nobody | Rights::NobodyWith(_) = rights {
        command.uid(NOBODY).gid(NOBODY);
    }
    netns.run(|| {
        match rights {
            Rights::Root | Rights::Nobody => {}
            // What a thread gives up, the processes that it starts cannot have.
            Rights::RootWithout(capabilities) => {
                for capability in capabilities.iter() {
                    remove_capability_from_bounding_set(capability)
                        .context("cannot give up a capability")?;
                }
            }
            Rights::NobodyWith(capabilities) => {
                hand_down(capabilities).context("cannot hand capabilities down")?;
            }
        }
        command
            .spawn()
            .with_context(|| format!("cannot start {BINARY}"))
    })
}

/// Lets the processes that this thread starts keep these capabilities as another user.
fn hand_down(capability_set: CapabilitySet) -> Result<()> {
    // Else the change of the user would take the ambient capabilities away.
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let own = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            inheritable: capability_set,
            ..own
        },
    )?;
    for capability in capability_set.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}
