//! The live counters of `/proc/net/ip_vs_stats_percpu`, the only ones that IPVS does not copy first.

use thiserror::Error;

use super::ReadError;

/// The counters cannot be had.
#[derive(Debug, Error)]
pub enum PacketsError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// It does not look as it does on any known kernel.
    #[error("cannot make sense of /proc/net/ip_vs_stats_percpu: {0:?}")]
    Format(String),
}

/// The row that repeats the two-second copies, after the rows of the CPUs.
const TOTALS_ROW: &str = "~";

/// Packets in and out over all CPUs. Rows are hexadecimal: CPU, connections, packets in, packets out, bytes in, bytes out.
pub(super) fn sum(text: &str) -> Result<u64, PacketsError> {
    let mut sum: u64 = 0;
    let mut rows = 0;
    for line in text.lines() {
        let mut columns = line.split_whitespace();
        let Some(cpu) = columns.next() else { continue };
        if cpu == TOTALS_ROW {
            break;
        }
        if u64::from_str_radix(cpu, 16).is_err() || columns.clone().count() != 5 {
            continue;
        }
        let packets = columns
            .skip(1)
            .take(2)
            .map(|column| u64::from_str_radix(column, 16));
        for packets in packets {
            let Ok(packets) = packets else {
                return Err(PacketsError::Format(line.to_owned()));
            };
            sum = sum.wrapping_add(packets);
        }
        rows += 1;
    }
    if rows == 0 {
        return Err(PacketsError::Format(
            text.lines().next().unwrap_or_default().to_owned(),
        ));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::sum;

    const TWO_CPUS: &str = "\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0       10       7B       4E             68BC             188E
  1        0       A0        0                1                0
  ~        5        5        5                5                5

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           1        4        2              328               BD
";

    #[test]
    fn packets_of_all_cpus_are_added_without_the_stale_totals() {
        assert_eq!(sum(TWO_CPUS).unwrap(), 0x7b + 0x4e + 0xa0);
    }

    #[test]
    fn other_text_is_refused() {
        assert!(sum("").is_err());
        assert!(sum("CPU Conns\n").is_err());
        assert!(sum("  0 10 xx 4E 1 1\n").is_err());
    }
}
