//! Slots where the system has no sparse mapping: recycled frames behind an id → frame table.
//!
//! Invariants: a frame belongs to at most one id; frame 0 belongs to none, is all zeros and stands for every
//! id that is not attached. Frames live in chunks that are never freed while the slab lives. A frame passes
//! from one id to the next through the mutex, while the old id's latch shows it exclusive or evicted: so a
//! stale reader that sees a word of the new owner also sees, after its acquire fence, that its own validation
//! fails.

use super::arena::zeroed_words;
use crate::limits::BLOB_WORDS;
use crate::store::BlobId;
use crate::sync::{Mutex, Ordering, SlotWord, SlotWords};
use std::sync::OnceLock;

/// Frames in the first chunk; each further one is twice as large.
const FIRST_CHUNK_FRAMES: usize = 16;
const CHUNKS_MAX: usize = 22;
const _: () = assert!(FIRST_CHUNK_FRAMES * ((1 << CHUNKS_MAX) - 1) > crate::limits::BLOBS_MAX);

pub(in crate::buffer) struct Slab {
    /// Frame of each id; 0 is none.
    frames: Box<[SlotWord]>,
    chunks: [OnceLock<Box<[SlotWord]>>; CHUNKS_MAX],
    free: Mutex<Free>,
}

struct Free {
    frames: Vec<usize>,
    /// Frames from here on were never used.
    next: usize,
}

impl Slab {
    pub(super) fn new(slots: usize) -> Self {
        let chunks = [const { OnceLock::new() }; CHUNKS_MAX];
        Self { frames: zeroed_words(slots), chunks, free: Mutex::new(Free { frames: Vec::new(), next: 1 }) }
    }

    pub(super) fn slots(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn words(&self, id: BlobId) -> &SlotWords {
        self.frame(self.frames[id.0 as usize].load(Ordering::Relaxed) as usize)
    }

    /// The words of a frame: chunk `k` holds the frames from `FIRST_CHUNK_FRAMES * (2^k - 1)` on.
    fn frame(&self, frame: usize) -> &SlotWords {
        let chunk = (frame / FIRST_CHUNK_FRAMES + 1).ilog2();
        let offset = frame - FIRST_CHUNK_FRAMES * ((1 << chunk) - 1);
        let words = self.chunks[chunk as usize]
            .get_or_init(|| zeroed_words((FIRST_CHUNK_FRAMES << chunk) * BLOB_WORDS))
            .as_chunks::<BLOB_WORDS>()
            .0;
        &words[offset]
    }

    pub(super) fn attach(&self, id: BlobId) {
        let frame = {
            let mut free = self.free.lock();
            free.frames.pop().unwrap_or_else(|| {
                free.next += 1;
                free.next - 1
            })
        };
        for word in self.frame(frame) {
            word.store(0, Ordering::Relaxed);
        }
        self.frames[id.0 as usize].store(frame as u64, Ordering::Relaxed);
    }

    pub(super) fn detach(&self, id: BlobId) {
        let frame = self.frames[id.0 as usize].swap(0, Ordering::Relaxed);
        if frame != 0 {
            self.free.lock().frames.push(frame as usize);
        }
    }
}
