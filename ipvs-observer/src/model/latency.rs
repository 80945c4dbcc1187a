//! Latencies of one measure over some span, kept as the kernel's buckets and merged as such.
//!
//! Percentiles are always taken from a merged distribution, by `HdrHistogram`; a value is logged and reported at its
//! bucket's midpoint, clamped to the exact smallest and largest value, so that it is off by at most 1.6 %.

use hdrhistogram::Histogram;
use ipvs_observer_common::{FINEST_GROUPING_BITS, Measure, Scale};

/// Two significant digits: each of our buckets is an exact union of its slots.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Above the end of every range, so that what is beyond a range is still told apart.
const HIGHEST_NS: u64 = 1 << 47;

/// The values of one measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    measure: Measure,
    /// Buckets of an octave are two to this power.
    grouping_bits: u32,
    /// Index of a bucket and how many values it has, by index, without the empty ones.
    buckets: Vec<(usize, u64)>,
    count: u64,
    sum_ns: u64,
    extremes_ns: Option<(u64, u64)>,
}

impl Distribution {
    /// A distribution without values.
    pub const fn empty(measure: Measure) -> Self {
        Self {
            measure,
            grouping_bits: FINEST_GROUPING_BITS,
            buckets: Vec::new(),
            count: 0,
            sum_ns: 0,
            extremes_ns: None,
        }
    }

    /// A distribution of `buckets`, in the order of their index and none of them empty.
    ///
    /// `extremes_ns` are held within the outermost buckets: of a value that is recorded while the maps are read, bucket
    /// and extreme can come with different readings.
    pub fn new(
        measure: Measure,
        grouping_bits: u32,
        buckets: Vec<(usize, u64)>,
        sum_ns: u64,
        extremes_ns: Option<(u64, u64)>,
    ) -> Self {
        let mut distribution = Self {
            count: buckets.iter().map(|&(_, count)| count).sum(),
            buckets,
            grouping_bits,
            sum_ns,
            ..Self::empty(measure)
        };
        let outermost = distribution
            .in_order()
            .next()
            .zip(distribution.in_order().last());
        distribution.extremes_ns = outermost.map(|((first, _), (last, _))| {
            let scale = measure.scale(grouping_bits);
            let (first, last) = (scale.bounds_of(first), scale.bounds_of(last));
            let (min, max) = extremes_ns.unwrap_or((first.0, last.1));
            (min.clamp(first.0, first.1), max.clamp(last.0, last.1))
        });
        distribution
    }

    /// What is measured.
    pub const fn measure(&self) -> Measure {
        self.measure
    }

