//! The checkpoint's side of the store: a cut is begun, its images are written ([`Store::write_cut`]), it is finished,
//! and when the caller needs no older checkpoint any more, what only those held is released.
//!
//! Order that makes a crash harmless: images, table blocks and catalog go to free units and are synced before the
//! superblock is written; it goes to the slot that does not hold the durable checkpoint and is synced before anything
//! that the durable checkpoint holds is put on a list to be freed.

use super::Store;
use super::block::{FANOUT, Image, Name, Place, Writer, units};
use super::state::Cut;
use super::superblock::Superblock;
use super::table::{Body, Node};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// How many dead runs are freed under one hold of the lock.
const RELEASE_STEP: usize = 1024;

/// Where each block of a page table stands, by level and index.
pub(super) type Blocks = BTreeMap<(u8, u32), Place>;

/// What the checkpoint in the file holds beside images. Only the checkpoint reads or changes it.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) superblock: Superblock,
    pub(super) blocks: Blocks,
    pub(super) catalog: Vec<u8>,
}

/// A node of the cut's table with its level and index.
struct Spot<'a> {
    node: &'a Arc<Node>,
    level: u8,
    index: u32,
}

impl Store {
    /// Begins a cut: the state as it is now becomes the next checkpoint's. Called with every writer shut out; O(1),
    /// no I/O. `sequence` is the last commit in it.
    pub(crate) fn begin_cut(&self, sequence: u64, sequence_mark: u64) -> Result<()> {
        self.writable()?;
        let mut state = self.state.lock();
        if state.cut.is_some() {
            return Err(Error::invalid("a cut while another one is in progress"));
        }
        let (table, epoch, id_bound) = (state.current.clone(), state.epoch, state.ids.bound());
        state.cut = Some(Cut { table, epoch, sequence, sequence_mark, id_bound });
        state.epoch += 1;
        Ok(())
    }

    /// Makes the cut in progress durable, with `catalog`, and leaves it the checkpoint in the file. All its images
    /// have been written.
    ///
    /// On NoSpace nothing has changed: the cut stays in progress and can be finished later. Any other failure leaves
    /// the store poisoned, because it is not known what is durable.
    pub(crate) fn finish_cut(&self, catalog: &[u8]) -> Result<()> {
        self.writable()?;
        let mut durable = self.checkpoint.lock();
        let Some(cut) = self.state.lock().cut.clone() else {
            return Err(Error::invalid("a cut to finish while there is none in progress"));
        };
        let written = self.write_cut_blocks(&durable, &cut, catalog);
        let (superblock, blocks) = match written {
            Ok(written) => written,
            Err(full) if full.kind() == ErrorKind::NoSpace => return Err(full),
            Err(error) => return Err(self.poisoned_by(error)),
        };
        self.seal(&superblock).map_err(|error| self.poisoned_by(error))?;
        note_places(&cut, &blocks);
        self.replace(&mut durable, Durable { superblock, blocks, catalog: catalog.to_vec() }, &cut);
        Ok(())
    }

    /// Writes catalog and changed table blocks of `cut`; they stay reserved.
    fn write_cut_blocks(&self, durable: &Durable, cut: &Cut, catalog: &[u8]) -> Result<(Superblock, Blocks)> {
        let move_from = self.move_from();
        let catalog_at = self.write_catalog(durable, catalog, move_from)?;
        let blocks = self.write_table(cut, &durable.blocks, move_from).inspect_err(|_| {
            if catalog_at != durable.superblock.catalog && catalog_at.bytes > 0 {
                self.state.lock().release(&[catalog_at.unit], &[catalog_at.units()]);
            }
        })?;
        let height = cut.table.height();
        let root = height.checked_sub(1).and_then(|level| blocks.get(&(level, 0)));
        let superblock = Superblock {
            database_id: self.database_id,
            generation: durable.superblock.generation + 1,
            sequence: cut.sequence,
            sequence_mark: cut.sequence_mark,
            height,
            root: root.copied().unwrap_or_default(),
            id_bound: cut.id_bound,
            catalog: catalog_at,
            file_units: self.state.lock().extents.end(),
        };
        Ok((superblock, blocks))
    }

    /// While the file is to shrink, table blocks and catalog from this unit on are written anew, further down: it is
    /// where the file would end if it had no gaps.
    fn move_from(&self) -> u32 {
        let state = self.state.lock();
        let gaps = state.extents.free_units() + state.dead_units();
        let compact = u64::from(state.extents.end()).saturating_sub(gaps);
        if state.lowest_first { u32::try_from(compact).unwrap_or(u32::MAX) } else { u32::MAX }
    }

    fn write_catalog(&self, durable: &Durable, catalog: &[u8], move_from: u32) -> Result<Image> {
        let old = durable.superblock.catalog;
        if catalog == durable.catalog && old.unit < move_from {
            return Ok(old);
        }
        let bytes = u32::try_from(catalog.len()).map_err(|_| Error::invalid("a catalog over 4 GiB"))?;
        if bytes == 0 {
            return Ok(Image::default());
        }
        let starts = self.lay(&[units(bytes)], |_, _, out| out[..catalog.len()].copy_from_slice(catalog))?;
        Ok(Image { unit: starts[0], bytes, hash: xxh3_64(catalog) })
    }

