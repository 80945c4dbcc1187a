//! Numbers in few characters, three digits of them significant.

/// A rate or another measured number, in at most six characters.
pub(in crate::output) fn short(value: f64) -> String {
    scaled(
        value,
        &[("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)],
    )
}

/// A count, exact up to six digits.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is shown has three digits then"
)]
pub(in crate::output) fn count(value: u64) -> String {
    if value < 1_000_000 {
        value.to_string()
    } else {
        short(value as f64)
    }
}

/// A duration with its unit, in at most seven characters.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(in crate::output) fn duration_ns(value: u64) -> String {
    scaled(
        value as f64,
        &[
            ("ns", 1.0),
            ("us", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("min", 60e9),
            ("h", 3600e9),
        ],
    )
}

/// `value` in the largest unit of which it has at least one, as it is rounded.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let (unit, size) = units
        .iter()
        .rev()
        .find(|(_, size)| value >= size * 0.9995)
        .or(units.first())
        .copied()
        .unwrap_or(("", 1.0));
    let scaled = value / size;
    let whole = value.fract() == 0.0 && size <= 1.0;
    let decimals = match scaled {
        _ if whole => 0,
        scaled if scaled >= 99.95 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::{count, duration_ns, short};

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let cases = [
            (0, "0ns"),
            (850, "850ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (12_345, "12.3us"),
            (999_900, "1.00ms"),
            (20_100_000, "20.1ms"),
            (1_020_000_000, "1.02s"),
            (59_000_000_000, "59.0s"),
            (60_000_000_000, "1.00min"),
            (7_200_000_000_000, "2.00h"),
        ];
        for (value_ns, expected) in cases {
            assert_eq!(duration_ns(value_ns), expected);
        }
    }

    #[test]
    fn rates_and_counts_fit_their_columns() {
        assert_eq!(
            ["0", "0.50", "12.5", "125", "1.50k"],
            [0.0, 0.5, 12.5, 125.0, 1500.0].map(short).map(String::leak)
        );
        assert_eq!(
            (count(999_999), count(12_345_678)),
            ("999999".to_owned(), "12.3M".to_owned())
        );
        for exponent in 0..14 {
            assert!(short(9.996 * 10_f64.powi(exponent)).len() <= 6);
        }
    }
}
