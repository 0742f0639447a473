//! Filling an empty leaf blob with sorted records.

use crate::art::{Blob, Cursor, Words, build};
pub(crate) use crate::art::{Place, Sketch};
use crate::limits::BLOB_BYTES;

use super::bounds::separator;
use super::write::{Fences, LockedLeaf};

/// What a latched leaf blob is to records that would fill one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It is empty, its range holds them all, and none that come later.
    Ready,
    /// They fit in a gap of it, which a cut at this key makes narrower.
    Cut(Vec<u8>),
    /// There is something among them.
    None,
}

impl LockedLeaf<'_> {
    /// What the leaf blob, whose range holds `first`, is to the records from there to `last`, the next of which is `next`.
    pub(crate) fn gap(&self, fences: &Fences, first: &[u8], last: &[u8], next: Option<&[u8]>) -> Gap {
        let high = fences.high.as_deref();
        if high.is_some_and(|high| high <= last) {
            return Gap::None;
        }
        let spell = |cursor: &Cursor<'_>| [&first[..self.base()], cursor.key()].concat();
        let mut cursor = Cursor::new(self.blob());
        cursor.seek(&first[self.base()..]);
        let after = cursor.leaf().map(|_| spell(&cursor));
        if after.as_deref().is_some_and(|after| after <= last) {
            return Gap::None;
        }
        if after.is_some() {
            cursor.retreat();
        } else {
            cursor.last();
        }
        if cursor.leaf().is_some() {
            return Gap::Cut(separator(&spell(&cursor), first).to_vec());
        }
        let next = next.filter(|next| high.is_none_or(|high| *next < high));
        match [after.as_deref(), next].into_iter().flatten().min() {
            Some(end) => Gap::Cut(separator(last, end).to_vec()),
            None => Gap::Ready,
        }
    }

    /// Whether the records that the sketch was drawn of fit into it, where its range holds them all.
    pub(crate) fn takes(&self, sketch: &Sketch) -> bool {
        self.base() <= sketch.base_max() && sketch.bytes(self.base()) <= BLOB_BYTES
    }

    /// Fills the empty leaf blob, which [`takes`](Self::takes) them, with the records at these places of the text, all at this
    /// version.
    pub(crate) fn put_all(&mut self, text: &[u8], places: &[Place], sketch: &Sketch, version: u64) {
        let base = self.base();
        let guard = self.guard_mut();
        guard.expect(sketch.bytes(base));
        build(Blob::new(Words::new(guard.modify())), text, places, sketch, base, version);
    }
}
