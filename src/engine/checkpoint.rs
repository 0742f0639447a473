//! Checkpoints: the state at one sequence becomes durable in the data file, and the journal starts anew after it.
//!
//! | step | I/O | what a crash right after it leaves |
//! |---|---|---|
//! | prepare the second journal file | yes | the old checkpoint, the first journal file; the second is ignored |
//! | the cut, gate closed | no | the same |
//! | settle the switch: first file synced to its end, second one's header | yes | the old checkpoint, both files in order |
//! | images, catalog, table blocks, sync | yes | the same: nothing durable was overwritten |
//! | the older superblock slot, sync | yes | the new checkpoint; the first file holds nothing above it |
//! | the second file takes the first one's name, directory sync | yes | the new checkpoint and its journal |
//! | free what the old checkpoint held | no | the same |

use std::sync::Arc;

use super::Engine;
use super::catalog::Catalog;
use crate::error::{ErrorKind, Result};
use crate::journal::Journal;
use crate::limits::SEQUENCE_RESERVE;
use crate::sync::Ordering;

/// A cut whose superblock is not written yet.
#[derive(Debug)]
pub(super) struct OpenCut {
    sequence: u64,
    sealed: bool,
    catalog: Arc<Catalog>,
}

impl Engine {
    /// Makes all commits so far durable in the data file and truncates the journal.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let mut turn = self.turn.lock();
        self.check_open()?;
        self.checkpoint_in_turn(&mut turn, false)
    }

    /// A checkpoint by whoever has the turn. `seal`: no commit will follow, so the superblock may say that no sequence above
    /// was handed out. On NoSpace nothing has changed: the cut stays open, and the next checkpoint finishes it first.
    pub(super) fn checkpoint_in_turn(&self, turn: &mut super::Turn, seal: bool) -> Result<()> {
        let journal = self.journal()?;
        journal.check_poison()?;
        let _watch = journal.watch();
        self.finish_cut(journal, turn)?;
        // On a full device the journal cuts one file for the other to grow: the data file must not take that, here and when
        // the old file goes. Else nothing would be left for the next switch.
        journal.prepare_switch(|| self.store.hold_growth())?;
        if self.settings.background {
            self.buffer.grow_for_cut();
        }
        let cut = {
            // Before the gate, so that no writer waits for I/O at it.
            let _no_write_under_way = self.buffer.hold_writes();
            let _closed = self.gate.close();
            let catalog = Arc::clone(&self.catalog.lock());
            self.buffer.begin_cut(|| {
                let sequence = journal.switch();
                // A mark in the first file may yet be raised, to this at most; the superblock has to outbid it, as that file goes.
                let mark = journal.durable_mark().max(sequence + SEQUENCE_RESERVE);
                let mark = if seal { sequence + 1 } else { mark };
                self.store.begin_cut(sequence, mark).map(|()| OpenCut { sequence, sealed: seal, catalog })
            })
        };
        turn.open = Some(cut.map_err(|error| self.cut_failed(journal, error))?);
        self.finish_cut(journal, turn)
    }

    /// Makes the open cut durable, if there is one.
    fn finish_cut(&self, journal: &Journal, turn: &mut super::Turn) -> Result<()> {
        let Some(cut) = &turn.open else { return Ok(()) };
        journal.settle_switch().map_err(|error| self.cut_failed(journal, error))?;
        if let Err(error) = self.write_cut(&cut.catalog.encode()) {
            let is_harmless = error.kind() == ErrorKind::NoSpace && self.store.writable().is_ok();
            return Err(if is_harmless { error } else { self.cut_failed(journal, error) });
        }
        let retired = journal.retire_old(self.store.is_full(), || self.store.hold_growth());
        let released = retired.and_then(|()| self.store.release_dead(self.buffer.units_to_keep()));
        released.map_err(|error| self.cut_failed(journal, error))?;
        (turn.sequence, turn.sealed) = (cut.sequence, cut.sealed);
        turn.open = None;
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.charge_journal(journal);
        Ok(())
    }

    /// Writes what the cut holds. May be repeated after NoSpace.
    fn write_cut(&self, catalog: &[u8]) -> Result<()> {
        self.buffer.write_pending()?;
        self.buffer.end_cut();
        self.store.finish_cut(catalog)
    }

    /// It is not known how much of the cut is durable, and the journal is between two files: only an open can put that right.
    fn cut_failed(&self, journal: &Journal, error: crate::error::Error) -> crate::error::Error {
        self.buffer.end_cut();
        self.store.poison(&error.to_string());
        journal.poison(error)
    }

    /// Counts the journal's buffers against the memory budget.
    pub(super) fn charge_journal(&self, journal: &Journal) {
        let now = journal.memory_bytes() as u64;
        let before = self.charged.swap(now, Ordering::Relaxed);
        if now > before {
            self.buffer.charge(now - before);
        } else {
            self.buffer.discharge(before - now);
        }
    }

    /// Ends the database: a last checkpoint if anything was committed since the one before, and no more calls.
    pub(crate) fn close(&self) -> Result<()> {
        let mut turn = self.turn.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // Whoever was inside has left when the gate has been closed once; whoever enters after that looks first.
        drop(self.gate.close());
        let outcome = match &self.journal {
            Some(journal) if !self.is_settled(journal, &turn) => self.checkpoint_in_turn(&mut turn, true),
            _ => Ok(()),
        };
        // A call that began before may still grow a file or evict: the files are somebody else's from here on.
        if let Some(journal) = &self.journal {
            if outcome.is_err() {
                // On a full device the journal still has room for all that was appended.
                let _ = journal.sync();
            }
            journal.shut();
        }
        self.store.poison("the database was closed");
        self.lock.lock().take();
        outcome
    }

    /// Whether the files are as a clean close leaves them: no commit since the last checkpoint, and no sequence reserved above
    /// it, as even a commit that was refused may have done.
    fn is_settled(&self, journal: &Journal, turn: &super::Turn) -> bool {
        turn.sealed && journal.last_sequence() == turn.sequence && journal.durable_mark() <= turn.sequence + 1
    }

    /// Ends the database without writing anything: what was not flushed is lost, as in a crash.
    pub(crate) fn abandon(&self) {
        self.closed.store(true, Ordering::Release);
        self.lock.lock().take();
    }
}
