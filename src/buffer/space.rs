//! Space in the data file for what is not written yet, so that a full device refuses changes, not evictions, reads or
//! checkpoints.
//!
//! Invariant: the spare space of the store (`store/grow.rs`) is at least what all images that are still to be written
//! take: the memory of dirty blobs, of blobs being written, and of shadows. An image is no longer than the memory it was
//! packed from, and the space counts whatever the sizes. An operation claims space for the blobs that it may change before
//! it enters the gate; the file grows if there is too little, and on a full device the claim is refused.
//! - A write moves units from "to be written" to "taken": the invariant stays.
//! - A change of a clean or pending blob adds at most one image to what is to be written: that is what it claimed.
//! - The end of a checkpoint gives back what has been replaced.
//!
//! So what is dirty can always be evicted, and a checkpoint always finds space. Claims of changes that add records leave
//! [`ADDING_LEAVES_UNITS`] alone, those of changes that take records away only [`FREEING_LEAVES_UNITS`]. The difference is the
//! reserve of a full device: what deletes may make dirty between two checkpoints. After a checkpoint as many units are free
//! again, as a packed blob is not made longer by a delete, and merges count as adding. But a gap shorter than the largest
//! image counts for nothing, so on a full device images go to such gaps first (`Policy::Gaps`): what a delete takes of the
//! long runs only comes back as gaps, and would be gone for good if the next one did not use those. So a full database can be
//! emptied.
//!
//! Claims are not held: operations that claim in the same instant may all be let in by the same space. What is left
//! alone makes up for that, as long as those between claim and change have no more than [`FREEING_LEAVES_UNITS`] in all.

use super::pool::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use crate::sync::Ordering;

/// Units of the largest image.
const BLOB_UNITS: u64 = (BLOB_BYTES / BLOCK_BYTES) as u64;
/// What every claim leaves: eight blobs, for claims in the same instant.
const FREEING_LEAVES_UNITS: u64 = 8 * BLOB_UNITS;
/// What claims of changes that add records leave: sixteen blobs more, the reserve.
const ADDING_LEAVES_UNITS: u64 = FREEING_LEAVES_UNITS + 16 * BLOB_UNITS;
/// This part of what is still to be written is there ahead of claims, where a thread sees to it.
const AHEAD_PART: u64 = 4;
/// At most so many units.
const AHEAD_UNITS_MAX: u64 = 128 * BLOB_UNITS;
/// How often a claim lets the file grow while others take what it got.
const CLAIM_TRIES: usize = 8;

/// What a change does to the space that the database needs in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may need more.
    Adds,
    /// It needs no more than before.
    Frees,
}

impl Claim {
    pub(crate) fn of(frees: bool) -> Self {
        if frees { Self::Frees } else { Self::Adds }
    }
}

impl Buffer {
    /// Makes sure that the images of `blobs` more blobs can be written whatever happens. May do I/O: called outside the
    /// gate, with no guard held.
    #[inline]
    pub(crate) fn claim(&self, blobs: usize, claim: Claim) -> Result<()> {
        if self.has_space(blobs, claim) { Ok(()) } else { self.claim_late(blobs, claim) }
    }

    /// Whether a claim would be met without I/O.
    #[inline]
    pub(crate) fn has_space(&self, blobs: usize, claim: Claim) -> bool {
        self.missing_units(blobs, claim) <= 0
    }

    #[inline]
    fn missing_units(&self, blobs: usize, claim: Claim) -> i64 {
        let leaves = match claim {
            Claim::Adds if !self.replaying.load(Ordering::Relaxed) => ADDING_LEAVES_UNITS,
            _ => FREEING_LEAVES_UNITS,
        };
        let wanted = leaves + blobs as u64 * BLOB_UNITS + self.unwritten_units();
        wanted as i64 - self.store.spare_units()
    }

    #[cold]
    fn claim_late(&self, blobs: usize, claim: Claim) -> Result<()> {
        let _one_at_a_time = self.growing.lock();
        for _ in 0..CLAIM_TRIES {
            let missing = self.missing_units(blobs, claim);
            if missing <= 0 {
                return Ok(());
            }
            // The end of a free tail counts for nothing: as much is asked for on top.
            self.store.grow(missing as u64 + BLOB_UNITS)?;
        }
        Err(Error::new(ErrorKind::NoSpace, "data file: the space is taken faster than it is made"))
    }

    /// Whether little is left to claim, so that the file should grow before a claim has to wait for it.
    #[inline]
    pub(crate) fn is_low(&self) -> bool {
        !self.ahead_failed.load(Ordering::Relaxed) && self.missing_units(1, Claim::Adds) > -self.ahead_units()
    }

    fn ahead_units(&self) -> i64 {
        (self.unwritten_units() / AHEAD_PART).min(AHEAD_UNITS_MAX) as i64
    }

    /// Lets the file grow by a piece if little is left to claim; whether that is still so. Does I/O.
    pub(crate) fn grow_ahead(&self) -> bool {
        if self.is_low() {
            self.grow_piece();
        }
        self.is_low()
    }

    /// Lets the file grow so far that all blobs to be written for the cut that follows may be changed again before the space
    /// of their old images comes back: else the changes right after the cut would all wait for it. Does I/O.
    pub(crate) fn grow_for_cut(&self) {
        self.ahead_failed.store(false, Ordering::Relaxed);
        self.grow_until(self.unwritten_units() as i64);
    }

    /// In pieces, so that a claim that cannot wait comes in between. After a failure nothing more is done ahead until the next
    /// cut: on a full device the space is for those who need it now.
    fn grow_until(&self, ahead: i64) {
        while self.missing_units(1, Claim::Adds) > -ahead && !self.ahead_failed.load(Ordering::Relaxed) {
            self.grow_piece();
        }
    }

    fn grow_piece(&self) {
        let _one_at_a_time = self.growing.lock();
        if self.store.grow_ahead().is_err() {
            self.ahead_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Units that all images still to be written take at the most.
    pub(crate) fn unwritten_units(&self) -> u64 {
        (self.dirty_bytes() + self.cut.shadow_bytes()) / BLOCK_BYTES as u64
    }

    /// Spare space that changes can go on with at once: worth keeping when the file is cut.
    pub(crate) fn units_to_keep(&self) -> u64 {
        ADDING_LEAVES_UNITS + BLOB_UNITS + self.unwritten_units()
    }

    /// While records are applied that were let in before, they may take what all others leave.
    pub(crate) fn set_replaying(&self, replaying: bool) {
        self.replaying.store(replaying, Ordering::Relaxed);
    }
}
