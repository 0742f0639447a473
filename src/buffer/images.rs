//! What the buffer manager needs of the store: the door at which its tests stand.

use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::{BlobId, Origin, Store};

/// The store as the buffer manager sees it; each method means what the [`Store`] method of its name means.
pub(super) trait Images: Send + Sync {
    fn allocate_id(&self) -> Result<BlobId>;
    fn free_id(&self, id: BlobId);
    fn read_blob(&self, id: BlobId, image: &mut [u8; BLOB_BYTES]) -> Result<usize>;
    fn write_current(&self, images: &[(BlobId, &[u8])]) -> Result<()>;
    fn write_cut(&self, images: &[(BlobId, &[u8], Origin)]) -> Result<()>;
    fn spare_units(&self) -> i64;
    fn grow(&self, least: u64) -> Result<()>;
    fn grow_ahead(&self) -> Result<()>;
}

impl Images for Store {
    fn allocate_id(&self) -> Result<BlobId> {
        self.allocate_id()
    }
    fn free_id(&self, id: BlobId) {
        self.free_id(id);
    }
    fn read_blob(&self, id: BlobId, image: &mut [u8; BLOB_BYTES]) -> Result<usize> {
        self.read_blob(id, image)
    }
    fn write_current(&self, images: &[(BlobId, &[u8])]) -> Result<()> {
        self.write_current(images)
    }
    fn write_cut(&self, images: &[(BlobId, &[u8], Origin)]) -> Result<()> {
        self.write_cut(images)
    }
    fn spare_units(&self) -> i64 {
        self.spare_units()
    }
    fn grow(&self, least: u64) -> Result<()> {
        self.grow(least)
    }
    fn grow_ahead(&self) -> Result<()> {
        self.grow_ahead()
    }
}
