//! The buffer manager: which blobs are in memory, who may read and write them, and how their images reach the
//! store.
//!
//! The tree layer reads and changes blobs through [`Optimistic`], [`Shared`] and [`Exclusive`] guards; the
//! checkpointer drives cuts (`cut.rs`); the [`Gate`] belongs to the whole database and stands here because it
//! is made of the same stuff as latches. Nobody else calls in.
//!
//! Order of waiting, outermost first; whoever holds one may wait only for a later one: gate, latches from the
//! root of the tree downwards, the ring, the cut's state. The evicting turn and the disk turn are taken with
//! no latch held and outside the gate, in this order, and whoever holds them waits for no exclusive latch
//! whose holder could wait for them: holders of latches never take a turn, and never do I/O.

mod arena;
mod cut;
mod evict;
mod gate;
#[cfg(all(test, loom))]
mod gate_models;
mod guard;
mod images;
mod latch;
#[cfg(all(test, loom))]
mod latch_models;
mod ledger;
mod load;
mod pool;
mod reserve;
mod shadow;
mod slab;
mod space;
mod state;
#[cfg(test)]
mod tests;
mod waits;

pub(crate) use gate::{Gate, GateStats};
pub(crate) use guard::{Exclusive, Optimistic, Shared};
#[cfg(all(test, loom))]
pub(crate) use latch_models::Slot;
pub(crate) use pool::{Buffer, BufferStats};
pub(crate) use reserve::Reservation;
pub(crate) use space::Claim;
pub use waits::Waits;

use crate::store::BlobId;
use crate::sync::SlotWords;

/// Why a guard was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The blob is not in memory: leave the gate, drop all guards, call [`Buffer::load`], start again.
    Miss(BlobId),
    /// A race was lost: drop all guards and start again.
    Restart,
}

/// What the buffer manager has to know about the inside of a blob.
pub(crate) trait ImageFormat: Send + Sync {
    /// Whether the image just read (the first `bytes` bytes of `words`; zeros follow) is sound; the text says
    /// why not.
    fn check(&self, id: BlobId, words: &SlotWords, bytes: usize) -> Result<(), String>;
    /// Appends the image for the store, compacted, to the empty `out`: 1 to 65,536 bytes. The slot does not
    /// change meanwhile.
    fn pack(&self, id: BlobId, words: &SlotWords, out: &mut Vec<u8>);
    /// Whether the blob is worth being put in order where it lies before an image of it is made.
    fn is_loose(&self, words: &SlotWords) -> bool;
    /// Puts the blob in order, its content unchanged. The caller has its exclusive latch.
    fn tidy(&self, words: &SlotWords);
    /// High-water mark: no byte of the slot at or past it is in use. What is before it is an image, if not compacted.
    fn used_bytes(&self, words: &SlotWords) -> usize;
}
