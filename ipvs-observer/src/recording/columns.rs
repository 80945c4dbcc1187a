//! Columns of integers: what a frame of a recording holds, packed.
//!
//! Values of one kind lie together, and the bytes of one significance of all of them: each of these planes has a model of
//! its own, which goes on learning from frame to frame. A column is written as it is, against the same column of the frame
//! before, or each value against the one before it. What a value means is `shape`'s affair.
//!
//! ```text
//!  columns = length of what follows, number of columns, column…, coded planes of all
//!  column  = numbers passed over since the column before, values, coding + 4 × planes + 64 × (even > 0), even if it is > 0
//! ```
//!
//! The bytes of the `even` lowest planes are as likely as any other and have no model.

use std::mem;

use super::{
    entropy::{Decoder, Encoder, Model},
    names::{self, Column},
};

/// Values of one frame: those of 100 000 servers are fewer.
const MOST_VALUES: usize = 1 << 24;
/// The sums of so many of these cannot overflow that a recording cannot hold them.
pub(super) const MOST: u64 = 1 << 40;

/// What is wrong with the contents of a frame.
pub(super) type Flaw = &'static str;

/// One walk over what a frame holds: it writes what it is given, or reads and ignores what it is given.
pub(super) trait Walk {
    /// Passes a value.
    fn number(&mut self, column: Column, value: u64) -> Result<u64, Flaw>;

    /// Passes a number of things, which is never so large that sums of them overflow.
    fn count(&mut self, column: Column, value: u64) -> Result<u64, Flaw> {
        let value = self.number(column, value)?;
        if value < MOST {
            Ok(value)
        } else {
            Err("a count is larger than any can be")
        }
    }
}

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    /// The difference to the same place in the frame before, if both have as many.
    Previous,
    /// The difference to the value before.
    Within,
}

/// What the frames before have left: values and models of each column, by its number in the file.
#[derive(Debug)]
pub(super) struct Before(Vec<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    values: Vec<u64>,
    models: Vec<Model>,
    /// Whether the values are of the frame that is being read.
    is_new: bool,
}

impl Before {
    /// Nothing, in a file with so many columns.
    pub(super) fn nothing(columns: usize) -> Self {
        Self(vec![Known::default(); columns])
    }
}

/// Collects the values of one frame.
#[derive(Debug)]
pub(super) struct Packer {
    columns: Vec<Vec<u64>>,
}

/// A packed frame.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Those of columns of histograms.
    pub(super) histogram_bytes: usize,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self {
            columns: vec![Vec::new(); names::COLUMNS],
        }
    }

    /// Packs what was collected, and keeps it as what was `before` the next frame.
    pub(super) fn pack(mut self, before: &mut Before) -> Packed {
        let mut head = Vec::new();
        let filled = self.columns.iter().filter(|values| !values.is_empty());
        put_varint(&mut head, filled.count());
        let mut coded = Vec::new();
        let mut next = 0;
        for (index, column) in names::all().enumerate() {
            let values = mem::take(&mut self.columns[index]);
            let known = &mut before.0[index];
            if values.is_empty() {
                known.values.clear();
                continue;
            }
            let column = Coded::new(&values, column, &known.values);
            put_varint(&mut head, index - next);
            put_varint(&mut head, values.len());
            column.put_head(&mut head);
            next = index + 1;
            coded.push((index, column));
            known.values = values;
        }
        let mut bytes = Vec::new();
        put_varint(&mut bytes, head.len());
        bytes.extend(head);
        let mut encoder = Encoder::new(bytes);
        let mut histogram_bytes = 0;
        for (index, column) in coded {
            let start = encoder.length();
            column.put(&mut encoder, &mut before.0[index].models);
            if names::is_of_histograms(index) {
                histogram_bytes += encoder.length() - start;
            }
        }
        Packed {
            bytes: encoder.finish(),
            histogram_bytes,
        }
    }
}

