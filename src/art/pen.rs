//! Bytes that are put into a blob one after the other: gathered where copies are cheap, and stored by whole words.

use super::words::Words;

/// So many bytes are gathered at least before they are stored.
const PIECE_BYTES: usize = 1 << 10;

/// Writes on from some place; see the module.
pub(super) struct Pen<'a> {
    w: Words<'a>,
    /// The word that is stored next.
    index: usize,
    /// What goes there.
    held: Vec<u8>,
    /// The first half of that word is somebody else's, who may still change it.
    is_shared: bool,
}

impl<'a> Pen<'a> {
    /// Writes from `offset` on, a multiple of four.
    pub(super) fn new(w: Words<'a>, offset: usize) -> Self {
        let mut held = Vec::with_capacity(2 * PIECE_BYTES);
        held.extend_from_slice(&[0; 4][..offset & 4]);
        Self { w, index: offset >> 3, held, is_shared: offset & 4 != 0 }
    }

    /// Where the next byte goes.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.index * 8 + self.held.len()
    }

    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Goes on at the next multiple of four, with zeros up to there.
    #[inline(always)]
    pub(super) fn align(&mut self) {
        let end = self.held.len().next_multiple_of(4);
        self.held.extend_from_slice(&[0; 4]);
        self.held.truncate(end);
        if end >= PIECE_BYTES {
            self.store();
        }
    }

    /// Stores all whole words.
    fn store(&mut self) {
        if std::mem::take(&mut self.is_shared) {
            self.held[..4].copy_from_slice(&self.w.u32_at(self.index * 8).to_le_bytes());
        }
        let (words, rest) = self.held.as_chunks::<8>();
        self.w.set_words(self.index, words);
        self.index += words.len();
        let (done, rest) = (words.len() * 8, rest.len());
        self.held.copy_within(done.., 0);
        self.held.truncate(rest);
    }

    /// Stores what is left, with zeros up to the end of the word; returns where the bytes end.
    pub(super) fn finish(mut self) -> usize {
        let end = self.at();
        self.held.resize(self.held.len().next_multiple_of(8), 0);
        self.store();
        end
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scratch;
    use super::*;

    #[test]
    fn pieces_of_any_length_follow_each_other() {
        let text: Vec<u8> = (0..5_000).map(|at| at as u8 ^ (at >> 8) as u8 ^ 0x5A).collect();
        for (start, first) in [0, 4, 8, 12].into_iter().flat_map(|start| (0..20).map(move |len| (start, len)))
        {
            for second in [0, 1, 7, 8, 1_001, 1_023, 1_024, 4_000] {
                let scratch = Scratch::new();
                scratch.words().write(0, &[0xEE; 6_000]);
                let mut pen = Pen::new(scratch.words(), start);
                // Whoever has the other half of the first word may still write there.
                scratch.words().write(0, &vec![0xDD; start]);
                let mut expected = vec![0xDD; start];
                for len in [first, second, first] {
                    pen.put(&text[first..first + len]);
                    pen.put(&text[..3]);
                    pen.align();
                    expected.extend_from_slice(&text[first..first + len]);
                    expected.extend_from_slice(&text[..3]);
                    expected.resize(expected.len().next_multiple_of(4), 0);
                    assert_eq!(pen.at(), expected.len());
                }
                assert_eq!(pen.finish(), expected.len());
                expected.resize(expected.len().next_multiple_of(8), 0);
                expected.resize(6_000, 0xEE);
                let mut out = Vec::new();
                scratch.words().append_to(0, 6_000, &mut out);
                assert_eq!(out, expected, "{start} {first} {second}");
            }
        }
    }
}
