//! Bytes that are put into a blob one after the other, by whole words.

use super::words::{Words, load_tail, load_u64};

/// Writes on from some place; see the module.
pub(super) struct Pen<'a> {
    w: Words<'a>,
    /// The word that is next.
    index: usize,
    /// What is to stand in it so far; the rest is zeros.
    word: u64,
    /// How many bytes that is, under eight.
    held: usize,
}

impl<'a> Pen<'a> {
    /// Writes from `offset` on, a multiple of four.
    pub(super) fn new(w: Words<'a>, offset: usize) -> Self {
        let held = offset & 4;
        let word = if held == 0 { 0 } else { w.u32_at(offset - 4).into() };
        Self { w, index: offset >> 3, word, held }
    }

    /// Where the next byte goes.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.index * 8 + self.held
    }

    /// Puts so many bytes, at most eight, of a word; those behind them are zeros.
    #[inline(always)]
    pub(super) fn put_word(&mut self, value: u64, bytes: usize) {
        let shift = self.held * 8;
        self.word |= value << shift;
        self.held += bytes;
        if self.held >= 8 {
            self.w.set_word(self.index, self.word);
            self.index += 1;
            self.held -= 8;
            // Two shifts, so that none is by 64 where the word was empty.
            self.word = value >> 1 >> (63 - shift);
        }
    }

    /// Puts the `len` bytes at `from` of a text.
    #[inline(always)]
    pub(super) fn put(&mut self, text: &[u8], from: usize, len: usize) {
        let (words, rest) = text[from..from + len].as_chunks::<8>();
        let shift = self.held * 8;
        for word in words {
            let value = u64::from_le_bytes(*word);
            self.w.set_word(self.index, self.word | value << shift);
            self.index += 1;
            self.word = value >> 1 >> (63 - shift);
        }
        if !rest.is_empty() {
            // What follows in the text is read along and cut off, where there is enough of it.
            let value = match text.get(from + len - rest.len()..from + len - rest.len() + 8) {
                Some(bytes) => load_u64(bytes) & (u64::MAX >> (64 - 8 * rest.len())),
                None => load_tail(rest),
            };
            self.put_word(value, rest.len());
        }
    }

    /// Goes on at the next multiple of four, with zeros up to there.
    #[inline(always)]
    pub(super) fn align(&mut self) {
        self.put_word(0, self.held.wrapping_neg() & 3);
    }

    /// Puts what is left, and zeros up to the end of the word; returns where the bytes end.
    pub(super) fn finish(self) -> usize {
        if self.held > 0 {
            self.w.set_word(self.index, self.word);
        }
        self.at()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scratch;
    use super::*;

    #[test]
    fn pieces_of_any_length_follow_each_other() {
        let text: Vec<u8> = (0..64).map(|byte: u8| byte.wrapping_mul(37) | 1).collect();
        for (start, first) in [0, 4, 8, 12].into_iter().flat_map(|start| (0..20).map(move |len| (start, len)))
        {
            for second in 0..20 {
                let scratch = Scratch::new();
                scratch.words().write(0, &[0xEE; 96]);
                let mut pen = Pen::new(scratch.words(), start);
                pen.put_word(0xA5, 4);
                // The last one ends where the text does.
                pen.put(&text, 3, first);
                pen.put(&text, 64 - second, second);
                pen.align();
                let at = pen.at();
                assert_eq!(pen.finish(), at);
                let mut expected =
                    [&vec![0xEE; start][..], &[0xA5, 0, 0, 0], &text[3..3 + first], &text[64 - second..]]
                        .concat();
                expected.resize(expected.len().next_multiple_of(4), 0);
                assert_eq!(at, expected.len(), "{start} {first} {second}");
                let mut out = Vec::new();
                scratch.words().append_to(0, 96, &mut out);
                assert_eq!(out[..at], expected);
                assert!(out[at..at.next_multiple_of(8)].iter().all(|byte| *byte == 0));
                assert!(out[at.next_multiple_of(8)..].iter().all(|byte| *byte == 0xEE));
            }
        }
    }
}
