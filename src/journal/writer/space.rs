//! Space and sequences for records to come: both are made durable before they are handed out.

use super::{CHUNK_BYTES_MAX, Files, Journal, Reservation};
use crate::error::Result;
use crate::journal::record::check_length;
use crate::journal::tail::{Floor, Lack, cost_of};
use crate::journal::target::is_harmless;
use crate::limits::BLOCK_BYTES;
use crate::sync::Ordering;

/// What is allocated ahead of need at a time, in bytes.
const AHEAD_PIECE_BYTES: u64 = 1 << 20;

impl Journal {
    pub(super) fn reserve_above(&self, payload_bytes: usize, floor: Floor) -> Result<Reservation<'_>> {
        check_length(payload_bytes)?;
        let cost = cost_of(payload_bytes);
        loop {
            self.check_poison()?;
            let (outcome, low) = {
                let mut tail = self.shared.tail.lock();
                (tail.reserve(cost, floor), tail.is_low())
            };
            match outcome {
                Ok(()) => {
                    if low
                        && !self.ahead_failed.load(Ordering::Relaxed)
                        && !self.is_low.swap(true, Ordering::Relaxed)
                    {
                        self.call_keeper();
                    }
                    return Ok(Reservation { journal: self, cost });
                }
                Err(Lack::Space { generation, .. }) => self.grow(generation, cost, floor)?,
                Err(Lack::Sequences) => self.advance_mark()?,
                Err(Lack::Memory) => self.flush()?,
            }
        }
    }

    /// Makes a new mark durable.
    fn advance_mark(&self) -> Result<()> {
        self.lead(self.turn.lock(), |files| {
            loop {
                let mut tail = self.shared.tail.lock();
                if tail.lack(0, Floor::None) != Some(Lack::Sequences) {
                    return Ok(());
                }
                let begun = tail.begin_mark_group();
                let generation = tail.generation();
                drop(tail);
                if begun {
                    self.write_out(files, true)?;
                } else {
                    self.grow_file(files, generation, BLOCK_BYTES as u64)?;
                }
            }
        })
    }

    /// Allocates space in the file of `generation`, unless it has come to be there in the meantime.
    fn grow(&self, generation: u64, cost: u64, floor: Floor) -> Result<()> {
        self.lead(self.turn.lock(), |files| {
            let lack = self.shared.tail.lock().lack(cost, floor);
            match lack {
                Some(Lack::Space { generation: lacking, bytes }) if lacking == generation => {
                    self.grow_file(files, generation, bytes)
                }
                _ => Ok(()),
            }
        })
    }

    /// Allocates space in the file that appends go to before it runs out, piece by piece, so that nobody has to wait for long;
    /// whether there is more to do. On a full device whoever needs the space finds that out.
    pub(super) fn grow_ahead(&self) -> Result<bool> {
        self.lead(self.turn.lock(), |files| {
            let (generation, low) = {
                let tail = self.shared.tail.lock();
                (tail.generation(), tail.is_low())
            };
            self.is_low.store(false, Ordering::Relaxed);
            let Some(target) = files.of_generation(generation).filter(|_| low) else { return Ok(false) };
            if let Err(error) = target.grow(AHEAD_PIECE_BYTES, self.sync_growth) {
                if is_harmless(&error) {
                    // What there is left is for those who need it now, until the next switch.
                    self.ahead_failed.store(true, Ordering::Relaxed);
                    target.give_back();
                }
                return Err(self.poison_unless_harmless(error));
            }
            let mut tail = self.shared.tail.lock();
            tail.add_space(generation, AHEAD_PIECE_BYTES);
            self.is_low.store(tail.is_low(), Ordering::Relaxed);
            Ok(tail.is_low())
        })
    }

    /// Allocates at least `bytes`: a whole chunk if there is space for it.
    pub(super) fn grow_file(&self, files: &mut Files, generation: u64, bytes: u64) -> Result<()> {
        let least = bytes.next_multiple_of(BLOCK_BYTES as u64);
        let chunk = files.chunk.max(least);
        let Some(target) = files.of_generation(generation) else { return Ok(()) };
        let grown = match target.grow(chunk, self.sync_growth) {
            Err(error) if is_harmless(&error) && least < chunk => {
                target.grow(least, self.sync_growth).map(|()| least)
            }
            outcome => outcome.map(|()| chunk),
        };
        let grown = grown.map_err(|error| self.poison_unless_harmless(error))?;
        files.chunk = (files.chunk * 2).min(CHUNK_BYTES_MAX);
        self.shared.tail.lock().add_space(generation, grown);
        Ok(())
    }
}
