//! The arithmetic of the log-linear histograms: one pair of functions, used by the programs to record and by the agent to read.
//!
//! An octave `[2^e, 2^(e+1))` is cut into `2^g` equal buckets, so that a bucket is at most `1/2^g` of its value wide; with
//! five grouping bits a midpoint is off by at most 1.6 %, and every bucket is an exact union of the slots of an
//! `HdrHistogram` with two significant digits.
//! A range covers 26 octaves from its base; what lies outside is counted in two buckets of its own.

/// Octaves that every range covers.
pub const OCTAVES: u32 = 26;
/// Grouping bits where memory allows.
pub const FINEST_GROUPING_BITS: u32 = 5;
/// Grouping bits where it is scarcest.
pub const COARSEST_GROUPING_BITS: u32 = 3;

/// Length of a histogram's array of buckets, with the two for values outside of the range.
pub const fn buckets(grouping_bits: u32) -> usize {
    ((OCTAVES as usize) << grouping_bits) + 2
}

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

    /// Logarithm to base two of the smallest value, in nanoseconds.
    pub const fn base(self) -> u32 {
        self.base
    }

    /// The range whose smallest value is `2^base` nanoseconds.
    #[inline(always)]
    pub const fn from_base(base: u32) -> Self {
        Self { base }
    }

    /// The first value above the range, in nanoseconds.
    pub const fn end_ns(self) -> u64 {
        1 << (self.base + OCTAVES)
    }
}

/// How a range is cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    range: Range,
    grouping_bits: u32,
}

impl Scale {
    /// Cuts each octave of `range` into `2^grouping_bits` buckets.
    #[inline(always)]
    pub const fn new(range: Range, grouping_bits: u32) -> Self {
        Self {
            range,
            grouping_bits,
        }
    }

    /// Index of the bucket that counts values below the range.
    #[inline(always)]
    pub const fn underflow(self) -> usize {
        (OCTAVES as usize) << self.grouping_bits
    }

    /// Index of the bucket that counts values above the range.
    #[inline(always)]
    pub const fn overflow(self) -> usize {
        self.underflow() + 1
    }

    /// Index of the bucket that counts `value_ns`.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a value shifted to its top six bits is below 64"
    )]
    pub const fn bucket_of(self, value_ns: u64) -> usize {
        if value_ns < self.range.lowest_ns() {
            return self.underflow();
        }
        if value_ns >= self.range.end_ns() {
            return self.overflow();
        }
        // Not `ilog2`, which would panic for 0 where the compiler does not know the range.
        let shift = u64::BITS - 1 - value_ns.leading_zeros() - self.grouping_bits;
        let index = ((shift as usize) << self.grouping_bits) + (value_ns >> shift) as usize;
        index - self.first_index()
    }

    /// Lowest and highest value in nanoseconds that bucket `index` counts, both inclusive.
    ///
    /// Everything from [`Self::overflow`] up is read as the overflow bucket.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number of an octave is below 26"
    )]
    pub const fn bounds_of(self, index: usize) -> (u64, u64) {
        if index == self.underflow() {
            return (0, self.range.lowest_ns() - 1);
        }
        if index >= self.overflow() {
            return (self.range.end_ns(), u64::MAX);
        }
        let octave = (index >> self.grouping_bits) as u32;
        let step = (index & ((1 << self.grouping_bits) - 1)) as u64;
        let shift = self.range.base + octave - self.grouping_bits;
        let lowest = ((1 << self.grouping_bits) + step) << shift;
        (lowest, lowest + (1 << shift) - 1)
    }

    /// Index that the formula gives to the lowest value of the range.
    const fn first_index(self) -> usize {
        ((self.range.base - self.grouping_bits) as usize + 1) << self.grouping_bits
    }
}

#[cfg(test)]
mod tests {
    use super::{COARSEST_GROUPING_BITS, FINEST_GROUPING_BITS, OCTAVES, Range, Scale, buckets};

    const RANGES: [Range; 3] = [Range::DIRECTOR, Range::NETWORK, Range::LONG];

    fn scales() -> impl Iterator<Item = (Range, u32, Scale)> {
        let bits = COARSEST_GROUPING_BITS..=FINEST_GROUPING_BITS;
        RANGES.into_iter().flat_map(move |range| {
            bits.clone()
                .map(move |bits| (range, bits, Scale::new(range, bits)))
        })
    }

    #[test]
    fn every_bucket_holds_exactly_its_bounds() {
        for (range, _, scale) in scales() {
            let mut next = range.lowest_ns();
            for index in 0..scale.underflow() {
                let (lowest, highest) = scale.bounds_of(index);
                assert_eq!(
                    lowest, next,
                    "buckets of {scale:?} tile without gap or overlap"
                );
                assert_eq!(scale.bucket_of(lowest), index);
                assert_eq!(scale.bucket_of(lowest + (highest - lowest) / 2), index);
                assert_eq!(scale.bucket_of(highest), index);
                next = highest + 1;
            }
            assert_eq!(next, range.end_ns());
        }
    }

    #[test]
    fn octave_boundaries_start_a_new_group_of_buckets() {
        for (range, bits, scale) in scales() {
            for octave in 0..OCTAVES {
                let boundary = range.lowest_ns() << octave;
                let first = (octave as usize) << bits;
                assert_eq!(scale.bucket_of(boundary), first);
                let below = if octave == 0 {
                    scale.underflow()
                } else {
                    first - 1
                };
                assert_eq!(scale.bucket_of(boundary - 1), below);
            }
        }
    }

    #[test]
    fn values_beyond_the_range_are_counted_apart() {
        for (range, bits, scale) in scales() {
            for value in [0, 1, range.lowest_ns() - 1] {
                assert_eq!(scale.bucket_of(value), scale.underflow());
            }
            assert_eq!(scale.bucket_of(range.end_ns() - 1), scale.underflow() - 1);
            for value in [range.end_ns(), range.end_ns() + 1, 1 << 63, u64::MAX] {
                assert_eq!(scale.bucket_of(value), scale.overflow());
            }
            let beyond = (range.end_ns(), u64::MAX);
            assert_eq!(
                scale.bounds_of(scale.underflow()),
                (0, range.lowest_ns() - 1)
            );
            assert_eq!(scale.bounds_of(scale.overflow()), beyond);
            assert_eq!(scale.bounds_of(buckets(bits)), beyond);
        }
    }

    #[test]
    fn midpoint_errs_by_at_most_half_a_bucket() {
        for (_, bits, scale) in scales() {
            for index in 0..scale.underflow() {
                let (lowest, highest) = scale.bounds_of(index);
                let half_width = (highest - lowest).div_ceil(2);
                assert!(half_width << (bits + 1) <= lowest, "bucket {index}");
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
        assert_eq!([5, 4, 3].map(buckets), [834, 418, 210]);
    }
}
