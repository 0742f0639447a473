//! Taking blobs out of memory: a second-chance clock over the slots in memory.
//!
//! The hand marks a slot; a reader that meets the mark clears it; a slot still marked when the hand is back
//! is a victim. A clean victim is dropped under its exclusive latch, taken only if nobody holds it. A dirty
//! one is *leaving* while its image is written: readers go on, and anyone who wants to latch it is told that
//! it is not in memory, so that nobody waits for I/O inside the gate; then it is dropped, unless it was read
//! meanwhile.
//!
//! Invariant: nobody but the evictor changes a leaving slot or its entry's dirty epoch, and slots are leaving
//! only under the disk turn; so the image written is that of the slot when it is dropped, and the cut never
//! meets a leaving slot.

use super::latch::Latch;
use super::pool::Buffer;
use crate::error::{ErrorKind, Result};
use crate::limits::{BLOB_BYTES, BLOCK_BYTES, CACHE_BYTES_MIN};
use crate::store::{BlobId, Origin};
use crate::sync::Ordering;

/// Most dirty victims in one write.
const BATCH_BLOBS: usize = 16;
const _: () = assert!(CACHE_BYTES_MIN / 8 >= 8 * BLOB_BYTES as u64);

/// The slots in memory, in no order, and the clock's hand.
#[derive(Default)]
pub(super) struct Ring {
    ids: Vec<BlobId>,
    hand: usize,
}

impl Ring {
    pub(super) fn push(&mut self, id: BlobId) {
        self.ids.push(id);
    }

    /// The slot under the hand.
    fn current(&mut self) -> Option<BlobId> {
        if self.hand >= self.ids.len() {
            self.hand = 0;
        }
        self.ids.get(self.hand).copied()
    }
}

/// What the hand found.
enum Found {
    /// Nothing to take.
    Kept,
    /// A clean victim, dropped.
    Dropped,
    /// A dirty victim of so many bytes.
    Dirty(BlobId, u64),
}

/// A dirty victim and its image.
struct Outgoing {
    id: BlobId,
    image: Vec<u8>,
    for_cut: bool,
}

