//! An adaptive range coder: bytes in as many bits as they surprise.
//!
//! A byte is eight decisions down a binary tree, each with the probability that its node has learnt; a model is such a tree.
//! Probabilities are the mean of a quick and a slow estimate, so that they are soon useful and settle well.
//! G. N. N. Martin, "Range encoding", 1979; the carry is kept back as Igor Pavlov's LZMA does it.

/// The tree of one kind of byte, by node: the chance of a 0, in 65 536ths, as two estimates.
#[derive(Clone, Debug)]
pub(super) struct Model(Box<[(u16, u16); 256]>);

const QUICK: u32 = 4;
const SLOW: u32 = 7;
const EVEN: u16 = 1 << 15;
/// Bits of a probability as it is used.
const PRECISION: u32 = 12;
/// Below it the range takes in another byte.
const LOW: u32 = 1 << 24;
/// Bytes that a decoder looks ahead.
const AHEAD: usize = 5;

impl Model {
    pub(super) fn new() -> Self {
        Self(Box::new([(EVEN, EVEN); 256]))
    }

    /// Never 0 nor 1: the estimates stop short of both.
    fn chance_of_0(&self, node: usize) -> u32 {
        let (quick, slow) = self.0[node];
        (u32::from(quick) + u32::from(slow)) >> (1 + u16::BITS - PRECISION)
    }

    const fn learn(&mut self, node: usize, bit: bool) {
        let (quick, slow) = &mut self.0[node];
        if bit {
            *quick -= *quick >> QUICK;
            *slow -= *slow >> SLOW;
        } else {
            *quick += (u16::MAX - *quick) >> QUICK;
            *slow += (u16::MAX - *slow) >> SLOW;
        }
    }
}

/// Writes bytes.
#[derive(Debug)]
pub(super) struct Encoder {
    out: Vec<u8>,
    low: u64,
    range: u32,
    /// The newest byte and those of 255 behind it, which a carry can still change.
    held: u8,
    n_held: u64,
}

impl Encoder {
    pub(super) const fn new(out: Vec<u8>) -> Self {
        Self {
            out,
            low: 0,
            range: u32::MAX,
            held: 0,
            n_held: 1,
        }
    }

    pub(super) fn put(&mut self, model: &mut Model, byte: u8) {
        let mut node = 1;
        for place in (0..8).rev() {
            let bit = byte >> place & 1 == 1;
            self.put_bit(model.chance_of_0(node), bit);
            model.learn(node, bit);
            node = node << 1 | usize::from(bit);
        }
    }

    /// A byte that is as likely as any other.
    pub(super) fn put_even(&mut self, byte: u8) {
        for place in (0..8).rev() {
            self.put_bit(1 << (PRECISION - 1), byte >> place & 1 == 1);
        }
    }

    /// How long what was written is, but for what is held back.
    pub(super) const fn length(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        for _ in 0..AHEAD {
            self.shift();
        }
        self.out
    }

