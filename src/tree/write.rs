//! Changes to one leaf blob: find and latch it, ask whether the change fits, apply it.
//!
//! The orchestration layer latches every leaf blob of a commit, writes the journal record, then applies: nothing here
//! can fail once [`LockedLeaf::fits`] said yes.

use crate::art::{Blob, Cursor, Leaf, Words, room_needed};
use crate::buffer::Exclusive;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, VALUE_BYTES_MAX};
use crate::store::BlobId;

use super::bounds::successor;
use super::descend::Step;
use super::split::copy_of;
use super::{Limb, Stop};

/// The range of a leaf blob: from `low` to below `high`. In a mounted limb it ends with the mount's range at the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fences {
    pub(crate) low: Option<Vec<u8>>,
    pub(crate) high: Option<Vec<u8>>,
    /// How many bytes of the keys lead to the limb: then `low` starts with them. 0: the limb is the tree's own.
    pub(crate) mount: usize,
}

/// What comes next in a leaf blob under a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Record,
    /// A limb is mounted at this key.
    Mount(Vec<u8>),
    Nothing,
}

impl Fences {
    /// Whether the range holds `key`.
    pub(crate) fn hold(&self, key: &[u8]) -> bool {
        self.low.as_deref().is_none_or(|low| low <= key) && self.high.as_deref().is_none_or(|high| key < high)
    }

    /// Whether the range holds any of the keys from `from` to below `end` (None: no bound).
    pub(crate) fn meet(&self, from: &[u8], end: Option<&[u8]>) -> bool {
        self.high.as_deref().is_none_or(|high| from < high)
            && end.is_none_or(|end| self.low.as_deref().is_none_or(|low| low < end))
    }
}

/// A leaf blob under its exclusive latch.
pub(crate) struct LockedLeaf<'a> {
    guard: Exclusive<'a>,
    base: usize,
}

/// Below this fill a leaf blob looks for a neighbour to merge with.
const MERGE_BELOW: usize = BLOB_BYTES * 40 / 100;
/// How many entries come and go between two such looks.
const MERGE_EVERY: u32 = 16;

impl<'a> Limb<'a> {
    /// Latches the leaf blob that holds `key` or would.
    pub(crate) fn lock_leaf(&self, key: &[u8]) -> Result<LockedLeaf<'a>, Stop> {
        LockedLeaf::new(self.descend_deep(key)?.leaf)
    }

    /// As [`lock_leaf`](Self::lock_leaf), with the fences of the blob's range (None: no bound).
    pub(crate) fn lock_leaf_fenced(&self, key: &[u8]) -> Result<(LockedLeaf<'a>, Fences), Stop> {
        let (fenced, mount) = self.land_at(key)?;
        let fences = Fences { low: fenced.low, high: fenced.high, mount };
        Ok((LockedLeaf::new(fenced.leaf)?, fences))
    }

    /// The same for a key in a limb that is mounted in a leaf blob which the caller has latched.
    pub(crate) fn lock_leaf_inside(
        &self,
        host: &LockedLeaf<'_>,
        key: &[u8],
    ) -> Result<(LockedLeaf<'a>, Fences), Stop> {
        let Some((path, child)) = host.blob().mount_on(host.rest(key)) else { return Err(Stop::Restart) };
        let (path, rest) = key.split_at(host.base + path);
        let limb = Self { root: BlobId(child.id), ..*self };
        let (mut leaf, inside) = limb.lock_leaf_fenced(rest)?;
        leaf.base += path.len();
        let spell = |end: Vec<u8>| [path, &end].concat();
        let fences = Fences {
            low: Some(spell(inside.low.unwrap_or_default())),
            high: inside.high.map(spell).or_else(|| successor(path)),
            mount: path.len() + inside.mount,
        };
        Ok((leaf, fences))
    }
}

impl<'a> LockedLeaf<'a> {
    /// Latches the state of a leaf blob that was read on the way down; does not wait.
    #[inline]
    pub(super) fn new(step: Step<'a>) -> Result<Self, Stop> {
        Ok(Self { guard: step.guard.upgrade()?, base: step.base })
    }

