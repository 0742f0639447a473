//! Tests of the buffer manager over a store that records, delays and fails.

mod cuts;
mod eviction;
mod guards;
mod store;

use super::arena::Arena;
use super::*;
use crate::limits::{BLOB_BYTES, BLOB_WORDS};
use crate::sync::Ordering::Relaxed;
use std::sync::Arc;
use store::TestStore;

/// A blob of the tests: word 0 its id, word 1 its used bytes, then the same number in every word used.
struct Numbers;

const HEAD_WORDS: usize = 2;

impl ImageFormat for Numbers {
    fn check(&self, id: BlobId, words: &SlotWords, bytes: usize) -> Result<(), String> {
        if words[0].load(Relaxed) != u64::from(id.0) {
            return Err(format!("names blob {}", words[0].load(Relaxed)));
        }
        if words[1].load(Relaxed) != bytes as u64 {
            return Err(format!("says {} bytes", words[1].load(Relaxed)));
        }
        if bytes > BLOB_BYTES || words[bytes.div_ceil(8)..].iter().any(|word| word.load(Relaxed) != 0) {
            return Err("bytes past the end".to_owned());
        }
        Ok(())
    }
    fn pack(&self, _id: BlobId, words: &SlotWords, out: &mut Vec<u8>) {
        for word in &words[..self.used_bytes(words) / 8] {
            out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
    }
    /// Always, so that every cut latches what it writes.
    fn is_loose(&self, _words: &SlotWords) -> bool {
        true
    }
    fn tidy(&self, words: &SlotWords) {
        for word in &words[..self.used_bytes(words) / 8] {
            let number = word.load(Relaxed);
            word.store(!number, Relaxed);
            word.store(number, Relaxed);
        }
    }
    fn used_bytes(&self, words: &SlotWords) -> usize {
        words[1].load(Relaxed) as usize
    }
}

/// Sets a blob to `number` in `count` words.
fn set(guard: &mut Exclusive<'_>, number: u64, count: usize) {
    assert!(count <= BLOB_WORDS - HEAD_WORDS);
    let id = guard.id();
    let words = guard.modify();
    let before = (words[1].load(Relaxed) as usize / 8).max(HEAD_WORDS);
    words[0].store(u64::from(id.0), Relaxed);
    for word in &words[HEAD_WORDS..HEAD_WORDS + count] {
        word.store(number, Relaxed);
    }
    for word in &words[(HEAD_WORDS + count).min(before)..before] {
        word.store(0, Relaxed);
    }
    words[1].store(((HEAD_WORDS + count) * 8) as u64, Relaxed);
}

/// The number in a blob, if all its words agree.
fn number(words: &SlotWords) -> Result<u64, String> {
    let used = words[1].load(Relaxed) as usize / 8;
    // Backwards, so as to meet a writer rather than to run ahead of it.
    let mut all = words[HEAD_WORDS..used.clamp(HEAD_WORDS + 1, BLOB_WORDS)].iter().rev();
    let number = all.next().map_or(0, |word| word.load(Relaxed));
    match all.map(|word| word.load(Relaxed)).find(|other| *other != number) {
        Some(other) => Err(format!("torn: {number} and {other}")),
        None => Ok(number),
    }
}

/// The number in an image.
fn image_number(image: &[u8]) -> u64 {
    let words: Vec<u64> = image.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    assert_eq!(words[1] as usize, image.len());
    assert!(words[HEAD_WORDS..].iter().all(|word| *word == words[HEAD_WORDS]), "a torn image");
    words[HEAD_WORDS]
}

/// A buffer of `budget_bytes` over either arena.
fn buffer(budget_bytes: u64, slab: bool) -> (Arc<TestStore>, Arc<Buffer>) {
    let slots = 1 << 13;
    let arena = if slab { Arena::slab(slots) } else { Arena::new(slots, slots) };
    let store = Arc::new(TestStore::default());
    (store.clone(), Arc::new(Buffer::over(store, budget_bytes, Box::new(Numbers), arena)))
}

/// Makes a blob.
fn make(buffer: &Buffer, number: u64, count: usize) -> BlobId {
    let mut reservation = buffer.reserve(1).unwrap();
    let mut guard = buffer.create(&mut reservation);
    set(&mut guard, number, count);
    guard.id()
}

/// Runs `step` until it is not refused, loading on misses.
fn retry<T>(buffer: &Buffer, mut step: impl FnMut() -> Result<T, Fault>) -> T {
    loop {
        match step() {
            Ok(done) => return done,
            Err(Fault::Miss(id)) => buffer.load(id).unwrap(),
            Err(Fault::Restart) => std::thread::yield_now(),
        }
    }
}

/// The number in a blob, read optimistically.
fn get(buffer: &Buffer, id: BlobId) -> u64 {
    retry(buffer, || {
        let guard = buffer.read(id)?;
        let read = number(guard.words());
        if guard.validate() { Ok(read.unwrap()) } else { Err(Fault::Restart) }
    })
}

/// A small generator of numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
