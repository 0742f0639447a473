//! Bringing a blob into memory.
//!
//! The image is read and checksummed into a buffer of the loader's own, with no latch held; then the slot is
//! claimed at the version at which it was known to be out of memory. Evictions and frees move the version, so
//! an image that another thread made stale meanwhile is dropped, not installed.

use super::latch::Place;
use super::pool::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;
use crate::sync::{Condvar, Mutex, Ordering, SlotWords};

/// Buffers kept for later loads.
const SCRATCH_KEPT: usize = 8;

type Image = Box<[u8; BLOB_BYTES]>;

/// The ids being read, so that each is read by one thread.
#[derive(Default)]
pub(super) struct Loading {
    ids: Mutex<Vec<BlobId>>,
    ended: Condvar,
}

/// One thread's turn to read an id.
struct Turn<'a> {
    loading: &'a Loading,
    id: BlobId,
}

impl Loading {
    /// Waits until nobody reads `id`.
    fn turn(&self, id: BlobId) -> Turn<'_> {
        let mut ids = self.ids.lock();
        while ids.contains(&id) {
            self.ended.wait(&mut ids);
        }
        ids.push(id);
        Turn { loading: self, id }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.loading.ids.lock().retain(|id| *id != self.id);
        self.loading.ended.notify_all();
    }
}

/// Read buffers for reuse.
#[derive(Default)]
pub(super) struct Scratch(Mutex<Vec<Image>>);

impl Scratch {
    fn take(&self) -> Image {
        self.0.lock().pop().unwrap_or_else(|| Box::new([0; BLOB_BYTES]))
    }

    fn put(&self, image: Image) {
        let mut kept = self.0.lock();
        if kept.len() < SCRATCH_KEPT {
            kept.push(image);
        }
    }
}

impl Buffer {
    /// Brings a blob into memory, unless it is there or its id is nobody's (then whoever named it lost a
    /// race). Reads from the store and may evict: call it outside the gate, with no guard held.
    pub(crate) fn load(&self, id: BlobId) -> Result<()> {
        let latch = self.slot(id)?;
        let _turn = self.loading.turn(id);
        loop {
            match latch.place() {
                Place::Resident | Place::Free => return Ok(()),
                Place::Leaving => {
                    latch.reference();
                    drop(self.disk.lock());
                }
                Place::Evicted(version) => {
                    self.make_room_to_read()?;
                    return self.read_in(id, version);
                }
            }
        }
    }

    fn read_in(&self, id: BlobId, version: u64) -> Result<()> {
        let mut image = self.scratch.take();
        let read = self.store.read_blob(id, &mut image);
        let done = match read {
            Ok(bytes) => self.install(id, version, &image[..bytes.min(BLOB_BYTES)]),
            Err(_) if self.slot(id)?.place() != Place::Evicted(version) => Ok(()),
            Err(error) => Err(error),
        };
        self.scratch.put(image);
        done
    }

    /// Puts an image into the slot, if that is still out of memory since `version`.
    fn install(&self, id: BlobId, version: u64, image: &[u8]) -> Result<()> {
        let latch = self.slot(id)?;
        if !latch.claim(version) {
            return Ok(());
        }
        self.arena.attach(id);
        self.arena.populate(id, image.len());
        let words = self.arena.words(id);
        fill(words, image);
        if let Err(what) = self.format.check(id, words, image.len()) {
            self.arena.detach(id);
            latch.evict();
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {}: corrupt: {what}", id.0)));
        }
        let pages = self.arena.pages(self.format.used_bytes(words).max(image.len()));
        self.ledger.update(id, |entry| entry.with_pages(pages));
        self.admit(id);
        self.counts.loads.fetch_add(1, Ordering::Relaxed);
        latch.unlock(true);
        Ok(())
    }
}

/// Stores an image into a zeroed slot.
fn fill(words: &SlotWords, image: &[u8]) {
    let (whole, rest) = image.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}
