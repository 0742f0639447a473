//! The three ways to hold a blob.
//!
//! `words()` of each borrows from the buffer, not from the guard, so that a reference outlives the guard:
//! what is read through it then is memory-safe, and meaningless unless validated.

use super::Fault;
use super::latch::Latch;
use super::pool::Buffer;
use crate::store::BlobId;
use crate::sync::SlotWords;

/// A read that holds nobody up: whatever was read means something only if [`validate`](Self::validate) says
/// so afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Optimistic<'a> {
    buffer: &'a Buffer,
    latch: Latch<'a>,
    words: &'a SlotWords,
    id: BlobId,
    version: u64,
}

impl<'a> Optimistic<'a> {
    #[inline]
    pub(super) fn new(buffer: &'a Buffer, latch: Latch<'a>, id: BlobId, version: u64) -> Self {
        Self { buffer, latch, words: buffer.arena.words(id), id, version }
    }

    /// The blob.
    pub(crate) fn id(&self) -> BlobId {
        self.id
    }

    /// Its memory.
    #[inline]
    pub(crate) fn words(&self) -> &'a SlotWords {
        self.words
    }

    /// Whether all that was read so far was one state of the blob, and still is its state.
    #[inline]
    pub(crate) fn validate(&self) -> bool {
        self.latch.validate(self.version)
    }

    /// Becomes the writer of the state that was read; does not wait.
    pub(crate) fn upgrade(self) -> Result<Exclusive<'a>, Fault> {
        self.latch.upgrade(self.version).map_err(|refusal| Buffer::fault(self.id, refusal))?;
        Ok(Exclusive::new(self.buffer, self.latch, self.id))
    }
}

/// A read that keeps writers out until dropped.
pub(crate) struct Shared<'a> {
    latch: Latch<'a>,
    words: &'a SlotWords,
}

impl<'a> Shared<'a> {
    /// Takes over a share of the latch that the caller has.
    pub(super) fn new(buffer: &'a Buffer, latch: Latch<'a>, id: BlobId) -> Self {
        Self { latch, words: buffer.arena.words(id) }
    }

    /// Its memory.
    pub(crate) fn words(&self) -> &'a SlotWords {
        self.words
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.latch.unshare();
    }
}

/// The one writer of a blob. A panic while it is held releases it as changed; the blob may be half changed
/// then.
pub(crate) struct Exclusive<'a> {
    buffer: &'a Buffer,
    latch: Latch<'a>,
    words: &'a SlotWords,
    id: BlobId,
    changed: bool,
}

impl<'a> Exclusive<'a> {
    /// Takes over the exclusive latch that the caller has.
    pub(super) fn new(buffer: &'a Buffer, latch: Latch<'a>, id: BlobId) -> Self {
        Self { buffer, latch, words: buffer.arena.words(id), id, changed: false }
    }

    /// The blob.
    pub(crate) fn id(&self) -> BlobId {
        self.id
    }

    /// Its memory, for reading.
    pub(crate) fn words(&self) -> &'a SlotWords {
        self.words
    }

    /// Its memory, for storing. The first call marks the blob dirty, and copies it for the cut that still
    /// needs it as it is. Called inside the gate.
    pub(crate) fn modify(&mut self) -> &'a SlotWords {
        if !self.changed {
            self.buffer.touch(self.id, self.words);
            self.changed = true;
        }
        self.words
    }

    /// Has the system commit the memory up to `bytes` in one go, if much of it is not there yet: cheaper than a page at a time.
    pub(crate) fn expect(&self, bytes: usize) {
        self.buffer.populate(self.id, bytes);
    }

    /// Its memory, for storing the same content in another form: that makes nothing dirty.
    pub(super) fn reform(&mut self) -> &'a SlotWords {
        self.changed = true;
        self.words
    }

    /// Ends the blob: its memory and its id are free for others. Called inside the gate.
    pub(crate) fn free(self) {
        self.buffer.retire(self.id, self.latch, self.words);
        // The latch is released; all fields are plain references.
        std::mem::forget(self);
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        if self.changed {
            self.buffer.account(self.id, self.words);
        }
        self.latch.unlock(self.changed);
    }
}
