//! Changes to many blobs at once, for directory moves: all or nothing, in private memory until they are complete.
//!
//! A workspace lives while the gate is closed, so what blobs hold changes under nobody but it. Where in them that lies may change: a
//! checkpoint packs blobs outside the gate, so no place in a blob is kept from one look at it to the next. It reads those that are in memory,
//! changes copies of them under their exclusive latches, and installs all copies in [`Workspace::commit`], which cannot
//! fail. Dropped before that, it leaves nothing behind: so a miss, a lost race, or an error found half-way through means
//! to drop it, and perhaps to start again.
//!
//! Keys are relative to the limb whose root is given; mounts on their way are followed.
//!
//! Moving directories by surgery on the tree: Zhan et al., "The Full Path to Full-Path Indexing", FAST 2018; mounts
//! stand in for the equal heights that needs.

mod carve;
mod edit;
mod graft;
mod later;
mod length;
mod lower;
#[cfg(test)]
mod mending_tests;
mod path;
mod rebase;
mod splice;
#[cfg(test)]
mod tests;

pub(crate) use graft::Taken;
pub(crate) use length::{BOUND_ENOUGH, Known};

use std::collections::BTreeMap;

use crate::art::{Blob, Cursor, Kind, Scratch, Words};
use crate::buffer::{Buffer, Exclusive, Fault, Reservation};
use crate::store::BlobId;
use crate::sync::spin_loop;

use super::Stop;
use later::{Change, Work};

/// How often a latch is tried before the workspace is given up: readers hold one for moments.
const LATCH_TRIES: u32 = 200;

/// Blobs as they will be; see the module.
pub(crate) struct Workspace<'a> {
    buffer: &'a Buffer,
    frames: Reservation<'a>,
    database: u64,
    works: BTreeMap<BlobId, Work<'a>>,
    /// Roots of limbs that nothing leads to any more.
    reclaim: Vec<BlobId>,
    /// Whether cuts left blobs sparse.
    has_cut: bool,
}

impl<'a> Workspace<'a> {
    /// An empty workspace that may make as many blobs as `frames` has. Called with the gate closed.
    pub(crate) fn new(buffer: &'a Buffer, frames: Reservation<'a>, database: u64) -> Self {
        Self { buffer, frames, database, works: BTreeMap::new(), reclaim: Vec::new(), has_cut: false }
    }

    /// How many blobs it changes or makes.
    pub(crate) fn blobs(&self) -> usize {
        self.works.len()
    }

    /// Whether cuts left blobs sparse, so that [`Limb::tidy`](super::Limb::tidy) finds something to do.
    pub(crate) fn has_cut(&self) -> bool {
        self.has_cut
    }

    /// Installs everything. Returns the roots of limbs to be reclaimed.
    pub(crate) fn commit(mut self) -> Vec<BlobId> {
        let mut released = Vec::with_capacity(self.works.len());
        for (_, work) in std::mem::take(&mut self.works) {
            match work.is_gone {
                true => work.free(),
                false => released.push(work.install()),
            }
        }
        // Whoever waits for one of them sees all: no latch of what stays is released before the last copy is in its place.
        drop(released);
        std::mem::take(&mut self.reclaim)
    }

    /// Reads a blob as it will be.
    fn peek<T>(&self, id: BlobId, read: impl FnOnce(Blob<'_>) -> T) -> Result<T, Stop> {
        if let Some(work) = self.works.get(&id) {
            return match work.is_gone {
                true => Err(Stop::Corrupt(id, "a freed blob is still named")),
                false => Ok(read(work.view())),
            };
        }
        let guard = self.buffer.read(id)?;
        let outcome = read(Blob::new(Words::new(guard.words())));
        // Only an eviction, or a checkpoint that packed it, can have come in between.
        if guard.validate() { Ok(outcome) } else { Err(Stop::Restart) }
    }

    /// Latches a blob, unless it is already, and gives its copy to be changed.
    fn edit(&mut self, id: BlobId) -> Result<Blob<'_>, Stop> {
        Ok(self.work(id)?.copy())
    }

    /// Latches a blob, unless it is already, and has a change made to it when all are.
    fn change(&mut self, id: BlobId, change: Change) -> Result<(), Stop> {
        self.work(id)?.change(change);
        Ok(())
    }

    fn work(&mut self, id: BlobId) -> Result<&mut Work<'a>, Stop> {
        if !self.works.contains_key(&id) {
            let guard = self.latch(id)?;
            self.works.insert(id, Work::of(guard));
        }
        match self.works.get_mut(&id) {
            Some(work) if !work.is_gone => Ok(work),
            _ => Err(Stop::Corrupt(id, "a freed blob is still named")),
        }
    }

    fn latch(&self, id: BlobId) -> Result<Exclusive<'a>, Stop> {
        for _ in 0..LATCH_TRIES {
            match self.buffer.try_lock(id) {
                Err(Fault::Restart) => spin_loop(),
                outcome => return Ok(outcome?),
            }
        }
        Err(Stop::Restart)
    }

    /// Puts other content into a blob; it keeps its id.
    fn replace(&mut self, id: BlobId, content: Scratch) -> Result<(), Stop> {
        self.work(id)?.replace(content);
        Ok(())
    }

    /// A new, empty blob.
    fn create(&mut self, kind: Kind, level: u8) -> Result<BlobId, Stop> {
        if self.frames.is_empty() {
            return Err(Stop::Frames);
        }
        let guard = self.buffer.create(&mut self.frames);
        let id = guard.id();
        let copy = Scratch::new();
        Blob::new(copy.words()).init(kind, level, id.0, self.database);
        self.works.insert(id, Work::new(guard, copy));
        Ok(id)
    }

    /// A new blob with this content.
    fn create_with(&mut self, content: Scratch) -> Result<BlobId, Stop> {
        let blob = Blob::new(content.words());
        let kind = if blob.is_leaf() { Kind::Leaf } else { Kind::Inner };
        let id = self.create(kind, blob.level())?;
        self.replace(id, content)?;
        Ok(id)
    }

    /// Frees a blob that nothing leads to any more.
    fn free(&mut self, id: BlobId) -> Result<(), Stop> {
        self.work(id)?.is_gone = true;
        Ok(())
    }

    /// What was taken is to be reclaimed.
    pub(crate) fn drop_taken(&mut self, taken: Taken) {
        match taken {
            Taken::Nothing => {}
            Taken::Limb(limb) => self.reclaim.push(BlobId(limb.id)),
            Taken::Inline(content) => {
                let mut cursor = Cursor::new(Blob::new(content.words()));
                cursor.first();
                while cursor.leaf().is_some() {
                    self.reclaim.extend(cursor.mount().map(|limb| BlobId(limb.id)));
                    cursor.advance();
                }
            }
        }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        for (_, work) in std::mem::take(&mut self.works) {
            if work.is_new {
                work.free();
            }
        }
    }
}
