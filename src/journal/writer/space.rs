//! Space and sequences for records to come: both are made durable before they are handed out.

use super::{CHUNK_BYTES_MAX, Files, Journal, Reservation};
use crate::error::Result;
use crate::journal::record::check_length;
use crate::journal::tail::{Floor, Lack, cost_of};
use crate::journal::target::is_harmless;
use crate::limits::BLOCK_BYTES;

impl Journal {
    pub(super) fn reserve_above(&self, payload_bytes: usize, floor: Floor) -> Result<Reservation<'_>> {
        check_length(payload_bytes)?;
        let cost = cost_of(payload_bytes);
        loop {
            self.check_poison()?;
            let outcome = self.tail.lock().reserve(cost, floor);
            match outcome {
                Ok(()) => return Ok(Reservation { journal: self, cost }),
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
                let mut tail = self.tail.lock();
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
            let lack = self.tail.lock().lack(cost, floor);
            match lack {
                Some(Lack::Space { generation: lacking, bytes }) if lacking == generation => {
                    self.grow_file(files, generation, bytes)
                }
                _ => Ok(()),
            }
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
        self.tail.lock().add_space(generation, grown);
        Ok(())
    }
}
