//! The files that get each window: recordings, logs of histograms, JSON lines.

use std::{
    fs::{File, OpenOptions, metadata},
    io::{self, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{RecordError, Recorded, tell};
use crate::{
    config::{FileKind, RecordFile},
    model::sample::Timestamp,
    output::{hlog::HistogramLog, json},
    recording::{Beginning, Events, Writer, Written},
};

/// How often what was written is forced to the disk; a loss of power costs no more.
const SYNC: Duration = Duration::from_secs(1);

/// All files.
#[derive(Debug)]
pub(super) struct Files(Vec<Target>);

/// One of them.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    kind: Kind,
    synced: Duration,
}

enum Kind {
    Recording(Box<Writer<WholeFile>>),
    Log {
        file: WholeFile,
        log: Box<HistogramLog>,
        written: Written,
    },
    Lines {
        file: WholeFile,
        written: Written,
    },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recording(writer) => writer.fmt(f),
            Self::Log { file, .. } | Self::Lines { file, .. } => file.fmt(f),
        }
    }
}

impl Files {
    /// Creates them; one that is there already is left alone, unless it is a device or a pipe.
    pub(super) fn create(files: &[RecordFile], beginning: &Beginning) -> Result<Self, RecordError> {
        let targets = files.iter().map(|file| Target::create(file, beginning));
        Ok(Self(targets.collect::<Result<_, _>>()?))
    }

    pub(super) fn add(&mut self, recorded: &Recorded) -> Result<(), RecordError> {
        self.0
            .iter_mut()
            .try_for_each(|target| target.add(recorded))
    }

    /// Adds events to the recordings.
    pub(super) fn add_events(&mut self, events: &Events) -> Result<(), RecordError> {
        self.0.iter_mut().try_for_each(|target| {
            let added = match &mut target.kind {
                Kind::Recording(writer) => writer.add_events(events),
                Kind::Log { .. } | Kind::Lines { .. } => Ok(()),
            };
            added.map_err(|source| target.failed(source))
        })
    }

    pub(super) fn finish(&mut self) -> Result<(), RecordError> {
        for target in &mut self.0 {
            let synced = target.file().sync();
            synced.map_err(|source| target.failed(source))?;
            tell(&target.path, target.written());
        }
        Ok(())
    }
}

impl Target {
    fn create(file: &RecordFile, beginning: &Beginning) -> Result<Self, RecordError> {
        let create = || {
            let opened = WholeFile::create(&file.path)?;
            Ok(match file.kind {
                FileKind::Recording => Kind::Recording(Box::new(Writer::start(
                    opened,
                    beginning.clone(),
                    began_ns(beginning.at),
                )?)),
                FileKind::HistogramLog => Kind::Log {
                    written: Written::default(),
                    log: Box::default(),
                    file: opened
                        .with(HistogramLog::header(&beginning.run, beginning.at).as_bytes())?,
                },
                FileKind::JsonLines => Kind::Lines {
                    file: opened,
                    written: Written::default(),
                },
            })
        };
        let kind = create().map_err(|source| RecordError::Create {
            path: file.path.clone(),
            source,
        })?;
        Ok(Self {
            path: file.path.clone(),
            kind,
            synced: beginning.at.monotonic,
        })
    }

    fn add(&mut self, recorded: &Recorded) -> Result<(), RecordError> {
        let Recorded { window, snapshot } = recorded;
        let added = match &mut self.kind {
            Kind::Recording(writer) => writer.add(&snapshot.run, window),
            Kind::Log { file, log, written } => file.add(&log.window(snapshot), written),
            Kind::Lines { file, written } => file.add(json::encode(snapshot).as_bytes(), written),
        };
        added.map_err(|source| self.failed(source))?;
        let now = window.sample.at.monotonic;
        if now.saturating_sub(self.synced) >= SYNC {
            self.synced = now;
            self.file().sync().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn file(&self) -> &WholeFile {
        match &self.kind {
            Kind::Recording(writer) => writer.out(),
            Kind::Log { file, .. } | Kind::Lines { file, .. } => file,
        }
    }

    fn written(&self) -> Written {
        match &self.kind {
            Kind::Recording(writer) => writer.written(),
            Kind::Log { written, .. } | Kind::Lines { written, .. } => *written,
        }
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::Write {
            path: self.path.clone(),
            windows: self.written().windows,
            source,
        }
    }
}

/// When a run began, which tells its recordings from those of others.
pub(super) fn began_ns(at: Timestamp) -> u64 {
    u64::try_from(at.wall.as_nanos()).unwrap_or(u64::MAX)
}

/// A file that gets something whole or not at all.
#[derive(Debug)]
pub(super) struct WholeFile {
    file: File,
    length: u64,
    is_regular: bool,
}

impl WholeFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let is_regular = metadata(path).map_or(true, |metadata| metadata.is_file());
        let mut options = OpenOptions::new();
        options.write(true).create_new(is_regular);
        Ok(Self {
            file: options.open(path)?,
            length: 0,
            is_regular,
        })
    }

