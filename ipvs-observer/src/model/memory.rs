//! What the maps of the programs hold and take, and what was given up to keep within the memory allowed.

use ipvs_observer_common::FINEST_GROUPING_BITS;

/// The maps, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes for what is kept of services and real servers.
    pub server_bytes: u64,
    /// Bytes for records of connections.
    pub record_bytes: u64,
    /// Bytes that depend on neither servers nor connections.
    pub fixed_bytes: u64,
    /// CPUs that may run.
    pub cpus: u32,
    /// Partitions of what is kept of a server.
    pub partitions: u32,
    /// Buckets of an octave are two to this power.
    pub grouping_bits: u32,
    /// Slots for services and real servers that there are.
    pub slots: u32,
    /// Slots that there can be.
    pub max_slots: u32,
    /// Slots that a service or real server has, and that of the host.
    pub slots_used: u32,
    /// Services and real servers in the table.
    pub configured: usize,
    /// Connections that can be followed at the same time.
    pub connections: u32,
    /// The same as it was asked for.
    pub connections_wanted: u32,
    /// Records that connections have; none before anything is loaded.
    pub records_used: Option<u64>,
}

/// Something given up for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compromise {
    /// CPUs write into the same partition, which takes an atomic addition for each value.
    SharedPartitions {
        /// CPUs that may run.
        cpus: u32,
        /// Partitions for them.
        partitions: u32,
    },
    /// Values fall into wider buckets.
    CoarseBuckets {
        /// Buckets of an octave are two to this power.
        grouping_bits: u32,
    },
    /// Real servers that find no slot count in their service alone.
    SharedHistograms {
        /// Services and real servers in the table.
        configured: usize,
        /// Slots for them.
        slots: u32,
    },
    /// Fewer connections can be followed than was asked for.
    FewerRecords {
        /// As it was asked for.
        wanted: u32,
        /// As it is.
        connections: u32,
    },
}

impl Memory {
    /// Bytes of all maps.
    pub const fn bytes(&self) -> u64 {
        self.server_bytes + self.record_bytes + self.fixed_bytes
    }

    /// What was given up.
    pub fn compromises(&self) -> Vec<Compromise> {
        // The first slot is the host's.
        let slots = self.max_slots.saturating_sub(1);
        let shared = (self.partitions < self.cpus).then_some(Compromise::SharedPartitions {
            cpus: self.cpus,
            partitions: self.partitions,
        });
        let is_coarse = self.cpus > 0 && self.grouping_bits < FINEST_GROUPING_BITS;
        let coarse = is_coarse.then_some(Compromise::CoarseBuckets {
            grouping_bits: self.grouping_bits,
        });
        let full = self.configured > slots as usize;
        let full = full.then_some(Compromise::SharedHistograms {
            configured: self.configured,
            slots,
        });
        let fewer = self.connections < self.connections_wanted;
        let fewer = fewer.then_some(Compromise::FewerRecords {
            wanted: self.connections_wanted,
            connections: self.connections,
        });
        [shared, coarse, full, fewer]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Compromise, Memory};

    fn memory() -> Memory {
        Memory {
            cpus: 4,
            partitions: 4,
            grouping_bits: 5,
            slots: 64,
            max_slots: 640,
            configured: 639,
            connections: 1024,
            connections_wanted: 1024,
            ..Memory::default()
        }
    }

    #[test]
    fn nothing_is_given_up_where_all_fits() {
        assert_eq!(memory().compromises(), []);
        assert_eq!(Memory::default().compromises(), []);
    }

    #[test]
    fn each_thing_given_up_is_told_by_itself() {
        let shared = Memory {
            partitions: 2,
            ..memory()
        };
        let coarse = Memory {
            grouping_bits: 3,
            ..memory()
        };
        let full = Memory {
            configured: 640,
            ..memory()
        };
        let fewer = Memory {
            connections: 512,
            ..memory()
        };
        for (memory, expected) in [
            (
                shared,
                Compromise::SharedPartitions {
                    cpus: 4,
                    partitions: 2,
                },
            ),
            (coarse, Compromise::CoarseBuckets { grouping_bits: 3 }),
            (
                full,
                Compromise::SharedHistograms {
                    configured: 640,
                    slots: 639,
                },
            ),
            (
                fewer,
                Compromise::FewerRecords {
                    wanted: 1024,
                    connections: 512,
                },
            ),
        ] {
            assert_eq!(memory.compromises(), [expected]);
        }
    }
}
