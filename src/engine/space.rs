//! What an operation does that finds the device full: a checkpoint gives back what has been replaced, in the data file and
//! in the journal, and the operation tries again.

use super::{Engine, Turn};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOCK_BYTES;
use crate::sync::Ordering;

/// Most checkpoints that one operation has made.
const TRIES_MAX: u32 = 4;
/// A change that adds records has a checkpoint made only for so much space, in bytes: else each one that is refused would
/// make one.
const WORTH_BYTES: u64 = 512 << 10;

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
        let dead = self.store.stats().dead_units * BLOCK_BYTES as u64;
        // On a full device the next journal file is made of what is free in this one, and no longer.
        if !frees && dead + self.journal()?.free_bytes() < WORTH_BYTES {
            return Err(full);
        }
        self.checkpoint_in_turn(turn, false).map_err(|error| match error.kind() {
            ErrorKind::NoSpace => full,
            _ => error,
        })
    }
}
