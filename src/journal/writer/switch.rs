//! The change of files at a checkpoint.

use super::{CHUNK_BYTES_MIN, Files, Journal};
use crate::error::{Error, Result};
use crate::journal::NEXT_NAME;
use crate::journal::tail::{EMERGENCY_BYTES, Floor, Lack};
use crate::journal::target::{Target, is_harmless};
use crate::limits::BLOCK_BYTES;
use crate::sync::Ordering;

impl Journal {
    /// Makes the second file, with room for every reservation. Before the gate is closed. May be repeated.
    pub(crate) fn prepare_switch(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| {
            if self.tail.lock().is_prepared() {
                return Ok(());
            }
            if files.second.is_some() || files.retiring {
                return Err(Error::invalid("the journal still holds the file before the last switch"));
            }
            self.reserve_noop(files)?;
            let wanted = self.tail.lock().outstanding() + files.chunk;
            let second = match self.make_second(files.current.generation + 1, wanted) {
                Err(error) if is_harmless(&error) => {
                    files.scarce = true;
                    files.chunk = CHUNK_BYTES_MIN;
                    self.make_second_of_free_space(files)
                }
                outcome => {
                    files.scarce = false;
                    outcome
                }
            };
            files.second = Some(second.map_err(|error| self.poison_unless_harmless(error))?);
            Ok(())
        })
    }

    /// Cuts the journal: appends go to the second file from here on. The last sequence before the cut, which no other
    /// cut has. No I/O: inside the closed gate.
    pub(crate) fn switch(&self) -> u64 {
        let mut tail = self.tail.lock();
        let last = tail.switch();
        self.last.store(last, Ordering::Release);
        self.record_bytes.store(0, Ordering::Relaxed);
        last
    }

    /// Completes the first file and starts the second on the device. After the gate is open again.
    pub(crate) fn settle_switch(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| self.write_out(files, true))
    }

    /// Lets go of the file before the switch: a durable superblock holds all of it. `full`: the device is, so the journal
    /// keeps what space it has.
    pub(crate) fn retire_old(&self, full: bool) -> Result<()> {
        self.lead(self.turn.lock(), |files| {
            if !files.retiring {
                return Err(Error::invalid("the journal has no file to retire"));
            }
            files.current.install(&*self.storage).map_err(|error| self.poison(error))?;
            files.retiring = false;
            if files.scarce || full {
                return self.refill(files);
            }
            if files.current.holds_no_group() && self.tail.lock().withdraw_if_unused() {
                files.current.cut_to_header().map_err(|error| self.poison(error))?;
                files.chunk = CHUNK_BYTES_MIN;
            }
            Ok(())
        })
    }

    /// On a full device the space that the old file took goes to the reserve first: as much of it as there is.
    fn refill(&self, files: &mut Files) -> Result<()> {
        let mut most = u64::MAX;
        while most >= BLOCK_BYTES as u64 {
            let lack = self.tail.lock().lack(0, Floor::Emergency);
            let Some(Lack::Space { generation, bytes }) = lack else { return Ok(()) };
            if generation != files.current.generation {
                return Ok(());
            }
            let bytes = bytes.min(most);
            match self.grow_file(files, generation, bytes) {
                Err(error) if is_harmless(&error) => most = bytes / 2,
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn reserve_noop(&self, files: &mut Files) -> Result<()> {
        loop {
            let outcome = self.tail.lock().reserve_noop();
            match outcome {
                Ok(()) => return Ok(()),
                Err(missing) => self.grow_file(files, files.current.generation, missing)?,
            }
        }
    }

    /// Makes the second file from what is free in the first: the space that is kept for this.
    ///
    /// As long as nothing else grows meanwhile the journal loses none of its space: the second file gets all that this one
    /// is cut by, what else is free in it stays until it is retired, and [`Journal::refill`] takes that. So there is always
    /// enough for the next switch, on a full device too.
    fn make_second_of_free_space(&self, files: &mut Files) -> Result<Target> {
        let block = BLOCK_BYTES as u64;
        let generation = files.current.generation;
        // All of it, so that nobody reserves what the second file has no place for.
        let (free, outstanding) = {
            let mut tail = self.tail.lock();
            (tail.withdraw_space(), tail.outstanding())
        };
        let moved = free.min(outstanding + EMERGENCY_BYTES + block) / block * block;
        files.current.shrink(moved)?;
        let second = self.make_second(generation + 1, moved);
        self.tail.lock().add_space(generation, free - moved);
        if moved > 0 && second.as_ref().is_err_and(is_harmless) {
            // Unless others have taken it.
            let _ = self.grow_file(files, generation, moved);
        }
        second
    }

    /// A durable file of at least `bytes` zeros with space for all reservations, known to the tail.
    fn make_second(&self, generation: u64, bytes: u64) -> Result<Target> {
        let outcome = self.try_make_second(generation, bytes);
        if outcome.is_err() {
            // It only takes space; the next attempt makes sure that it is gone.
            let _ = self.storage.remove(NEXT_NAME);
        }
        outcome
    }

    fn try_make_second(&self, generation: u64, bytes: u64) -> Result<Target> {
        let mut second = Target::create_next(&*self.storage, generation)?;
        let wanted = bytes.max(self.tail.lock().outstanding() + 1);
        second.grow(wanted.next_multiple_of(BLOCK_BYTES as u64), true)?;
        self.storage.sync_dir().map_err(|error| Error::io("syncing the directory of the journal", error))?;
        let checksum = second.checksum();
        loop {
            let outcome = self.tail.lock().prepare(second.capacity(), &checksum);
            match outcome {
                Ok(()) => return Ok(second),
                Err(missing) => second.grow(missing.next_multiple_of(BLOCK_BYTES as u64), true)?,
            }
        }
    }
}
