//! What whoever works on a named tree has to look at: whether it has ended, and whether its directories stay where they are.
//!
//! **Why a read that counts saw no move.** A move is installed with the gate closed: M1 the counter becomes odd, M2 a release
//! fence, M3 stores to blobs under their latches, M4 the counter becomes even (release). A reader: R1 loads the counter
//! (acquire) and goes on if it is even, R2 reads blobs, R3 an acquire fence, R4 loads the counter again.
//! - If R2 reads anything that M3 stored, M2 and R3 synchronise, so R4 sees M1 or later: not R1's number, unless R1 read M4's.
//! - If R1 read M4's number, M4 happens before R2: the blobs are read as the move left them, or later.
//!
//! So the blobs that a read visits one after the other are all of before a move or all of after it.

use super::Stop;
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence_at, order};

/// The life of one named tree.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Set before the tree's blobs are freed and their ids used again.
    ended: AtomicBool,
    /// The move counter: odd while directories move, come and go in this tree.
    moves: AtomicU64,
}

impl Life {
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The move counter.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// Before the first store of a move; the gate is closed.
    pub(crate) fn begin_move(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
        fence_at("life M2", Ordering::Release);
    }

    /// After the last one.
    pub(crate) fn end_move(&self) {
        self.moves.fetch_add(1, order("life M4", Ordering::Release));
    }

    /// Runs `body`, or stops at once while a move is under way. What it returns means something only if no move came in
    /// between, which is the second thing returned.
    #[inline]
    pub(super) fn read<T>(&self, body: impl FnOnce() -> Result<T, Stop>) -> (Result<T, Stop>, bool) {
        let before = self.moves.load(order("life R1", Ordering::Acquire));
        let outcome = if before.is_multiple_of(2) { body() } else { Err(Stop::Restart) };
        fence_at("life R3", Ordering::Acquire);
        (outcome, self.moves.load(Ordering::Relaxed) == before)
    }
}
