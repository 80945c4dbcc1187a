//! What `record` shall write.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use ipvs_observer_common::EventKind;

use super::{ConfigError, File, Measuring, Top, Wanted, stream, time};
use crate::{
    cli::{CommonArguments, RecordArguments, WantedArguments},
    model::condition::Condition,
};

/// A checked configuration of `record`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What is observed, and for how long.
    pub observed: Top,
    /// Where it is written.
    pub files: Vec<RecordFile>,
    /// How much is kept until somebody wants it; `None` is everything.
    pub ring: Option<Duration>,
    /// When somebody wants it.
    pub dump_when: Option<Condition>,
    /// The events of single connections that are kept, if any are.
    pub events: Option<RecordedEvents>,
    /// The real servers that were asked for, as they were typed.
    pub real_servers: Vec<String>,
    /// The command to record around, if there is one.
    pub command: Vec<OsString>,
}

/// Which events of single connections are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvents {
    /// What the programs send.
    pub wanted: Wanted,
    /// The filters, as they were typed.
    pub filters: Vec<String>,
}

impl RecordedEvents {
    fn resolve(
        record: &RecordArguments,
        common: &CommonArguments,
        measuring: &mut Measuring,
    ) -> Result<Option<Self>, ConfigError> {
        let mut filters = typed(&record.wanted);
        let Some(kinds) = &record.events else {
            return match filters.first() {
                Some((option, _)) => Err(ConfigError::FilterOfNothing(option)),
                None => Ok(None),
            };
        };
        let (kinds, has_config): (Vec<EventKind>, bool) = stream::events(Some(kinds))?;
        if kinds.is_empty() && has_config {
            return Err(ConfigError::OnlyConfig);
        }
        filters.retain(|(option, _)| *option != "--buffer");
        Ok(Some(Self {
            // The table itself is in every window.
            wanted: Wanted::resolve((kinds, false), &record.wanted, common, measuring)?,
            filters: filters
                .into_iter()
                .map(|(option, text)| format!("{option} {text}"))
                .collect(),
        }))
    }
}

/// Every option that is given, with what was typed behind it.
fn typed(wanted: &WantedArguments) -> Vec<(&'static str, &str)> {
    let WantedArguments {
        client,
        protocol,
        slower_than,
        outcome,
        sample,
        buffer,
    } = wanted;
    let several = [("--client", client), ("--slower-than", slower_than)];
    let several = several
        .into_iter()
        .flat_map(|(option, texts)| texts.iter().map(move |text| (option, text)));
    let once = [
        ("--protocol", protocol),
        ("--outcome", outcome),
        ("--sample", sample),
        ("--buffer", buffer),
    ];
    let once = once
        .into_iter()
        .filter_map(|(option, text)| Some((option, text.as_ref()?)));
    several
        .chain(once)
        .map(|(option, text)| (option, text.as_str()))
        .collect()
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: FileKind,
}

/// What a file shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A recording.
    Recording,
    /// A log of histograms.
    HistogramLog,
    /// What `top -o json` prints.
    JsonLines,
}

impl RecordFile {
    fn of(path: &Path) -> Result<Self, ConfigError> {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ivo") => FileKind::Recording,
            Some("hlog") => FileKind::HistogramLog,
            Some("ndjson") => FileKind::JsonLines,
            _ => return Err(ConfigError::FileKind(path.to_owned())),
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }
}

