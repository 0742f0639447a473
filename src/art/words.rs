//! Byte-level access to a blob's memory through relaxed atomic words.
//!
//! Every offset is masked into the slot, so no read or write leaves it whatever the bytes say: a reader that raced
//! with a writer sees nonsense, never a fault, and its validation fails. A byte `i` of the blob is bits
//! `8 * (i % 8)` of word `i / 8`, on any host; that is also its place in the little-endian image on disk.

use std::cell::RefCell;

use crate::limits::{BLOB_BYTES, BLOB_WORDS};
use crate::sync::thread_local;
use crate::sync::{Ordering, SlotWord, SlotWords};

const MASK: usize = BLOB_WORDS - 1;
const _: () = assert!(BLOB_WORDS.is_power_of_two());

/// What bytes are copied out by: a few more are cheaper than a branch less.
pub(super) const BLOCK_BYTES: usize = 32;
const BLOCK_WORDS: usize = BLOCK_BYTES / 8;

/// How much memory a copy of `len` bytes out of a blob takes: whole blocks behind a first word.
#[inline(always)]
pub(super) const fn copied(len: usize) -> usize {
    8 + len.next_multiple_of(BLOCK_BYTES)
}

/// A view of one slot. Reading needs a latch or a later validation; writing needs the exclusive latch.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a SlotWords);

impl<'a> Words<'a> {
    #[inline]
    pub(crate) fn new(slot: &'a SlotWords) -> Self {
        Self(slot)
    }

    #[inline(always)]
    fn word(self, index: usize) -> u64 {
        self.0[index & MASK].load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_word(self, index: usize, value: u64) {
        self.0[index & MASK].store(value, Ordering::Relaxed);
    }

    /// Asks the processor to fetch the cache line at `offset`.
    #[inline(always)]
    pub(crate) fn prefetch(self, offset: usize) {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse"))]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let line = &raw const self.0[(offset >> 3) & MASK];
            // SAFETY: the pointer is to a live word of the slot, and a prefetch reads nothing that the program sees.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast::<i8>()) };
        }
        let _ = offset;
    }

