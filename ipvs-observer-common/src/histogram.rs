//! The arithmetic of the log-linear histograms: one pair of functions, used by the programs to record and by the agent to read.
//!
//! An octave `[2^e, 2^(e+1))` is cut into 32 equal buckets, so a bucket is at most 1/32 of its value wide and a midpoint is off by at most 1.6 %.
//! With that cut every bucket is an exact union of the slots of an `HdrHistogram` with two significant digits.
//! A range covers 26 octaves from its base; what lies outside is counted in [`UNDERFLOW`] and [`OVERFLOW`].

/// Each octave has `2^GROUPING_BITS` buckets.
pub const GROUPING_BITS: u32 = 5;
/// Octaves that every range covers.
pub const OCTAVES: u32 = 26;
/// Buckets of a range, without the two for values outside of it.
pub const BUCKETS: usize = (OCTAVES as usize) << GROUPING_BITS;
/// Index of the bucket that counts values below the range.
pub const UNDERFLOW: usize = BUCKETS;
/// Index of the bucket that counts values above the range.
pub const OVERFLOW: usize = BUCKETS + 1;
/// Length of a histogram's bucket array.
pub const SLOTS: usize = BUCKETS + 2;

/// The range of a histogram: values in `[2^base, 2^(base + OCTAVES))` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    base: u32,
}

impl Range {
    /// Work on the director itself: 64 ns to 4.3 s.
    pub const DIRECTOR: Self = Self { base: 6 };
    /// What crosses a network: 1 µs to 69 s.
    pub const NETWORK: Self = Self { base: 10 };
    /// Lives of connections: 1 ms to 19.5 h.
    pub const LONG: Self = Self { base: 20 };

    /// The smallest value of the range, in nanoseconds.
    pub const fn lowest_ns(self) -> u64 {
        1 << self.base
    }

    /// The first value above the range, in nanoseconds.
    pub const fn end_ns(self) -> u64 {
        1 << (self.base + OCTAVES)
    }
}

/// Index of the bucket that counts `value_ns`: below [`BUCKETS`] in the range, else [`UNDERFLOW`] or [`OVERFLOW`].
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a value shifted to its top six bits is below 64"
)]
pub const fn bucket_of(range: Range, value_ns: u64) -> usize {
    if value_ns < range.lowest_ns() {
        return UNDERFLOW;
    }
    if value_ns >= range.end_ns() {
        return OVERFLOW;
    }
    let shift = value_ns.ilog2() - GROUPING_BITS;
    let index = ((shift as usize) << GROUPING_BITS) + (value_ns >> shift) as usize;
    index - first_index(range)
}

/// Lowest and highest value in nanoseconds that bucket `index` counts, both inclusive.
///
/// Everything from [`OVERFLOW`] up is read as the overflow bucket.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the number of an octave is below 26"
)]
pub const fn bounds_of(range: Range, index: usize) -> (u64, u64) {
    if index == UNDERFLOW {
        return (0, range.lowest_ns() - 1);
    }
    if index >= OVERFLOW {
        return (range.end_ns(), u64::MAX);
    }
    let octave = (index >> GROUPING_BITS) as u32;
    let step = (index & ((1 << GROUPING_BITS) - 1)) as u64;
    let shift = range.base + octave - GROUPING_BITS;
    let lowest = ((1 << GROUPING_BITS) + step) << shift;
    (lowest, lowest + (1 << shift) - 1)
}

/// Index that the formula gives to the lowest value of `range`.
const fn first_index(range: Range) -> usize {
    ((range.base - GROUPING_BITS) as usize + 1) << GROUPING_BITS
}

#[cfg(test)]
mod tests {
    use super::{
        BUCKETS, GROUPING_BITS, OCTAVES, OVERFLOW, Range, SLOTS, UNDERFLOW, bounds_of, bucket_of,
    };

    const RANGES: [Range; 3] = [Range::DIRECTOR, Range::NETWORK, Range::LONG];

    #[test]
    fn every_bucket_holds_exactly_its_bounds() {
        for range in RANGES {
            let mut next = range.lowest_ns();
            for index in 0..BUCKETS {
                let (lowest, highest) = bounds_of(range, index);
                assert_eq!(
                    lowest, next,
                    "buckets of {range:?} tile without gap or overlap"
                );
                assert_eq!(bucket_of(range, lowest), index);
                assert_eq!(bucket_of(range, lowest + (highest - lowest) / 2), index);
                assert_eq!(bucket_of(range, highest), index);
                next = highest + 1;
            }
            assert_eq!(next, range.end_ns());
        }
    }

    #[test]
    fn octave_boundaries_start_a_new_group_of_buckets() {
        for range in RANGES {
            for octave in 0..OCTAVES {
                let boundary = range.lowest_ns() << octave;
                let first = (octave as usize) << GROUPING_BITS;
                assert_eq!(bucket_of(range, boundary), first);
                let below = if octave == 0 { UNDERFLOW } else { first - 1 };
                assert_eq!(bucket_of(range, boundary - 1), below);
            }
        }
    }

    #[test]
    fn values_beyond_the_range_are_counted_apart() {
        for range in RANGES {
            for value in [0, 1, range.lowest_ns() - 1] {
                assert_eq!(bucket_of(range, value), UNDERFLOW);
            }
            assert_eq!(bucket_of(range, range.end_ns() - 1), BUCKETS - 1);
            for value in [range.end_ns(), range.end_ns() + 1, 1 << 63, u64::MAX] {
                assert_eq!(bucket_of(range, value), OVERFLOW);
            }
            assert_eq!(bounds_of(range, UNDERFLOW), (0, range.lowest_ns() - 1));
            assert_eq!(bounds_of(range, OVERFLOW), (range.end_ns(), u64::MAX));
            assert_eq!(bounds_of(range, SLOTS), (range.end_ns(), u64::MAX));
        }
    }

    #[test]
    fn midpoint_errs_by_at_most_one_sixty_fourth() {
        for range in RANGES {
            for index in 0..BUCKETS {
                let (lowest, highest) = bounds_of(range, index);
                let half_width = (highest - lowest).div_ceil(2);
                assert!(half_width * 64 <= lowest, "bucket {index} of {range:?}");
            }
        }
    }

    #[test]
    fn ranges_are_the_documented_ones() {
        assert_eq!(
            (Range::DIRECTOR.lowest_ns(), Range::DIRECTOR.end_ns()),
            (64, 1 << 32)
        );
        assert_eq!(
            (Range::NETWORK.lowest_ns(), Range::NETWORK.end_ns()),
            (1024, 1 << 36)
        );
        assert_eq!(
            (Range::LONG.lowest_ns(), Range::LONG.end_ns()),
            (1 << 20, 1 << 46)
        );
        assert_eq!(BUCKETS, 832);
    }
}