impl Record {
    pub(super) fn resolve(
        record: &RecordArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        let files: Result<Vec<_>, _> = record
            .files
            .iter()
            .map(|path| RecordFile::of(path))
            .collect();
        let files = files?;
        let ring = record
            .ring
            .as_ref()
            .map(|text| time("ring", text))
            .transpose()?;
        if ring.is_some() && !matches!(&files[..], [one] if one.kind == FileKind::Recording) {
            return Err(ConfigError::Ring);
        }
        let dump_when: Option<Condition> = record
            .dump_when
            .as_ref()
            .map(|text| text.parse())
            .transpose()?;
        if dump_when.as_ref().is_some_and(Condition::is_of_change) {
            return Err(ConfigError::ChangeOfOneRun);
        }
        let mut measuring = Measuring::resolve(&record.measuring, file)?;
        let events = RecordedEvents::resolve(record, common, &mut measuring)?;
        if events.is_some() && !files.iter().any(|file| file.kind == FileKind::Recording) {
            return Err(ConfigError::EventsOfNoRecording);
        }
        Ok(Self {
            observed: Top {
                seed: record.seed,
                states: record.states,
                measuring,
                ready_file: record.ready_file.clone(),
                ..Top::observed(record.all_netns, common, file)?
            },
            files,
            ring,
            dump_when,
            events,
            real_servers: common.real_server.clone(),
            command: record.command.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use ipvs_observer_common::{EventKind, Measure};

    use super::{FileKind, Record};
    use crate::{
        cli::Arguments,
        config::{ConfigError, Job, resolve},
    };

    fn record(line: &str) -> Result<Record, ConfigError> {
        let words = format!("ipvs-observer record {line}");
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        match resolve(arguments)? {
            (Job::Record(record), _) => Ok(*record),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_file_shall_be_is_in_its_name() {
        let config = record("a.ivo b/c.hlog d.ndjson -i 1 -d 1m -r 10.0.0.1").unwrap();
        let kinds: Vec<FileKind> = config.files.iter().map(|file| file.kind).collect();
        let expected = [
            FileKind::Recording,
            FileKind::HistogramLog,
            FileKind::JsonLines,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(config.observed.interval, Duration::from_secs(1));
        assert_eq!(config.observed.duration, Some(Duration::from_secs(60)));
        assert_eq!(config.real_servers, ["10.0.0.1"]);
        for name in ["run", "run.json", "run.ivo.gz"] {
            assert!(
                matches!(record(name), Err(ConfigError::FileKind(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn events_are_those_of_a_stream() {
        assert_eq!(record("a.ivo").unwrap().events, None);
        let kinds = |line| record(line).unwrap().events.unwrap().wanted.kinds;
        let default = [
            EventKind::Closed,
            EventKind::Refused,
            EventKind::Unanswered,
            EventKind::Dropped,
        ];
        assert_eq!(kinds("--events a.ivo"), default);
        assert_eq!(kinds("a.ivo --events"), default);
        assert_eq!(kinds("--events=all a.ivo").len(), 6);
        let config = record(
            "--events=refused,opened a.ivo a.hlog --client 192.0.2.0/24 --sample 1/8 --buffer 1M",
        );
        let events = config.unwrap().events.unwrap();
        assert_eq!(events.wanted.kinds, [EventKind::Opened, EventKind::Refused]);
        assert_eq!(events.filters, ["--client 192.0.2.0/24", "--sample 1/8"]);
        let config = record("--events=slow a.ivo --slower-than response=1s").unwrap();
        assert!(
            config
                .observed
                .measuring
                .measures
                .contains(&Measure::Response)
        );
        for (line, says) in [
            ("--events a.hlog", "ends in .ivo"),
            ("--sample 1/8 a.ivo", "--sample takes --events"),
            ("--events=config a.ivo", "tables of each window"),
            ("--events=opend a.ivo", "\"opend\" is no event"),
            ("--events=slow a.ivo", "--slower-than"),
        ] {
            let error = record(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_a_command() {
        let config = record("a.ivo -- curl -d x http://192.0.2.1/").unwrap();
        assert_eq!(config.command, ["curl", "-d", "x", "http://192.0.2.1/"]);
        assert_eq!(config.observed.duration, None);
    }

    #[test]
    fn a_ring_is_of_one_recording() {
        let config = record("a.ivo --ring 5m --dump-when connect.p99>50ms").unwrap();
        assert_eq!(config.ring, Some(Duration::from_secs(300)));
        assert!(config.dump_when.is_some());
        assert!(matches!(record("a.hlog --ring 5m"), Err(ConfigError::Ring)));
        assert!(matches!(
            record("a.ivo b.ivo --ring 5m"),
            Err(ConfigError::Ring)
        ));
        let error = record("a.ivo --ring 5m --dump-when connect.p99>+5%").unwrap_err();
        assert!(matches!(error, ConfigError::ChangeOfOneRun));
    }
}