    fn with(mut self, head: &[u8]) -> io::Result<Self> {
        self.write_all(head)?;
        Ok(self)
    }

    fn add(&mut self, bytes: &[u8], written: &mut Written) -> io::Result<()> {
        self.write_all(bytes)?;
        written.windows += 1;
        written.bytes = self.length;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_regular {
            self.file.sync_data()
        } else {
            Ok(())
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// What could be written of `bytes` is taken back if not all could.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_ok() {
            self.length += bytes.len() as u64;
        } else if self.is_regular {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, sync::Arc};

    use super::{Files, Recorded};
    use crate::{
        config::{FileKind, RecordFile},
        model::ledger::Ledger,
        output::json,
        record::RecordError,
        recording::{
            Recording,
            testing::{beginning, busy},
        },
    };

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("ipvs-observer-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn file(folder: &std::path::Path, name: &str, kind: FileKind) -> RecordFile {
        RecordFile {
            path: folder.join(name),
            kind,
        }
    }

    /// Three windows of one run.
    fn run() -> impl Iterator<Item = Recorded> {
        let beginning = beginning(3);
        let mut ledger = Ledger::new(
            Arc::clone(&beginning.run),
            beginning.at,
            beginning.namespaces,
        );
        busy(3).into_iter().map(move |window| {
            let snapshot = ledger.advance(
                window.sample.clone(),
                window.is_final,
                window.missed_windows,
            );
            Recorded { window, snapshot }
        })
    }

    #[test]
    fn files_of_one_run_say_the_same() {
        let folder = folder("files");
        let files = [
            file(&folder, "run.ivo", FileKind::Recording),
            file(&folder, "run.ndjson", FileKind::JsonLines),
            file(&folder, "run.hlog", FileKind::HistogramLog),
        ];
        let mut output = Files::create(&files, &beginning(3)).unwrap();
        for recorded in run() {
            output.add(&recorded).unwrap();
        }
        output.finish().unwrap();
        let mut recording = Recording::open(fs::File::open(&files[0].path).unwrap()).unwrap();
        let mut replayed = String::new();
        while let Some(snapshot) = recording.next_snapshot().unwrap() {
            replayed += &json::encode(&snapshot);
        }
        assert_eq!(replayed, fs::read_to_string(&files[1].path).unwrap());
        let log = fs::read_to_string(&files[2].path).unwrap();
        // Six measures of one service and three servers in three windows.
        assert_eq!(
            log.lines()
                .filter(|line| line.starts_with("Tag=TCP:192.0.0.0:443"))
                .count(),
            72
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let folder = folder("there");
        let there = file(&folder, "run.ivo", FileKind::Recording);
        fs::write(&there.path, "mine").unwrap();
        let error = Files::create(std::slice::from_ref(&there), &beginning(1)).unwrap_err();
        assert!(error.to_string().contains("there already"), "{error}");
        assert_eq!(fs::read(&there.path).unwrap(), b"mine");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_is_told_with_what_was_kept() {
        let folder = folder("full");
        let lines = file(&folder, "run.ndjson", FileKind::JsonLines);
        std::os::unix::fs::symlink("/dev/full", &lines.path).unwrap();
        let mut output = Files::create(&[lines], &beginning(3)).unwrap();
        let error = output.add(&run().next().unwrap()).unwrap_err();
        assert!(
            matches!(error, RecordError::Write { windows: 0, .. }),
            "{error}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
