//! Cuts: what a checkpoint writes is every blob as it was at one instant.
//!
//! A blob's entry (`ledger.rs`) names the epoch of the first change that the store does not have.
//! [`Buffer::begin_cut`] ends an epoch; a blob dirty in it or before is *pending* until its image is written
//! for the cut. No list of dirty blobs is kept: the writer walks the entries.
//!
//! Invariants, while a cut is in progress:
//! - C1: for each blob dirty at the cut, exactly one holds: it is pending and in memory as it was at the cut;
//!   its image as of the cut is a shadow; that image is being written; that image is written.
//! - C2: a blob is dirty for the cut or for the current epoch, never both: it has one dirty epoch.
//! - C3: a change or free of a pending blob first makes the shadow (under the exclusive latch), then ends
//!   pending. So whoever finds a blob no longer pending finds its shadow.
//! - C4: nothing becomes pending after the cut, but for a failed write of its own.
//! - C5: a blob with an image being written for the cut stays in memory, and its id is not given to the store
//!   as free before the write is settled; so a late write never gives a place to an id that is nobody's.
//!
//! Images are packed and their writes settled under the disk turn. An evictor may have packed a blob before
//! the cut began and finish its write after: then the image is as of the cut but went to the current table
//! only, and is handed over as a shadow. The writer of the cut takes the disk turn after the cut began, so it
//! sees that.

use super::ledger::Entry;
use super::pool::Buffer;
use super::shadow::Shadow;
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::{BlobId, Origin};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, SlotWords};
use std::collections::BTreeMap;

/// Most bytes in one write.
const BATCH_BYTES: usize = 1 << 20;

/// The state of cuts.
pub(super) struct Cut {
    /// The epoch that changes are made in.
    epoch: AtomicU64,
    /// The epoch that the cut in progress ended; 0 without one.
    ended: AtomicU64,
    shadow_bytes: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Images as of the cut of blobs that are no longer so.
    shadows: BTreeMap<BlobId, Shadow>,
    /// Ids freed while an image of theirs was being written.
    freed: Vec<BlobId>,
}

/// An image packed from memory for the cut, with the blob's dirty epoch.
struct Packed {
    id: BlobId,
    image: Vec<u8>,
    epoch: u64,
}

impl Cut {
    pub(super) fn new() -> Self {
        Self {
            epoch: AtomicU64::new(1),
            ended: AtomicU64::new(0),
            shadow_bytes: AtomicU64::new(0),
            held: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.ended.load(Ordering::Acquire) != 0
    }

    pub(super) fn shadow_bytes(&self) -> u64 {
        self.shadow_bytes.load(Ordering::Relaxed)
    }

    fn keep(&self, held: &mut Held, id: BlobId, shadow: Shadow) {
        self.shadow_bytes.fetch_add(shadow.memory_bytes(), Ordering::Relaxed);
        let before = held.shadows.insert(id, shadow);
        debug_assert!(before.is_none(), "C1: one image of a blob for a cut");
    }

    fn released(&self, shadow: &Shadow) {
        self.shadow_bytes.fetch_sub(shadow.memory_bytes(), Ordering::Relaxed);
    }
}

impl Buffer {
    /// The epoch that changes are made in.
    pub(crate) fn epoch(&self) -> u64 {
        self.cut.epoch.load(Ordering::Acquire)
    }

    /// Lets no write of images begin, and waits for the one under way. A cut that begins meanwhile finds no image that is
    /// neither written nor dirty.
    pub(crate) fn hold_writes(&self) -> MutexGuard<'_, ()> {
        self.disk.lock()
    }

    /// Begins a cut: what is dirty now has to be written for it. Called with the gate closed and no cut in
    /// progress. `freeze` is the store's own beginning of the cut; it does no I/O. It runs within, since a
    /// write by an evictor must be either in the table that the store freezes or handed over to the cut.
    pub(crate) fn begin_cut<R>(&self, freeze: impl FnOnce() -> R) -> R {
        let _held = self.cut.held.lock();
        let result = freeze();
        let epoch = self.epoch();
        self.cut.ended.store(epoch, Ordering::Release);
        self.cut.epoch.store(epoch + 1, Ordering::Release);
        result
    }