    /// How many values there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their exact sum.
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Their mean, if there is any.
    pub const fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count)
    }

    /// The smallest value, if there is any.
    pub fn min_ns(&self) -> Option<u64> {
        self.extremes_ns.map(|(min, _)| min)
    }

    /// The largest value, if there is any.
    pub fn max_ns(&self) -> Option<u64> {
        self.extremes_ns.map(|(_, max)| max)
    }

    /// Lowest value of each bucket that is not empty, and how many values it has.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let scale = self.scale();
        self.in_order()
            .map(move |(index, count)| (scale.bounds_of(index).0, count))
    }

    /// Between which values the value at `quantile` of what was sampled lies, in 95 of 100 samples: the outer bounds of the
    /// buckets of the order statistics that lie 1.96 standard deviations of the binomial distribution to either side.
    /// `None` where there are too few values for it.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank that is off by one in 2^53 is no other"
    )]
    pub fn confidence_ns(&self, quantile: f64) -> Option<(u64, u64)> {
        let n = self.count as f64;
        let spread = 1.96 * (n * quantile * (1.0 - quantile)).sqrt();
        let (low, high) = (
            (n * quantile - spread).floor(),
            (n * quantile + spread).ceil(),
        );
        if low < 1.0 || high > n {
            return None;
        }
        let (low, high) = (
            self.bucket_of_rank(low as u64)?,
            self.bucket_of_rank(high as u64)?,
        );
        let (min, max) = self.extremes_ns?;
        Some((low.0.max(min), high.1.min(max)))
    }

    /// Bounds of the bucket with the value of `rank`, counted from 1.
    fn bucket_of_rank(&self, rank: u64) -> Option<(u64, u64)> {
        let mut below = 0;
        let mut buckets = self.in_order();
        let (index, _) = buckets.find(|(_, count)| {
            below += count;
            below >= rank
        })?;
        Some(self.scale().bounds_of(index))
    }

    /// Index of each bucket that is not empty and how many values it has, by index.
    pub fn indices(&self) -> &[(usize, u64)] {
        &self.buckets
    }

    /// Buckets of an octave are two to this power.
    pub const fn grouping_bits(&self) -> u32 {
        self.grouping_bits
    }

    /// Adds the values of `other`, which has the same measure.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(
            self.measure, other.measure,
            "only values of one measure can be merged"
        );
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        debug_assert_eq!(
            self.grouping_bits, other.grouping_bits,
            "a run cuts octaves in one way"
        );
        let (mut left, mut right) = (
            self.buckets.iter().copied().peekable(),
            other.buckets.iter().copied().peekable(),
        );
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        loop {
            let bucket = match (left.peek().copied(), right.peek().copied()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    left.next();
                    right.next();
                    (a.0, a.1 + b.1)
                }
                (Some(a), Some(b)) if a.0 < b.0 => left.next().unwrap_or(a),
                (_, Some(b)) => right.next().unwrap_or(b),
                (Some(a), None) => left.next().unwrap_or(a),
                (None, None) => break,
            };
            merged.push(bucket);
        }
        self.buckets = merged;
        self.count += other.count;
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.extremes_ns = match (self.extremes_ns, other.extremes_ns) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// The buckets by value: the one below the range comes first, though its index does not.
    fn in_order(&self) -> impl Iterator<Item = (usize, u64)> {
        let underflow = self.scale().underflow();
        let below = self.buckets.iter();
        let below = below.filter(move |&&(index, _)| index == underflow);
        let others = self.buckets.iter();
        let others = others.filter(move |&&(index, _)| index != underflow);
        below.chain(others).copied()
    }

    const fn scale(&self) -> Scale {
        self.measure.scale(self.grouping_bits)
    }

    /// What a value of bucket `index` is taken for.
    fn representative_ns(&self, index: usize) -> u64 {
        let (lowest, highest) = self.scale().bounds_of(index);
        let midpoint = lowest + (highest - lowest) / 2;
        let (min, max) = self.extremes_ns.unwrap_or((0, u64::MAX));
        midpoint.clamp(min, max)
    }
}

/// Takes percentiles; one histogram is reused for all of them, since making one costs more than filling it.
#[derive(Debug)]
pub struct Percentiles {
    scratch: Option<Histogram<u64>>,
}

impl Percentiles {
    /// The quantiles that every output shows, with the names of their fields.
    pub const SHOWN: [(f64, &'static str); 4] = [
        (0.5, "p50_ns"),
        (0.9, "p90_ns"),
        (0.99, "p99_ns"),
        (0.999, "p999_ns"),
    ];

    /// Percentiles of any measure.
    pub fn new() -> Self {
        Self {
            scratch: Histogram::new_with_max(HIGHEST_NS, SIGNIFICANT_DIGITS).ok(),
        }
    }

    /// The values at [`Self::SHOWN`], in nanoseconds; `None` without values.
    pub fn of(&mut self, distribution: &Distribution) -> Option<[u64; Self::SHOWN.len()]> {
        self.at(distribution, Self::SHOWN.map(|(quantile, _)| quantile))
    }

    /// The values at `quantiles` between 0 and 1, in nanoseconds; `None` without values.
    pub fn at<const N: usize>(
        &mut self,
        distribution: &Distribution,
        quantiles: [f64; N],
    ) -> Option<[u64; N]> {
        let histogram = self.histogram(distribution)?;
        let scale = distribution.scale();
        Some(quantiles.map(|quantile| {
            let slot_ns = histogram.value_at_quantile(quantile);
            distribution.representative_ns(scale.bucket_of(slot_ns))
        }))
    }

    /// All values as others read them, each as its bucket's; `None` without values.
    pub fn histogram(&mut self, distribution: &Distribution) -> Option<&Histogram<u64>> {
        let histogram = self.scratch.as_mut()?;
        if distribution.count == 0 {
            return None;
        }
        histogram.reset();
        for (index, count) in distribution.in_order() {
            histogram.saturating_record_n(distribution.representative_ns(index).max(1), count);
        }
        Some(histogram)
    }
}

impl Default for Percentiles {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hdrhistogram::Histogram;
    use ipvs_observer_common::{FINEST_GROUPING_BITS, Measure};

