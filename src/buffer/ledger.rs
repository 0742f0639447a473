//! Per-slot bookkeeping and the sums over it.
//!
//! Word: bits 0..8 committed pages, bit 8 writing, bit 9 in the ring, bits 10..64 dirty epoch (0 is clean).
//!
//! Invariants: the sums are those of the words, since a word changes only by compare-and-swap in
//! [`Ledger::update`], which adds the difference. Pages change under the slot's exclusive latch only; a blob
//! becomes dirty under that latch, or when the write of its image for a cut fails.

use super::state::StateWords;
use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use crate::store::BlobId;
use crate::sync::{AtomicU64, Ordering};

const PAGES_MASK: u64 = (1 << 8) - 1;
const WRITING: u64 = 1 << 8;
const IN_RING: u64 = 1 << 9;
const DIRTY_SHIFT: u32 = 10;
const _: () = assert!((BLOB_BYTES / BLOCK_BYTES) as u64 <= PAGES_MASK);

/// One slot's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) fn pages(self) -> usize {
        (self.0 & PAGES_MASK) as usize
    }
    /// Whether an image packed for the cut is on its way to the store, so that the blob must stay in memory.
    pub(super) fn is_writing(self) -> bool {
        self.0 & WRITING != 0
    }
    pub(super) fn in_ring(self) -> bool {
        self.0 & IN_RING != 0
    }
    /// Epoch of the first change that the store does not have; 0 if it has all.
    pub(super) fn dirty_epoch(self) -> u64 {
        self.0 >> DIRTY_SHIFT
    }
    pub(super) fn with_pages(self, pages: usize) -> Self {
        Self(self.0 & !PAGES_MASK | pages as u64)
    }
    pub(super) fn with_writing(self, on: bool) -> Self {
        Self(self.0 & !WRITING | if on { WRITING } else { 0 })
    }
    pub(super) fn with_ring(self, on: bool) -> Self {
        Self(self.0 & !IN_RING | if on { IN_RING } else { 0 })
    }
    pub(super) fn with_dirty(self, epoch: u64) -> Self {
        Self(self.0 & ((1 << DIRTY_SHIFT) - 1) | epoch << DIRTY_SHIFT)
    }
    fn committed_bytes(self) -> u64 {
        (self.pages() * BLOCK_BYTES) as u64
    }
    /// Once for each image that is still to be written: a blob that changes while it is being written has two.
    fn dirty_bytes(self) -> u64 {
        let images = u64::from(self.dirty_epoch() != 0) + u64::from(self.is_writing());
        images * self.committed_bytes()
    }
}

/// Adds `to - from` modulo 2^64.
fn shift(sum: &AtomicU64, from: u64, to: u64) {
    if from != to {
        sum.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }
}

/// A sum that may be below zero for an instant, while one update is counted and the one before it is not.
fn settled(sum: &AtomicU64) -> u64 {
    (sum.load(Ordering::Relaxed) as i64).max(0) as u64
}

/// The words of all slots.
pub(super) struct Ledger {
    entries: StateWords,
    committed_bytes: AtomicU64,
    dirty_bytes: AtomicU64,
}

impl Ledger {
    pub(super) fn new(slots: usize) -> Self {
        let (committed_bytes, dirty_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { entries: StateWords::new(slots), committed_bytes, dirty_bytes }
    }

    pub(super) fn get(&self, id: BlobId) -> Entry {
        Entry(self.entries[id.0 as usize].load(Ordering::Acquire))
    }

    /// Changes the word to what `change` makes of it; returns the word it was made of.
    pub(super) fn update(&self, id: BlobId, change: impl Fn(Entry) -> Entry) -> Entry {
        let word = &self.entries[id.0 as usize];
        let mut from = Entry(word.load(Ordering::Acquire));
        loop {
            let to = change(from);
            if to == from {
                return from;
            }
            match word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    shift(&self.committed_bytes, from.committed_bytes(), to.committed_bytes());
                    shift(&self.dirty_bytes, from.dirty_bytes(), to.dirty_bytes());
                    return from;
                }
                Err(now) => from = Entry(now),
            }
        }
    }

    /// Memory of all slots.
    pub(super) fn committed_bytes(&self) -> u64 {
        settled(&self.committed_bytes)
    }

    /// Memory of the dirty slots, and of those being written.
    pub(super) fn dirty_bytes(&self) -> u64 {
        settled(&self.dirty_bytes)
    }
}
