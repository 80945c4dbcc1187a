//! A second director that the first one tells of its connections, so that it could go on
//! with them.

use anyhow::Result;
use ipvs_observer::ipvs::table::DaemonState;

use crate::{
    director::Lab,
    forwarding::Path,
    ipvs_admin,
    link::{self, Cidr, End},
    netns::Netns,
};

/// The name of the link between the directors, at both ends.
const LINK: &str = "sync";
const MASTER_LINK: u32 = 30;
const BACKUP_LINK: u32 = 2;
/// What tells directors of one kind from others on their network.
const SYNC_ID: u32 = 7;

impl Lab {
    /// Makes a director with the path's service that takes the connections of the lab's.
    pub fn add_backup(&self, path: Path) -> Result<Netns> {
        let backup = Netns::new("backup")?;
        self.balance_by(&backup, path)?;
        let end = |netns, index, host| End {
            netns,
            name: LINK.to_owned(),
            index,
            mac: [0x02, 0, 0, 1, 0, host],
            addresses: vec![Cidr {
                address: [10, 4, 0, host].into(),
                prefix_len: 24,
            }],
        };
        link::connect(
            &end(self.director(), MASTER_LINK, 1),
            &end(&backup, BACKUP_LINK, 2),
        )?;
        backup.run(|| ipvs_admin::start_daemon(DaemonState::Backup, LINK, SYNC_ID))?;
        self.director()
            .run(|| ipvs_admin::start_daemon(DaemonState::Master, LINK, SYNC_ID))?;
        Ok(backup)
    }
}
