//! A second director that the first one tells of its connections, so that it can go on
//! with them.
//!
//! ```text
//!   client ── 10.1.0.0/24 ── director ── real servers
//!      │                        │ 10.4.0.0/24, fd00:4::/64: synchronisation
//!      └───── 10.6.0.0/24 ── backup
//!             fd00:6::/64    VIPs on lo
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use ipvs_observer::ipvs::table::DaemonState;

use crate::{
    director::{Lab, VIP_V4, VIP_V6},
    forwarding::Path,
    ipvs_admin,
    link::{self, Cidr, End},
    netns::Netns,
};

/// The name of the link between the directors, at both ends.
const LINK: &str = "sync";
/// What tells directors of one kind from others on their network.
const SYNC_ID: u32 = 7;
/// The indexes of the backup's links.
const TO_DIRECTOR: u32 = 2;
const TO_CLIENT: u32 = 3;
/// The index, in their namespaces, of the other ends of both.
const TO_BACKUP: u32 = 30;

impl Lab {
    /// Makes a director with the path's service that takes the connections of the lab's.
    /// It sends what it forwards by the lab's director, and so come the replies.
    pub fn add_backup(&self, path: Path) -> Result<Netns> {
        let backup = Netns::new("backup")?;
        link::connect(
            &end(self.director(), LINK, TO_BACKUP, 4, 1),
            &end(&backup, LINK, TO_DIRECTOR, 4, 2),
        )?;
        link::connect(
            &end(self.client(), "backup", TO_BACKUP, 6, 2),
            &end(&backup, "client", TO_CLIENT, 6, 1),
        )?;
        link::allow_forwarding(&backup)?;
        for (vip, gateway) in [VIP_V4, VIP_V6].into_iter().zip(addresses(4, 1)) {
            link::add_address(&backup, link::LOOPBACK, Cidr::host(vip))?;
            link::add_default_route(&backup, gateway.address)?;
        }
        self.balance_by(&backup, path)?;
        backup.run(|| ipvs_admin::start_daemon(DaemonState::Backup, LINK, SYNC_ID))?;
        self.director()
            .run(|| ipvs_admin::start_daemon(DaemonState::Master, LINK, SYNC_ID))?;
        Ok(backup)
    }

    /// Sends what the client has for the VIPs to the backup from now on.
    pub fn take_over(&self) -> Result<()> {
        for (vip, gateway) in [VIP_V4, VIP_V6].into_iter().zip(addresses(6, 1)) {
            link::add_route(self.client(), Cidr::host(vip), gateway.address)?;
        }
        Ok(())
    }
}

fn end<'a>(netns: &'a Netns, name: &str, index: u32, net: u8, host: u8) -> End<'a> {
    End {
        netns,
        name: name.to_owned(),
        index,
        mac: [0x02, 0, 0, 1, net, host],
        addresses: addresses(net, host).into(),
    }
}

/// The addresses of both families in one of the backup's networks.
fn addresses(net: u8, host: u8) -> [Cidr; 2] {
    let (net_v6, host_v6) = (u16::from(net), u16::from(host));
    [
        Cidr {
            address: IpAddr::V4(Ipv4Addr::new(10, net, 0, host)),
            prefix_len: 24,
        },
        Cidr {
            address: IpAddr::V6(Ipv6Addr::new(0xfd00, net_v6, 0, 0, 0, 0, 0, host_v6)),
            prefix_len: 64,
        },
    ]
}
