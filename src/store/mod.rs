//! The data file: superblocks, page table, extents. Reads, writes and frees a blob's image by id, and makes cuts of
//! all of them durable. Called by the buffer manager (ids, images) and by checkpoint and recovery (cuts, open).
//!
//! Nothing that the durable checkpoint holds is overwritten before the next one is durable and the caller has said
//! that the older one is not needed ([`state`] has the invariant and the argument). Every byte read is covered by a
//! hash that stands elsewhere: an image's in the page table, a table block's in its parent, the root's in the
//! superblock. So flipped bits, lost writes and misdirected ones are found.
//!
//! Locks, in this order: `checkpoint` (one at a time: finish, release, check), `growth` (one at a time makes the file
//! longer), `length` (shared by writes, exclusive while the file is cut), `state` (bookkeeping, never held across I/O).

mod block;
mod bytes;
mod check;
mod cut;
mod extents;
mod file;
mod grow;
mod ids;
mod open;
mod state;
mod superblock;
mod table;
#[cfg(test)]
mod tests;
mod write;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, BLOBS_MAX};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock};
use block::Image;
use cut::Durable;
use file::DataFile;
use state::State;
use std::fmt;
use std::sync::Arc;
use table::{Entry, Table};
use xxhash_rust::xxh3::xxh3_64;

/// Names a blob for life; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct BlobId(pub(crate) u32);

/// Where an image that is written for a checkpoint came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The blob itself: it has not changed since the cut, so cut and current table both take the new place.
    Live,
    /// A copy made before the blob changed or was freed: only the cut's table takes the new place.
    Shadow,
}

/// What [`Store::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Made at random with the database.
    pub(crate) database_id: u64,
    /// The last commit that the checkpoint holds.
    pub(crate) sequence: u64,
    /// The mark that came with the cut.
    pub(crate) sequence_mark: u64,
    /// The number of the checkpoint, from 1.
    pub(crate) generation: u64,
    /// The catalog that came with the cut.
    pub(crate) catalog: Vec<u8>,
    /// A newer checkpoint may have been there and is damaged: this one is right only if the journal goes on from it.
    pub(crate) fallback: bool,
}

/// Numbers about the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreStats {
    /// Length of the file in blocks.
    pub(crate) file_units: u64,
    /// Blocks that can be written.
    pub(crate) free_units: u64,
    /// Blocks that become free with the next checkpoints.
    pub(crate) dead_units: u64,
    /// Blobs that have an image.
    pub(crate) blobs: u64,
    /// Blocks of the current page table.
    pub(crate) table_blocks: u64,
    /// Memory of the current page table.
    pub(crate) table_memory_bytes: u64,
    /// Lengths of all current images.
    pub(crate) image_bytes: u64,
    /// Images read since open.
    pub(crate) blob_reads: u64,
    /// Images written since open.
    pub(crate) blob_writes: u64,
}

impl StoreStats {
    /// Blocks that hold something for good.
    pub(crate) fn used_units(&self) -> u64 {
        self.file_units - self.free_units - self.dead_units
    }
}

/// An open data file.
pub(crate) struct Store {
    file: DataFile,
    database_id: u64,
    read_only: bool,
    state: Mutex<State>,
    checkpoint: Mutex<Durable>,
    growth: Mutex<()>,
    length: RwLock<()>,
    /// Whether the device was full when it was last seen.
    full: AtomicBool,
    /// Capacity of the free extents, and what of it is held: see [`grow`].
    capacity: Arc<AtomicU64>,
    table_units: AtomicU64,
    catalog_units: AtomicU64,
    poison: Mutex<Option<Box<str>>>,
    blob_reads: AtomicU64,
    blob_writes: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("file", &self.file.name()).finish_non_exhaustive()
    }
}

impl Store {
    /// The random number that the database was made with.
    pub(crate) fn database_id(&self) -> u64 {
        self.database_id
    }

    /// A fresh id, never one in use. NoSpace past [`BLOBS_MAX`].
    pub(crate) fn allocate_id(&self) -> Result<BlobId> {
        let mut state = self.state.lock();
        let id = state.ids.allocate().ok_or_else(|| {
            let what = format_args!("{}: all {BLOBS_MAX} blob ids are in use", self.file.name());
            Error::new(ErrorKind::NoSpace, what)
        })?;
        self.table_units.store(grow::table_units(state.ids.bound()), Ordering::Relaxed);
        Ok(BlobId(id))
    }

