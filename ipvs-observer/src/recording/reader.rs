//! Reads a recording: the snapshots of its run, one after the other.

use std::{io::Read, sync::Arc};

use super::{
    RecordingError, Window,
    columns::{Before, Flaw, Unpacker},
    describe::Description,
    events::{self, Events, EventsAsked},
    frame::{EVENTS, Frame, Frames, START, WINDOW},
    histogram::Cut,
    names::Column,
    shape::{blank_start, blank_window, start, window},
};
use crate::model::{
    filter::{Selection, ServerFilter},
    ledger::Ledger,
    sample::{Namespaces, Timestamp},
    snapshot::{Run, Snapshot},
};

/// What comes next in a recording.
#[derive(Debug)]
pub enum Part {
    /// A window.
    Window(Box<Snapshot>),
    /// Events of single connections.
    Events(Events),
}

/// A recording that is being read.
#[derive(Debug)]
pub struct Recording<R> {
    frames: Frames<R>,
    places: Vec<Option<Column>>,
    before: Before,
    /// The same of events, which come at other times.
    events_before: Before,
    events: Option<EventsAsked>,
    cut: Cut,
    ledger: Ledger,
    run: Arc<Run>,
    began_ns: u64,
    began: Timestamp,
    selection: Selection,
}

impl<R: Read> Recording<R> {
    /// Reads up to the first window.
    pub fn open(file: R) -> Result<Self, RecordingError> {
        let mut frames = Frames::open(file)?;
        let first = loop {
            match frames.next()? {
                Some(frame) if frame.kind == START => break frame,
                Some(Frame {
                    offset,
                    kind: WINDOW,
                    ..
                }) => return Err(damaged(offset)("there is a window before any start")),
                Some(_) => {}
                None => {
                    let offset = frames.cut.unwrap_or(frames.offset());
                    return Err(RecordingError::Empty { offset });
                }
            }
        };
        let begun = begin(&first.contents).map_err(damaged(first.offset))?;
        let run = Arc::new(begun.run);
        let ledger = Ledger::new(Arc::clone(&run), begun.at, begun.namespaces);
        let mut selection = Selection::default();
        for text in &begun.description.real_servers {
            let filter = ServerFilter::parse(text)
                .map_err(|_error| damaged(first.offset)("a real server cannot be read"))?;
            selection.servers.push(filter);
        }
        Ok(Self {
            frames,
            events_before: Before::nothing(begun.places.len()),
            places: begun.places,
            before: begun.before,
            events: begun.events,
            cut: Cut::default(),
            ledger,
            run,
            began_ns: begun.description.began_ns,
            began: begun.at,
            selection,
        })
    }

    /// When its first window began.
    pub const fn began(&self) -> Timestamp {
        self.began
    }

    /// Facts of the run, as of the newest window.
    pub const fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Where what cannot be read begins, once the end is reached: the writer was ended within a frame.
    pub const fn cut(&self) -> Option<u64> {
        self.frames.cut
    }

    /// Which events of single connections it has, if any.
    pub const fn events(&self) -> Option<&EventsAsked> {
        self.events.as_ref()
    }

    /// The next window; none at the end.
    pub fn next_snapshot(&mut self) -> Result<Option<Snapshot>, RecordingError> {
        while let Some(part) = self.next_part()? {
            if let Part::Window(snapshot) = part {
                return Ok(Some(*snapshot));
            }
        }
        Ok(None)
    }

    /// What comes next; none at the end.
    pub fn next_part(&mut self) -> Result<Option<Part>, RecordingError> {
        while let Some(frame) = self.frames.next()? {
            let flawed = damaged(frame.offset);
            match frame.kind {
                START => self.go_on(&frame.contents).map_err(flawed)?,
                WINDOW => {
                    let window = self.window(&frame.contents).map_err(flawed)?;
                    let Window {
                        sample,
                        is_final,
                        missed_windows,
                    } = window;
                    let mut snapshot = self.ledger.advance(sample, is_final, missed_windows);
                    snapshot.select(&self.selection);
                    return Ok(Some(Part::Window(Box::new(snapshot))));
                }
                EVENTS => {
                    let events = self.told(&frame.contents).map_err(flawed)?;
                    return Ok(Some(Part::Events(events)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn window(&mut self, contents: &[u8]) -> Result<Window, Flaw> {
        let mut columns = Unpacker::unpack(contents, &self.places, &mut self.before)?;
        let window = window(&mut columns, &blank_window(), &mut self.cut)?;
        columns.finish()?;
        Ok(window)
    }

    fn told(&mut self, contents: &[u8]) -> Result<Events, Flaw> {
        let mut columns = Unpacker::unpack(contents, &self.places, &mut self.events_before)?;
        let events = events::events(&mut columns, &Events::default())?;
        columns.finish()?;
        Ok(events)
    }

    /// The same run goes on, in another part of the file or with other probes.
    fn go_on(&mut self, contents: &[u8]) -> Result<(), Flaw> {
        let begun = begin(contents)?;
        if begun.description.began_ns != self.began_ns {
            return Err("another run begins here");
        }
        self.events_before = Before::nothing(begun.places.len());
        self.places = begun.places;
        self.before = begun.before;
        if begun.run != *self.run {
            self.run = Arc::new(begun.run);
            self.ledger.go_on_as(Arc::clone(&self.run));
        }
        Ok(())
    }
}

struct Begun {
    description: Description,
    run: Run,
    places: Vec<Option<Column>>,
    at: Timestamp,
    namespaces: Namespaces,
    before: Before,
    events: Option<EventsAsked>,
}

fn begin(contents: &[u8]) -> Result<Begun, Flaw> {
    let split = contents.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    let (description, columns) = split.ok_or("the frame ends within its description")?;
    let description = Description::decode(description)?;
    let places = description.places();
    let mut before = Before::nothing(places.len());
    let mut columns = Unpacker::unpack(columns, &places, &mut before)?;
    let (at, namespaces) = blank_start();
    let (at, namespaces) = start(&mut columns, at, &namespaces)?;
    columns.finish()?;
    Ok(Begun {
        run: description.run()?,
        events: description.events_asked(),
        description,
        places,
        at,
        namespaces,
        before,
    })
}

const fn damaged(offset: u64) -> impl Fn(&'static str) -> RecordingError {
    move |what| RecordingError::Damaged { offset, what }
}
