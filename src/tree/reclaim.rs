//! Freeing a limb that nothing leads to any more, in bounded steps from its high end. After each step it is a sound limb.
//! Leaf blobs are read only where they may hold mounts: then nothing leads to the limbs mounted there either.

use crate::art::{Blob, Child, Cursor, Words};
use crate::buffer::Exclusive;
use crate::store::BlobId;

use super::split::blob_of;
use super::{Limb, Stop};

/// Blobs freed in one passage, and limbs found after which it ends.
const STEP_BLOBS: usize = 64;
const STEP_LIMBS: usize = 1024;

/// What a passage did, whether it came to its end or was stopped.
#[derive(Debug, Default)]
pub(crate) struct Reclaimed {
    /// The roots of limbs that were mounted in what was freed: to be reclaimed as well. The list of those limbs has to have them
    /// before the passage is over.
    pub(crate) limbs: Vec<BlobId>,
    /// Blobs freed.
    pub(crate) blobs: u64,
}

impl Reclaimed {
    /// Notes the limbs mounted in a leaf blob that is to go.
    fn take_mounts(&mut self, blob: Blob<'_>) {
        if !blob.is_leaf() || !blob.below().mounts() {
            return;
        }
        let mut cursor = Cursor::new(blob);
        cursor.first();
        while cursor.leaf().is_some() {
            self.limbs.extend(cursor.mount().map(|limb| BlobId(limb.id)));
            cursor.advance();
        }
    }
}

/// The last child of an inner blob and its separator, None for the leftmost.
pub(super) fn last_child(blob: Blob<'_>) -> (Option<Vec<u8>>, Child) {
    let mut cursor = Cursor::new(blob);
    cursor.last();
    match cursor.leaf() {
        Some(leaf) => (Some(cursor.key().to_vec()), blob.child_of(leaf)),
        None => (None, blob.leftmost_child()),
    }
}

impl<'a> Limb<'a> {
    /// Frees some blobs, as one passage inside the gate. True: all are freed, the root included, and the limb is no more.
    pub(crate) fn reclaim_once(&self, reclaimed: &mut Reclaimed) -> Result<bool, Stop> {
        let mut path = vec![self.buffer.lock(self.root)?];
        while let Some(last) = path.last() {
            if blob_of(last).level() <= 1 {
                break;
            }
            let (_, child) = last_child(blob_of(last));
            path.push(self.buffer.lock(BlobId(child.id))?);
        }
        let Some(mut lowest) = path.pop() else { return Err(Stop::Restart) };
        if blob_of(&lowest).level() == 1 && !self.free_children(&mut lowest, reclaimed)? {
            return Ok(false);
        }
        // Nothing is left below: the blob goes, and so does every one above that had only it.
        let mut gone = lowest;
        loop {
            let id = gone.id();
            reclaimed.take_mounts(blob_of(&gone));
            gone.free();
            reclaimed.blobs += 1;
            let Some(mut above) = path.pop() else { return Ok(id == self.root) };
            if let (Some(separator), _) = last_child(blob_of(&above)) {
                Blob::new(Words::new(above.modify())).remove(&separator);
                return Ok(false);
            }
            gone = above;
        }
    }

    /// Frees the last children of a blob. True: all are freed, and the blob is to go.
    fn free_children(&self, parent: &mut Exclusive<'a>, reclaimed: &mut Reclaimed) -> Result<bool, Stop> {
        for _ in 0..STEP_BLOBS {
            let (separator, child) = last_child(blob_of(parent));
            if child.below.mounts() {
                let leaf = self.buffer.lock(BlobId(child.id))?;
                reclaimed.take_mounts(blob_of(&leaf));
                leaf.free();
            } else {
                self.buffer.discard(BlobId(child.id))?;
            }
            reclaimed.blobs += 1;
            match separator {
                Some(separator) => Blob::new(Words::new(parent.modify())).remove(&separator),
                None => return Ok(true),
            };
            if reclaimed.limbs.len() >= STEP_LIMBS {
                break;
            }
        }
        Ok(false)
    }
}