    fn put_bit(&mut self, chance_of_0: u32, bit: bool) {
        let bound = (self.range >> PRECISION) * chance_of_0;
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < LOW {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        let low = self.low & 0xffff_ffff;
        let carry = u8::from(self.low > 0xffff_ffff);
        if low < 0xff00_0000 || carry == 1 {
            let mut byte = self.held;
            while self.n_held > 0 {
                self.out.push(byte.wrapping_add(carry));
                byte = 0xff;
                self.n_held -= 1;
            }
            self.held = low.to_be_bytes()[4];
        }
        self.n_held += 1;
        self.low = (low & 0x00ff_ffff) << 8;
    }
}

/// Reads bytes.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    next: usize,
    range: u32,
    code: u32,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            next: 0,
            range: u32::MAX,
            code: 0,
        };
        for _ in 0..AHEAD {
            decoder.take();
        }
        decoder
    }

    /// The next byte; none once it would be made of more than there is.
    pub(super) fn byte(&mut self, model: &mut Model) -> Option<u8> {
        let mut node = 1;
        for _ in 0..8 {
            let bit = self.bit(model.chance_of_0(node));
            model.learn(node, bit);
            node = node << 1 | usize::from(bit);
        }
        (self.next <= self.bytes.len()).then_some(node.to_le_bytes()[0])
    }

    /// As [`Self::byte`], for one that was written by [`Encoder::put_even`].
    pub(super) fn even(&mut self) -> Option<u8> {
        let byte = (0..8).fold(0, |byte, _| {
            byte << 1 | u8::from(self.bit(1 << (PRECISION - 1)))
        });
        (self.next <= self.bytes.len()).then_some(byte)
    }

    fn bit(&mut self, chance_of_0: u32) -> bool {
        let bound = (self.range >> PRECISION) * chance_of_0;
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < LOW {
            self.range <<= 8;
            self.take();
        }
        bit
    }

    fn take(&mut self) {
        let byte = self.bytes.get(self.next).copied().unwrap_or_default();
        self.code = self.code << 8 | u32::from(byte);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Encoder, Model};
    use crate::recording::testing::Chance;

    fn coded(bytes: &[u8]) -> Vec<u8> {
        let mut model = Model::new();
        let mut encoder = Encoder::new(Vec::new());
        for &byte in bytes {
            encoder.put(&mut model, byte);
        }
        encoder.finish()
    }

    fn decoded(coded: &[u8], length: usize) -> Option<Vec<u8>> {
        let (mut model, mut decoder) = (Model::new(), Decoder::new(coded));
        (0..length).map(|_| decoder.byte(&mut model)).collect()
    }

    #[test]
    fn whatever_was_coded_is_decoded() {
        let mut chance = Chance::new(5);
        let any: Vec<u8> = (0..50_000)
            .map(|_| chance.next().to_le_bytes()[3])
            .collect();
        let skewed: Vec<u8> = any
            .iter()
            .map(|byte| if *byte < 250 { 255 } else { *byte })
            .collect();
        let few: Vec<u8> = any.iter().map(|byte| byte & 3).collect();
        for bytes in [
            &any[..],
            &skewed,
            &few,
            &[0; 9_000],
            &[255; 9_000],
            &[7],
            &[],
        ] {
            assert_eq!(decoded(&coded(bytes), bytes.len()).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn bytes_take_as_many_bits_as_they_surprise() {
        let mut chance = Chance::new(6);
        let few: Vec<u8> = (0..80_000)
            .map(|_| chance.next().to_le_bytes()[3] & 3)
            .collect();
        let length = coded(&few).len();
        assert!((20_000..20_600).contains(&length), "{length}");
        assert!(coded(&vec![9; 80_000]).len() < 300);
    }

    #[test]
    fn bytes_without_a_model_take_eight_bits_among_those_that_have_one() {
        let mut chance = Chance::new(8);
        let any: Vec<u8> = (0..10_000)
            .map(|_| chance.next().to_le_bytes()[3])
            .collect();
        let (mut model, mut encoder) = (Model::new(), Encoder::new(Vec::new()));
        for &byte in &any {
            encoder.put_even(byte);
            encoder.put(&mut model, 7);
        }
        let coded = encoder.finish();
        assert!((10_000..10_100).contains(&coded.len()), "{}", coded.len());
        let (mut model, mut decoder) = (Model::new(), Decoder::new(&coded));
        for &byte in &any {
            assert_eq!(decoder.even(), Some(byte));
            assert_eq!(decoder.byte(&mut model), Some(7));
        }
        assert_eq!(
            (0..9).find_map(|_| decoder.even().is_none().then_some(())),
            Some(())
        );
    }

    #[test]
    fn more_than_there_is_cannot_be_read() {
        let bytes = [1, 2, 3, 250, 251, 252];
        assert_eq!(decoded(&coded(&bytes), 40_000), None);
        assert_eq!(decoded(&[], 1), None);
    }
}
