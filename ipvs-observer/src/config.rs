//! What shall be done: the command line over the file over the defaults, checked.
//!
//! Here is what commands have in common; what each means by its own options is in `config/`.

mod doctor;
mod list;
mod measure;
mod record;
mod report;
mod stream;
mod top;

use std::{
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

pub use self::{
    doctor::Doctor,
    list::{List, Subject},
    record::{FileKind, Record, RecordFile, RecordedEvents},
    report::{Moment, Report, Span},
    stream::{ClientNetwork, Stream, Wanted},
    top::{Measuring, Top},
};
use crate::{
    cli::{Arguments, Command, CommonArguments, OutputFormat, SchemaOf, SortColumn},
    model::{
        condition::ConditionError,
        filter::{FilterError, Selection, ServerFilter, ServiceFilter},
        id::{AddressFamily, Protocol},
    },
};

pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
/// Shorter windows would measure the agent, longer ones are a mistyped unit.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// What shall be done, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// `top`.
    Top(Top),
    /// `stream`.
    Stream(Stream),
    /// `record`.
    Record(Box<Record>),
    /// `report`.
    Report(Report),
    /// `list`.
    List(List),
    /// `doctor`.
    Doctor(Doctor),
    /// `schema`.
    Schema(SchemaOf),
}

/// What every job has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Which messages go to stderr.
    pub verbosity: log::LevelFilter,
    /// The network namespace to enter first; `None` is to stay.
    pub netns: Option<String>,
}

/// The file's part of the configuration.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    interval: Option<String>,
    duration: Option<String>,
    output: Option<OutputFormat>,
    rows: Option<usize>,
    sort: Option<SortColumn>,
    measure: Option<String>,
    max_memory: Option<String>,
    max_connections: Option<u32>,
}

/// A configuration that cannot be meant.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("cannot use the configuration {}, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A time cannot be read.
    #[error(
        "cannot read {option} {text:?}: write a time above 0, as 100ms, 5s or 2m; a bare number is seconds"
    )]
    Time {
        /// Which one.
        option: &'static str,
        /// As it was written.
        text: String,
    },
    /// A window of that length makes no sense.
    #[error("an interval of {0:?} is too short or too long: write one from 10ms to 1day")]
    Interval(Duration),
    /// Options that exclude each other.
    #[error("{0} cannot be used with {1}")]
    Conflict(&'static str, &'static str),
    /// Not a measure.
    #[error("{0:?} is no measure: write some of {names}, all or default, separated by commas", names = measure::names())]
    Measure(String),
    /// A list of measures that leaves none.
    #[error("--measure leaves nothing to measure")]
    NoMeasure,
    /// A number of bytes cannot be read.
    #[error("cannot read the size {0:?}: write a number with K, M or G, as 512M")]
    Size(String),
    /// A number that must not be 0.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Nothing to explain, or too much.
    #[error(
        "--explain is about one service: name it with -t, -u, --sctp-service or -f, as -t 192.0.2.1:80"
    )]
    Explain,
    /// A name that is none of a list.
    #[error("{1:?} is no {0}: write some of {2}, separated by commas")]
    Name(&'static str, String, String),
    /// Nothing says what is slow.
    #[error("--events slow takes --slower-than, as --slower-than connect=5ms")]
    Slow,
    /// Nothing that is told has a stack.
    #[error(
        "--stack is of dropped packets and of a slow schedule: add --events dropped, or --events slow --slower-than schedule=1ms"
    )]
    Stack,
    /// A stage or its time cannot be read.
    #[error(
        "cannot read --slower-than {0:?}: write a stage and a time, as connect=5ms; stages are schedule, connect, client, handshake, first_byte, response and duration"
    )]
    Threshold(String),
    /// A prefix cannot be read.
    #[error(
        "cannot read --client {0:?}: write an address and how many of its bits count, as 192.0.2.0/24"
    )]
    Prefix(String),
    /// A sample cannot be read.
    #[error("cannot read --sample {0:?}: write one of how many connections, as 1/100")]
    Sample(String),
    /// More of one filter than the programs have room for.
    #[error("{0} can be given {1} times")]
    Many(&'static str, usize),
    /// A file whose name does not say what is to be in it.
    #[error("cannot tell from its name what {} shall be: write one that ends in .ivo, .hlog or .ndjson", .0.display())]
    FileKind(PathBuf),
    /// A ring is kept of a recording alone.
    #[error("--ring is about one recording: name one file that ends in .ivo, and no other")]
    Ring,
    /// Events are kept in recordings only.
    #[error("--events are kept in a recording: name a file that ends in .ivo, too")]
    EventsOfNoRecording,
    /// A filter of events without events.
    #[error("{0} takes --events, whose filter it is")]
    FilterOfNothing(&'static str),
    /// Every recording has the changes of the table.
    #[error(
        "--events=config adds nothing to a recording, which has the tables of each window: name another event"
    )]
    OnlyConfig,
    /// Only CSV is one table at a time.
    #[error("--table is about one of the tables of CSV: write -o csv, too")]
    TableOfNoCsv,
    /// A condition cannot be read.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// A time that is neither since the beginning nor of the clock.
    #[error(
        "cannot read {option} {text:?}: write a time since the beginning, as 90s, or of the clock, as 2026-11-20T12:47:00Z"
    )]
    Moment {
        /// Which one.
        option: &'static str,
        /// As it was written.
        text: String,
    },
    /// A change takes two runs.
    #[error("--fail-on {0:?} is about the change from one recording to another: name both")]
    ChangeOfNothing(String),
    /// A value is one run's.
    #[error(
        "--fail-on {0:?} is about one recording: with two, write a change in percent, as 'connect.p99 > +10%'"
    )]
    ValueOfTwo(String),
    /// A condition on what one run alone does not have.
    #[error(
        "--dump-when is about one run: write a value instead of a change in percent, as 'connect.p99 > 50ms'"
    )]
    ChangeOfOneRun,
    /// A service or server cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Decides what `arguments` and the file that they name mean.
