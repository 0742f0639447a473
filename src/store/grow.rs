//! The length of the data file: it grows ahead of use, and is cut behind what is kept.
//!
//! Space that the file has is there for good on a file system that overwrites in place: what the free extents have
//! the capacity for can be written on a full device too. Of that, *held* is what a checkpoint needs beside images: every
//! block of a page table of all ids given out so far, and the catalog. The rest is *spare*; who may count on how much of
//! it is the subject of `buffer/space.rs`.

use super::Store;
use super::block::{FANOUT, units};
use super::extents::RUN_UNITS;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{MutexGuard, Ordering};

/// Blocks of a page table of all ids below `bound` at the most.
pub(super) fn table_units(bound: u32) -> u64 {
    let (mut sum, mut blocks) = (0, u64::from(bound));
    while blocks > 1 {
        blocks = blocks.div_ceil(FANOUT as u64);
        sum += blocks;
    }
    sum
}

impl Store {
    /// Units of images of any size that find space on a full device too; below zero if a checkpoint may not. Without
    /// bound where nothing is ever written.
    pub(crate) fn spare_units(&self) -> i64 {
        if self.read_only {
            return i64::MAX / 2;
        }
        let capacity = self.capacity.load(Ordering::Relaxed) as i64;
        capacity - self.held_units() as i64
    }

    fn held_units(&self) -> u64 {
        self.table_units.load(Ordering::Relaxed) + self.catalog_units.load(Ordering::Relaxed)
    }

    /// Says how long the catalog of the next checkpoint will be at the most.
    pub(crate) fn expect_catalog(&self, bytes: usize) {
        self.catalog_units.store(units(bytes as u32).into(), Ordering::Relaxed);
    }

    /// Makes the file longer by at least `least` units: by a whole run if there is space for it.
    pub(crate) fn grow(&self, least: u64) -> Result<()> {
        self.writable()?;
        let full = |_| {
            let what = format_args!("{}: the file has all the blocks that it can have", self.file.name());
            Error::new(ErrorKind::NoSpace, what)
        };
        let least = u32::try_from(least).map_err(full)?;
        let _one_at_a_time = self.growth.lock();
        let _length_stays = self.length.read();
        let outcome = match self.extend(least.max(RUN_UNITS)) {
            Err(error) if error.kind() == ErrorKind::NoSpace && least < RUN_UNITS => self.extend(least),
            outcome => outcome,
        };
        match &outcome {
            Ok(()) => self.full.store(false, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::NoSpace => self.note_full(),
            Err(_) => {}
        }
        outcome
    }

    /// Makes the file longer by a run before somebody needs it. Unlike [`grow`](Self::grow) it takes nothing on a device that is
    /// full, and a failure says nothing about that.
    pub(crate) fn grow_ahead(&self) -> Result<()> {
        self.writable()?;
        let _one_at_a_time = self.growth.lock();
        let _length_stays = self.length.read();
        if self.is_full() {
            return Err(Error::new(ErrorKind::NoSpace, "the device is full"));
        }
        self.extend(RUN_UNITS)
    }

    /// Somebody found the device full. So it counts until the file can be made longer.
    pub(crate) fn note_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    /// Whether the device was full when it was last seen.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Nothing makes the file longer while the result lives: other files may be cut and grow by what that gave.
    pub(crate) fn hold_growth(&self) -> MutexGuard<'_, ()> {
        self.growth.lock()
    }

    /// When it fails the file is as before.
    fn extend(&self, more: u32) -> Result<()> {
        let start = self.state.lock().extents.end();
        if start.checked_add(more).is_none() {
            let what = format_args!("{}: the file has all the blocks that it can have", self.file.name());
            return Err(Error::new(ErrorKind::NoSpace, what));
        }
        if let Err(error) = self.file.allocate(start, more) {
            // What lies behind the end does no harm, but others may want the space.
            let _ = self.file.cut(start);
            return Err(error);
        }
        self.state.lock().extents.extend(more);
        Ok(())
    }

    /// Gives a free tail of the file back but for what leaves `spare` units, and those held. Writes wait while the file is
    /// cut, so that none can land behind the new end and be lost.
    pub(super) fn shrink(&self, spare: u64) -> Result<()> {
        let _writes_wait = self.length.write();
        let end = {
            let mut state = self.state.lock();
            let least = if state.lowest_first { 1 } else { RUN_UNITS };
            if !state.extents.trim(least, self.held_units() + spare) {
                return Ok(());
            }
            state.extents.end()
        };
        self.file.cut(end)
    }
}
