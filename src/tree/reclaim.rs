//! Freeing a limb that nothing leads to any more, in bounded steps from its high end. After each step it is a sound limb.

use crate::art::{Blob, Child, Cursor, Words};
use crate::buffer::Exclusive;
use crate::store::BlobId;

use super::split::blob_of;
use super::{Limb, Stop};

/// Blobs freed in one passage.
const STEP_BLOBS: usize = 64;

/// The last child of an inner blob and its separator, None for the leftmost.
fn last_child(blob: Blob<'_>) -> (Option<Vec<u8>>, Child) {
    let mut cursor = Cursor::new(blob);
    cursor.last();
    match cursor.leaf() {
        Some(leaf) => (Some(cursor.key().to_vec()), blob.child_of(leaf)),
        None => (None, blob.leftmost_child()),
    }
}

impl<'a> Limb<'a> {
    /// Frees some blobs, as one passage inside the gate. True: all are freed, the root included, and the limb is no more.
    pub(crate) fn reclaim_once(&self) -> Result<bool, Stop> {
        let mut path = vec![self.buffer.lock(self.root)?];
        while let Some(last) = path.last() {
            if blob_of(last).level() <= 1 {
                break;
            }
            let (_, child) = last_child(blob_of(last));
            path.push(self.buffer.lock(BlobId(child.id))?);
        }
        let Some(mut lowest) = path.pop() else { return Err(Stop::Restart) };
        if blob_of(&lowest).level() == 1 && !self.free_children(&mut lowest)? {
            return Ok(false);
        }
        // Nothing is left below: the blob goes, and so does every one above that had only it.
        let mut gone = lowest;
        loop {
            let id = gone.id();
            gone.free();
            let Some(mut above) = path.pop() else { return Ok(id == self.root) };
            if let (Some(separator), _) = last_child(blob_of(&above)) {
                Blob::new(Words::new(above.modify())).remove(&separator);
                return Ok(false);
            }
            gone = above;
        }
    }

    /// Frees the last children of a blob. True: all are freed, and the blob is to go.
    fn free_children(&self, parent: &mut Exclusive<'a>) -> Result<bool, Stop> {
        for _ in 0..STEP_BLOBS {
            let (separator, child) = last_child(blob_of(parent));
            self.buffer.discard(BlobId(child.id))?;
            match separator {
                Some(separator) => Blob::new(Words::new(parent.modify())).remove(&separator),
                None => return Ok(true),
            };
        }
        Ok(false)
    }
}
