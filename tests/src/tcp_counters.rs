//! What the kernel of a namespace counts of its TCP.

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// The counter `name` of `/proc/net/snmp` (RFC 4022) or `/proc/net/netstat` (`linux/snmp.h`).
pub fn tcp_counter(netns: &Netns, name: &str) -> Result<u64> {
    for (file, group) in [("snmp", "Tcp:"), ("netstat", "TcpExt:")] {
        let text = netns.proc_net(file)?;
        let mut rows = text.lines().filter(|line| line.starts_with(group));
        let [names, values] = [rows.next(), rows.next()].map(|row| row.unwrap_or("").split(' '));
        if let Some((_, value)) = names.zip(values).find(|(found, _)| *found == name) {
            let value = value.parse();
            return value.with_context(|| format!("{name} of {file} is no number"));
        }
    }
    anyhow::bail!("the kernel does not count {name}")
}
