//! Bytes that are put together piece by piece and cut back again, as the keys of a walk are.
//!
//! Memory that was in use once stays initialised, so nothing is cleared before it is written.

use super::words::Words;

/// A buffer of bytes; see the module.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    /// The first `len` bytes count.
    memory: Vec<u8>,
    len: usize,
}

impl Bytes {
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    #[inline(always)]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Memory that is kept for what comes.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len()
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let len = (self.memory.len() * 2).max(self.len + bytes).max(256);
        self.memory.resize(len, 0);
    }

    /// The place of the next `bytes` bytes, which then count.
    #[inline(always)]
    fn next(&mut self, bytes: usize) -> &mut [u8] {
        self.reserve(bytes);
        let start = self.len;
        self.len += bytes;
        &mut self.memory[start..start + bytes]
    }

    #[inline(always)]
    fn reserve(&mut self, bytes: usize) {
        if self.memory.len() - self.len < bytes {
            self.grow(bytes);
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, byte: u8) {
        self.next(1)[0] = byte;
    }

    #[inline(always)]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.next(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends the `len` bytes at `offset` of a blob.
    #[inline(always)]
    pub(crate) fn append(&mut self, w: Words<'_>, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let len = len.min(crate::limits::BLOB_BYTES);
        // Whole words, then cut: a few bytes more are cheaper than a branch less.
        let start = self.len;
        w.copy_to(offset, self.next(len.next_multiple_of(8)));
        self.len = start + len;
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Scratch;
    use super::*;

    #[test]
    fn pieces_of_any_length_and_alignment_follow_each_other() {
        let scratch = Scratch::new();
        let text: Vec<u8> = (0..200).map(|i| i as u8 ^ 0x5A).collect();
        scratch.words().write(64, &text);
        for at in 0..9 {
            for len in 0..70 {
                let mut bytes = Bytes::default();
                bytes.extend(b"lead");
                bytes.append(scratch.words(), 64 + at, len);
                bytes.push(7);
                let expected = [b"lead", &text[at..at + len], &[7]].concat();
                assert_eq!(bytes.as_slice(), expected);
                bytes.truncate(3);
                bytes.append(scratch.words(), 64, 11);
                assert_eq!(bytes.as_slice(), [b"lea", &text[..11]].concat());
            }
        }
    }
}
