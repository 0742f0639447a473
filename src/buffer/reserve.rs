//! Making room, and fresh blobs. Everything that may wait happens in [`Buffer::reserve`], before the gate.

use super::Exclusive;
use super::pool::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

/// Copies for a cut that one operation makes besides those of its new blobs' neighbours.
const SHADOWS_SPARE: usize = 8;

/// Fresh ids for [`Buffer::create`]; those not used go back when it drops.
pub(crate) struct Reservation<'a> {
    buffer: &'a Buffer,
    ids: Vec<BlobId>,
}

impl Reservation<'_> {
    /// Whether all were used.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            self.buffer.store.free_id(id);
        }
    }
}

impl Buffer {
    /// How many blobs one operation may ask to have in memory at once, whatever others do: a quarter of the budget.
    pub(crate) fn at_once_max(&self) -> usize {
        self.budget_bytes as usize / 4 / BLOB_BYTES
    }

    /// Makes room for an operation that creates up to `frames` blobs, and for the copies a cut in progress
    /// may make it take. Cheap for `frames` 0 under the budget. May evict and write: call it outside the
    /// gate, with no guard held.
    pub(crate) fn reserve(&self, frames: usize) -> Result<Reservation<'_>> {
        let shadows = if self.cut.is_open() { frames + SHADOWS_SPARE } else { 0 };
        if self.write_back_due() {
            self.write_back()?;
        }
        let room = ((frames + shadows) * BLOB_BYTES) as u64;
        self.make_room(room.min(self.budget_bytes / 4))?;
        let mut reservation = Reservation { buffer: self, ids: Vec::with_capacity(frames) };
        for _ in 0..frames {
            let id = self.store.allocate_id()?;
            reservation.ids.push(id);
            if self.latch(id).is_none() {
                let slots = self.arena.slots();
                let message = format!("no room for another blob: the system gave address space for {slots}");
                return Err(Error::new(ErrorKind::NoSpace, message));
            }
        }
        // Blobs made together get ascending ids, so that a cut writes them side by side.
        reservation.ids.reverse();
        Ok(reservation)
    }

    /// A new blob, all zeros and dirty, latched. Called inside the gate.
    ///
    /// # Panics
    /// When the operation creates more than it reserved, which is a mistake in the caller.
    pub(crate) fn create<'a>(&'a self, reservation: &mut Reservation<'a>) -> Exclusive<'a> {
        let id = reservation.ids.pop().expect("an operation creates no more blobs than it reserved");
        let latch = self.latch(id).expect("a reserved id has a slot");
        assert!(latch.claim_new(), "the store gave out an id that is in use");
        self.arena.attach(id);
        self.admit(id);
        let mut guard = Exclusive::new(self, latch, id);
        guard.modify();
        guard
    }
}
