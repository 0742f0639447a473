//! What an operation does that finds the device full: a checkpoint gives back what has been replaced, in the data file and
//! in the journal, and the operation tries again. Space that lies in gaps of the data file is no use to the journal, and too
//! short a gap is of no use to anyone (E2 of `store/extents.rs`): where there is much of it, blobs are moved into the gaps
//! and the file is cut.

use super::{Engine, Turn};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOCK_BYTES;
use crate::sync::Ordering;

/// Most checkpoints that one operation has made.
const TRIES_MAX: u32 = 4;
/// A change that adds records has a checkpoint made only for so much space, in bytes: else each one that is refused would
/// make one.
const WORTH_BYTES: u64 = 512 << 10;
/// By so much the data file is cut at a time at the most, in units: an operation does not wait for more to be moved.
const CUT_UNITS_MAX: u64 = (64 << 20) / BLOCK_BYTES as u64;

/// What an operation may still do about a full device.
pub(super) struct Relief {
    frees: bool,
    tries: u32,
}

impl Relief {
    pub(super) fn new(frees: bool) -> Self {
        Self { frees, tries: TRIES_MAX }
    }
}

impl Engine {
    /// Does `attempt`; after NoSpace, once more when a checkpoint has been made. Called outside the gate and without the
    /// checkpoint's turn. It ends: every round takes a try, and a checkpoint waits for no space.
    pub(super) fn relieved<T>(
        &self,
        relief: &mut Relief,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            let seen = self.checkpoints.load(Ordering::Acquire);
            match attempt() {
                Err(full) if full.kind() == ErrorKind::NoSpace && relief.tries > 0 => {
                    relief.tries -= 1;
                    let mut turn = self.turn.lock();
                    // Somebody else's checkpoint does as well.
                    if self.checkpoints.load(Ordering::Acquire) == seen {
                        self.relieve(&mut turn, full, relief.frees)?;
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes a checkpoint where that gives space back; returns `full` where it does not.
    pub(super) fn relieve(&self, turn: &mut Turn, full: Error, frees: bool) -> Result<()> {
        self.check_open()?;
        self.store.note_full();
        let units = self.store.stats().dead_units + self.buffer.unwritten_units();
        let journal = self.journal()?;
        // On a full device the next journal file is made of some of what is free in this one; all else comes back.
        let back = units * BLOCK_BYTES as u64 + journal.file_bytes() + journal.free_bytes();
        let outcome = if frees || back >= WORTH_BYTES {
            self.checkpoint_in_turn(turn, false).map(|()| true)
        } else {
            self.fill_gaps(turn)
        };
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(full),
            Err(error) if error.kind() == ErrorKind::NoSpace => Err(full),
            Err(error) => Err(error),
        }
    }

    /// Moves blobs into the gaps of the data file where that gives much space back; whether it did.
    fn fill_gaps(&self, turn: &mut Turn) -> Result<bool> {
        let excess = self.excess_units();
        turn.stuck = turn.stuck.min(excess);
        if excess < turn.stuck + WORTH_BYTES / BLOCK_BYTES as u64 {
            return Ok(false);
        }
        let before = self.store.stats().file_units;
        let outcome = self.shrink_file(turn, before - excess.min(CUT_UNITS_MAX));
        let done = self.store.stats().file_units < before;
        // What does not go into the gaps is not moved again and again.
        turn.stuck = if done { 0 } else { excess };
        outcome.map(|()| done)
    }
}
