//! Totals of real kernels, and files that are cut or wrong.

use super::{super::testing::net, *};

/// After `ipvsadm -Z` on Linux 6.12: what is copied is zeroed, what is live is not.
const ZEROED: &str = "\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        8       37       28             2AAC              D74
  1       13       44       26             3E10              B1A
  ~        0        0        0                0                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
";

const TOTALS: Traffic = Traffic {
    connections: 27,
    in_packets: 123,
    out_packets: 78,
    in_bytes: 26_812,
    out_bytes: 6_286,
};

fn error_of(text: &str) -> String {
    stats(text.as_bytes()).unwrap_err().to_string()
}

fn per_cpu_error_of(text: &str) -> String {
    stats_per_cpu(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn totals_and_rates_are_hexadecimal() {
    let expected = Stats {
        traffic: TOTALS,
        rates: Some(TrafficRates {
            connections: 1.0,
            in_packets: 4.0,
            out_packets: 2.0,
            in_bytes: 808.0,
            out_bytes: 189.0,
        }),
        read_at: None,
    };
    assert_eq!(stats(&net("6.12", "ip_vs_stats")[..]).unwrap(), expected);
    let per_cpu = stats_per_cpu(&net("6.12", "ip_vs_stats_percpu")[..]).unwrap();
    assert_eq!(per_cpu.copy, expected);
}

#[test]
fn each_cpu_has_a_row_and_together_they_are_live() {
    let per_cpu = stats_per_cpu(ZEROED.as_bytes()).unwrap();
    assert_eq!(
        per_cpu.cpus,
        [
            CpuTraffic {
                cpu: 0,
                traffic: Traffic {
                    connections: 8,
                    in_packets: 0x37,
                    out_packets: 0x28,
                    in_bytes: 0x2aac,
                    out_bytes: 0xd74,
                },
            },
            CpuTraffic {
                cpu: 1,
                traffic: Traffic {
                    connections: 0x13,
                    in_packets: 0x44,
                    out_packets: 0x26,
                    in_bytes: 0x3e10,
                    out_bytes: 0xb1a,
                },
            },
        ]
    );
    assert_eq!(per_cpu.live(), TOTALS);
    assert_eq!(per_cpu.copy.traffic, Traffic::default());
    assert_eq!(per_cpu.copy.rates, Some(TrafficRates::default()));
}

#[test]
fn numbers_have_64_bits_and_cpus_three_digits_or_more() {
    let text = ZEROED
        .replace("  1       13", "1FF FFFFFFFFFFFFFFFF")
        .replace("             3E10", " FFFFFFFFFFFFFFFF");
    let per_cpu = stats_per_cpu(text.as_bytes()).unwrap();
    assert_eq!(per_cpu.cpus[1].cpu, 511);
    assert_eq!(per_cpu.cpus[1].traffic.connections, u64::MAX);
    // Counters are modular, and so is their sum.
    assert_eq!(per_cpu.live().connections, 7);
    assert_eq!(per_cpu.live().in_bytes, 0x2aab);
}

#[test]
fn every_kernel_writes_the_same_columns() {
    let connections = |version| {
        let totals = stats(&net(version, STATS)[..]).unwrap();
        let per_cpu = stats_per_cpu(&net(version, STATS_PERCPU)[..]).unwrap();
        (totals.traffic.connections, per_cpu.live().connections)
    };
    assert_eq!(connections("6.1"), (27, 27));
    assert_eq!(connections("6.12"), (27, 27));
    // Read before the first copy was made.
    assert_eq!(connections("7.2"), (0, 30));
}

#[test]
fn a_row_that_is_none_is_an_error_with_its_place() {
    let bad = ZEROED.replace("       44 ", "       4G ");
    assert_eq!(
        per_cpu_error_of(&bad),
        "cannot make sense of Incoming Packets in line 4 of /proc/net/ip_vs_stats_percpu: \"  1       13       4G       26             3E10              B1A\""
    );
    let bad = ZEROED.replace("  1  ", "  x  ");
    assert!(per_cpu_error_of(&bad).contains("CPU in line 4"));
    let bad = ZEROED.replace("B1A", "B1A 0");
    assert!(per_cpu_error_of(&bad).contains("the columns after the last in line 4"));
    let bad = ZEROED.replace("0\n\n", "0\n");
    assert!(per_cpu_error_of(&bad).contains("the header in line 6"));
    assert!(error_of(ZEROED).contains("the header in line 2"));
}

#[test]
fn a_file_that_ends_early_says_where() {
    let ends = |lines: usize| {
        let text: String = ZEROED.split_inclusive('\n').take(lines).collect();
        per_cpu_error_of(&text)
    };
    let file = "/proc/net/ip_vs_stats_percpu ends before";
    assert_eq!(ends(0), format!("{file} the end of its header"));
    assert_eq!(ends(1), format!("{file} the end of its header"));
    assert_eq!(ends(2), format!("{file} its totals"));
    assert_eq!(ends(4), format!("{file} its totals"));
    assert_eq!(ends(5), format!("{file} the end of its header"));
    assert_eq!(ends(7), format!("{file} its rates"));
    assert_eq!(
        error_of(""),
        "/proc/net/ip_vs_stats ends before the end of its header"
    );
}
