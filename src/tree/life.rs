//! What whoever works on a named tree has to look at: whether it has ended, and whether its directories stay where they are.
//!
//! **Why a read that counts saw no move.** A move is installed with the gate closed: M1 the counter becomes odd, M2 a release
//! fence, M3 stores to blobs under their latches, M4 the counter becomes even (release). A reader: R1 loads the counter
//! (acquire) and goes on if it is even, R2 reads blobs, R3 an acquire fence, R4 loads the counter again.
//! - If R2 reads anything that M3 stored, M2 and R3 synchronise, so R4 sees M1 or later: not R1's number, unless R1 read M4's.
//! - If R1 read M4's number, M4 happens before R2: the blobs are read as the move left them, or later.
//!
//! So the blobs that a read visits one after the other are all of before a move or all of after it.

use std::fmt::Display;

use super::Stop;
use crate::error::{Error, ErrorKind, Result as Outcome};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence_at, order};

/// It was dropped. Set before the tree's blobs are freed and their ids used again.
const DROPPED: u32 = 1;
/// A panic ended a move half-way. The move counter stays odd then.
const TORN: u32 = 2;

/// The life of one named tree.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// How it ended; 0: it has not.
    end: AtomicU32,
    /// The move counter: odd while directories move, come and go in this tree.
    moves: AtomicU64,
}

impl Life {
    pub(crate) fn end(&self) {
        self.end.store(DROPPED, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.load(Ordering::Acquire) == DROPPED
    }

    /// An error once nobody may work on the tree any more: NotFound where it was dropped, Poisoned where a move broke off.
    #[inline]
    pub(crate) fn check(&self, tree: impl Display) -> Outcome<()> {
        match self.end.load(Ordering::Acquire) {
            0 => Ok(()),
            end => Err(ended(end, &tree)),
        }
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

    /// Instead of [`end_move`](Self::end_move): what the tree holds is neither the old nor the new.
    pub(crate) fn tear(&self) {
        self.end.store(TORN, Ordering::Release);
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

#[cold]
fn ended(end: u32, tree: &dyn Display) -> Error {
    match end {
        DROPPED => Error::new(ErrorKind::NotFound, format_args!("{tree} was dropped")),
        _ => {
            let what = format_args!("reopen the database: a change of directories in {tree} broke off");
            Error::new(ErrorKind::Poisoned, what)
        }
    }
}
