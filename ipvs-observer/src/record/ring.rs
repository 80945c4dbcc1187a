//! The flight recorder: the last minutes of a recording, in segments that are dropped one by one.
//!
//! Each segment is a recording of its own, so that a crash leaves something to read; joined they are one, which is what a
//! dump is. They lie in `FILE.ring/`, and that folder goes with the end of the run.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    RecordError, Recorded,
    files::{WholeFile, began_ns},
    tell,
};
use crate::{
    model::{sample::Timestamp, snapshot::Run},
    recording::{self, Beginning, Events, Writer, Written},
};

/// A ring is as many segments, and the one that is being written.
const SEGMENTS: u32 = 8;

/// The newest minutes.
#[derive(Debug)]
pub(super) struct Ring {
    /// Where they are written at the end.
    path: PathBuf,
    folder: PathBuf,
    length: Duration,
    began_ns: u64,
    /// Those that are complete, the oldest first.
    complete: VecDeque<Segment>,
    open: Option<Open>,
    next: u64,
    windows: u64,
    /// The end of the newest window.
    newest: Timestamp,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// On the monotonic clock.
    end: Duration,
    written: Written,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    begin: Duration,
    writer: Writer<WholeFile>,
}

impl Ring {
    pub(super) fn create(
        path: PathBuf,
        length: Duration,
        beginning: Beginning,
    ) -> Result<Self, RecordError> {
        let mut name = path.clone().into_os_string();
        name.push(".ring");
        let folder = PathBuf::from(name);
        let created = if path.exists() {
            Err(io::Error::from(io::ErrorKind::AlreadyExists))
        } else {
            fs::create_dir(&folder)
        };
        created.map_err(|source| RecordError::Create {
            path: if path.exists() {
                path.clone()
            } else {
                folder.clone()
            },
            source,
        })?;
        let mut ring = Self {
            path,
            folder,
            length,
            began_ns: began_ns(beginning.at),
            complete: VecDeque::new(),
            open: None,
            next: 0,
            windows: 0,
            newest: beginning.at,
        };
        ring.open(beginning).map_err(|source| ring.failed(source))?;
        Ok(ring)
    }

    pub(super) fn add(&mut self, recorded: &Recorded) -> Result<(), RecordError> {
        let at = recorded.window.sample.at;
        self.put(&recorded.snapshot.run, recorded, at)
            .map_err(|source| self.failed(source))
    }

    /// Adds events, to the segment of the window that is not there yet.
    pub(super) fn add_events(&mut self, events: &Events) -> Result<(), RecordError> {
        let added = match &mut self.open {
            Some(open) => open.writer.add_events(events),
            None => Ok(()),
        };
        added.map_err(|source| self.failed(source))
    }

    /// Writes what there is to a file with the time in its name.
    pub(super) fn dump(&mut self, why: &str) -> Result<(), RecordError> {
        let time = UNIX_EPOCH + self.newest.wall;
        let time = humantime::format_rfc3339_millis(time)
            .to_string()
            .replace([':', '-'], "");
        let path = self.path.with_extension(format!("{time}.ivo"));
        let written = self
            .write_out(&path)
            .map_err(|source| RecordError::Create {
                path: path.clone(),
                source,
            })?;
        log::warn!("the last minutes are written out: {why}");
        tell(&path, written);
        Ok(())
    }

    /// Writes what there is to the file that was named, and leaves nothing else behind.
    pub(super) fn finish(&mut self) -> Result<(), RecordError> {
        let path = self.path.clone();
        let written = self
            .write_out(&path)
            .map_err(|source| RecordError::Create {
                path: path.clone(),
                source,
            })?;
        tell(&path, written);
        fs::remove_dir_all(&self.folder).map_err(|source| self.failed(source))
    }

    fn open(&mut self, beginning: Beginning) -> io::Result<()> {
        let path = self.folder.join(format!("{:06}.ivo", self.next));
        self.next += 1;
        let begin = beginning.at.monotonic;
        let file = WholeFile::create(&path)?;
        self.open = Some(Open {
            path,
            begin,
            writer: Writer::start(file, beginning, self.began_ns)?,
        });
        Ok(())
    }

    fn put(&mut self, run: &Arc<Run>, recorded: &Recorded, at: Timestamp) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.writer.add(run, &recorded.window)?;
        self.windows += 1;
        self.newest = at;
        if at.monotonic.saturating_sub(open.begin) < self.length / SEGMENTS {
            return Ok(());
        }
        if let Some(Open { path, writer, .. }) = self.open.take() {
            writer.out().sync()?;
            self.complete.push_back(Segment {
                path,
                end: at.monotonic,
                written: writer.written(),
            });
            self.open(writer.into_beginning())?;
        }
        while let Some(oldest) = self.complete.front() {
            if at.monotonic.saturating_sub(oldest.end) < self.length {
                break;
            }
            fs::remove_file(&oldest.path)?;
            self.complete.pop_front();
        }
        Ok(())
    }

    fn write_out(&self, path: &Path) -> io::Result<Written> {
        let mut out = WholeFile::create(path)?;
        let mut total = Written::default();
        let open = self
            .open
            .as_ref()
            .map(|open| (&open.path, open.writer.written()));
        let complete = self
            .complete
            .iter()
            .map(|segment| (&segment.path, segment.written));
        for (index, (segment, written)) in complete.chain(open).enumerate() {
            let mut bytes = Vec::new();
            File::open(segment)?.read_to_end(&mut bytes)?;
            let skipped = if index == 0 { 0 } else { recording::HEAD_BYTES };
            out.write_all(&bytes[skipped.min(bytes.len())..])?;
            total = total.and(Written {
                bytes: (bytes.len() - skipped.min(bytes.len())) as u64,
                ..written
            });
        }
        out.sync()?;
        Ok(total)
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::Write {
            path: self.folder.clone(),
            windows: self.windows,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Duration};

    use super::Ring;
    use crate::{
        model::ledger::Ledger,
        record::Recorded,
        recording::{
            Recording,
            testing::{beginning, busy},
        },
    };

    #[test]
    fn the_last_minutes_are_kept_and_joined() {
        let folder =
            std::env::temp_dir().join(format!("ipvs-observer-ring-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run.ivo");
        let start = beginning(3);
        let mut ledger = Ledger::new(Arc::clone(&start.run), start.at, start.namespaces.clone());
        let mut ring = Ring::create(path.clone(), Duration::from_secs(8), start).unwrap();
        let mut ends = Vec::new();
        for window in busy(30) {
            let snapshot = ledger.advance(window.sample.clone(), window.is_final, 0);
            ends.push(snapshot.at);
            ring.add(&Recorded { window, snapshot }).unwrap();
            let segments = fs::read_dir(folder.join("run.ivo.ring")).unwrap().count();
            assert!(segments <= 9, "{segments}");
        }
        ring.dump("a test").unwrap();
        ring.finish().unwrap();
        assert!(!folder.join("run.ivo.ring").exists());
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            let mut recording = Recording::open(fs::File::open(file).unwrap()).unwrap();
            let mut kept = Vec::new();
            while let Some(snapshot) = recording.next_snapshot().unwrap() {
                assert_eq!(snapshot.window, Duration::from_secs(1));
                kept.push(snapshot.at);
            }
            assert_eq!(kept, ends[22..]);
            assert_eq!(recording.cut(), None);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