impl Buffer {
    /// Waits until `bytes` more fit into the budget, evicting if they do not. Gives up when all is in use by
    /// others.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        if self.used_bytes() + bytes <= self.budget_bytes {
            return Ok(());
        }
        let _turn = self.evicting.lock();
        if self.used_bytes() + bytes <= self.budget_bytes {
            return Ok(());
        }
        self.evict_to((self.budget_bytes / 16 * 15).saturating_sub(bytes))
    }

    /// The same for a blob that is to be read. Where dirty blobs cannot be written for lack of space, clean ones make room:
    /// there are some, as no change is let in that leaves them less than an eighth of the budget
    /// ([`write_back`](Self::write_back)), at least eight blobs. An operation needs a path of three or four of them at a
    /// time and loads one after the other, and each load takes the one that was longest out of use: so it gets through,
    /// unless others load as many meanwhile.
    pub(super) fn make_room_to_read(&self) -> Result<()> {
        match self.make_room(BLOB_BYTES as u64) {
            Err(full) if full.kind() == ErrorKind::NoSpace => {
                let _turn = self.evicting.lock();
                if self.evict_clean(BLOB_BYTES as u64) { Ok(()) } else { Err(full) }
            }
            outcome => outcome,
        }
    }

    /// Takes victims until `target` bytes are in use, or the hand has been around twice; then writes copies
    /// for the cut.
    fn evict_to(&self, target: u64) -> Result<()> {
        let steps = 2 * self.ring.lock().ids.len();
        let (mut dirty, mut dirty_bytes) = (Vec::with_capacity(BATCH_BLOBS), 0);
        for _ in 0..steps {
            if self.used_bytes() <= target + dirty_bytes {
                break;
            }
            if let Found::Dirty(id, bytes) = self.step() {
                dirty.push(id);
                dirty_bytes += bytes;
            }
            if dirty.len() == BATCH_BLOBS {
                self.evict_dirty(&dirty)?;
                dirty.clear();
                dirty_bytes = 0;
            }
        }
        self.evict_dirty(&dirty)?;
        while self.used_bytes() > self.budget_bytes && self.write_shadows_now()? {}
        Ok(())
    }

    /// Takes clean victims only, and no more than it takes to bring `bytes` in. The hand goes on where it stood and
    /// gives each a second chance, so what was just brought in is the last to go.
    fn evict_clean(&self, bytes: u64) -> bool {
        let steps = 2 * self.ring.lock().ids.len();
        for _ in 0..steps {
            if self.used_bytes() + bytes <= self.budget_bytes {
                return true;
            }
            self.step();
        }
        self.used_bytes() + bytes <= self.budget_bytes
    }

    /// Writes dirty blobs until they leave an eighth of the budget to clean ones: the part that a reader can count on where
    /// nothing can be written.
    pub(super) fn write_back(&self) -> Result<()> {
        let _turn = self.evicting.lock();
        while self.write_back_due() && self.write_shadows_now()? {}
        let steps = 2 * self.ring.lock().ids.len();
        let mut dirty = Vec::with_capacity(BATCH_BLOBS);
        for _ in 0..steps {
            if !self.write_back_due() {
                break;
            }
            if let Found::Dirty(id, _) = self.step() {
                dirty.push(id);
            }
            if dirty.len() == BATCH_BLOBS {
                self.evict_dirty(&dirty)?;
                dirty.clear();
            }
        }
        if self.write_back_due() { self.evict_dirty(&dirty) } else { Ok(()) }
    }

    /// Whether dirty blobs and shadows leave less than an eighth of the budget.
    pub(super) fn write_back_due(&self) -> bool {
        self.dirty_bytes() + self.cut.shadow_bytes() > self.budget_bytes / 8 * 7
    }

    /// Moves the hand over one slot.
    fn step(&self) -> Found {
        let mut ring = self.ring.lock();
        let Some(id) = ring.current() else { return Found::Kept };
        let Some(latch) = self.latch(id) else { return Found::Kept };
        if !latch.place().is_resident() {
            // Whoever brings the slot back does so before it takes the ring, and then finds that it has to
            // push it.
            let hand = ring.hand;
            ring.ids.swap_remove(hand);
            self.ledger.update(id, |entry| entry.with_ring(false));
            return Found::Kept;
        }
        ring.hand += 1;
        drop(ring);
        if !latch.pass() {
            return Found::Kept;
        }
        let entry = self.ledger.get(id);
        if entry.dirty_epoch() != 0 {
            return Found::Dirty(id, (entry.pages() * BLOCK_BYTES) as u64);
        }
        self.drop_clean(id, latch)
    }

    fn drop_clean(&self, id: BlobId, latch: Latch<'_>) -> Found {
        if !latch.lock_marked() {
            return Found::Kept;
        }
        let entry = self.ledger.get(id);
        if entry.is_writing() || entry.dirty_epoch() != 0 {
            latch.unlock(false);
            return Found::Kept;
        }
        self.drop_locked(id, latch);
        Found::Dropped
    }

    /// Drops a clean slot whose exclusive latch the caller has.
    fn drop_locked(&self, id: BlobId, latch: Latch<'_>) {
        self.arena.detach(id);
        self.ledger.update(id, |entry| entry.with_pages(0));
        latch.evict();
        self.counts.resident.fetch_sub(1, Ordering::Relaxed);
        self.counts.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes and drops dirty victims.
    fn evict_dirty(&self, ids: &[BlobId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let _disk = self.disk.lock();
        let batch: Vec<Outgoing> = ids.iter().filter_map(|id| self.pack_victim(*id)).collect();
        let for_cut: Vec<_> = batch
            .iter()
            .filter(|out| out.for_cut)
            .map(|out| (out.id, &out.image[..], Origin::Live))
            .collect();
        let current: Vec<_> =
            batch.iter().filter(|out| !out.for_cut).map(|out| (out.id, &out.image[..])).collect();
        let cut_written = if for_cut.is_empty() { Ok(()) } else { self.store.write_cut(&for_cut) };
        let current_written = if current.is_empty() { Ok(()) } else { self.store.write_current(&current) };
        for out in batch {
            let written = if out.for_cut { cut_written.is_ok() } else { current_written.is_ok() };
            self.settle_victim(out, written);
        }
        cut_written.and(current_written)
    }

    /// Makes a victim leave and packs its image, if it still is a victim.
    fn pack_victim(&self, id: BlobId) -> Option<Outgoing> {
        let latch = self.latch(id)?;
        if !latch.leave() {
            return None;
        }
        let entry = self.ledger.get(id);
        if entry.dirty_epoch() == 0 {
            latch.stay();
            return None;
        }
        let image = self.pack(id, self.arena.words(id));
        Some(Outgoing { id, image, for_cut: self.is_pending(entry) })
    }

    fn settle_victim(&self, out: Outgoing, written: bool) {
        let Some(latch) = self.latch(out.id) else { return };
        if !written {
            return latch.stay();
        }
        if !out.for_cut {
            self.hand_over(out.id, out.image);
        }
        self.ledger.update(out.id, |entry| entry.with_dirty(0));
        if latch.lock_leaving() {
            self.drop_locked(out.id, latch);
        } else {
            latch.stay();
        }
    }
}
