//! Cutting a blob in two: where, and how.

use crate::art::{Blob, CHILD_BYTES, Child, Cursor, Keep, Kind, Rebase, Scratch, Words, room_needed};
use crate::buffer::{Exclusive, Reservation};
use crate::limits::BLOB_BYTES;

use super::Stop;
use super::bounds::{common_prefix, separator};

/// A latched blob and its latched parent.
pub(super) struct Pair<'a> {
    pub(super) parent: Exclusive<'a>,
    pub(super) target: Exclusive<'a>,
    /// Length of the parent's base, and how many bytes longer the target's is.
    pub(super) parent_base: usize,
    pub(super) delta: usize,
}

/// The separators around a child, relative to its parent; None at the parent's own edges.
pub(super) struct Around {
    pub(super) low: Option<Vec<u8>>,
    pub(super) high: Option<Vec<u8>>,
}

/// A blob's bytes as a changed one's source and result: shared memory is written once, at the end.
pub(super) fn blob_of<'a>(guard: &Exclusive<'a>) -> Blob<'a> {
    Blob::new(Words::new(guard.words()))
}

/// Copies a blob that was built aside into a latched slot, keeping the slot's id.
pub(super) fn install(guard: &mut Exclusive<'_>, built: &Scratch) {
    let id = guard.id();
    let source = Blob::new(built.words());
    guard.expect(source.heap_end() as usize);
    let target = Blob::new(Words::new(guard.modify()));
    target.w.copy_whole(source.w, source.heap_end() as usize);
    target.set_id(id.0);
}

/// A private copy of a blob.
pub(super) fn copy_of(blob: Blob<'_>) -> Scratch {
    let scratch = Scratch::new();
    scratch.words().copy_whole(blob.w, blob.heap_end() as usize);
    scratch
}

/// The separators around the child of `parent` whose range holds `rest`.
pub(super) fn around(parent: Blob<'_>, rest: &[u8]) -> Around {
    let mut cursor = Cursor::new(parent);
    cursor.seek(&[rest, &[0]].concat());
    let high = cursor.leaf().map(|_| cursor.key().to_vec());
    if high.is_some() {
        cursor.retreat()
    } else {
        cursor.last()
    }
    Around { low: cursor.leaf().map(|_| cursor.key().to_vec()), high }
}

/// Where to cut a blob that `key` (relative to it) did not fit into: the separator, relative to it. None: it has fewer
/// than two entries.
pub(super) fn choose_cut(blob: Blob<'_>, key: &[u8]) -> Option<Vec<u8>> {
    let entries = Entries::of(blob);
    let cut = run_cut(blob, key, &entries).or_else(|| entries.balanced_cut(blob.kind()))?;
    if blob.is_leaf() { Some(cut) } else { entries.at_least(&cut) }
}

/// In an ascending run the cut goes to the insertion point, so that what the run leaves behind is full. What follows
/// the insertion point goes along to the right when it is little; else the run goes on at the left blob's end.
fn run_cut(blob: Blob<'_>, key: &[u8], entries: &Entries) -> Option<Vec<u8>> {
    let last = blob.last_inserted();
    let (before, _) = blob.floor(key).filter(|(ptr, _)| last != 0 && *ptr == last)?;
    let at = entries.pointers.iter().position(|&ptr| ptr == before)?;
    let total = *entries.ends.last()?;
    if total < BLOB_BYTES / 2 {
        return None;
    }
    let after = total - entries.ends[at];
    if after * 10 > total * 3 && entries.ends[at] * 10 > total {
        return Some(separator(key, entries.key(at + 1)).to_vec()).filter(|cut| cut.as_slice() > key);
    }
    (after * 10 <= total * 3).then(|| separator(entries.key(at), key).to_vec())
}

/// The keys of a blob in order, and how many bytes lie up to the end of each.
struct Entries {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    ends: Vec<usize>,
    pointers: Vec<u16>,
}

impl Entries {
    fn of(blob: Blob<'_>) -> Self {
        let most = blob.entries() as usize;
        let mut entries = Self {
            keys: Vec::with_capacity(blob.key_bytes() as usize),
            key_ends: Vec::with_capacity(most),
            ends: Vec::with_capacity(most),
            pointers: Vec::with_capacity(most),
        };
        let mut bytes = 0;
        let mut cursor = Cursor::new(blob);
        cursor.first();
        while let Some(leaf) = cursor.leaf() {
            // A node for every other leaf is near enough.
            bytes += leaf.bytes() + 8;
            entries.keys.extend_from_slice(cursor.key());
            entries.key_ends.push(entries.keys.len());
            entries.ends.push(bytes);
            entries.pointers.push(cursor.pointer());
            cursor.advance();
        }
        entries
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.keys[start..self.key_ends[index]]
    }

