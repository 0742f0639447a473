//! Blob images as the buffer manager hands them to and takes them from the store.

use crate::art::{Blob, HEADER_BYTES, Rebase, Scratch, Words};
use crate::buffer::ImageFormat;
use crate::limits::BLOCK_BYTES;
use crate::store::BlobId;
use crate::sync::SlotWords;

/// The image format of one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// The id that every blob must name.
    pub(crate) database: u64,
}

impl ImageFormat for Format {
    fn check(&self, id: BlobId, words: &SlotWords, bytes: usize) -> Result<(), String> {
        Blob::new(Words::new(words)).verify(bytes, Some((id.0, self.database)))
    }

    fn pack(&self, _id: BlobId, words: &SlotWords, out: &mut Vec<u8>) {
        let blob = Blob::new(Words::new(words));
        let end = (blob.heap_end() as usize).max(HEADER_BYTES);
        // Worth a compaction where it saves a block. So an image takes no more blocks than its live bytes: a delete never
        // makes it longer.
        let live = end.saturating_sub(blob.garbage() as usize);
        if live.div_ceil(BLOCK_BYTES) < end.div_ceil(BLOCK_BYTES) {
            let scratch = Scratch::new();
            if blob.pack(scratch.words(), Rebase::default()).is_ok() {
                let packed = Blob::new(scratch.words());
                return packed.w.image(packed.heap_end() as usize, out);
            }
        }
        blob.w.image(end, out);
    }

    fn copy(&self, words: &SlotWords, out: &mut Vec<u8>) {
        let blob = Blob::new(Words::new(words));
        blob.w.image((blob.heap_end() as usize).max(HEADER_BYTES), out);
    }

    fn used_bytes(&self, words: &SlotWords) -> usize {
        Blob::new(Words::new(words)).heap_end() as usize
    }
}
