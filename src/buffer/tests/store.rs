//! A store that records what it is given, and calls out, fails or waits on a write.

use crate::buffer::images::Images;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOB_BYTES;
use crate::store::{BlobId, Origin};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

type Hook = Box<dyn Fn(&[BlobId], bool) + Send + Sync>;
type Table = BTreeMap<BlobId, Vec<u8>>;

#[derive(Default)]
pub(super) struct TestStore {
    state: Mutex<State>,
    /// Called with the ids and whether they are for a cut, before a write takes effect.
    pub(super) on_write: OnceLock<Hook>,
    /// Called when an image is read but not yet returned.
    pub(super) on_read: OnceLock<Box<dyn Fn(BlobId) + Send + Sync>>,
    /// So many of the next writes fail.
    pub(super) failures: AtomicU64,
}

#[derive(Default)]
struct State {
    current: Table,
    cut: Option<Table>,
    cut_writes: Vec<BlobId>,
    used: BTreeSet<BlobId>,
    free: Vec<BlobId>,
    next: u32,
}

impl TestStore {
    /// Freezes the current table as the cut's.
    pub(super) fn begin_cut(&self) {
        let mut state = self.state.lock();
        state.cut = Some(state.current.clone());
        state.cut_writes.clear();
    }

    /// The cut's table, and the ids written for it.
    pub(super) fn end_cut(&self) -> (Table, Vec<BlobId>) {
        let mut state = self.state.lock();
        (state.cut.take().unwrap(), std::mem::take(&mut state.cut_writes))
    }

    /// Replaces the current image.
    pub(super) fn plant(&self, id: BlobId, image: Vec<u8>) {
        self.state.lock().current.insert(id, image);
    }

    pub(super) fn current(&self, id: BlobId) -> Option<Vec<u8>> {
        self.state.lock().current.get(&id).cloned()
    }

    pub(super) fn used_ids(&self) -> usize {
        self.state.lock().used.len()
    }

    fn before_write(&self, ids: &[BlobId], for_cut: bool) -> Result<()> {
        if let Some(hook) = self.on_write.get() {
            hook(ids, for_cut);
        }
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::NoSpace, "injected"));
        }
        Ok(())
    }
}

impl Images for TestStore {
    fn spare_units(&self) -> i64 {
        i64::MAX / 2
    }
    fn grow(&self, _least: u64) -> Result<()> {
        Ok(())
    }
    fn grow_ahead(&self) -> Result<()> {
        Ok(())
    }
    fn allocate_id(&self) -> Result<BlobId> {
        let mut state = self.state.lock();
        let id = state.free.pop().unwrap_or_else(|| {
            state.next += 1;
            BlobId(state.next)
        });
        assert!(state.used.insert(id));
        Ok(id)
    }
    fn free_id(&self, id: BlobId) {
        let mut state = self.state.lock();
        assert!(state.used.remove(&id), "{id:?} freed twice");
        state.current.remove(&id);
        state.free.push(id);
    }
    fn read_blob(&self, id: BlobId, image: &mut [u8; BLOB_BYTES]) -> Result<usize> {
        let bytes = self.current(id).ok_or_else(|| Error::corrupt("test", 0, "no such blob"))?;
        if let Some(hook) = self.on_read.get() {
            hook(id);
        }
        image[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
    fn write_current(&self, images: &[(BlobId, &[u8])]) -> Result<()> {
        assert!(!images.is_empty() && images.len() <= 16);
        self.before_write(&images.iter().map(|image| image.0).collect::<Vec<_>>(), false)?;
        let mut state = self.state.lock();
        for (id, image) in images {
            assert!(state.used.contains(id), "an image of {id:?}, which is nobody's");
            state.current.insert(*id, image.to_vec());
        }
        Ok(())
    }
    fn write_cut(&self, images: &[(BlobId, &[u8], Origin)]) -> Result<()> {
        assert!(!images.is_empty() && images.iter().map(|image| image.1.len()).sum::<usize>() <= 1 << 20);
        assert!(self.state.lock().cut.is_some(), "no cut is in progress");
        self.before_write(&images.iter().map(|image| image.0).collect::<Vec<_>>(), true)?;
        let mut state = self.state.lock();
        for (id, image, origin) in images {
            if *origin == Origin::Live {
                assert!(state.used.contains(id), "an image of {id:?}, which is nobody's");
                state.current.insert(*id, image.to_vec());
            }
            state.cut.as_mut().unwrap().insert(*id, image.to_vec());
            state.cut_writes.push(*id);
        }
        Ok(())
    }
}
