//! How a recording keeps the histograms of a service or server: sparse, and what the buckets foretell taken away.

use ipvs_observer_common::{COARSEST_GROUPING_BITS, FINEST_GROUPING_BITS, Measure, Scale, buckets};

use super::{
    columns::{Flaw, MOST, Walk, difference, sum},
    members::flag,
    names::{Column, Number, POWERS, Part, Plain},
    shape::events,
};
use crate::model::{activity::Activity, latency::Distribution};

/// In how many buckets each octave is cut, which is the same for all histograms of a run.
#[derive(Debug, Default)]
pub(super) struct Cut {
    grouping_bits: Option<u32>,
    /// Histograms with at least one value so far.
    pub(super) histograms: u64,
}

impl Cut {
    fn check(&mut self, grouping_bits: u64) -> Result<u32, Flaw> {
        let known = COARSEST_GROUPING_BITS..=FINEST_GROUPING_BITS;
        let bits = u32::try_from(grouping_bits).ok();
        let bits = bits.filter(|bits| known.contains(bits));
        let bits = bits.ok_or("octaves are cut in a way that there is not")?;
        if *self.grouping_bits.get_or_insert(bits) != bits {
            return Err("octaves are cut in two ways");
        }
        self.histograms += 1;
        Ok(bits)
    }
}

/// Events and histograms.
pub(super) fn activity(
    walk: &mut impl Walk,
    of: &Activity,
    cut: &mut Cut,
) -> Result<Activity, Flaw> {
    let mut made = Activity::none();
    made.counters = events(walk, of.counters)?;
    for measure in Measure::ALL {
        let known = Known::of(measure, &made);
        let given = of.latency(measure);
        made.latencies[measure as usize] = distribution(walk, given, known.as_ref(), cut)?;
    }
    Ok(made)
}

/// What other histograms say of one: a handshake is the way to the server and the way to the client.
struct Known {
    count: u64,
    sum_ns: u64,
    /// The buckets of the longer way, which are no higher than those of the handshakes, one by one in their order.
    buckets: Vec<(usize, u64)>,
    grouping_bits: u32,
}

impl Known {
    fn of(measure: Measure, made: &Activity) -> Option<Self> {
        if measure != Measure::Handshake {
            return None;
        }
        let (connect, client) = (
            made.latency(Measure::Connect),
            made.latency(Measure::Client),
        );
        let longer = if connect.sum_ns() > client.sum_ns() {
            connect
        } else {
            client
        };
        let is_same = connect.count() == client.count() && client.count() > 0;
        is_same.then(|| Self {
            count: client.count(),
            sum_ns: connect.sum_ns().wrapping_add(client.sum_ns()),
            buckets: longer.indices().to_vec(),
            grouping_bits: longer.grouping_bits(),
        })
    }
}

/// Up to so many values are worth naming one by one.
const FEW: u64 = 64;

fn distribution(
    walk: &mut impl Walk,
    of: &Distribution,
    known: Option<&Known>,
    cut: &mut Cut,
) -> Result<Distribution, Flaw> {
    let measure = of.measure();
    let column = |part| Column::Histogram(measure, part);
    let given = of.indices();
    let like = known.filter(|like| like.count <= FEW);
    let is_like = like
        .is_some_and(|like| (like.count, like.grouping_bits) == (of.count(), of.grouping_bits()));
    let length = if is_like { 1 } else { given.len() as u64 };
    let length = walk.number(column(Part::Buckets), length)?;
    if length == 0 {
        return Ok(Distribution::empty(measure));
    }
    let bits = walk.number(
        Column::Plain(Plain::Grouping),
        u64::from(of.grouping_bits()),
    )?;
    let bits = cut.check(bits)?;
    let like = match like {
        Some(like) if flag(walk, Plain::IsShifted, is_like)? => Some(like),
        _ => None,
    };
    let indices = match like {
        Some(like) => shifted(walk, given, like, measure, buckets(bits))?,
        None => indices(walk, given, length, measure, buckets(bits))?,
    };
    let foretold = Foretold::of(&indices, measure.scale(bits));
    let known = known.filter(|known| known.count == foretold.count);
    let known = known.map(|known| known.sum_ns);
    let sum_ns = sum_ns(walk, of.sum_ns(), measure, known, &foretold)?;
    let extremes = of.min_ns().zip(of.max_ns()).unwrap_or_default();
    let extremes = extremes_ns(walk, extremes, measure, sum_ns, &foretold)?;
    Ok(Distribution::new(
        measure,
        bits,
        indices,
        sum_ns,
        Some(extremes),
    ))
}

fn sum_ns(
    walk: &mut impl Walk,
    of: u64,
    measure: Measure,
    known: Option<u64>,
    foretold: &Foretold,
) -> Result<u64, Flaw> {
    let (column, expected) = match known {
        Some(sum) => (Column::Histogram(measure, Part::Sum), sum),
        None => (
            Column::Open(Number::Sum, foretold.sum_power),
            foretold.sum_ns,
        ),
    };
    let residual = walk.number(column, difference(of, expected))?;
    Ok(sum(expected, residual))
}