    /// Writes every block of the cut's table that is not in the file yet, children before parents, and returns the
    /// places of all.
    fn write_table(&self, cut: &Cut, durable: &Blocks, move_from: u32) -> Result<Blocks> {
        let mut blocks = Blocks::new();
        let mut changed = Vec::new();
        if let Some(root) = cut.table.root() {
            let top = Spot { node: root, level: cut.table.height() - 1, index: 0 };
            plan(top, move_from, durable, &mut blocks, &mut changed);
        }
        self.lay(&vec![1; changed.len()], |at, unit, out| {
            let Spot { node, level, index } = changed[at];
            let hash = encode(node, Name { level, index, database: self.database_id as u32 }, &blocks, out);
            blocks.insert((level, index), Place { unit, hash });
        })?;
        Ok(blocks)
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.writable()?;
        self.file.sync().map_err(|error| self.poisoned_by(error))
    }

    /// Makes everything written so far durable, then the superblock.
    fn seal(&self, superblock: &Superblock) -> Result<()> {
        self.file.sync()?;
        self.file.write(superblock.slot() as u32, &superblock.encode())?;
        self.file.sync()
    }

    /// Makes `new` the durable checkpoint; what only the old one held dies with the cut's epoch.
    fn replace(&self, durable: &mut Durable, new: Durable, cut: &Cut) {
        let mut state = self.state.lock();
        let (old_catalog, new_catalog) = (durable.superblock.catalog, new.superblock.catalog);
        if old_catalog != new_catalog {
            if new_catalog.bytes > 0 {
                state.keep(new_catalog.unit);
            }
            if old_catalog.bytes > 0 {
                state.bury(old_catalog, cut.epoch);
            }
        }
        for (name, place) in &new.blocks {
            if durable.blocks.get(name).map(|old| old.unit) != Some(place.unit) {
                state.keep(place.unit);
            }
        }
        for (name, place) in &durable.blocks {
            if new.blocks.get(name).map(|new| new.unit) != Some(place.unit) {
                state.bury(Image { unit: place.unit, bytes: 1, hash: 0 }, cut.epoch);
            }
        }
        state.cut = None;
        state.durable_epoch = cut.epoch;
        *durable = new;
    }

    /// Frees what only checkpoints before the durable one held: called when none of them will be opened again, that
    /// is when the journal goes on from the durable one. Then gives a free tail of the file back, but for `spare` units
    /// and what was just released, unless the file is to shrink: the next checkpoint will want as much. If that fails, the
    /// file is longer than it has to be and nothing else.
    pub(crate) fn release_dead(&self, spare: u64) -> Result<()> {
        self.writable()?;
        let _checkpoint = self.checkpoint.lock();
        let dead = self.state.lock().dead_units();
        loop {
            let more = self.state.lock().release_dead(RELEASE_STEP);
            if !more {
                break;
            }
        }
        let (lowest_first, left) = {
            let state = self.state.lock();
            (state.lowest_first, state.dead_units())
        };
        let released = if lowest_first { 0 } else { dead.saturating_sub(left) };
        self.shrink(spare + released)
    }

    /// Whether new space is taken as low in the file as possible, so that it can shrink; a free tail of any length is
    /// given back meanwhile, and checkpoints move table blocks down.
    pub(crate) fn set_lowest_first(&self, lowest_first: bool) {
        self.state.lock().lowest_first = lowest_first;
    }
}

/// Lists the blocks below and at `spot` that have to be written, children first, and the places of all others. Says
/// whether the block at `spot` has to be.
fn plan<'a>(
    spot: Spot<'a>,
    move_from: u32,
    durable: &Blocks,
    blocks: &mut Blocks,
    changed: &mut Vec<Spot<'a>>,
) -> bool {
    // A shadow changes the table of a cut and may leave the current one as it is. Then that has nodes whose places went
    // with the checkpoint before the cut: only places that the durable checkpoint has count.
    let has_it = |place: &Place| durable.get(&(spot.level, spot.index)) == Some(place);
    let mut stays = spot.node.place().filter(|place| place.unit < move_from && has_it(place));
    if let Body::Inner(children) = spot.node.body() {
        for (slot, child) in children.iter().enumerate() {
            if let Some(node) = child {
                let index = spot.index * FANOUT as u32 + slot as u32;
                if plan(Spot { node, level: spot.level - 1, index }, move_from, durable, blocks, changed) {
                    stays = None;
                }
            }
        }
    }
    match stays {
        Some(place) => {
            blocks.insert((spot.level, spot.index), place);
            false
        }
        None => {
            changed.push(spot);
            true
        }
    }
}

/// Encodes a node whose children have places in `blocks` and returns the hash.
fn encode(node: &Node, name: Name, blocks: &Blocks, out: &mut [u8]) -> u64 {
    let mut writer = Writer::new(out, name);
    match node.body() {
        Body::Leaf(entries) => {
            for (slot, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.image.unit != 0) {
                writer.image(slot, entry.image);
            }
        }
        Body::Inner(_) => {
            let first = name.index * FANOUT as u32;
            for (&(_, index), &place) in
                blocks.range((name.level - 1, first)..(name.level - 1, first + FANOUT as u32))
            {
                writer.child((index - first) as usize, place);
            }
        }
    }
    writer.finish()
}

/// Notes in the nodes of the cut, which the current table may share, where they stand now.
fn note_places(cut: &Cut, blocks: &Blocks) {
    fn note(node: &Node, level: u8, index: u32, blocks: &Blocks) {
        if let Some(&place) = blocks.get(&(level, index)) {
            node.written(place);
        }
        if let Body::Inner(children) = node.body() {
            for (slot, child) in children.iter().enumerate() {
                if let Some(child) = child {
                    note(child, level - 1, index * FANOUT as u32 + slot as u32, blocks);
                }
            }
        }
    }
    if let Some(root) = cut.table.root() {
        note(root, cut.table.height() - 1, 0, blocks);
    }
}
