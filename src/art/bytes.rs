//! Bytes that are put together piece by piece and cut back again, as the keys of a walk are.
//!
//! Memory that was in use once stays initialised, so nothing is cleared before it is written.

use super::words::{BLOCK_BYTES, Words, copied};

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

    /// The place behind what counts, of at least `bytes` bytes.
    #[inline(always)]
    fn next(&mut self, bytes: usize) -> &mut [u8] {
        if self.memory.len() - self.len < bytes {
            self.grow(bytes);
        }
        &mut self.memory[self.len..]
    }

    /// Cuts back to `len` bytes and adds one.
    #[inline(always)]
    pub(crate) fn cut_and_push(&mut self, len: usize, byte: u8) {
        self.truncate(len);
        self.next(1)[0] = byte;
        self.len += 1;
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, byte: u8) {
        self.cut_and_push(self.len, byte);
    }

    #[inline(always)]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.next(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends all bytes of another buffer, by whole blocks, where there are so many behind them.
    #[inline(always)]
    pub(crate) fn extend_from(&mut self, other: &Self) {
        let blocks = other.len.next_multiple_of(BLOCK_BYTES);
        let Some(from) = other.memory.get(..blocks) else { return self.extend(other.as_slice()) };
        let out = self.next(blocks);
        for (to, from) in out.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut().zip(from.as_chunks().0) {
            *to = *from;
        }
        self.len += other.len;
    }

    /// Appends the `len` bytes at `offset` of a blob.
    #[inline(always)]
    pub(crate) fn append(&mut self, w: Words<'_>, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let len = len.min(crate::limits::BLOB_BYTES);
        let out = self.next(copied(len));
        match out.first_chunk_mut::<8>() {
            // As nearly all prefixes of nodes are.
            Some(out) if len <= 8 => *out = w.u64_at(offset).to_le_bytes(),
            _ => w.copy_to(offset, &mut out[..copied(len)]),
        }
        self.len += len;
    }
}

/// Where the first `byte` is among `bytes`, eight of which are looked at at once.
#[inline(always)]
pub(crate) fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let differences = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The first zero byte (Mycroft): what is marked behind it may be none.
        let zeros = differences.wrapping_sub(ONES) & !differences & (ONES << 7);
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&other| other == byte)?;
    Some(words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::super::words::Scratch;
    use super::*;

    #[test]
    fn the_first_of_a_byte_is_found_at_any_place() {
        for len in 0..40 {
            for at in 0..=len {
                // Bytes that differ from it by one, or by the highest bit, in front; some more of it behind.
                let mut bytes: Vec<u8> = (0..len).map(|i| [b'.', b'0', b'/' | 0x80, 0][i % 4]).collect();
                bytes[at..].iter_mut().step_by(3).for_each(|byte| *byte = b'/');
                assert_eq!(position(&bytes, b'/'), bytes.iter().position(|&byte| byte == b'/'), "{bytes:?}");
            }
        }
    }

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
