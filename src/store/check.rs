//! Proves the data file: every unit is held by exactly one holder (I1 of [`super::state`]), and everything that the
//! durable checkpoint or the current table holds is what was written.

use super::block::{FANOUT, Image, Name, Reader};
use super::cut::Durable;
use super::extents::Run;
use super::file::offset;
use super::state::run_of;
use super::superblock::{SLOTS, Slot, Superblock};
use super::{BlobId, Store};
use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use xxhash_rust::xxh3::xxh3_64;

impl Store {
    /// Reads everything back and adds a line to `problems` for whatever is not as it should be. Runs beside readers
    /// and writers; a checkpoint waits.
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let durable = self.checkpoint.lock();
        self.check_space(&durable, problems);
        self.check_superblock(&durable, problems);
        self.check_catalog(&durable, problems);
        for (&(level, index), place) in &durable.blocks {
            let name = Name { level, index, database: self.database_id as u32 };
            if let Err(problem) = self.check_block(&durable, name, place.unit, place.hash, problems) {
                problems.push(problem);
            }
        }
        self.check_young_images(problems);
    }

    /// I1, and that the cut in progress holds nothing that could be given out again.
    fn check_space(&self, durable: &Durable, problems: &mut Vec<String>) {
        let (current, cut, mut held, free, end) = {
            let state = self.state.lock();
            let cut = state.cut.as_ref().map(|cut| cut.table.clone());
            let held: Vec<Run> = state.dead_and_reserved().collect();
            let free: Vec<Run> = state.extents.runs().collect();
            (state.current.clone(), cut, held, free, state.extents.end())
        };
        current.for_each(|_, entry| held.push(run_of(entry.image)));
        held.sort_unstable();
        if let Some(cut) = cut {
            cut.for_each(|id, entry| {
                if held.binary_search(&run_of(entry.image)).is_err() {
                    problems
                        .push(self.at(entry.image.unit, format_args!("blob {id} of the cut is not kept")));
                }
            });
        }
        held.extend(durable.blocks.values().map(|place| Run { start: place.unit, units: 1 }));
        held.extend(Some(durable.superblock.catalog).filter(|image| image.bytes > 0).map(run_of));
        held.extend(free);
        held.sort_unstable();
        let mut next = SLOTS as u64;
        for run in held {
            if u64::from(run.start) != next {
                let what =
                    if u64::from(run.start) < next { "held twice" } else { "follows units held by nobody" };
                problems.push(self.at(run.start, format_args!("an extent of {} units is {what}", run.units)));
            }
            next = next.max(run.end());
        }
        if next != u64::from(end) {
            problems.push(self.at(end, format_args!("the file ends here, its extents at unit {next}")));
        }
    }

    fn check_superblock(&self, durable: &Durable, problems: &mut Vec<String>) {
        let slot = durable.superblock.slot();
        let mut block = [0; BLOCK_BYTES];
        match self.file.read(slot as u32, &mut block) {
            Err(error) => problems.push(error.to_string()),
            Ok(()) if Superblock::decode(&block, slot) == Slot::Valid(durable.superblock.clone()) => {}
            Ok(()) => problems.push(self.at(slot as u32, "the superblock is not what was written")),
        }
    }

    fn check_catalog(&self, durable: &Durable, problems: &mut Vec<String>) {
        let image = durable.superblock.catalog;
        let mut bytes = vec![0; durable.catalog.len()];
        if bytes.is_empty() {
            return;
        }
        match self.file.read(image.unit, &mut bytes) {
            Err(error) => problems.push(error.to_string()),
            Ok(()) if bytes == durable.catalog => {}
            Ok(()) => problems.push(self.at(image.unit, "the catalog is not what was written")),
        }
    }

    /// Checks a block of the durable page table and the images that it names.
    fn check_block(
        &self,
        durable: &Durable,
        name: Name,
        unit: u32,
        hash: u64,
        problems: &mut Vec<String>,
    ) -> Result<(), String> {
        let mut block = [0; BLOCK_BYTES];
        self.file.read(unit, &mut block).map_err(|error| error.to_string())?;
        let reader = Reader::new(&block, name, hash).map_err(|why| self.at(unit, why))?;
        if name.level > 0 {
            let first = name.index * FANOUT as u32;
            for (slot, child) in reader.children() {
                if durable.blocks.get(&(name.level - 1, first + slot as u32)) != Some(&child) {
                    problems.push(self.at(unit, format_args!("child {slot} is not where it should be")));
                }
            }
            return Ok(());
        }
        for image in reader.images() {
            let (slot, image) = image.map_err(|why| self.at(unit, why))?;
            if let Err(problem) = self.check_image(image) {
                let id = name.index * FANOUT as u32 + slot as u32;
                problems.push(format!("{problem} (blob {id} of the checkpoint)"));
            }
        }
        Ok(())
    }

    fn check_image(&self, image: Image) -> Result<(), String> {
        let mut bytes = vec![0; image.bytes as usize];
        self.file.read(image.unit, &mut bytes).map_err(|error| error.to_string())?;
        if xxh3_64(&bytes) == image.hash { Ok(()) } else { Err(self.at(image.unit, "image does not match")) }
    }

    /// Checks the images that the checkpoint does not hold: those that were evicted since.
    fn check_young_images(&self, problems: &mut Vec<String>) {
        let (current, durable_epoch) = {
            let state = self.state.lock();
            (state.current.clone(), state.durable_epoch)
        };
        let mut young = Vec::new();
        current.for_each(|id, entry| {
            if entry.birth > durable_epoch {
                young.push(BlobId(id));
            }
        });
        let mut image = Box::new([0; BLOB_BYTES]);
        for id in young {
            match self.read_blob(id, &mut image) {
                Err(error) if self.place_of(id).is_some() => problems.push(error.to_string()),
                _ => {}
            }
        }
    }

    fn at(&self, unit: u32, what: impl std::fmt::Display) -> String {
        format!("{}: offset {}: {what}", self.file.name(), offset(unit))
    }
}