impl Walk for Packer {
    fn number(&mut self, column: Column, value: u64) -> Result<u64, Flaw> {
        self.columns[column.index()].push(value);
        Ok(value)
    }
}

/// A column as it is written.
struct Coded {
    coding: Coding,
    planes: u8,
    /// Those of them without a model.
    even: u8,
    values: Vec<u64>,
}

impl Coded {
    fn new(values: &[u64], column: Column, before: &[u64]) -> Self {
        let coding = match column.coding() {
            Coding::Previous if before.len() != values.len() => Coding::Plain,
            coding @ (Coding::Plain | Coding::Previous | Coding::Within) => coding,
        };
        let differences = |bases: &mut dyn Iterator<Item = u64>| -> Vec<u64> {
            let pairs = values.iter().zip(bases);
            pairs
                .map(|(value, base)| difference(*value, base))
                .collect()
        };
        let values: Vec<u64> = match coding {
            Coding::Plain => values.to_vec(),
            Coding::Previous => differences(&mut before.iter().copied()),
            Coding::Within => differences(&mut [0].into_iter().chain(values.iter().copied())),
        };
        let largest = values.iter().copied().max().unwrap_or_default();
        let planes = largest.bit_width().div_ceil(8).to_le_bytes()[0];
        Self {
            coding,
            planes,
            even: column.even_planes().min(planes),
            values,
        }
    }

    fn put_head(&self, head: &mut Vec<u8>) {
        let has_even = u8::from(self.even > 0);
        head.push(self.coding as u8 | self.planes << 2 | has_even << 6);
        if self.even > 0 {
            head.push(self.even);
        }
    }

    fn put(&self, encoder: &mut Encoder, models: &mut Vec<Model>) {
        for plane in 0..usize::from(self.even) {
            for value in &self.values {
                encoder.put_even(value.to_le_bytes()[plane]);
            }
        }
        for plane in usize::from(self.even)..usize::from(self.planes) {
            let model = model(models, plane);
            for value in &self.values {
                encoder.put(model, value.to_le_bytes()[plane]);
            }
        }
    }
}

fn model(models: &mut Vec<Model>, plane: usize) -> &mut Model {
    while models.len() <= plane {
        models.push(Model::new());
    }
    &mut models[plane]
}

/// Hands out the values of one frame.
#[derive(Debug)]
pub(super) struct Unpacker {
    columns: Vec<Vec<u64>>,
    next: Vec<usize>,
    /// Which columns the file has; others are 0 wherever they are asked for.
    is_known: Vec<bool>,
    /// How often that can be: the things that lack a value have others.
    blanks: usize,
}

impl Unpacker {
    /// `places` has the column of each number that the file uses; none for those that this program does not know.
    pub(super) fn unpack(
        bytes: &[u8],
        places: &[Option<Column>],
        before: &mut Before,
    ) -> Result<Self, Flaw> {
        let mut columns = vec![Vec::new(); names::COLUMNS];
        let mut is_known = vec![false; names::COLUMNS];
        for column in places.iter().flatten() {
            is_known[column.index()] = true;
        }
        let mut bytes = bytes;
        let head_length = varint(&mut bytes)?;
        let mut head = take(&mut bytes, head_length)?;
        let mut decoder = Decoder::new(bytes);
        let announced = announced(&mut head, places.len())?;
        for known in &mut before.0 {
            known.is_new = false;
        }
        for Announced {
            number,
            length,
            coding,
            planes,
            even,
        } in announced
        {
            let known = &mut before.0[number];
            let mut values = vec![0_u64; length];
            for plane in 0..planes {
                let model = model(&mut known.models, plane.into());
                for value in &mut values {
                    let byte = if plane < even {
                        decoder.even()
                    } else {
                        decoder.byte(model)
                    };
                    let byte = byte.ok_or("the frame ends within a column")?;
                    *value |= u64::from(byte) << (8 * plane);
                }
            }
            decode(&mut values, coding, &known.values)?;
            if let Some(column) = places[number] {
                columns[column.index()].clone_from(&values);
            }
            known.values = values;
            known.is_new = true;
        }
        for known in before.0.iter_mut().filter(|known| !known.is_new) {
            known.values.clear();
        }
        let values: usize = columns.iter().map(Vec::len).sum();
        Ok(Self {
            next: vec![0; columns.len()],
            blanks: (values + 1) * names::COLUMNS,
            columns,
            is_known,
        })
    }