    /// The first key that is at least `bound`, or the last one: an inner blob is cut at one of its separators, whose child
    /// becomes the leftmost of the right half.
    fn at_least(&self, bound: &[u8]) -> Option<Vec<u8>> {
        let last = self.ends.len().checked_sub(1)?;
        let at = (0..last).find(|&index| self.key(index) >= bound).unwrap_or(last);
        Some(self.key(at).to_vec())
    }

    /// The shortest separator that leaves 40 to 60 % on either side; where there is none, the one nearest the middle.
    fn balanced_cut(&self, kind: Option<Kind>) -> Option<Vec<u8>> {
        let total = *self.ends.last()?;
        let candidate = |index: usize| match kind {
            Some(Kind::Inner) => self.key(index),
            _ => separator(self.key(index - 1), self.key(index)),
        };
        (1..self.ends.len())
            .min_by_key(|&index| {
                let left = self.ends[index - 1];
                let off = left.abs_diff(total - left);
                if off * 5 <= total { (0, candidate(index).len(), off) } else { (1, off, 0) }
            })
            .map(|index| candidate(index).to_vec())
    }
}

/// What a cut at `cut` (relative to the target) makes of the bases of both halves, as deltas to the parent's.
struct Halves {
    /// The separator relative to the parent.
    separator: Vec<u8>,
    left: usize,
    right: usize,
}

impl<'a> Pair<'a> {
    pub(super) fn parent_blob(&self) -> Blob<'a> {
        blob_of(&self.parent)
    }

    pub(super) fn target_blob(&self) -> Blob<'a> {
        blob_of(&self.target)
    }

    /// The separator of a cut, relative to the parent.
    pub(super) fn spell(&self, key: &[u8], cut: &[u8]) -> Vec<u8> {
        [&key[self.parent_base..self.parent_base + self.delta], cut].concat()
    }

    /// Whether the parent takes another separator of this length.
    pub(super) fn parent_takes(&self, separator: usize) -> bool {
        self.parent_blob().room() >= room_needed(separator, CHILD_BYTES)
    }

    /// Cuts the target at `cut` (relative to it); the parent has room. `key` is any key in the target's range.
    pub(super) fn cut(
        mut self,
        key: &[u8],
        cut: &[u8],
        reservation: &mut Reservation<'a>,
        buffer: &'a crate::buffer::Buffer,
    ) -> Result<(), Stop> {
        let target = self.target_blob();
        let around = around(self.parent_blob(), &key[self.parent_base..]);
        let halves = self.halves(self.spell(key, cut), &around);

        let (from, right_delta) = self.half(target, cut, Keep::From, halves.right)?;
        let (below, left_delta) = self.half(target, cut, Keep::Below, halves.left)?;
        let mut right = buffer.create(reservation);
        install(&mut right, &from);
        install(&mut self.target, &below);

        let parent = Blob::new(Words::new(self.parent.modify()));
        let own = Child { id: self.target.id().0, ..Blob::new(below.words()).as_child(left_delta) };
        parent.set_child(around.low.as_deref(), own);
        let new = Child { id: right.id().0, ..Blob::new(from.words()).as_child(right_delta) };
        let inserted = parent.insert(&halves.separator, None, &new.encode());
        debug_assert!(inserted.is_ok(), "the parent's room was asked for");
        Ok(())
    }

    fn halves(&self, separator: Vec<u8>, around: &Around) -> Halves {
        let left = around.low.as_ref().map_or(self.delta, |low| common_prefix(low, &separator));
        let right = around.high.as_ref().map_or(self.delta, |high| common_prefix(&separator, high));
        Halves { separator, left: left.max(self.delta), right: right.max(self.delta) }
    }

    /// One half of the target, packed aside under a base `delta` bytes longer than the parent's; returns the delta it got.
    fn half(&self, target: Blob<'_>, cut: &[u8], keep: Keep, delta: usize) -> Result<(Scratch, usize), Stop> {
        let copy = copy_of(target);
        let half = Blob::new(copy.words());
        let mut strip = delta - self.delta;
        if target.is_leaf() {
            // An empty half must not get a base that is longer than what the blobs above admit: the base itself is a key.
            strip = strip.min(target.below().longest());
        }
        half.prune(cut, keep);
        if target.kind() == Some(Kind::Inner) {
            if keep == Keep::From
                && let Some(leaf) = target.find(cut)
            {
                // The cut is an entry's separator: it moves up, its child becomes the right half's leftmost.
                half.set_leftmost_child(target.child_of(leaf));
                half.remove(cut);
            }
            strip = strip.min(half.least_delta());
        }
        let packed = Scratch::new();
        let unsound =
            |_| Stop::Corrupt(self.target.id(), "its keys do not start with the base that its fences give");
        half.pack(packed.words(), Rebase { lead: &[], strip }).map_err(unsound)?;
        if target.kind() == Some(Kind::Inner) {
            Blob::new(packed.words()).shift_deltas(-(strip as isize));
        }
        Ok((packed, self.delta + strip))
    }
}