    /// Writes all images of the cut in progress that are not written yet. Does I/O: called outside the gate.
    /// After an error it may be called again, or the cut given up with [`end_cut`](Self::end_cut).
    pub(crate) fn write_pending(&self) -> Result<()> {
        let mut cursor = 1;
        loop {
            let _disk = self.disk.lock();
            if self.write_shadows()? {
                continue;
            }
            let batch = self.collect(&mut cursor);
            if !batch.is_empty() {
                self.write_live(batch)?;
            } else if self.cut.held.lock().shadows.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends the cut, after all was written or to give it up: then what was pending goes with the next cut. No
    /// write for this cut is under way when it returns. Called outside the gate.
    pub(crate) fn end_cut(&self) {
        let _disk = self.disk.lock();
        let mut held = self.cut.held.lock();
        self.cut.ended.store(0, Ordering::Release);
        for shadow in std::mem::take(&mut held.shadows).values() {
            self.cut.released(shadow);
        }
    }

    /// Whether the cut in progress still needs the blob as it is.
    pub(super) fn is_pending(&self, entry: Entry) -> bool {
        let epoch = entry.dirty_epoch();
        epoch != 0 && epoch <= self.cut.ended.load(Ordering::Acquire)
    }

    /// The blob's image.
    pub(super) fn pack(&self, id: BlobId, words: &SlotWords) -> Vec<u8> {
        let mut image = Vec::with_capacity(self.format.used_bytes(words).min(BLOB_BYTES) + 8);
        self.format.pack(id, words, &mut image);
        image
    }

    /// Makes the blob dirty in the current epoch; the caller has its exclusive latch and changes it next.
    pub(super) fn touch(&self, id: BlobId, words: &SlotWords) {
        let epoch = self.epoch();
        loop {
            let entry = self.ledger.get(id);
            if entry.dirty_epoch() == epoch {
                return;
            }
            if self.is_pending(entry) {
                self.copy_out(id, words);
            }
            // A failed write may make the blob pending just now; then look again.
            let from = |now: Entry| now.dirty_epoch() == entry.dirty_epoch();
            let before = self.ledger.update(id, |now| if from(now) { now.with_dirty(epoch) } else { now });
            if from(before) {
                return;
            }
        }
    }

    /// Keeps the image of a pending blob whose exclusive latch the caller has.
    fn copy_out(&self, id: BlobId, words: &SlotWords) {
        let shadow = Shadow::of(words, self.format.used_bytes(words).min(BLOB_BYTES));
        let mut held = self.cut.held.lock();
        if self.cut.is_open() {
            self.cut.keep(&mut held, id, shadow);
        }
    }

    /// Keeps an image that went to the current table before the cut in progress began, but was not clean when
    /// it began.
    pub(super) fn hand_over(&self, id: BlobId, image: Vec<u8>) {
        let mut held = self.cut.held.lock();
        if self.is_pending(self.ledger.get(id)) {
            self.cut.keep(&mut held, id, image.into());
        }
    }

    /// Clears the entry of a freed blob and gives its id back, at once or when the write of its image is
    /// settled.
    pub(super) fn forget(&self, id: BlobId) {
        let clear = |entry: Entry| entry.with_pages(0).with_dirty(0).with_writing(false);
        {
            let mut held = self.cut.held.lock();
            if self.ledger.update(id, clear).is_writing() {
                return held.freed.push(id);
            }
        }
        self.store.free_id(id);
    }

    /// Takes the disk turn and writes some shadows; false if there are none.
    pub(super) fn write_shadows_now(&self) -> Result<bool> {
        let _disk = self.disk.lock();
        self.write_shadows()
    }

    /// Writes some shadows; false if there are none. The caller has the disk turn.
    fn write_shadows(&self) -> Result<bool> {
        let batch = self.take_shadows();
        if batch.is_empty() {
            return Ok(false);
        }
        let images: Vec<_> = batch.iter().map(|(id, shadow)| (*id, shadow.image(), Origin::Shadow)).collect();
        let written = self.store.write_cut(&images);
        for (_, shadow) in &batch {
            self.cut.released(shadow);
        }
        if written.is_err() {
            // Still the same cut: ending it takes the disk turn.
            let mut held = self.cut.held.lock();
            for (id, shadow) in batch {
                self.cut.keep(&mut held, id, shadow);
            }
        }
        written.map(|()| true)
    }

    fn take_shadows(&self) -> Vec<(BlobId, Shadow)> {
        let mut held = self.cut.held.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes + BLOB_BYTES <= BATCH_BYTES {
            let Some((id, shadow)) = held.shadows.pop_first() else { break };
            bytes += shadow.image().len();
            batch.push((id, shadow));
        }
        batch
    }

    /// Packs pending blobs from `cursor` on, until a write is full.
    fn collect(&self, cursor: &mut u32) -> Vec<Packed> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while *cursor <= self.id_high() && bytes + BLOB_BYTES <= BATCH_BYTES {
            if let Some(packed) = self.pack_pending(BlobId(*cursor)) {
                bytes += packed.image.len();
                batch.push(packed);
            }
            *cursor += 1;
        }
        batch
    }

    /// Packs a blob if it is pending, and marks it clean and writing: its writers are kept out meanwhile, so
    /// the image is as of the cut, and a change after needs no shadow.
    fn pack_pending(&self, id: BlobId) -> Option<Packed> {
        if !self.is_pending(self.ledger.get(id)) {
            return None;
        }
        self.tidy(id);
        let shared = self.share(id).ok()?;
        let entry = self.ledger.get(id);
        if !self.is_pending(entry) {
            return None;
        }
        let image = self.pack(id, shared.words());
        self.ledger.update(id, |entry| entry.with_dirty(0).with_writing(true));
        Some(Packed { id, image, epoch: entry.dirty_epoch() })
    }

    /// Puts a pending blob in order where it lies, before its image is made of it: so whoever reads it gains as well. That changes
    /// nothing of what it holds, so the gate need not be passed; but places in it mean something only under a latch or a version.
    fn tidy(&self, id: BlobId) {
        let is_due = |words: &SlotWords| self.is_pending(self.ledger.get(id)) && self.format.is_loose(words);
        if !self.share(id).is_ok_and(|shared| is_due(shared.words())) {
            return;
        }
        if let Ok(mut guard) = self.lock(id)
            && is_due(guard.words())
        {
            self.format.tidy(guard.reform());
        }
    }

    /// Writes what [`collect`](Self::collect) packed. The caller has the disk turn.
    fn write_live(&self, batch: Vec<Packed>) -> Result<()> {
        let images: Vec<_> =
            batch.iter().map(|packed| (packed.id, &packed.image[..], Origin::Live)).collect();
        let written = self.store.write_cut(&images);
        let freed = {
            let mut held = self.cut.held.lock();
            for packed in batch {
                self.settle(&mut held, packed, written.is_ok());
            }
            std::mem::take(&mut held.freed)
        };
        for id in freed {
            self.store.free_id(id);
        }
        written
    }

    /// Ends the writing of one image. If it failed, the blob is pending again, or the image a shadow if the
    /// blob has changed or is gone.
    fn settle(&self, held: &mut Held, packed: Packed, written: bool) {
        let end = |entry: Entry| {
            let unchanged = entry.is_writing() && entry.dirty_epoch() == 0;
            let epoch = if unchanged && !written { packed.epoch } else { entry.dirty_epoch() };
            entry.with_writing(false).with_dirty(epoch)
        };
        let before = self.ledger.update(packed.id, end);
        let unchanged = before.is_writing() && before.dirty_epoch() == 0;
        if !written && !unchanged {
            self.cut.keep(held, packed.id, packed.image.into());
        }
    }
}
