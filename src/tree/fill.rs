//! Filling an empty leaf blob with sorted records that were built into one blob aside.

use crate::art::{Blob, Cursor, Scratch, build};
pub(crate) use crate::art::{Gauge, Place};

use super::bounds::separator;
use super::split::install;
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

    /// Builds the blob of the records at these places of the text, which the empty leaf blob's range holds. None: they do not
    /// fit into one.
    pub(crate) fn build(&self, text: &[u8], places: &[Place]) -> Option<Scratch> {
        let built = Scratch::new();
        build(built.words(), self.blob(), text, places, self.base(), 0).ok().map(|()| built)
    }

    /// Puts what was built in place, all at this version.
    pub(crate) fn install_built(&mut self, built: &Scratch, version: u64) {
        // Versions are differences to the base.
        Blob::new(built.words()).set_version_base(version);
        install(self.guard_mut(), built);
    }
}
