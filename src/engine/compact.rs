//! Compaction: garbage out of the blobs, sparse blobs merged, blobs at the end of the data file moved forward, the file cut.

use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::store::BlobId;
use crate::tree::CompactPlace;

/// Most rounds of moving; each needs a checkpoint to free what it moved away from.
const ROUNDS_MAX: usize = 6;
/// The file is short enough when it is longer than its contents by no more than one part in so many.
const SLACK: u64 = 50;

impl Engine {
    /// Makes memory and data file as small as the contents allow. Other threads may go on.
    pub(crate) fn compact(&self) -> Result<()> {
        self.check_open()?;
        self.journal()?;
        self.reclaim()?;
        for tree in self.trees() {
            match self.compact_tree(&tree) {
                Err(_) if tree.life().has_ended() => {}
                outcome => outcome?,
            }
        }
        let mut turn = self.turn.lock();
        self.check_open()?;
        self.shrink_file(&mut turn, 0)
    }

    fn compact_tree(&self, tree: &TreeState) -> Result<()> {
        let _reshape = self.reshapes.begin();
        self.unmount_all(tree)?;
        let mut places = vec![CompactPlace::default()];
        while let Some(place) = places.pop() {
            // Each leaf blob has its own tries: it gets on.
            self.relieved(&mut Relief::new(true), || {
                self.limb(tree).compact_at(&self.gate, &place, &mut places)
            })?;
        }
        Ok(())
    }

    /// Moves blobs forward from the end of the data file, and cuts it, until it is no longer than `goal` units or than its
    /// contents need. What is moved was behind `goal`, and where it goes was free: so this writes no more than it gives back.
    pub(super) fn shrink_file(&self, turn: &mut super::Turn, goal: u64) -> Result<()> {
        self.store.set_lowest_first(true);
        let outcome = self.move_forward(turn, goal);
        self.store.set_lowest_first(false);
        outcome
    }

    fn move_forward(&self, turn: &mut super::Turn, goal: u64) -> Result<()> {
        self.checkpoint_in_turn(turn, false)?;
        for _ in 0..ROUNDS_MAX {
            let stats = self.store.stats();
            // What does not fit a gap goes to the end once more and finds the space that this round frees in the next.
            if self.excess_units() == 0 || stats.file_units <= goal {
                return Ok(());
            }
            let bound = u32::try_from(stats.used_units().max(goal))
                .map_err(|_| Error::invalid("the data file is too long"))?;
            for id in self.store.blobs_above(bound) {
                self.rewrite(turn, id)?;
            }
            self.checkpoint_in_turn(turn, false)?;
        }
        Ok(())
    }

    /// By how many units the data file is longer than it has to be.
    pub(super) fn excess_units(&self) -> u64 {
        let stats = self.store.stats();
        let used = stats.used_units();
        stats.file_units.saturating_sub(used + used / SLACK + self.buffer.units_to_keep())
    }

    /// Marks a blob dirty, so that the next checkpoint writes it elsewhere.
    fn rewrite(&self, turn: &mut super::Turn, id: BlobId) -> Result<()> {
        loop {
            let space = || {
                self.buffer.claim(1, Claim::Frees)?;
                self.buffer.reserve(0)
            };
            if let Err(full) = space() {
                if full.kind() != ErrorKind::NoSpace {
                    return Err(full);
                }
                self.relieve(turn, full, true)?;
                space()?;
            }
            let tried = {
                let _entry = self.gate.enter();
                self.buffer.lock(id).map(|mut guard| {
                    guard.modify();
                })
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(crate::buffer::Fault::Miss(id)) => self.buffer.load(id)?,
                // Freed meanwhile: there is nothing to move.
                Err(crate::buffer::Fault::Restart) => return Ok(()),
            }
        }
    }
}