    /// Asks for the three cache lines from `offset` on, in which most entries lie whole. The offset is one within the slot.
    #[inline(always)]
    pub(super) fn prefetch_entry(self, offset: usize) {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse"))]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = self.0.as_ptr().cast::<i8>().wrapping_add(offset);
            // SAFETY: a prefetch is no access: it reads nothing that the program sees, and an address of nothing is passed over.
            // So these need not be checked to lie in the slot.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(at);
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(64));
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(128));
            }
        }
        let _ = offset;
    }

    #[inline(always)]
    pub(crate) fn u8_at(self, offset: usize) -> u8 {
        (self.word(offset >> 3) >> ((offset & 7) * 8)) as u8
    }

    /// Reads 16 bits; `offset` is even.
    #[inline(always)]
    pub(crate) fn u16_at(self, offset: usize) -> u16 {
        (self.word(offset >> 3) >> ((offset & 6) * 8)) as u16
    }

    /// Reads 32 bits; `offset` is a multiple of four.
    #[inline(always)]
    pub(crate) fn u32_at(self, offset: usize) -> u32 {
        (self.word(offset >> 3) >> ((offset & 4) * 8)) as u32
    }

    /// Reads 64 bits at any offset.
    #[inline(always)]
    pub(crate) fn u64_at(self, offset: usize) -> u64 {
        let (index, shift) = (offset >> 3, (offset & 7) * 8);
        // Two shifts, so that none is by 64 where the offset is aligned.
        self.word(index) >> shift | self.word(index + 1) << 1 << (63 - shift)
    }

    pub(crate) fn set_u8(self, offset: usize, value: u8) {
        let (index, shift) = (offset >> 3, (offset & 7) * 8);
        self.set_word(index, self.word(index) & !(0xFF << shift) | u64::from(value) << shift);
    }

    /// Writes 16 bits; `offset` is even.
    #[inline]
    pub(crate) fn set_u16(self, offset: usize, value: u16) {
        let (index, shift) = (offset >> 3, (offset & 6) * 8);
        self.set_word(index, self.word(index) & !(0xFFFF << shift) | u64::from(value) << shift);
    }

    /// Writes 32 bits; `offset` is a multiple of four.
    #[inline]
    pub(crate) fn set_u32(self, offset: usize, value: u32) {
        let (index, shift) = (offset >> 3, (offset & 4) * 8);
        self.set_word(index, self.word(index) & !(0xFFFF_FFFF << shift) | u64::from(value) << shift);
    }

    /// Writes 64 bits; `offset` is a multiple of four.
    #[inline]
    pub(crate) fn set_u64(self, offset: usize, value: u64) {
        self.set_u32(offset, value as u32);
        self.set_u32(offset + 4, (value >> 32) as u32);
    }

    /// How many leading bytes of the `len` bytes at `offset` equal those of `key`.
    #[inline]
    pub(crate) fn common_prefix(self, offset: usize, len: usize, key: &[u8]) -> usize {
        let most = len.min(key.len());
        let (words, _) = key[..most].as_chunks::<8>();
        let (mut index, shift) = (offset >> 3, (offset & 7) * 8);
        let mut low = self.word(index);
        for (done, word) in words.iter().enumerate() {
            index += 1;
            let high = self.word(index);
            // Two shifts, so that none is by 64 where the offset is aligned.
            let differing = (low >> shift | high << 1 << (63 - shift)) ^ u64::from_le_bytes(*word);
            if differing != 0 {
                return done * 8 + (differing.trailing_zeros() / 8) as usize;
            }
            low = high;
        }
        let done = words.len() * 8;
        if done < most {
            let rest = &key[done..];
            let theirs = if rest.len() >= 8 { load_u64(rest) } else { load_tail(rest) };
            let differing = self.u64_at(offset + done) ^ theirs;
            return most.min(done + (differing.trailing_zeros() / 8) as usize);
        }
        most
    }

    /// Whether `key` starts with the `len` bytes at `offset`. One comparison without a loop where `len` is at most eight,
    /// as nearly all prefixes and many suffixes are.
    #[inline(always)]
    pub(crate) fn starts(self, offset: usize, len: usize, key: &[u8]) -> bool {
        if len > key.len() {
            return false;
        }
        if len > 8 {
            return self.common_prefix(offset, len, key) == len;
        }
        let theirs = if key.len() >= 8 { load_u64(key) } else { load_tail(key) };
        let differing = self.u64_at(offset) ^ theirs;
        len == 0 || differing << (64 - 8 * len) == 0
    }

    /// Whether the bytes at `offset` are exactly `bytes`.
    #[inline(always)]
    pub(crate) fn equals(self, offset: usize, bytes: &[u8]) -> bool {
        self.starts(offset, bytes.len(), bytes)
    }

    /// Appends the `len` bytes at `offset` to `out`.
    #[inline]
    pub(crate) fn append_to(self, offset: usize, len: usize, out: &mut Vec<u8>) {
        let len = len.min(BLOB_BYTES);
        let start = out.len();
        out.resize(start + copied(len), 0);
        self.copy_to(offset, &mut out[start..]);
        out.truncate(start + len);
    }

    /// Copies from `offset` on to `out`, which is as long as `copied` says. Each word is read once and written once: the first
    /// without what lies before the offset, the others whole, wherever they then begin.
    #[inline(always)]
    pub(crate) fn copy_to(self, offset: usize, out: &mut [u8]) {
        let (index, lane) = ((offset >> 3) & MASK, offset & 7);
        let Some(first) = out.first_chunk_mut::<8>() else { return };
        *first = (self.word(index) >> (lane * 8)).to_le_bytes();
        let out = &mut out[8 - lane..];
        let (blocks, _) = out.as_chunks_mut::<BLOCK_BYTES>();
        match self.0.get(index + 1..index + 1 + blocks.len() * BLOCK_WORDS) {
            Some(words) => {
                for (block, words) in blocks.iter_mut().zip(words.as_chunks::<BLOCK_WORDS>().0) {
                    let words: [[u8; 8]; BLOCK_WORDS] =
                        std::array::from_fn(|at| words[at].load(Ordering::Relaxed).to_le_bytes());
                    block.copy_from_slice(words.as_flattened());
                }
            }
            None => self.copy_to_the_end(index + 1, out),
        }
    }

    /// The same from a whole word on, where blocks would reach beyond the slot.
    #[cold]
    fn copy_to_the_end(self, index: usize, out: &mut [u8]) {
        for (at, bytes) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *bytes = self.word(index + at).to_le_bytes();
        }
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write(self, offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rest.len().min(8 - (at & 7));
            if n == 8 {
                self.set_word(at >> 3, load_u64(rest));
            } else {
                self.put_bytes(at, load_tail(&rest[..n]), n);
            }
            at += n;
            rest = &rest[n..];
        }
    }

    /// Writes zeros from `start` to `end`, both multiples of four.
    pub(super) fn clear(self, start: usize, end: usize) {
        let mut at = start;
        if at & 4 != 0 && at < end {
            self.set_u32(at, 0);
            at += 4;
        }
        while at + 8 <= end {
            self.set_word(at >> 3, 0);
            at += 8;
        }
        if at < end {
            self.set_u32(at, 0);
        }
    }

    /// Writes whole words from the word `index` on.
    ///
    /// # Panics
    /// If they do not lie in the slot.
    #[inline]
    pub(super) fn set_words(self, index: usize, words: &[[u8; 8]]) {
        for (place, word) in self.0[index..index + words.len()].iter().zip(words) {
            place.store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
    }

    /// Moves `len` bytes from `source` down to `target` (`target <= source`), any alignment.
    pub(crate) fn move_down(self, target: usize, source: usize, len: usize) {
        debug_assert!(target <= source);
        // Each word is read before one that it reaches into is written.
        self.copy(target, self, source, len);
    }

    /// Copies `len` bytes at `source` of another blob to `target`, any alignment; within one blob only downwards.
    pub(crate) fn copy(self, target: usize, from: Words<'_>, source: usize, len: usize) {
        let lane = target & 7;
        let first = len.min((8 - lane) & 7);
        self.put_bytes(target, from.u64_at(source), first);
        let mut done = first;
        while done + 8 <= len {
            self.set_word((target + done) >> 3, from.u64_at(source + done));
            done += 8;
        }
        self.put_bytes(target + done, from.u64_at(source + done), len - done);
    }

    /// Writes the first `bytes` bytes of a word, under eight of them, none of which lies in the next word.
    #[inline(always)]
    fn put_bytes(self, offset: usize, value: u64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (index, shift) = (offset >> 3, (offset & 7) * 8);
        let mask = (u64::MAX >> (64 - 8 * bytes)) << shift;
        self.set_word(index, self.word(index) & !mask | value << shift & mask);
    }

    /// Appends the image of the first `bytes` bytes to `out`.
    pub(crate) fn image(self, bytes: usize, out: &mut Vec<u8>) {
        self.append_to(0, bytes, out);
    }

    /// Reads all lines of the first `bytes` bytes in order, which is many times faster than to come by each of them later.
    pub(crate) fn warm(self, bytes: usize) {
        let lines = (0..bytes.min(BLOB_BYTES)).step_by(64);
        std::hint::black_box(lines.fold(0, |all, at| all | self.word(at >> 3)));
    }

    /// Copies the first `bytes` bytes of `from`.
    pub(crate) fn copy_whole(self, from: Words<'_>, bytes: usize) {
        for index in 0..bytes.min(BLOB_BYTES).div_ceil(8) {
            self.set_word(index, from.word(index));
        }
    }
}