pub fn resolve(arguments: Arguments) -> Result<(Job, Surroundings), ConfigError> {
    let Arguments { command, common } = arguments;
    let file = common
        .config
        .as_deref()
        .map_or_else(|| Ok(File::default()), read)?;
    let surroundings = Surroundings {
        verbosity: verbosity(&common),
        netns: common.netns.clone(),
    };
    let job = match command {
        Command::Top(arguments) => Job::Top(Top::resolve(&arguments, &common, &file)?),
        Command::Stream(arguments) => Job::Stream(Stream::resolve(&arguments, &common, &file)?),
        Command::Record(arguments) => {
            Job::Record(Box::new(Record::resolve(&arguments, &common, &file)?))
        }
        Command::Report(arguments) => Job::Report(Report::resolve(&arguments, &common)?),
        Command::List(arguments) => Job::List(List::resolve(&arguments, &common, &file)?),
        Command::Doctor(arguments) => Job::Doctor(Doctor::resolve(&arguments, &common, &file)?),
        Command::Schema(arguments) => Job::Schema(arguments.of),
    };
    Ok((job, surroundings))
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        ConfigError::Malformed {
            path: path.to_owned(),
            line: text
                .as_bytes()
                .iter()
                .take(start)
                .filter(|&&byte| byte == b'\n')
                .count()
                + 1,
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    })
}

fn time(option: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| ConfigError::Time {
            option,
            text: text.to_owned(),
        })
}

fn window(text: &str) -> Result<Duration, ConfigError> {
    let interval = time("interval", text)?;
    if INTERVALS.contains(&interval) {
        Ok(interval)
    } else {
        Err(ConfigError::Interval(interval))
    }
}

fn selection(common: &CommonArguments) -> Result<Selection, FilterError> {
    let mut selection = Selection::default();
    let by_address = [
        (Protocol::TCP, &common.tcp_service),
        (Protocol::UDP, &common.udp_service),
        (Protocol::SCTP, &common.sctp_service),
    ];
    for (protocol, texts) in by_address {
        for text in texts {
            selection
                .services
                .push(ServiceFilter::address(protocol, text)?);
        }
    }
    let family = common.ipv6.then_some(AddressFamily::Ipv6);
    for text in &common.fwmark_service {
        selection
            .services
            .push(ServiceFilter::firewall_mark(text, family)?);
    }
    for text in &common.real_server {
        selection.servers.push(ServerFilter::parse(text)?);
    }
    Ok(selection)
}

