//! How a recording keeps the histograms of a service or server: sparse, and what the buckets foretell taken away.

use ipvs_observer_common::{COARSEST_GROUPING_BITS, FINEST_GROUPING_BITS, Measure, Scale, buckets};

use super::{
    columns::{Flaw, MOST, Walk, difference, sum},
    names::{Column, Part, Plain},
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
        let known = known_sum(measure, &made);
        let given = of.latency(measure);
        made.latencies[measure as usize] = distribution(walk, given, known, cut)?;
    }
    Ok(made)
}

/// A handshake is the way to the server and the way to the client: so many values with so large a sum.
fn known_sum(measure: Measure, made: &Activity) -> Option<(u64, u64)> {
    if measure != Measure::Handshake {
        return None;
    }
    let (connect, client) = (
        made.latency(Measure::Connect),
        made.latency(Measure::Client),
    );
    let is_same = connect.count() == client.count();
    is_same.then(|| {
        (
            connect.count(),
            connect.sum_ns().wrapping_add(client.sum_ns()),
        )
    })
}

fn distribution(
    walk: &mut impl Walk,
    of: &Distribution,
    known: Option<(u64, u64)>,
    cut: &mut Cut,
) -> Result<Distribution, Flaw> {
    let measure = of.measure();
    let column = |part| Column::Histogram(measure, part);
    let given = of.indices();
    let length = walk.number(column(Part::Buckets), given.len() as u64)?;
    if length == 0 {
        return Ok(Distribution::empty(measure));
    }
    let bits = walk.number(
        Column::Plain(Plain::Grouping),
        u64::from(of.grouping_bits()),
    )?;
    let bits = cut.check(bits)?;
    let indices = indices(walk, given, length, measure, buckets(bits))?;
    let scale = measure.scale(bits);
    let count: u64 = indices.iter().map(|&(_, count)| count).sum();
    let (lowest, highest, midpoints) = foretold(&indices, scale);
    let known = known.filter(|&(its_count, _)| its_count == count);
    let expected = known.map_or(midpoints, |(_, sum)| sum);
    let sum_ns = walk.number(column(Part::Sum), difference(of.sum_ns(), expected))?;
    let sum_ns = sum(expected, sum_ns);
    // One value is the sum, and of two the sum leaves the other, but for what was recorded during a reading.
    let expected = if count == 1 { sum_ns } else { lowest };
    let min = of.min_ns().unwrap_or_default().wrapping_sub(expected);
    let min = walk.number(column(Part::Min), min)?.wrapping_add(expected);
    let expected = match count {
        1 => sum_ns,
        2 => sum_ns.wrapping_sub(min),
        _ => highest,
    };
    let max = expected.wrapping_sub(of.max_ns().unwrap_or_default());
    let max = expected.wrapping_sub(walk.number(column(Part::Max), max)?);
    Ok(Distribution::new(
        measure,
        bits,
        indices,
        sum_ns,
        Some((min, max)),
    ))
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
    for place in 0..usize::try_from(length).unwrap_or(usize::MAX) {
        let (index, count) = given.get(place).copied().unwrap_or((0, 1));
        let previous = place.checked_sub(1).and_then(|before| given.get(before));
        let (part, base) = match made.last() {
            Some(&(last, _)) => (Part::Gap, last + 1),
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

/// Lowest and highest bound, and the sum if all values were midpoints.
fn foretold(indices: &[(usize, u64)], scale: Scale) -> (u64, u64, u64) {
    let mut bounds = (u64::MAX, 0);
    let mut expected = 0_u64;
    for &(index, count) in indices {
        let (lowest, highest) = scale.bounds_of(index);
        bounds = (bounds.0.min(lowest), bounds.1.max(highest));
        let midpoint = lowest + (highest - lowest) / 2;
        expected = expected.wrapping_add(midpoint.wrapping_mul(count));
    }
    (bounds.0, bounds.1, expected)
}