#[inline(always)]
pub(crate) fn load_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

#[inline(always)]
fn load_tail(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if n >= 4 {
        let low = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let high = u32::from_le_bytes([bytes[n - 4], bytes[n - 3], bytes[n - 2], bytes[n - 1]]);
        u64::from(low) | u64::from(high) << (8 * (n - 4))
    } else {
        let mut value = 0;
        for (i, &byte) in bytes.iter().enumerate() {
            value |= u64::from(byte) << (8 * i);
        }
        value
    }
}

/// Private memory of a slot's size, for building a blob aside. What it holds at first is not defined.
pub(crate) struct Scratch(Option<Box<SlotWords>>);

/// Scratches that a thread keeps for the next ones, 1 MiB. Blocks of this size are dear to allocate: each one that is given back
/// makes the usual allocators tidy up.
const SPARE_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Box<SlotWords>>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        Self(Some(spare.unwrap_or_else(|| {
            let words: Box<[SlotWord]> = (0..BLOB_WORDS).map(|_| SlotWord::new(0)).collect();
            words.try_into().expect("BLOB_WORDS words were collected")
        })))
    }

    pub(crate) fn words(&self) -> Words<'_> {
        Words(self.slot())
    }

    pub(crate) fn slot(&self) -> &SlotWords {
        self.0.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A thread that ends has no spare ones.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.extend(self.0.take());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_written_at_any_alignment_read_back_and_leave_neighbours_alone() {
        for offset in 0..24 {
            for len in 0..40 {
                let scratch = Scratch::new();
                let words = scratch.words();
                words.write(0, &[0xEE; 80]);
                let bytes: Vec<u8> = (0..len as u8).map(|b| b.wrapping_mul(37)).collect();
                words.write(offset, &bytes);
                let mut out = Vec::new();
                words.append_to(0, 80, &mut out);
                let mut expected = vec![0xEE; 80];
                expected[offset..offset + len].copy_from_slice(&bytes);
                assert_eq!(out, expected, "offset {offset} len {len}");
                assert!(words.equals(offset, &bytes));
            }
        }
    }

    #[test]
    fn clearing_leaves_what_is_beside() {
        for (start, end) in
            (0..24).step_by(4).flat_map(|start| (start..32).step_by(4).map(move |end| (start, end)))
        {
            let scratch = Scratch::new();
            let words = scratch.words();
            words.write(0, &[0xEE; 40]);
            words.clear(start, end);
            let mut out = Vec::new();
            words.append_to(0, 40, &mut out);
            let mut expected = [0xEE; 40];
            expected[start..end].fill(0);
            assert_eq!(out, expected, "{start} to {end}");
        }
    }

    #[test]
    fn common_prefix_counts_equal_bytes() {
        let scratch = Scratch::new();
        let words = scratch.words();
        let text = b"usr/share/doc/libfoo/changelog.gz";
        words.write(13, text);
        for cut in 0..text.len() {
            let mut other = text.to_vec();
            other[cut] ^= 0x80;
            assert_eq!(words.common_prefix(13, text.len(), &other), cut);
            assert_eq!(words.common_prefix(13, text.len(), &text[..cut]), cut);
            for len in 0..=text.len() {
                assert_eq!(words.starts(13, len, &other), len <= cut, "{len} of {cut}");
                assert_eq!(words.starts(13, len, &text[..cut]), len <= cut, "{len} of {cut}");
            }
        }
    }

    #[test]
    fn bytes_are_copied_from_any_alignment_to_any() {
        let source = Scratch::new();
        let bytes: Vec<u8> = (0..100).map(|b: u8| b.wrapping_mul(37)).collect();
        source.words().write(0, &bytes);
        for (at, from) in (0..9).flat_map(|at| (0..9).map(move |from| (at, from))) {
            for len in 0..40 {
                let scratch = Scratch::new();
                scratch.words().write(0, &[0xEE; 80]);
                scratch.words().copy(at, source.words(), from, len);
                let mut out = Vec::new();
                scratch.words().append_to(0, 80, &mut out);
                let mut expected = vec![0xEE; 80];
                expected[at..at + len].copy_from_slice(&bytes[from..from + len]);
                assert_eq!(out, expected, "{len} bytes from {from} to {at}");
            }
        }
    }

    #[test]
    fn bytes_move_down_over_themselves() {
        for shift in 0..20 {
            let scratch = Scratch::new();
            let words = scratch.words();
            let bytes: Vec<u8> = (0..100).collect();
            words.write(40, &bytes);
            words.move_down(40 - shift, 40, 100);
            assert!(words.equals(40 - shift, &bytes), "shift {shift}");
        }
    }
}