const fn verbosity(common: &CommonArguments) -> log::LevelFilter {
    match (common.quiet, common.verbose) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Warn,
        (false, 1) => log::LevelFilter::Info,
        (false, _) => log::LevelFilter::Debug,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use clap::Parser as _;
    use ipvs_observer_common::Measure;

    use super::{ConfigError, Job, Top};
    use crate::cli::{Arguments, OutputFormat, SortColumn};

    fn resolve(line: &str) -> Result<Top, ConfigError> {
        resolve_words(line.split_whitespace())
    }

    fn resolve_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Top, ConfigError> {
        let arguments = Arguments::try_parse_from(words).unwrap();
        match super::resolve(arguments)? {
            (Job::Top(top), _) => Ok(top),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn times_are_written_with_a_unit_or_as_seconds() {
        for (text, expected_ms) in [
            ("100ms", 100),
            ("5s", 5_000),
            ("2m", 120_000),
            ("3", 3_000),
            ("0.25", 250),
        ] {
            let config = resolve(&format!("ipvs-observer top -i {text}")).unwrap();
            assert_eq!(
                config.interval,
                Duration::from_millis(expected_ms),
                "{text}"
            );
        }
        for text in ["1ns", "9ms", "2days", "1e19"] {
            let error = resolve(&format!("ipvs-observer top -i {text}")).unwrap_err();
            assert!(matches!(error, ConfigError::Interval(_)), "{text}");
        }
        for text in ["0", "0s", "-1", "x", "nan", "inf", "5 parsecs"] {
            let arguments = ["ipvs-observer", "top", &format!("--interval={text}")];
            let error = resolve_words(arguments).unwrap_err();
            assert!(
                matches!(
                    error,
                    ConfigError::Time {
                        option: "interval",
                        ..
                    }
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn the_command_line_goes_over_the_file_over_the_defaults() {
        let path =
            std::env::temp_dir().join(format!("ipvs-observer-config-{}", std::process::id()));
        fs::write(
            &path,
            "interval = \"5s\"\nrows = 0\nsort = \"first_byte\"\noutput = \"json\"\n",
        )
        .unwrap();
        let config = resolve(&format!(
            "ipvs-observer top --config {} -i 1 -o text",
            path.display()
        ));
        fs::remove_file(&path).unwrap();
        let config = config.unwrap();
        assert_eq!(config.interval, Duration::from_secs(1));
        assert_eq!(
            (config.rows, config.sort, config.output),
            (None, SortColumn::FirstByte, OutputFormat::Text)
        );
        assert_eq!(config.duration, None);
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line() {
        let path =
            std::env::temp_dir().join(format!("ipvs-observer-config-bad-{}", std::process::id()));
        fs::write(&path, "interval = \"5s\"\nintervall = 3\n").unwrap();
        let error = resolve(&format!("ipvs-observer top --config {}", path.display()))
            .unwrap_err()
            .to_string();
        fs::remove_file(&path).unwrap();
        assert!(
            error.contains("line 2") && error.contains("intervall"),
            "{error}"
        );
        let error = resolve("ipvs-observer top --config /nowhere/at/all").unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }));
    }

    #[test]
    fn an_explanation_is_of_one_service_takes_its_time_and_measures_what_it_needs() {
        let config = resolve("ipvs-observer top --explain -t 192.0.2.1:80").unwrap();
        assert!(config.explain);
        assert_eq!(config.duration, Some(Duration::from_secs(10)));
        assert!(config.measuring.measures.contains(&Measure::Hook));
        assert!(config.measuring.measures.contains(&Measure::Xmit));
        let config = resolve("ipvs-observer top --explain -f 47 -d 3s --measure duration").unwrap();
        assert_eq!(config.duration, Some(Duration::from_secs(3)));
        assert_eq!(config.measuring.measures.len(), 8);
        for line in [
            "ipvs-observer top --explain",
            "ipvs-observer top --explain -t 192.0.2.1:80 -u 192.0.2.1:53",
        ] {
            assert!(matches!(resolve(line), Err(ConfigError::Explain)), "{line}");
        }
    }

    #[test]
    fn one_network_namespace_is_observed_or_all() {
        assert!(!resolve("ipvs-observer top -N blue").unwrap().all_netns);
        assert!(resolve("ipvs-observer top --all-netns").unwrap().all_netns);
        assert!(matches!(
            resolve("ipvs-observer top --all-netns -N blue"),
            Err(ConfigError::Conflict("--all-netns", "--netns"))
        ));
    }

    #[test]
    fn services_and_servers_are_selected_in_ipvsadms_grammar() {
        let config = resolve("ipvs-observer top -t 192.0.2.1:80 -f 47 -6 -r 10.0.0.1:*").unwrap();
        assert_eq!(
            (
                config.selection.services.len(),
                config.selection.servers.len()
            ),
            (2, 1)
        );
        assert!(matches!(
            resolve("ipvs-observer top -t nonsense"),
            Err(ConfigError::Filter(_))
        ));
    }
}
