//! A walk over the entries of one blob with the whole key of each spelled out.

use super::header::Blob;
use super::inner::Child;
use super::leaf::Leaf;
use super::walk::{Walk, WalkMemory};

/// A cursor; it stands on an entry when `leaf()` is Some.
pub(crate) struct Cursor<'a> {
    blob: Blob<'a>,
    walk: Walk<'a>,
    key: Vec<u8>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(blob: Blob<'a>) -> Self {
        Self { blob, walk: Walk::new(blob, &[], WalkMemory::default()), key: Vec::with_capacity(128) }
    }

    /// The entry that the cursor stands on.
    #[inline]
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        self.walk.leaf()
    }

    /// The pointer of the entry that the cursor stands on, 0 for none.
    pub(crate) fn pointer(&self) -> u16 {
        self.walk.pointer()
    }

    /// The limb that the entry leads to, if it is a mount: then the key is its path.
    #[inline]
    pub(crate) fn mount(&self) -> Option<Child> {
        self.walk.mount()
    }

    /// The relative key of that entry.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Goes to the first entry.
    pub(crate) fn first(&mut self) {
        self.walk.first();
        self.spell();
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) {
        self.walk.last();
        self.spell();
    }

    /// Goes to the first entry with a key of at least `bound`.
    pub(crate) fn seek(&mut self, bound: &[u8]) {
        self.walk.seek(bound);
        self.spell();
    }

    /// Goes to the last entry with a key below `bound`.
    pub(crate) fn seek_below(&mut self, bound: &[u8]) {
        self.walk.seek_below(bound);
        self.spell();
    }

    /// Moves to the next entry; none when there is no more.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.walk.advance();
        self.spell();
    }

    /// Moves to the entry before; none when there is no more.
    pub(crate) fn retreat(&mut self) {
        self.walk.retreat();
        self.spell();
    }

    /// Puts the key together anew behind what is left of the last one.
    fn spell(&mut self) {
        let kept = self.walk.kept().min(self.key.len());
        self.key.truncate(kept);
        self.key.extend_from_slice(self.walk.above().get(kept..).unwrap_or(&[]));
        if let Some(leaf) = self.walk.leaf() {
            self.blob.w.append_to(leaf.suffix_at(), leaf.suffix_len(), &mut self.key);
        }
    }
}
