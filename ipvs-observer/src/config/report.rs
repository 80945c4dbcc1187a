//! What `report` shall tell.

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use super::{ConfigError, selection, time};
use crate::{
    cli::{CommonArguments, ReportArguments, ReportFormat, ReportTable},
    model::{condition::Condition, filter::Selection, sample::Timestamp},
};

/// A checked configuration of `report`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The recording, or that from before.
    pub file: PathBuf,
    /// That from after.
    pub after: Option<PathBuf>,
    /// How it is printed.
    pub output: ReportFormat,
    /// Which table is printed as CSV.
    pub table: ReportTable,
    /// Which windows.
    pub span: Span,
    /// Of whom.
    pub selection: Selection,
    /// What must not be.
    pub fail_on: Vec<Condition>,
    /// Where the page is written.
    pub html: Option<PathBuf>,
}

/// A part of a recording; `None` is from its beginning and to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The beginning.
    pub from: Option<Moment>,
    /// The end.
    pub to: Option<Moment>,
}

/// A time within a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Since the beginning.
    Offset(Duration),
    /// Since 1970.
    Clock(Duration),
}

impl Moment {
    fn parse(option: &'static str, text: &str) -> Result<Self, ConfigError> {
        let of_clock = humantime::parse_rfc3339_weak(text).ok();
        if let Some(clock) = of_clock.and_then(|clock| clock.duration_since(UNIX_EPOCH).ok()) {
            return Ok(Self::Clock(clock));
        }
        let offset = if text == "0" {
            Ok(Duration::ZERO)
        } else {
            time(option, text)
        };
        offset
            .map(Self::Offset)
            .map_err(|_error| ConfigError::Moment {
                option,
                text: text.to_owned(),
            })
    }

    /// On the monotonic clock of a recording that `began` then.
    fn monotonic(self, began: Timestamp) -> Duration {
        match self {
            Self::Offset(offset) => began.monotonic.saturating_add(offset),
            Self::Clock(clock) => began
                .monotonic
                .saturating_add(clock.saturating_sub(began.wall)),
        }
    }
}

impl Span {
    /// Whether a window that ends `at` some time is wholly in it.
    pub fn has(&self, began: Timestamp, at: Timestamp, window: Duration) -> bool {
        let start = at.monotonic.saturating_sub(window);
        self.from.is_none_or(|from| from.monotonic(began) <= start)
            && self.to.is_none_or(|to| to.monotonic(began) >= at.monotonic)
    }
}

impl Report {
    pub(super) fn resolve(
        report: &ReportArguments,
        common: &CommonArguments,
    ) -> Result<Self, ConfigError> {
        let unused = [
            ("--interval", common.interval.is_some()),
            ("--duration", common.duration.is_some()),
            ("--netns", common.netns.is_some()),
        ];
        if let Some((option, _)) = unused.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ConfigError::Conflict("report", option));
        }
        let mut files = report.files.iter().cloned();
        let (file, after) = (files.next().unwrap_or_default(), files.next());
        let mut fail_on: Vec<Condition> = Vec::new();
        for text in &report.fail_on {
            let condition: Condition = text.parse()?;
            match (condition.is_of_change(), after.is_some()) {
                (true, false) => return Err(ConfigError::ChangeOfNothing(text.clone())),
                (false, true) => return Err(ConfigError::ValueOfTwo(text.clone())),
                _ => fail_on.push(condition),
            }
        }
        if report.table.is_some() && report.output != Some(ReportFormat::Csv) {
            return Err(ConfigError::TableOfNoCsv);
        }
        let table = report.table.unwrap_or_default();
        if after.is_some() && table != ReportTable::Latency {
            return Err(ConfigError::Conflict("--table", "two recordings"));
        }
        let moment = |option, text: &Option<String>| {
            text.as_ref()
                .map(|text| Moment::parse(option, text))
                .transpose()
        };
        Ok(Self {
            file,
            after,
            output: report.output.unwrap_or_default(),
            table,
            span: Span {
                from: moment("--from", &report.from)?,
                to: moment("--to", &report.to)?,
            },
            selection: selection(common)?,
            fail_on,
            html: report.html.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{Moment, Report, Span};
    use crate::{
        cli::Arguments,
        config::{ConfigError, Job, resolve},
        model::sample::Timestamp,
    };

    fn report(line: &str) -> Result<Report, ConfigError> {
        let words = format!("ipvs-observer report {line}");
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        match resolve(arguments)? {
            (Job::Report(report), _) => Ok(report),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn spans_are_of_the_recording_or_of_the_clock() {
        let span = report("a.ivo --from 10s --to 2027-01-15T08:00:30Z")
            .unwrap()
            .span;
        assert_eq!(span.from, Some(Moment::Offset(Duration::from_secs(10))));
        let at = |second: u64| Timestamp {
            wall: Duration::from_secs(1_800_000_000 + second),
            monotonic: Duration::from_secs(5 + second),
        };
        let second = Duration::from_secs(1);
        for (end, expected) in [(10, false), (11, true), (30, true), (31, false)] {
            assert_eq!(span.has(at(0), at(end), second), expected, "{end}");
        }
        assert!(Span::default().has(at(0), at(1), second));
        assert!(matches!(
            report("a.ivo --from noon"),
            Err(ConfigError::Moment { .. })
        ));
    }

    #[test]
    fn a_change_takes_two_recordings_and_a_value_one() {
        assert!(report("a.ivo b.ivo --fail-on connect.p99>+10%").is_ok());
        assert!(report("a.ivo --fail-on connect.p99>10ms").is_ok());
        let error = report("a.ivo --fail-on connect.p99>+10%").unwrap_err();
        assert!(matches!(error, ConfigError::ChangeOfNothing(_)));
        let error = report("a.ivo b.ivo --fail-on connect.p99>10ms").unwrap_err();
        assert!(matches!(error, ConfigError::ValueOfTwo(_)));
        let error = report("a.ivo --table clients").unwrap_err();
        assert!(matches!(error, ConfigError::TableOfNoCsv));
        assert!(report("a.ivo -o csv --table clients").is_ok());
        assert!(report("a.ivo b.ivo -o csv --table clients").is_err());
        assert!(matches!(
            report("a.ivo -i 1"),
            Err(ConfigError::Conflict(..))
        ));
    }
}
