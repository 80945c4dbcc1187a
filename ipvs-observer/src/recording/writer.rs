//! Writes a recording, a whole frame at a time.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{
    Beginning, Window,
    columns::{Before, Flaw, Packer},
    describe::Description,
    events::{Events, events},
    frame::{EVENTS, START, WINDOW, frame, head},
    histogram::Cut,
    names,
    shape::{start, window},
};
use crate::model::snapshot::Run;

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Windows.
    pub windows: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Histograms that have a value.
    pub histograms: u64,
    /// Bytes for them, of those above.
    pub histogram_bytes: u64,
    /// Events of single connections.
    pub events: u64,
    /// Bytes for them, of those above.
    pub event_bytes: u64,
}

impl Written {
    /// Bytes that a histogram takes, with two decimals; none without any.
    pub fn bytes_per_histogram(&self) -> Option<f64> {
        ratio(self.histogram_bytes, self.histograms)
    }

    /// Bytes that an event takes; none without any.
    pub fn bytes_per_event(&self) -> Option<f64> {
        ratio(self.event_bytes, self.events)
    }

    /// With what was written to another file.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            windows: self.windows + other.windows,
            bytes: self.bytes + other.bytes,
            histograms: self.histograms + other.histograms,
            histogram_bytes: self.histogram_bytes + other.histogram_bytes,
            events: self.events + other.events,
            event_bytes: self.event_bytes + other.event_bytes,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with two decimals")]
fn ratio(bytes: u64, things: u64) -> Option<f64> {
    (things > 0).then(|| bytes as f64 / things as f64)
}

/// A recording that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    began_ns: u64,
    /// What would begin a file after the newest window.
    beginning: Beginning,
    before: Before,
    /// The same of events, which come at other times.
    events_before: Before,
    cut: Cut,
    written: Written,
}

impl<W: Write> Writer<W> {
    /// Writes what there is before the first window of the run that began at `began_ns` since 1970.
    pub fn start(out: W, beginning: Beginning, began_ns: u64) -> io::Result<Self> {
        let mut writer = Self {
            out,
            began_ns,
            beginning,
            before: Before::nothing(names::COLUMNS),
            events_before: Before::nothing(names::COLUMNS),
            cut: Cut::default(),
            written: Written::default(),
        };
        writer.put(&head())?;
        writer.put_start()?;
        Ok(writer)
    }

    /// Adds a window, measured as `run` says.
    pub fn add(&mut self, run: &Arc<Run>, new: &Window) -> io::Result<()> {
        if *self.beginning.run != **run {
            self.beginning.run = Arc::clone(run);
            self.put_start()?;
        }
        let mut packer = Packer::new();
        window(&mut packer, new, &mut self.cut).map_err(unfit)?;
        let packed = packer.pack(&mut self.before);
        self.put(&frame(WINDOW, &packed.bytes)?)?;
        self.beginning.at = new.sample.at;
        self.beginning.namespaces.clone_from(&new.sample.namespaces);
        self.written.windows += 1;
        self.written.histograms = self.cut.histograms;
        self.written.histogram_bytes += packed.histogram_bytes as u64;
        Ok(())
    }

    /// Adds events of single connections.
    pub fn add_events(&mut self, new: &Events) -> io::Result<()> {
        let mut packer = Packer::new();
        events(&mut packer, new).map_err(unfit)?;
        let frame = frame(EVENTS, &packer.pack(&mut self.events_before).bytes)?;
        self.put(&frame)?;
        self.written.events += new.events.len() as u64;
        self.written.event_bytes += frame.len() as u64;
        Ok(())
    }

    /// What was written so far.
    pub const fn written(&self) -> Written {
        self.written
    }

    /// Where it is written to.
    pub const fn out(&self) -> &W {
        &self.out
    }

    /// Ends this file; gives what another begins with that goes on here.
    pub fn into_beginning(self) -> Beginning {
        self.beginning
    }

    fn put_start(&mut self) -> io::Result<()> {
        self.before = Before::nothing(names::COLUMNS);
        self.events_before = Before::nothing(names::COLUMNS);
        let description = Description::of(&self.beginning, self.began_ns).encode();
        let length = u32::try_from(description.len()).map_err(io::Error::other)?;
        let mut packer = Packer::new();
        start(&mut packer, self.beginning.at, &self.beginning.namespaces).map_err(unfit)?;
        let packed = packer.pack(&mut self.before);
        let parts = [&length.to_le_bytes(), &description[..], &packed.bytes];
        self.put(&frame(START, &parts.concat())?)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn unfit(flaw: Flaw) -> io::Error {
    io::Error::other(flaw)
}