    #[inline]
    pub(super) fn blob(&self) -> Blob<'a> {
        Blob::new(Words::new(self.guard.words()))
    }

    /// Its latch.
    pub(super) fn guard_mut(&mut self) -> &mut Exclusive<'a> {
        &mut self.guard
    }

    /// How long the base is.
    pub(super) fn base(&self) -> usize {
        self.base
    }

    #[inline]
    fn rest<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.base..).unwrap_or(&[])
    }

    fn find(&self, key: &[u8]) -> Option<Leaf> {
        self.blob().find(self.rest(key))
    }

    /// The version of the record of `key`.
    #[inline]
    pub(crate) fn version(&self, key: &[u8]) -> Option<u64> {
        self.find(key).map(|leaf| leaf.version(self.blob()))
    }

    /// Version and value of the record of `key`.
    pub(crate) fn read(&self, key: &[u8]) -> Option<(u64, Vec<u8>)> {
        let mut value = Vec::new();
        Some((self.read_into(key, &mut value)?, value))
    }

    /// The version of the record of `key`; its value comes behind what is in `value`.
    pub(crate) fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Option<u64> {
        let leaf = self.find(key)?;
        self.blob().w.append_to(leaf.value_at(), leaf.value_len(), value);
        Some(leaf.version(self.blob()))
    }

    /// Whether the key, which the blob's range holds, is not in a limb that is mounted in it.
    pub(crate) fn owns(&self, key: &[u8]) -> bool {
        self.blob().mount_on(self.rest(key)).is_none()
    }

    /// Whether some record in this blob has a key that starts with `prefix`; mounts do not count. Only asked of a blob whose
    /// range meets the prefix: any other base is not part of it.
    pub(crate) fn has_prefix(&self, prefix: &[u8]) -> bool {
        self.find_below(self.rest(prefix), self.rest(prefix), |cursor| cursor.mount().is_none()).is_some()
    }

    /// What comes first at or above `from` among what starts with `prefix`. The blob's range holds `from`, which starts with
    /// the prefix or is above it.
    pub(crate) fn next_below(&self, prefix: &[u8], from: &[u8]) -> Next {
        match self.find_below(self.rest(prefix), self.rest(from), |_| true) {
            None => Next::Nothing,
            Some(cursor) if cursor.mount().is_none() => Next::Record,
            Some(cursor) => Next::Mount([&from[..self.base.min(from.len())], cursor.key()].concat()),
        }
    }

    /// The first entry from a key on that starts with the prefix and is wanted; all relative to the blob.
    fn find_below(
        &self,
        prefix: &[u8],
        from: &[u8],
        wanted: impl Fn(&Cursor<'_>) -> bool,
    ) -> Option<Cursor<'a>> {
        let mut cursor = Cursor::new(self.blob());
        cursor.seek(from);
        while cursor.leaf().is_some() && cursor.key().starts_with(prefix) {
            if wanted(&cursor) {
                return Some(cursor);
            }
            cursor.advance();
        }
        None
    }

    /// Whether the blobs above know of keys as long as this one; if not, [`Limb::admit`] it first.
    #[inline]
    pub(crate) fn admits(&self, key: &[u8]) -> bool {
        self.rest(key).len() <= self.blob().below().longest()
    }

    /// Bytes that a put of so large a value can take, beyond what is there.
    pub(crate) fn need(&self, key: &[u8], value: usize) -> usize {
        room_needed(self.rest(key).len(), value)
    }

    /// Whether `bytes` more fit without a structure change.
    #[inline]
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.blob().room() >= bytes
    }

    /// Whether a put of so large a value fits: in fresh room, or in the place of the record that is there. `sequence` is
    /// that of a recent commit.
    #[inline]
    pub(crate) fn fits_put(&self, key: &[u8], value: usize, sequence: u64) -> bool {
        self.blob().prefetch_end();
        self.fits(self.need(key, value))
            || self.find(key).is_some_and(|leaf| leaf.takes(self.blob(), value, sequence))
    }

    /// Bytes that the blob can take without a structure change.
    pub(crate) fn room(&self) -> usize {
        self.blob().room()
    }

    /// Whether all that is in the blob is below `key`.
    pub(crate) fn appends(&self, key: &[u8]) -> bool {
        let mut cursor = Cursor::new(self.blob());
        cursor.seek(self.rest(key));
        cursor.leaf().is_none()
    }

    /// What a put of so large a value takes as a rule: a leaf and half a small node.
    pub(crate) fn typical_need(&self, key: &[u8], value: usize) -> usize {
        self.rest(key).len() + value + 20
    }

    /// Whether changes in this order fit: puts of so many bytes, or deletes (None). If the worst case does not, they are
    /// tried on a copy: the same changes to the same bytes take the same room.
    pub(crate) fn fits_all(&self, changes: &[(&[u8], Option<usize>)], sequence: u64) -> bool {
        let puts = || changes.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
        match (puts().next(), puts().nth(1)) {
            (None, _) => return true,
            (Some((key, value)), None) if changes.len() == 1 => return self.fits_put(key, value, sequence),
            _ => {}
        }
        if self.fits(puts().map(|(key, value)| self.need(key, value)).sum()) {
            return true;
        }
        let blob = self.blob();
        // Versions a little above `sequence` must be stored as it is. An empty blob takes its base from the first of them.
        let distance = if blob.entries() == 0 { 0 } else { sequence.saturating_sub(blob.version_base()) };
        let unsure = (u64::from(u32::MAX / 2)..=u64::from(u32::MAX)).contains(&distance);
        let typical: usize = puts().map(|(key, value)| self.typical_need(key, value)).sum();
        if unsure || typical > self.room() {
            return false;
        }
        let copy = copy_of(blob);
        let trial = Blob::new(copy.words());
        let zeros = [0; VALUE_BYTES_MAX];
        changes.iter().all(|(key, value)| match value {
            Some(len) => trial.insert(self.rest(key), Some(sequence), &zeros[..*len]).is_ok(),
            None => {
                trial.remove(self.rest(key));
                true
            }
        })
    }

    /// Puts a record; it fits.
    pub(crate) fn put(&mut self, key: &[u8], version: u64, value: &[u8]) -> Result<()> {
        let base = self.base;
        let blob = Blob::new(Words::new(self.guard.modify()));
        match blob.insert(key.get(base..).unwrap_or(&[]), Some(version), value) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                ErrorKind::Corrupt,
                format!("index blob {}: no room for a record that fitted", blob.id()),
            )),
        }
    }

    /// Removes a record; false when there is none.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let base = self.base;
        Blob::new(Words::new(self.guard.modify())).remove(key.get(base..).unwrap_or(&[]))
    }

    /// Whether the blob has become empty enough to look for a neighbour to merge with.
    pub(crate) fn wants_merge(&self) -> bool {
        let blob = self.blob();
        blob.live_bytes() < MERGE_BELOW && blob.entries().is_multiple_of(MERGE_EVERY)
    }
}