    /// Says whether something was left over.
    pub(super) fn finish(&self) -> Result<(), Flaw> {
        let mut pairs = self.columns.iter().zip(&self.next);
        if pairs.all(|(values, next)| values.len() == *next) {
            Ok(())
        } else {
            Err("a column has more values than things have them")
        }
    }
}

impl Walk for Unpacker {
    fn number(&mut self, column: Column, _: u64) -> Result<u64, Flaw> {
        let index = column.index();
        if !self.is_known[index] {
            let left = self.blanks.checked_sub(1);
            self.blanks = left.ok_or("there are more things than values")?;
            return Ok(0);
        }
        let value = self.columns[index].get(self.next[index]);
        self.next[index] += 1;
        value
            .copied()
            .ok_or("a column has fewer values than things have them")
    }
}

/// A column as the head of a frame announces it.
struct Announced {
    number: usize,
    length: usize,
    coding: u8,
    planes: u8,
    even: u8,
}

fn announced(head: &mut &[u8], columns: usize) -> Result<Vec<Announced>, Flaw> {
    let mut announced: Vec<Announced> = Vec::new();
    let mut total = 0_usize;
    for _ in 0..varint(head)? {
        let next = announced.last().map_or(0, |last| last.number + 1);
        let number = next.saturating_add(varint(head)?);
        let length = varint(head)?;
        let coding = byte(head)?;
        let column = Announced {
            number,
            length,
            coding: coding & 3,
            planes: coding >> 2 & 0xf,
            even: if coding & 64 == 0 { 0 } else { byte(head)? },
        };
        if column.number >= columns || column.planes > 8 || coding & 128 != 0 {
            return Err("a column is announced that there cannot be");
        }
        total = total.saturating_add(column.length);
        if total > MOST_VALUES {
            return Err("there are more values than a frame can have");
        }
        announced.push(column);
    }
    if head.is_empty() {
        Ok(announced)
    } else {
        Err("there is more than the columns that were announced")
    }
}

fn decode(values: &mut [u64], coding: u8, before: &[u64]) -> Result<(), Flaw> {
    match coding {
        0 => {}
        1 if before.len() == values.len() => {
            for (value, base) in values.iter_mut().zip(before) {
                *value = sum(*base, *value);
            }
        }
        1 => return Err("a column refers to another in the frame before"),
        2 => {
            let mut base = 0;
            for value in values {
                base = sum(base, *value);
                *value = base;
            }
        }
        _ => return Err("a column is coded in no known way"),
    }
    Ok(())
}

/// `value - base` with small numbers for small differences of either sign.
pub(super) const fn difference(value: u64, base: u64) -> u64 {
    let difference = value.wrapping_sub(base).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

/// The value whose [`difference`] to `base` is `difference`.
pub(super) const fn sum(base: u64, difference: u64) -> u64 {
    let signed = (difference >> 1).cast_signed() ^ -((difference & 1).cast_signed());
    base.wrapping_add(signed.cast_unsigned())
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn varint(bytes: &mut &[u8]) -> Result<usize, Flaw> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(value).map_err(|_wider| "a length is too large");
        }
    }
    Err("a length is too large")
}

fn byte(bytes: &mut &[u8]) -> Result<u8, Flaw> {
    Ok(take(bytes, 1)?[0])
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Flaw> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or("the frame ends within a column")?;
    *bytes = rest;
    Ok(taken)
}
