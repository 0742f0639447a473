//! Blob images as the buffer manager hands them to and takes them from the store.

use super::grow::packed;
use crate::art::{Blob, HEADER_BYTES, Words};
use crate::buffer::ImageFormat;
use crate::limits::BLOCK_BYTES;
use crate::store::BlobId;
use crate::sync::SlotWords;

/// So much garbage tells of nodes that have grown, and so moved behind the leaves, since the blob was packed.
const GARBAGE_LOOSE: usize = 256;

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
        if self.is_loose(words)
            && let Ok(built) = packed(blob)
        {
            let packed = Blob::new(built.words());
            return packed.w.image(packed.heap_end() as usize, out);
        }
        blob.w.image(self.used_bytes(words), out);
    }

    fn is_loose(&self, words: &SlotWords) -> bool {
        let blob = Blob::new(Words::new(words));
        let (end, garbage) = (blob.heap_end() as usize, blob.garbage() as usize);
        // Where it saves a block, it is worth it in any case. So an image takes no more blocks than its live bytes: a delete never
        // makes it longer.
        let saves = end.saturating_sub(garbage).div_ceil(BLOCK_BYTES) < end.div_ceil(BLOCK_BYTES);
        saves || garbage >= GARBAGE_LOOSE
    }

    fn tidy(&self, words: &SlotWords) {
        let blob = Blob::new(Words::new(words));
        // What cannot be packed is written as it is, and found by the check.
        if let Ok(built) = packed(blob) {
            let packed = Blob::new(built.words());
            blob.w.copy_whole(packed.w, packed.heap_end() as usize);
        }
    }

    fn used_bytes(&self, words: &SlotWords) -> usize {
        (Blob::new(Words::new(words)).heap_end() as usize).max(HEADER_BYTES)
    }
}
