//! The text files of IPVS, opened below the root: what they say is [`crate::ipvs::procfs`]'s affair.
//!
//! They are those of the calling thread's network namespace: `/proc/net` would be the main
//! thread's, `/proc/thread-self/net` is that of whoever reads, as a netlink socket is.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _},
};

use super::{Kernel, ReadError};
use crate::{
    ipvs::{
        procfs::{
            ProcfsError,
            connections::{ConnectionFile, Connections},
            stats::{self, StatsPerCpu},
            status::{self, Status},
            table::{self, ProcTable},
        },
        table::Stats,
    },
    model::listing::Setting,
};

const NET: &str = "proc/thread-self/net";
const SYSCTLS: &str = "proc/sys/net/ipv4/vs";

impl Kernel {
    /// Services and real servers, without asking for a privilege.
    pub fn ipvs_table(&self) -> Result<ProcTable, ProcfsError> {
        table::table(self.open(table::TABLE)?)
    }

    /// The connections, to be read one by one.
    pub fn connections(
        &self,
        file: ConnectionFile,
    ) -> Result<Connections<BufReader<File>>, ProcfsError> {
        Connections::start(file, self.open(file.name())?)
    }

    /// Makes the kernel show every connection, for a program that looks on; the text is thrown away.
    pub fn show_connections(&self) -> Result<(), ProcfsError> {
        /// The kernel writes lines into a page, and shows a connection again whose line it has no room for
        /// (`seq_read_iter` in `fs/seq_file.c`). No line is longer than what is left here: that of IPv6 with all the
        /// data of a persistence engine has 430 bytes.
        const PART_BYTES: usize = 4096 - 512;
        let file = ConnectionFile::Conn.name();
        let unread = |source| ProcfsError::Read { file, source };
        let mut shown = File::open(self.root.join(NET).join(file)).map_err(unread)?;
        let mut part = [0; PART_BYTES];
        loop {
            match shown.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unread(error)),
            }
        }
    }

    /// The totals that the kernel copies every 2 s.
    pub fn stats(&self) -> Result<Stats, ProcfsError> {
        stats::stats(self.open(stats::STATS)?)
    }

    /// The live totals of each CPU.
    pub fn stats_per_cpu(&self) -> Result<StatsPerCpu, ProcfsError> {
        stats::stats_per_cpu(self.open(stats::STATS_PERCPU)?)
    }

    /// Packets that IPVS counted in this network namespace since it exists, in both directions, live.
    pub fn packets(&self) -> Result<u64, ProcfsError> {
        let live = self.stats_per_cpu()?.live();
        Ok(live.in_packets.wrapping_add(live.out_packets))
    }

    /// The state of IPVS's tables; absent where the kernel has no such file, or no IPVS.
    pub fn status(&self) -> Result<Option<Status>, ProcfsError> {
        match self.open(status::STATUS) {
            Ok(file) => status::status(file).map(Some),
            Err(ProcfsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All sysctls under `net/ipv4/vs` that can be read, by name.
    pub fn settings(&self) -> Result<Vec<Setting>, ReadError> {
        let path = self.root.join(SYSCTLS);
        let unread = |source| ReadError {
            path: path.clone(),
            source,
        };
        let mut settings = Vec::new();
        for entry in fs::read_dir(&path).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            // One that this user may not read is not known, which is no reason to know none.
            settings.extend(name.to_str().and_then(|name| self.setting(name)));
        }
        settings.sort_by(|one: &Setting, other| one.name.cmp(&other.name));
        Ok(settings)
    }

    fn setting(&self, name: &str) -> Option<Setting> {
        let text = fs::read_to_string(self.root.join(SYSCTLS).join(name)).ok()?;
        Some(Setting {
            name: name.to_owned(),
            value: text.trim().to_owned(),
        })
    }

    fn open(&self, file: &'static str) -> Result<BufReader<File>, ProcfsError> {
        File::open(self.root.join(NET).join(file))
            .map(BufReader::new)
            .map_err(|source| ProcfsError::Read { file, source })
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionFile, Kernel, ProcfsError, Setting};

    fn kernel(version: &str) -> Kernel {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/ipvs");
        Kernel::at(format!("{data}/{version}"))
    }

    #[test]
    fn every_file_is_found() {
        let kernel = kernel("7.2");
        assert_eq!(kernel.ipvs_table().unwrap().table.services.len(), 1);
        for file in [ConnectionFile::Conn, ConnectionFile::ConnSync] {
            let mut connections = kernel.connections(file).unwrap();
            let mut count = 0;
            while connections.advance().unwrap().is_some() {
                count += 1;
            }
            assert_eq!(count, 30);
        }
        assert_eq!(kernel.stats().unwrap().traffic.connections, 0);
        assert_eq!(kernel.stats_per_cpu().unwrap().live().connections, 30);
        assert_eq!(kernel.packets().unwrap(), 0x43 + 0x46 + 0x8f + 0x50);
        let status = kernel.status().unwrap().expect("7.2 has it");
        assert_eq!(status.connections(), Some(30));
    }

    #[test]
    fn settings_are_sorted_by_name() {
        let settings = kernel("7.2").settings().unwrap();
        let expected = [
            ("conn_lfactor", "-2"),
            ("conn_reuse_mode", "1"),
            ("conntrack", "0"),
            ("est_cpulist", "0-1"),
            ("run_estimation", "1"),
            ("sync_threshold", "3\t50"),
        ]
        .map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_kernel_without_status_or_settings_has_none() {
        let kernel = kernel("6.12");
        assert_eq!(kernel.status().unwrap(), None);
        let error = kernel.settings().unwrap_err();
        assert!(error.path.ends_with("proc/sys/net/ipv4/vs"), "{error}");
    }

    #[test]
    fn without_ipvs_there_is_an_error_and_no_empty_table() {
        let kernel = Kernel::at("/nonexistent");
        let error = kernel.ipvs_table().unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/net/ip_vs");
        assert!(matches!(
            error,
            ProcfsError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound
        ));
        assert!(kernel.packets().is_err());
        assert!(kernel.connections(ConnectionFile::Conn).is_err());
    }
}
