//! The change of files at a checkpoint.

use super::{CHUNK_BYTES_MIN, Files, Journal};
use crate::error::{Error, Result};
use crate::journal::NEXT_NAME;
use crate::journal::tail::{EMERGENCY_BYTES, Floor, Lack};
use crate::journal::target::{Target, install, is_harmless};
use crate::limits::BLOCK_BYTES;
use crate::sync::Ordering;

impl Journal {
    /// Makes the second file, with room for every reservation. Before the gate is closed. May be repeated, by one thread at a
    /// time. Commits go on meanwhile, but on a full device; there nobody else may take space while `hold_space()` lives.
    pub(crate) fn prepare_switch<H>(&self, hold_space: impl FnOnce() -> H) -> Result<()> {
        let plan = self.lead(self.turn.lock(), |files| {
            if self.shared.tail.lock().is_prepared() {
                return Ok(None);
            }
            if files.second.is_some() || files.retiring {
                return Err(Error::invalid("the journal still holds the file before the last switch"));
            }
            self.reserve_noop(files)?;
            let wanted = self.shared.tail.lock().outstanding() + files.chunk;
            Ok(Some((files.current.generation + 1, wanted, files.current.stride())))
        })?;
        let Some((generation, wanted, stride)) = plan else { return Ok(()) };
        let made = self.make_second(generation, wanted, stride);
        self.lead(self.turn.lock(), |files| {
            let made = made.and_then(|second| self.prepare(second));
            files.scarce = made.as_ref().is_err_and(is_harmless);
            let second = match made {
                Err(_) if files.scarce => {
                    let _held = hold_space();
                    files.chunk = CHUNK_BYTES_MIN;
                    self.make_second_of_free_space(files)
                }
                outcome => outcome,
            };
            files.second = Some(second.map_err(|error| self.poison_unless_harmless(error))?);
            Ok(())
        })
    }

    /// Cuts the journal: appends go to the second file from here on. The last sequence before the cut, which no other
    /// cut has. No I/O: inside the closed gate.
    pub(crate) fn switch(&self) -> u64 {
        let mut tail = self.shared.tail.lock();
        let last = tail.switch();
        self.shared.last.store(last, Ordering::Release);
        self.shared.record_bytes.store(0, Ordering::Relaxed);
        self.shared.buffered.store(0, Ordering::Relaxed);
        self.ahead_failed.store(false, Ordering::Relaxed);
        last
    }

    /// Completes the first file and starts the second on the device. After the gate is open again.
    pub(crate) fn settle_switch(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| self.write_out(files, true))
    }

    /// Lets go of the file before the switch: a durable superblock holds all of it. `full`: the device is, so the journal
    /// keeps what space it has, and nobody else may take any while `hold_space()` lives. Commits go on meanwhile.
    pub(crate) fn retire_old<H>(&self, full: bool, hold_space: impl FnOnce() -> H) -> Result<()> {
        let scarce = self.lead(self.turn.lock(), |files| {
            if !files.retiring {
                return Err(Error::invalid("the journal has no file to retire"));
            }
            Ok(files.scarce)
        })?;
        let _held = (scarce || full).then(hold_space);
        install(&*self.storage).map_err(|error| self.poison(error))?;
        self.lead(self.turn.lock(), |files| {
            files.current.was_installed(&*self.storage);
            files.retiring = false;
            if files.scarce || full {
                return self.refill(files);
            }
            if files.current.holds_no_group() && self.shared.tail.lock().withdraw_if_unused() {
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
            let lack = self.shared.tail.lock().lack(0, Floor::Emergency);
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
            let outcome = self.shared.tail.lock().reserve_noop();
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
            let mut tail = self.shared.tail.lock();
            (tail.withdraw_space(), tail.outstanding())
        };
        let moved = free.min(outstanding + EMERGENCY_BYTES + block) / block * block;
        files.current.shrink(moved)?;
        let stride = files.current.stride();
        let second = self.make_second(generation + 1, moved, stride).and_then(|second| self.prepare(second));
        self.shared.tail.lock().add_space(generation, free - moved);
        if moved > 0 && second.as_ref().is_err_and(is_harmless) {
            // Unless others have taken it.
            let _ = self.grow_file(files, generation, moved);
        }
        second
    }

    /// A durable file of at least `bytes` zeros.
    fn make_second(&self, generation: u64, bytes: u64, stride: u64) -> Result<Target> {
        let outcome = self.try_make_second(generation, bytes, stride);
        if outcome.is_err() {
            // It only takes space; the next attempt makes sure that it is gone.
            let _ = self.storage.remove(NEXT_NAME);
        }
        outcome
    }

    fn try_make_second(&self, generation: u64, bytes: u64, stride: u64) -> Result<Target> {
        let mut second = Target::create_next(&*self.storage, generation, stride)?;
        let wanted = bytes.max(self.shared.tail.lock().outstanding() + 1);
        second.grow(wanted.next_multiple_of(BLOCK_BYTES as u64), true)?;
        self.storage.sync_dir().map_err(|error| Error::io("syncing the directory of the journal", error))?;
        Ok(second)
    }

    /// Makes the second file known to the tail, with space for all reservations.
    fn prepare(&self, mut second: Target) -> Result<Target> {
        let checksum = second.checksum();
        loop {
            let outcome = self.shared.tail.lock().prepare(second.capacity(), &checksum);
            let grown = match outcome {
                Ok(()) => return Ok(second),
                Err(missing) => second.grow(missing.next_multiple_of(BLOCK_BYTES as u64), true),
            };
            if let Err(error) = grown {
                let _ = self.storage.remove(NEXT_NAME);
                return Err(error);
            }
        }
    }
}
