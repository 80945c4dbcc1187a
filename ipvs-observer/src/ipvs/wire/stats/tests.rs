//! Counters in both widths.

use super::*;
use crate::ipvs::wire::testing::{nla, nla_u32, nla_u64, stats_nest, stats64_nest};

/// Reads a `STATS64` nest, a `STATS` nest, or both.
fn read(wide: Option<&[u8]>, narrow: Option<&[u8]>) -> Result<Option<Stats>, WireError> {
    let mut fields = [Field::new("STATS64"), Field::new("STATS")];
    for (field, nest) in fields.iter_mut().zip([wide, narrow]) {
        if let Some(nest) = nest {
            field.read(nest).unwrap();
        }
    }
    let [wide, narrow] = fields;
    stats(wide, narrow)
}

#[test]
fn the_narrow_nest_has_wide_bytes() {
    let read = read(None, Some(&stats_nest())).unwrap().unwrap();
    let traffic = Traffic {
        connections: 1,
        in_packets: 2,
        out_packets: 3,
        in_bytes: 4,
        out_bytes: 5,
    };
    assert_eq!(read.traffic, traffic);
    let rates = TrafficRates {
        connections: 6.0,
        in_packets: 7.0,
        out_packets: 8.0,
        in_bytes: 9.0,
        out_bytes: 10.0,
    };
    assert_eq!(read.rates, Some(rates));
    assert_eq!(read.read_at, None);
}

#[test]
fn the_wide_nest_wins_and_the_other_is_not_read() {
    let wide = stats64_nest();
    let alone = read(Some(&wide), None).unwrap();
    assert_eq!(alone.unwrap().traffic.out_bytes, 0x5_0000_0007);
    assert_eq!(read(Some(&wide), Some(&stats_nest())), Ok(alone));
    assert_eq!(read(Some(&wide), Some(&[1, 2, 3])), Ok(alone));
    assert_eq!(read(None, None), Ok(None));
}

#[test]
fn a_counter_that_is_missing_is_an_error_and_a_rate_that_is_missing_leaves_no_rates() {
    let without = |missing| -> Vec<u8> {
        (1..=10)
            .filter(|kind| *kind != missing)
            .flat_map(|kind| nla_u64(kind, 1))
            .collect()
    };
    for (kind, name) in (1..=5).zip(NAMES) {
        let attribute = name;
        let expected = Err(WireError::Missing { attribute });
        assert_eq!(read(Some(&without(kind)), None), expected);
    }
    for kind in 6..=10 {
        let stats = read(Some(&without(kind)), None).unwrap().unwrap();
        assert_eq!(stats.rates, None, "without {kind}");
        assert_eq!(stats.traffic.out_bytes, 1);
    }
}

#[test]
fn a_counter_of_the_wrong_width_is_named() {
    for (kind, name) in (1..=10).zip(NAMES) {
        let is_bytes = matches!(kind, 4 | 5);
        let (wrong, expected) = if is_bytes {
            (nla_u32(kind, 1), 8)
        } else {
            (nla_u64(kind, 1), 4)
        };
        let narrow = [stats_nest(), wrong].concat();
        let expected = WireError::Length {
            attribute: name,
            length: 12 - expected,
            expected,
        };
        assert_eq!(read(None, Some(&narrow)), Err(expected));

        let wide = [stats64_nest(), nla_u32(kind, 1)].concat();
        let expected = WireError::Length {
            attribute: name,
            length: 4,
            expected: 8,
        };
        assert_eq!(read(Some(&wide), None), Err(expected));
    }
}

#[test]
fn a_counter_that_says_two_things_is_an_error() {
    let twice = [stats64_nest(), nla_u64(3, 1)].concat();
    let attribute = "IPVS_STATS_ATTR_OUTPKTS";
    let expected = Err(WireError::Contradiction { attribute });
    assert_eq!(read(Some(&twice), None), expected);
}

#[test]
fn padding_and_what_is_not_known_are_skipped() {
    let more = [
        nla(0, &[1]),
        stats64_nest(),
        nla(11, &[]),
        nla(500, &[2; 9]),
    ]
    .concat();
    assert_eq!(read(Some(&more), None), read(Some(&stats64_nest()), None));
}
