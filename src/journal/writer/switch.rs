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
            let second = match self.make_second(files.current.generation + 1, files.chunk) {
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

    /// Lets go of the file before the switch: a durable superblock holds all of it.
    pub(crate) fn retire_old(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| {
            if !files.retiring {
                return Err(Error::invalid("the journal has no file to retire"));
            }
            files.current.install(&*self.storage).map_err(|error| self.poison(error))?;
            files.retiring = false;
            if files.scarce {
                return self.refill(files);
            }
            if files.current.holds_no_group() && self.tail.lock().withdraw_if_unused() {
                files.current.cut_to_header().map_err(|error| self.poison(error))?;
                files.chunk = CHUNK_BYTES_MIN;
            }
            Ok(())
        })
    }

    /// On a full device the space that the old file took goes to the reserve first.
    fn refill(&self, files: &mut Files) -> Result<()> {
        let lack = self.tail.lock().lack(0, Floor::Emergency);
        match lack {
            Some(Lack::Space { generation, bytes }) if generation == files.current.generation => {
                match self.grow_file(files, generation, bytes) {
                    Err(error) if is_harmless(&error) => Ok(()),
                    outcome => outcome,
                }
            }
            _ => Ok(()),
        }
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
    fn make_second_of_free_space(&self, files: &mut Files) -> Result<Target> {
        let freed = self.tail.lock().withdraw_space();
        files.current.shrink(freed)?;
        let generation = files.current.generation + 1;
        self.make_second(generation, EMERGENCY_BYTES / 2)
            .or_else(|error| if is_harmless(&error) { self.make_second(generation, 0) } else { Err(error) })
    }

    /// A durable file of zeros with `spare` bytes beside the space for all reservations, known to the tail.
    fn make_second(&self, generation: u64, spare: u64) -> Result<Target> {
        let outcome = self.try_make_second(generation, spare);
        if outcome.is_err() {
            // It only takes space; the next attempt makes sure that it is gone.
            let _ = self.storage.remove(NEXT_NAME);
        }
        outcome
    }

    fn try_make_second(&self, generation: u64, spare: u64) -> Result<Target> {
        let mut second = Target::create_next(&*self.storage, generation)?;
        let wanted = self.tail.lock().outstanding() + spare;
        second.grow((wanted + 1).next_multiple_of(BLOCK_BYTES as u64), true)?;
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
