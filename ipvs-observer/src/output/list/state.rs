//! What IPVS says of itself: how long it waits and with whom it synchronises.

use std::io::{self, Write};

use crate::ipvs::table::{Daemon, DaemonState, Timeouts};

/// `--timeout`.
pub fn timeouts(timeouts: &Timeouts, out: &mut impl Write) -> io::Result<()> {
    let Timeouts {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = timeouts;
    writeln!(out, "Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}")?;
    out.flush()
}

/// `--daemon`: a line for each, in the order given. Numbers that are 0 are left out, as ipvsadm does.
pub fn daemons(daemons: &[Daemon], out: &mut impl Write) -> io::Result<()> {
    for daemon in daemons {
        match daemon.state {
            DaemonState::Master => write!(out, "master"),
            DaemonState::Backup => write!(out, "backup"),
            DaemonState::Unknown(state) => write!(out, "{state}"),
        }?;
        let Daemon {
            interface, sync_id, ..
        } = daemon;
        write!(out, " sync daemon (mcast={interface}, syncid={sync_id}")?;
        if let Some(bytes @ 1..) = daemon.sync_maxlen {
            write!(out, ", maxlen={bytes}")?;
        }
        if let Some(group) = daemon.group {
            write!(out, ", group={group}")?;
        }
        if let Some(port @ 1..) = daemon.port {
            write!(out, ", port={port}")?;
        }
        if let Some(ttl @ 1..) = daemon.ttl {
            write!(out, ", ttl={ttl}")?;
        }
        writeln!(out, ")")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        encode(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_unsigned() {
        let given = Timeouts {
            tcp_s: 0,
            tcp_fin_s: u32::MAX,
            udp_s: 300,
        };
        assert_eq!(
            text(|out| timeouts(&given, out)),
            "Timeout (tcp tcpfin udp): 0 4294967295 300\n"
        );
    }

    #[test]
    fn daemons_say_only_what_is_known_and_set() {
        let whole = Daemon {
            state: DaemonState::Master,
            interface: "eth0".to_owned(),
            sync_id: 7,
            sync_maxlen: Some(1472),
            group: Some("224.0.0.81".parse().unwrap()),
            port: Some(8848),
            ttl: Some(1),
        };
        let zero = Daemon {
            state: DaemonState::Backup,
            sync_id: 0,
            sync_maxlen: Some(0),
            group: Some("ff02::1".parse().unwrap()),
            port: Some(0),
            ttl: Some(0),
            ..whole.clone()
        };
        let bare = Daemon {
            state: DaemonState::Unknown(3),
            sync_maxlen: None,
            group: None,
            port: None,
            ttl: None,
            ..whole.clone()
        };
        assert_eq!(
            text(|out| daemons(&[whole, zero, bare], out)),
            "master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n\
             backup sync daemon (mcast=eth0, syncid=0, group=ff02::1)\n\
             3 sync daemon (mcast=eth0, syncid=7)\n"
        );
        assert_eq!(text(|out| daemons(&[], out)), "");
    }
}
