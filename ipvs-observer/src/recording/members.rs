//! Numbers, texts, lists and what may be absent, as every thing of a recording has them.

use std::time::Duration;

use super::{
    columns::{Flaw, Walk},
    names::{Column, Plain},
};
use crate::model::sample::Timestamp;

pub(super) fn timestamp(walk: &mut impl Walk, of: Timestamp) -> Result<Timestamp, Flaw> {
    Ok(Timestamp {
        wall: duration(walk, Plain::Wall, of.wall)?,
        monotonic: duration(walk, Plain::Monotonic, of.monotonic)?,
    })
}

pub(super) fn text(walk: &mut impl Walk, of: &str) -> Result<String, Flaw> {
    let length = number(walk, Plain::TextLength, of.len() as u64)?;
    let mut given = of.bytes();
    let mut bytes = Vec::new();
    for _ in 0..length {
        bytes.push(small(walk, Plain::Text, given.next().unwrap_or_default())?);
    }
    String::from_utf8(bytes).map_err(|_bytes| "a text is not UTF-8")
}

pub(super) fn list<W: Walk, T, R>(
    walk: &mut W,
    column: Plain,
    of: &[T],
    blank: &T,
    mut each: impl FnMut(&mut W, &T) -> Result<R, Flaw>,
) -> Result<Vec<R>, Flaw> {
    let length = number(walk, column, of.len() as u64)?;
    let mut given = of.iter();
    let mut made = Vec::new();
    for _ in 0..length {
        made.push(each(walk, given.next().unwrap_or(blank))?);
    }
    Ok(made)
}

pub(super) fn option<W: Walk, T>(
    walk: &mut W,
    column: Plain,
    of: Option<&T>,
    blank: &T,
    each: impl FnOnce(&mut W, &T) -> Result<T, Flaw>,
) -> Result<Option<T>, Flaw> {
    if flag(walk, column, of.is_some())? {
        each(walk, of.unwrap_or(blank)).map(Some)
    } else {
        Ok(None)
    }
}

/// A number that may be absent, in one column.
pub(super) fn maybe(
    walk: &mut impl Walk,
    column: Plain,
    of: Option<u64>,
) -> Result<Option<u64>, Flaw> {
    let value = count(walk, column, of.map_or(0, |value| value.saturating_add(1)))?;
    Ok(value.checked_sub(1))
}

pub(super) fn maybe_duration(
    walk: &mut impl Walk,
    column: Plain,
    of: Option<Duration>,
) -> Result<Option<Duration>, Flaw> {
    let value = of.map_or(0, |of| nanoseconds(of).saturating_add(1));
    let value = number(walk, column, value)?;
    Ok(value.checked_sub(1).map(Duration::from_nanos))
}

pub(super) fn duration(
    walk: &mut impl Walk,
    column: Plain,
    of: Duration,
) -> Result<Duration, Flaw> {
    Ok(Duration::from_nanos(number(walk, column, nanoseconds(of))?))
}

pub(super) fn flag(walk: &mut impl Walk, column: Plain, of: bool) -> Result<bool, Flaw> {
    Ok(number(walk, column, u64::from(of))? != 0)
}

pub(super) fn small<T: Into<u64> + TryFrom<u64>>(
    walk: &mut impl Walk,
    column: Plain,
    of: T,
) -> Result<T, Flaw> {
    let value = number(walk, column, of.into())?;
    T::try_from(value).map_err(|_wider| "a number is too large for what it means")
}

pub(super) fn count(walk: &mut impl Walk, column: Plain, of: u64) -> Result<u64, Flaw> {
    walk.count(Column::Plain(column), of)
}

pub(super) fn number(walk: &mut impl Walk, column: Plain, of: u64) -> Result<u64, Flaw> {
    walk.number(Column::Plain(column), of)
}

/// At most 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
