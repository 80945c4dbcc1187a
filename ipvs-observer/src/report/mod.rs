//! The commands about recordings: `report` tells what is in one or in what two differ, `top --replay` shows one again.
//!
//! `summary` adds up the windows of a span, `difference` compares two sums; what they look like in print is `output::report`.

pub mod difference;
pub mod events;
pub mod summary;

use std::{
    fs::{self, File},
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::{difference::Difference, events::EventSummary, summary::Summary};
use crate::{
    cli::{ReportFormat, ReportTable},
    config::{Report, Top},
    error::RunError,
    messages,
    model::{filter::Selection, latency::Percentiles, snapshot::Snapshot},
    output::{Format, report},
    recording::{Part, Recording, RecordingError},
};

/// Why there is no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot use {}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecordingError,
    },
    /// There is nothing to tell of.
    #[error("{} has no window in that span", .0.display())]
    NoWindow(PathBuf),
    /// Nobody who was asked for is in it.
    #[error("no service or real server that was asked for is in {}", .0.display())]
    NotThere(PathBuf),
    /// There are no connections or clients to tell of.
    #[error("{} has no events of single connections: record it with --events=closed,refused,unanswered", .0.display())]
    NoEvents(PathBuf),
    /// The page cannot be written.
    #[error("cannot write {}", path.display())]
    Page {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether nothing is as it must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So it is.
    Passed,
    /// A condition holds.
    Failed,
}

/// Prints what `config` asks for.
pub fn run(config: &Report) -> Result<Verdict, RunError> {
    let before = summary(&config.file, config)?;
    let Some(after) = &config.after else {
        return one(config, &before);
    };
    let after = summary(after, config)?;
    let difference = Difference::new(&before, &after);
    if let Some(path) = &config.html {
        write_page(path, &report::html::comparison(&difference))?;
    }
    let text = match config.output {
        ReportFormat::Text => report::text::compare(&difference).into_bytes(),
        ReportFormat::Json => report::json::compare(&difference).into_bytes(),
        ReportFormat::Csv => report::csv::compare(&difference).into_bytes(),
        ReportFormat::Hlog => report::hlog_of_two(&before, &after),
    };
    print(&text)?;
    let mut verdict = Verdict::Passed;
    for condition in &config.fail_on {
        for broken in difference.broken(condition) {
            if broken.is_told {
                verdict = Verdict::Failed;
            }
            messages::say(&report::text::broken(condition, &broken));
        }
    }
    Ok(verdict)
}

fn one(config: &Report, summary: &Summary) -> Result<Verdict, RunError> {
    if let Some(path) = &config.html {
        write_page(path, &report::html::page(summary))?;
    }
    let text = match config.output {
        ReportFormat::Text => report::text::encode(summary).into_bytes(),
        ReportFormat::Json => report::json::encode(summary).into_bytes(),
        ReportFormat::Csv => csv(config, summary)?.into_bytes(),
        ReportFormat::Hlog => report::hlog(summary),
    };
    print(&text)?;
    let mut percentiles = Percentiles::new();
    let mut verdict = Verdict::Passed;
    for condition in &config.fail_on {
        for service in &summary.services {
            if condition.holds(&service.activity, &mut percentiles) {
                verdict = Verdict::Failed;
                messages::say(&format!("{}: {condition}", service.name()));
            }
        }
    }
    Ok(verdict)
}

fn write_page(path: &Path, page: &str) -> Result<(), ReportError> {
    fs::write(path, page).map_err(|source| ReportError::Page {
        path: path.to_owned(),
        source,
    })
}

fn csv(config: &Report, summary: &Summary) -> Result<String, ReportError> {
    let events = || {
        let events = summary.events.as_ref();
        events.ok_or_else(|| ReportError::NoEvents(config.file.clone()))
    };
    Ok(match config.table {
        ReportTable::Latency => report::csv::encode(summary),
        ReportTable::Connections => report::events::connections_csv(summary, events()?),
        ReportTable::Clients => report::events::clients_csv(events()?),
    })
}

/// Shows a recording as `top` shows a host.
pub fn replay(path: &Path, config: &Top) -> Result<(), RunError> {
    let mut recording = open(path)?;
    let format = Format {
        format: config.output,
        explain: false,
        sort: config.sort,
        rows: config.rows,
    };
    let mut stdout = io::stdout().lock();
    while let Some(mut snapshot) = next(&mut recording, path)? {
        snapshot.select(&config.selection);
        let written = stdout.write_all(format.encode(&snapshot).as_bytes());
        if !is_read(written)? {
            break;
        }
    }
    warn_of_cut(&recording, path);
    Ok(())
}

/// Adds up what a recording has of the span and of those that `config` names.
pub fn summary(path: &Path, config: &Report) -> Result<Summary, ReportError> {
    let mut recording = open(path)?;
    let mut summary = Summary::new(recording.began());
    let asked = recording.events();
    let mut told = asked.map(|asked| EventSummary::new(asked, &config.selection));
    while let Some(part) = part(&mut recording, path)? {
        match part {
            Part::Window(mut snapshot) => {
                let (began, at) = (recording.began(), snapshot.at);
                if config.span.has(began, at, snapshot.window) {
                    snapshot.select(&config.selection);
                    summary.add(&snapshot);
                }
                if let Some(told) = &mut told {
                    let span = (summary.windows > 0).then_some((summary.from, summary.to));
                    told.settle(at, span);
                }
            }
            Part::Events(events) => {
                if let Some(told) = &mut told {
                    told.add(events);
                }
            }
        }
    }
    if let Some(told) = &mut told {
        let span = (summary.windows > 0).then_some((summary.from, summary.to));
        told.settle(summary.to, span);
    }
    summary.events = told;
    warn_of_cut(&recording, path);
    if summary.windows == 0 {
        return Err(ReportError::NoWindow(path.to_owned()));
    }
    if summary.services.is_empty() && config.selection != Selection::default() {
        return Err(ReportError::NotThere(path.to_owned()));
    }
    Ok(summary)
}

type FileRecording = Recording<BufReader<File>>;

fn open(path: &Path) -> Result<FileRecording, ReportError> {
    let file = File::open(path).map_err(|source| ReportError::Open {
        path: path.to_owned(),
        source,
    })?;
    Recording::open(BufReader::new(file)).map_err(|source| unreadable(path, source))
}

fn part(recording: &mut FileRecording, path: &Path) -> Result<Option<Part>, ReportError> {
    recording
        .next_part()
        .map_err(|source| unreadable(path, source))
}

fn next(recording: &mut FileRecording, path: &Path) -> Result<Option<Snapshot>, ReportError> {
    recording
        .next_snapshot()
        .map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: RecordingError) -> ReportError {
    ReportError::Recording {
        path: path.to_owned(),
        source,
    }
}

fn warn_of_cut(recording: &FileRecording, path: &Path) {
    if let Some(offset) = recording.cut() {
        log::warn!(
            "{} ends within a window at offset {offset}: whoever wrote it was ended there; what is before it is shown",
            path.display()
        );
    }
}

fn print(text: &[u8]) -> Result<(), RunError> {
    is_read(io::stdout().lock().write_all(text)).map(drop)
}

/// Whether there is still somebody who reads; a closed pipe is a quiet end.
fn is_read(written: io::Result<()>) -> Result<bool, RunError> {
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(RunError::System {
            doing: "write to stdout",
            source,
        }),
    }
}
