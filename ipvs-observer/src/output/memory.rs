//! What was given up for want of memory, in words, for everybody who prints text.

use ipvs_observer_common::FINEST_GROUPING_BITS;

use crate::model::memory::Compromise;

/// One line, which says what it costs.
pub(super) fn describe(compromise: Compromise) -> String {
    match compromise {
        Compromise::SharedPartitions { cpus, partitions } => format!(
            "memory: {cpus} CPUs share partitions ({partitions}), so that each value takes an atomic addition (--max-memory)"
        ),
        Compromise::CoarseBuckets { grouping_bits } => format!(
            "memory: octaves have {} buckets and not {}, so that values are exact to {:.1} % (--max-memory)",
            1 << grouping_bits,
            1 << FINEST_GROUPING_BITS,
            // Half a bucket to each side of its middle.
            50.0 / f64::from(1 << grouping_bits)
        ),
        Compromise::SharedHistograms { configured, slots } => format!(
            "memory: {configured} services and servers share {slots} slots; servers without count in their service \
             (--max-memory)"
        ),
        Compromise::FewerRecords {
            wanted,
            connections,
        } => format!(
            "memory: {connections} connections can be followed at a time, not {wanted} (--max-memory)"
        ),
    }
}