/// One value is the sum, and of two the sum leaves the other, but for what was recorded during a reading. Of more they are
/// somewhere in the outermost buckets.
fn extremes_ns(
    walk: &mut impl Walk,
    (of_min, of_max): (u64, u64),
    measure: Measure,
    sum_ns: u64,
    foretold: &Foretold,
) -> Result<(u64, u64), Flaw> {
    let (lowest, highest) = (foretold.lowest, foretold.highest);
    let (column, expected) = match foretold.count {
        1 => (Column::Histogram(measure, Part::Min), sum_ns),
        _ => (Column::Open(Number::Min, power(lowest)), lowest.0),
    };
    let min = walk.number(column, of_min.wrapping_sub(expected))?;
    let min = min.wrapping_add(expected);
    let (column, expected) = match foretold.count {
        1 => (Column::Histogram(measure, Part::Max), sum_ns),
        2 => (
            Column::Histogram(measure, Part::Max),
            sum_ns.wrapping_sub(min),
        ),
        _ => (Column::Open(Number::Max, power(highest)), highest.1),
    };
    let max = walk.number(column, expected.wrapping_sub(of_max))?;
    Ok((min, expected.wrapping_sub(max)))
}

/// The power of two that is no less than the values of a bucket.
fn power((lowest, highest): (u64, u64)) -> usize {
    let bits = (highest - lowest).bit_width();
    usize::try_from(bits).unwrap_or_default()
}

/// Buckets that are not empty, and their values.
fn indices(
    walk: &mut impl Walk,
    given: &[(usize, u64)],
    length: u64,
    measure: Measure,
    end: usize,
) -> Result<Vec<(usize, u64)>, Flaw> {
    let column = |part| Column::Histogram(measure, part);
    let mut made: Vec<(usize, u64)> = Vec::new();
    let mut total = 0_u64;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    for place in 0..length {
        let (index, count) = given.get(place).copied().unwrap_or((0, 1));
        let previous = place.checked_sub(1).and_then(|before| given.get(before));
        let (part, base) = match made.last() {
            Some(&(last, _)) => (gap(place.min(length - place)), last + 1),
            None => (Part::First, 0),
        };
        let step = index.saturating_sub(previous.map_or(0, |&(index, _)| index + 1));
        let step = walk.number(column(part), step as u64)?;
        let index = usize::try_from(step)
            .ok()
            .and_then(|step| base.checked_add(step));
        let index = index.filter(|&index| index < end);
        let index = index.ok_or("a bucket lies beyond its histogram")?;
        let count = walk.number(column(Part::Count), count.saturating_sub(1))?;
        let count = count.saturating_add(1);
        total = total.saturating_add(count);
        if total >= MOST {
            return Err("a histogram has more values than any can have");
        }
        made.push((index, count));
    }
    Ok(made)
}

/// The gap that is so far from the nearer end.
const fn gap(from_end: usize) -> Part {
    match from_end {
        0 | 1 => Part::EndGap,
        2 => Part::NearGap,
        _ => Part::Gap,
    }
}

/// Buckets of as many values as another histogram has, each by its distance from the value there.
fn shifted(
    walk: &mut impl Walk,
    given: &[(usize, u64)],
    like: &Known,
    measure: Measure,
    end: usize,
) -> Result<Vec<(usize, u64)>, Flaw> {
    let mut given = each(given);
    let mut made: Vec<(usize, u64)> = Vec::new();
    for base in each(&like.buckets) {
        let index = given.next().unwrap_or_default();
        let step = difference(index as u64, base as u64);
        let step = walk.number(Column::Histogram(measure, Part::Shift), step)?;
        let index = usize::try_from(sum(base as u64, step)).ok();
        let index = index.filter(|&index| index < end);
        let index = index.ok_or("a bucket lies beyond its histogram")?;
        match made.last_mut() {
            Some((last, count)) if *last == index => *count += 1,
            Some((last, _)) if *last > index => return Err("buckets are not in order"),
            _ => made.push((index, 1)),
        }
    }
    Ok(made)
}

/// The bucket of each value.
fn each(buckets: &[(usize, u64)]) -> impl Iterator<Item = usize> {
    let each = buckets.iter().map(|&(index, count)| {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        std::iter::repeat_n(index, count)
    });
    each.flatten()
}

/// What buckets say of the numbers beside them.
struct Foretold {
    count: u64,
    /// Bounds of the first bucket.
    lowest: (u64, u64),
    /// Bounds of the last.
    highest: (u64, u64),
    /// If all values were midpoints.
    sum_ns: u64,
    /// How far off that can be, as a power of two: the root of the sum of the squares of all widths.
    sum_power: usize,
}

impl Foretold {
    fn of(indices: &[(usize, u64)], scale: Scale) -> Self {
        let mut made = Self {
            count: 0,
            lowest: (0, 0),
            highest: (0, 0),
            sum_ns: 0,
            sum_power: 0,
        };
        let mut squares = 0_u128;
        for (place, &(index, count)) in indices.iter().enumerate() {
            let (lowest, highest) = scale.bounds_of(index);
            if place == 0 {
                made.lowest = (lowest, highest);
            }
            made.highest = (lowest, highest);
            let width = u128::from(highest - lowest);
            let midpoint = lowest + (highest - lowest) / 2;
            made.count += count;
            made.sum_ns = made.sum_ns.wrapping_add(midpoint.wrapping_mul(count));
            squares = squares.saturating_add((width * width).saturating_mul(count.into()));
        }
        let bits = usize::try_from(squares.bit_width()).unwrap_or_default();
        made.sum_power = bits.div_ceil(2).min(POWERS - 1);
        made
    }
}