    /// Gives an id back: its image is no longer part of the current state. No I/O.
    pub(crate) fn free_id(&self, id: BlobId) {
        self.state.lock().free_id(id);
    }

    /// Reads and checksums the current image of `id` into `image`; returns its length in bytes.
    pub(crate) fn read_blob(&self, id: BlobId, image: &mut [u8; BLOB_BYTES]) -> Result<usize> {
        self.blob_reads.fetch_add(1, Ordering::Relaxed);
        let mut entry = self.entry(id)?;
        loop {
            let failure = match self.read_image(id, entry.image, image) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            // The extent may have been replaced, freed and written again since the table was asked.
            let now = self.entry(id)?;
            if now == entry {
                return Err(failure);
            }
            entry = now;
        }
    }

    fn entry(&self, id: BlobId) -> Result<Entry> {
        let entry = self.state.lock().current.get(id.0);
        entry.ok_or_else(|| self.file.corrupt(0, format_args!("blob {} is not in the page table", id.0)))
    }

    fn read_image(&self, id: BlobId, from: Image, image: &mut [u8; BLOB_BYTES]) -> Result<usize> {
        let length = from.bytes as usize;
        let Some(bytes) = image.get_mut(..length).filter(|bytes| !bytes.is_empty()) else {
            return Err(self.file.corrupt(from.unit, format_args!("blob {} of {length} bytes", id.0)));
        };
        self.file.read(from.unit, bytes)?;
        if xxh3_64(bytes) != from.hash {
            let what = format_args!("blob {}: the image does not match its hash", id.0);
            return Err(self.file.corrupt(from.unit, what));
        }
        Ok(length)
    }

    /// Where the current image of `id` stands: its first block and its length in bytes.
    pub(crate) fn place_of(&self, id: BlobId) -> Option<(u32, u32)> {
        self.state.lock().current.get(id.0).map(|entry| (entry.image.unit, entry.image.bytes))
    }

    /// All blobs whose current image ends behind block `unit`.
    pub(crate) fn blobs_above(&self, unit: u32) -> Vec<BlobId> {
        self.blobs_where(|image| state::run_of(image).end() > u64::from(unit))
    }

    /// All blobs that have an image.
    pub(crate) fn blob_ids(&self) -> Vec<BlobId> {
        self.blobs_where(|_| true)
    }

    fn blobs_where(&self, holds: impl Fn(Image) -> bool) -> Vec<BlobId> {
        let mut ids = Vec::new();
        self.table().for_each(|id, entry| {
            if holds(entry.image) {
                ids.push(BlobId(id));
            }
        });
        ids
    }

    /// The current table as it is now, to walk without the lock.
    fn table(&self) -> Table {
        self.state.lock().current.clone()
    }

    /// Numbers about the data file.
    pub(crate) fn stats(&self) -> StoreStats {
        let state = self.state.lock();
        let sums = state.current.sums();
        StoreStats {
            file_units: state.extents.end().into(),
            free_units: state.extents.free_units(),
            dead_units: state.dead_units(),
            blobs: sums.blobs,
            table_blocks: sums.leaves + sums.inners,
            table_memory_bytes: sums.memory_bytes(),
            image_bytes: sums.image_bytes,
            blob_reads: self.blob_reads.load(Ordering::Relaxed),
            blob_writes: self.blob_writes.load(Ordering::Relaxed),
        }
    }

    /// Refuses every later write with `message`; reads go on. The first message stays.
    pub(crate) fn poison(&self, message: &str) {
        self.poison.lock().get_or_insert_with(|| message.into());
    }

    fn poisoned_by(&self, error: Error) -> Error {
        self.poison(&error.to_string());
        error
    }

    pub(crate) fn writable(&self) -> Result<()> {
        if self.read_only {
            let what = format_args!("{}: opened read-only", self.file.name());
            return Err(Error::new(ErrorKind::ReadOnly, what));
        }
        match &*self.poison.lock() {
            None => Ok(()),
            Some(why) => {
                let what = format_args!("{}: an earlier write failed: {why}", self.file.name());
                Err(Error::new(ErrorKind::Poisoned, what))
            }
        }
    }
}
