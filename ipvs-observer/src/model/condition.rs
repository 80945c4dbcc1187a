//! A condition on what was measured, as `connect.p99 > 50ms` or `refused > 10`; on two runs `connect.p99 > +10%`.

use std::{fmt, str::FromStr, time::Duration};

use ipvs_observer_common::{Event, Measure};
use thiserror::Error;

use super::{
    activity::Activity,
    latency::{Distribution, Percentiles},
};

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    subject: Subject,
    is_above: bool,
    limit: Limit,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// A figure of a latency.
    Latency(Measure, Figure),
    /// How often an event happened.
    Event(Event),
    /// All packets that IPVS dropped.
    Dropped,
}

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Number of values.
    Count,
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// That at a quantile.
    Quantile(f64),
}

/// What a value is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Nanoseconds, or a number.
    Value(u64),
    /// A change in percent.
    Change(f64),
}

/// A text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot read the condition {0:?}: write one as 'connect.p99 > 50ms' or 'refused > 10'")]
pub struct ConditionError(String);

impl Condition {
    /// Whether it is about the change from one run to another.
    pub const fn is_of_change(&self) -> bool {
        matches!(self.limit, Limit::Change(_))
    }

    /// What it looks at.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Whether it holds for what was seen; not for what has no values, and not if it is of a change.
    pub fn holds(&self, activity: &Activity, percentiles: &mut Percentiles) -> bool {
        let Limit::Value(limit) = self.limit else {
            return false;
        };
        let value = self.subject.value(activity, percentiles);
        value.is_some_and(|value| {
            if self.is_above {
                value > limit
            } else {
                value < limit
            }
        })
    }

    /// Whether it holds for a change of so many percent.
    pub fn holds_for_change(&self, percent: f64) -> bool {
        match self.limit {
            Limit::Change(limit) if self.is_above => percent > limit,
            Limit::Change(limit) => percent < limit,
            Limit::Value(_) => false,
        }
    }
}

impl Subject {
    /// Its value, in nanoseconds or as a number; `None` where there are no values.
    pub fn value(self, activity: &Activity, percentiles: &mut Percentiles) -> Option<u64> {
        match self {
            Self::Latency(measure, figure) => figure.of(activity.latency(measure), percentiles),
            Self::Event(event) => Some(activity.counters.get(event)),
            Self::Dropped => Some(activity.dropped()),
        }
    }
}

impl Figure {
    /// Its value; `None` where there are no values, of which the number is known all the same.
    pub fn of(self, distribution: &Distribution, percentiles: &mut Percentiles) -> Option<u64> {
        match self {
            Self::Count => Some(distribution.count()),
            Self::Mean => distribution.mean_ns(),
            Self::Min => distribution.min_ns(),
            Self::Max => distribution.max_ns(),
            Self::Quantile(quantile) => percentiles
                .at(distribution, [quantile])
                .map(|[value]| value),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "mean" => Self::Mean,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => {
                let digits = name.strip_prefix('p')?;
                let percent: f64 = match digits {
                    // As JSON and the tables name them.
                    "999" => 99.9,
                    "9999" => 99.99,
                    digits if digits.starts_with(|digit: char| digit.is_ascii_digit()) => {
                        digits.parse().ok()?
                    }
                    _ => return None,
                };
                (0.0..=100.0)
                    .contains(&percent)
                    .then_some(Self::Quantile(percent / 100.0))?
            }
        })
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        parse(text).ok_or_else(|| ConditionError(text.to_owned()))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn parse(text: &str) -> Option<Condition> {
    let place = text.find(['>', '<'])?;
    let (subject, limit) = (text[..place].trim(), text[place + 1..].trim());
    let subject = subject_of(subject)?;
    let is_time = matches!(subject, Subject::Latency(_, figure) if figure != Figure::Count);
    let limit = match limit.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().ok()?;
            Limit::Change(percent).checked(percent.is_finite())?
        }
        None if is_time => {
            let time: Duration = humantime::parse_duration(limit).ok()?;
            Limit::Value(u64::try_from(time.as_nanos()).ok()?)
        }
        None => Limit::Value(limit.parse().ok()?),
    };
    Some(Condition {
        text: text.trim().to_owned(),
        subject,
        is_above: text[place..].starts_with('>'),
        limit,
    })
}

impl Limit {
    fn checked(self, is_right: bool) -> Option<Self> {
        is_right.then_some(self)
    }
}

fn subject_of(name: &str) -> Option<Subject> {
    if let Some((measure, figure)) = name.split_once('.') {
        let mut all = Measure::ALL.into_iter();
        let measure = all.find(|one| one.name() == measure)?;
        return Some(Subject::Latency(measure, Figure::parse(figure)?));
    }
    if name == "dropped" {
        return Some(Subject::Dropped);
    }
    let mut all = Event::ALL.into_iter();
    all.find(|event| event.name() == name).map(Subject::Event)
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::{Event, FINEST_GROUPING_BITS, Measure};

    use super::Condition;
    use crate::model::{
        activity::Activity,
        latency::{Distribution, Percentiles},
    };

    fn seen() -> Activity {
        let mut activity = Activity::none();
        activity.counters.0[Event::Refused as usize] = 11;
        let scale = Measure::Connect.scale(FINEST_GROUPING_BITS);
        let buckets = vec![
            (scale.bucket_of(1_000_000), 99),
            (scale.bucket_of(60_000_000), 1),
        ];
        activity.latencies[Measure::Connect as usize] = Distribution::new(
            Measure::Connect,
            FINEST_GROUPING_BITS,
            buckets,
            159_000_000,
            Some((1_000_000, 60_000_000)),
        );
        activity
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (text, expected) in [
            ("connect.p99 > 50ms", false),
            ("connect.p99.9 > 50ms", true),
            ("connect.p999>50ms", true),
            ("connect.max > 60ms", false),
            ("connect.mean < 2ms", true),
            ("connect.count > 99", true),
            ("first_byte.p50 > 1ns", false),
            ("first_byte.p50 < 1h", false),
            ("refused > 10", true),
            ("refused < 11", false),
            ("dropped > 0", false),
            ("connect.p50 > +1%", false),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(
                condition.holds(&seen(), &mut Percentiles::new()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_change_is_told_from_a_value() {
        let condition: Condition = "connect.p99 > +10%".parse().unwrap();
        assert!(condition.is_of_change());
        assert!(condition.holds_for_change(10.5) && !condition.holds_for_change(10.0));
        let condition: Condition = "scheduled < -20%".parse().unwrap();
        assert!(condition.holds_for_change(-21.0) && !condition.holds_for_change(5.0));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "connect.p99",
            "connect.p99 > ",
            "connect.p99 > 50",
            "connect.p101 > 1ms",
            "connect > 1ms",
            "latency.p99 > 1ms",
            "refused > 1ms",
            "connect.p-1 > 1ms",
            "connect.p99 = 1ms",
            "connect.pnan > 1ms",
            "refused > x%",
            "connect.p99 > nan%",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