    use super::{Distribution, Percentiles};

    fn of_values(measure: Measure, values: &[u64]) -> Distribution {
        let mut buckets = BTreeMap::new();
        for &value in values {
            *buckets
                .entry(measure.scale(FINEST_GROUPING_BITS).bucket_of(value))
                .or_insert(0) += 1;
        }
        let extremes = values
            .iter()
            .copied()
            .min()
            .zip(values.iter().copied().max());
        Distribution::new(
            measure,
            FINEST_GROUPING_BITS,
            buckets.into_iter().collect(),
            values.iter().sum(),
            extremes,
        )
    }

    #[test]
    fn one_value_is_reported_exactly() {
        let distribution = of_values(Measure::Connect, &[1_234_567]);
        assert_eq!(Percentiles::new().of(&distribution), Some([1_234_567; 4]));
        assert_eq!(distribution.min_ns(), Some(1_234_567));
        assert_eq!(distribution.max_ns(), Some(1_234_567));
    }

    #[test]
    fn no_values_have_no_percentiles() {
        let distribution = Distribution::empty(Measure::Connect);
        assert_eq!(Percentiles::new().of(&distribution), None);
        assert_eq!((distribution.count(), distribution.max_ns()), (0, None));
    }

    #[test]
    fn percentiles_are_those_of_an_exact_histogram_within_a_bucket() {
        let mut state = 88_172_645_463_325_252_u64;
        let values: Vec<u64> = (0..10_000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                1_000 + (state % 7_919) * (state % 104_729)
            })
            .collect();
        let mut exact: Histogram<u64> = Histogram::new(5).unwrap();
        for &value in &values {
            exact.record(value).unwrap();
        }
        let scale = Measure::FirstByte.scale(FINEST_GROUPING_BITS);
        let shown = Percentiles::new()
            .of(&of_values(Measure::FirstByte, &values))
            .unwrap();
        for ((quantile, name), value) in Percentiles::SHOWN.into_iter().zip(shown) {
            let expected = exact.value_at_quantile(quantile);
            assert_eq!(scale.bucket_of(value), scale.bucket_of(expected), "{name}");
        }
    }

    #[test]
    fn values_outside_the_range_keep_their_order_and_extremes() {
        let measure = Measure::Connect;
        let distribution = of_values(measure, &[5, 2_000, u64::MAX / 4]);
        let [p50, .., p999] = Percentiles::new().of(&distribution).unwrap();
        assert_eq!(
            measure.scale(FINEST_GROUPING_BITS).bucket_of(p50),
            measure.scale(FINEST_GROUPING_BITS).bucket_of(2_000)
        );
        assert_eq!(p999, u64::MAX / 4);
        let lowest: Vec<u64> = distribution.buckets().map(|(lowest, _)| lowest).collect();
        assert!(lowest.is_sorted());
        assert_eq!(lowest[0], 0);
    }

    #[test]
    fn merged_is_what_all_values_together_give() {
        let (left, right) = ([3_000, 3_001, 50_000], [3_000, 900_000, 12]);
        let mut merged = of_values(Measure::Client, &left);
        merged.merge(&of_values(Measure::Client, &right));
        merged.merge(&Distribution::empty(Measure::Client));
        let all: Vec<u64> = left.into_iter().chain(right).collect();
        assert_eq!(merged, of_values(Measure::Client, &all));
    }

    #[test]
    fn extremes_of_another_reading_are_held_within_the_outermost_buckets() {
        let scale = Measure::Connect.scale(FINEST_GROUPING_BITS);
        let (low, high) = (scale.bucket_of(5_000), scale.bucket_of(80_000));
        let new = |extremes| {
            let buckets = vec![(low, 1), (high, 1)];
            Distribution::new(
                Measure::Connect,
                FINEST_GROUPING_BITS,
                buckets,
                85_000,
                Some(extremes),
            )
        };
        let lagging = new((6_000, 7_000));
        assert_eq!(lagging.min_ns(), Some(scale.bounds_of(low).1));
        assert_eq!(lagging.max_ns(), Some(scale.bounds_of(high).0));
        let ahead = new((1_000, 9_000_000));
        assert_eq!(ahead.min_ns(), Some(scale.bounds_of(low).0));
        assert_eq!(ahead.max_ns(), Some(scale.bounds_of(high).1));
        assert_eq!(new((5_000, 80_000)).max_ns(), Some(80_000));
    }
}
