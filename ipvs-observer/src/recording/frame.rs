//! Frames: lengths and checksums, and what is left of a file whose end is missing.

use std::io::{self, Read};

use super::{RecordingError, VERSION};

/// As PNG has it: a byte that text does not have, and line ends that a transfer as text would change.
pub(super) const MAGIC: [u8; 8] = *b"\x89IVO\r\n\x1a\n";
pub(super) const START: u8 = 1;
pub(super) const WINDOW: u8 = 2;
pub(super) const EVENTS: u8 = 3;
/// Kind, length, checksum.
const HEAD: usize = 9;

/// One frame of a file.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) kind: u8,
    pub(super) contents: Vec<u8>,
}

/// The head of a file.
pub(super) fn head() -> Vec<u8> {
    let version = VERSION.to_le_bytes();
    MAGIC.into_iter().chain(version).collect()
}

/// A frame ready to be written at once.
pub(super) fn frame(kind: u8, contents: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(contents.len())
        .map_err(|_longer| io::Error::other("a window is larger than a frame can be"))?;
    let mut bytes = Vec::with_capacity(HEAD + contents.len());
    bytes.push(kind);
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum(kind, length, contents).to_le_bytes());
    bytes.extend(contents);
    Ok(bytes)
}

fn checksum(kind: u8, length: u32, contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_le_bytes());
    hasher.update(contents);
    hasher.finalize()
}

/// Reads a file frame by frame.
#[derive(Debug)]
pub(super) struct Frames<R> {
    file: R,
    offset: u64,
    /// Where what cannot be read any more begins, once that is known.
    pub(super) cut: Option<u64>,
}

impl<R: Read> Frames<R> {
    /// Checks the head of the file.
    pub(super) fn open(file: R) -> Result<Self, RecordingError> {
        let mut frames = Self {
            file,
            offset: 0,
            cut: None,
        };
        let head = frames.read(10)?;
        if !head.starts_with(&MAGIC[..head.len().min(MAGIC.len())]) {
            return Err(RecordingError::Foreign);
        }
        let Some(version) = head.get(MAGIC.len()..).and_then(<[u8]>::first_chunk) else {
            return Err(RecordingError::Empty {
                offset: frames.offset,
            });
        };
        match u16::from_le_bytes(*version) {
            0 => Err(RecordingError::Foreign),
            version if version > VERSION => Err(RecordingError::Newer { version }),
            _ => Ok(frames),
        }
    }

    /// Where the next frame begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; none at the end, and where the file ends within a frame or in one that was not written out.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, RecordingError> {
        let offset = self.offset;
        let head = self.read(HEAD as u64)?;
        if head.is_empty() {
            return Ok(None);
        }
        let Some(([kind, length @ .., _, _, _, _], checksum)) =
            head.first_chunk::<HEAD>().map(|head| {
                (
                    head,
                    u32::from_le_bytes([head[5], head[6], head[7], head[8]]),
                )
            })
        else {
            self.cut = Some(offset);
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        let contents = self.read(length.into())?;
        let is_whole = contents.len() as u64 == u64::from(length);
        if is_whole && self::checksum(*kind, length, &contents) == checksum {
            return Ok(Some(Frame {
                offset,
                kind: *kind,
                contents,
            }));
        }
        // After a loss of power the end of a file can be anything; what is followed by more is damaged.
        if self.read(1)?.is_empty() || *head == [0; HEAD] {
            self.cut = Some(offset);
            return Ok(None);
        }
        Err(RecordingError::Damaged {
            offset,
            what: "its checksum does not fit",
        })
    }

    /// Up to so many bytes.
    fn read(&mut self, length: u64) -> Result<Vec<u8>, RecordingError> {
        let mut bytes = Vec::new();
        let mut part = self.file.by_ref().take(length);
        let offset = self.offset;
        part.read_to_end(&mut bytes)
            .map_err(|source| RecordingError::Read { offset, source })?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

/// The same file with some bytes of the contents of a frame changed, and the checksum made to fit.
#[cfg(test)]
pub(super) fn with_changed_contents(file: &[u8], mut chance: impl FnMut() -> u64) -> Vec<u8> {
    let mut frames = Frames::open(file).unwrap();
    let mut all = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        all.push(frame);
    }
    let chosen = usize::try_from(chance()).unwrap() % all.len();
    for _ in 0..=chance() % 3 {
        let contents = &mut all[chosen].contents;
        let place = usize::try_from(chance()).unwrap() % contents.len();
        contents[place] = chance().to_le_bytes()[4];
    }
    let mut out = head();
    for changed in all {
        out.extend(frame(changed.kind, &changed.contents).unwrap());
    }
    out
}
