//! Neighbours: evening out two leaf blobs, merging two blobs, taking a level off the root.

use crate::art::{Blob, CHILD_BYTES, Child, Cursor, Keep, Kind, Rebase, Scratch, Words, room_needed};
use crate::buffer::{Buffer, Claim, Exclusive, Gate};
use crate::error::{ErrorKind, Result};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::bounds::{common_prefix, separator, successor};
use super::grow::packed;
use super::split::{Pair, around, blob_of, copy_of, install};
use super::{Limb, Stop};

/// A sibling under this fill takes entries over from a full neighbour.
const SIBLING_BELOW: usize = BLOB_BYTES * 60 / 100;
/// Two neighbours merge when one is under the first and both together are under the second.
const MERGE_ONE_BELOW: usize = BLOB_BYTES * 40 / 100;
const MERGE_SUM_BELOW: usize = BLOB_BYTES * 88 / 100;
/// After a cut, or in a compaction, any two do that fit together: nothing will cut them again soon.
const TIDY_SUM_BELOW: usize = BLOB_BYTES * 95 / 100;
/// Blobs that a merge changes, with the one that it frees.
const MERGE_BLOBS: usize = 3;
/// How often a merge is tried against other threads before it is left to a later delete.
const MERGE_TRIES: u32 = 8;

/// When two neighbours are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// One of them is sparse.
    Sparse,
    /// They fit.
    Any,
}

impl Merge {
    fn wants(self, sizes: [usize; 2]) -> bool {
        let (smaller, sum) = (sizes[0].min(sizes[1]), sizes[0] + sizes[1]);
        match self {
            Self::Sparse => smaller < MERGE_ONE_BELOW && sum < MERGE_SUM_BELOW,
            Self::Any => sum < TIDY_SUM_BELOW,
        }
    }
}

/// Finds the limb to merge in, and how many bytes of the key lead to it.
type Find<'f, 'a> = dyn Fn() -> Result<Option<(Limb<'a>, usize)>, Stop> + 'f;

/// The neighbour of a child: its separator to the child, its own further separator, and itself.
struct Neighbour {
    between: Vec<u8>,
    beyond: Option<Vec<u8>>,
    child: Child,
    is_right: bool,
}

/// The neighbours of the child whose range is `around`, right one first.
fn neighbours(parent: Blob<'_>, low: Option<&[u8]>, high: Option<&[u8]>) -> Vec<Neighbour> {
    let mut found = Vec::with_capacity(2);
    let mut cursor = Cursor::new(parent);
    if let Some(high) = high {
        cursor.seek(high);
        if let Some(leaf) = cursor.leaf() {
            let child = parent.child_of(leaf);
            cursor.advance();
            let beyond = cursor.leaf().map(|_| cursor.key().to_vec());
            found.push(Neighbour { between: high.to_vec(), beyond, child, is_right: true });
        }
    }
    if let Some(low) = low {
        cursor.seek_below(low);
        let (beyond, child) = match cursor.leaf() {
            Some(leaf) => (Some(cursor.key().to_vec()), parent.child_of(leaf)),
            None => (None, parent.leftmost_child()),
        };
        found.push(Neighbour { between: low.to_vec(), beyond, child, is_right: false });
    }
    found
}

/// Inserts all entries of `from` into `into`, each key with `lead` put before and `strip` bytes cut off. False: no room.
fn append(into: Blob<'_>, from: Blob<'_>, lead: &[u8], strip: usize, only: impl Fn(&[u8]) -> bool) -> bool {
    let mut key = Vec::new();
    let mut value = Vec::new();
    let mut cursor = Cursor::new(from);
    cursor.first();
    while let Some(leaf) = cursor.leaf() {
        if only(cursor.key()) {
            key.clear();
            key.extend_from_slice(lead);
            key.extend_from_slice(cursor.key());
            value.clear();
            from.w.append_to(leaf.value_at(), leaf.value_len(), &mut value);
            let Some(rest) = key.get(strip..) else { return false };
            if !into.has_room(rest.len(), value.len()) {
                return false;
            }
            let version = from.is_leaf().then(|| leaf.version(from));
            let inserted = match cursor.mount() {
                Some(limb) => into.insert_mount(rest, limb),
                None => into.insert(rest, version, &value),
            };
            if inserted.is_err() {
                return false;
            }
        }
        cursor.advance();
    }
    if from.is_leaf() {
        into.set_below(into.below().and(from.below().under(lead.len()).over(strip)));
    }
    true
}

impl<'a> Pair<'a> {
    /// Whether `key` (relative to the target) goes on an ascending run.
    pub(super) fn is_run(&self, key: &[u8]) -> bool {
        let blob = self.target_blob();
        let last = blob.last_inserted();
        last != 0 && blob.floor(key).is_some_and(|(ptr, _)| ptr == last)
    }

    /// Moves entries to a neighbour that has room, so that both are equally full. False: there is no such neighbour.
    pub(super) fn rebalance(&mut self, buffer: &'a Buffer, key: &[u8]) -> Result<bool, Stop> {
        let parent = self.parent_blob();
        let around = around(parent, &key[self.parent_base..]);
        for neighbour in neighbours(parent, around.low.as_deref(), around.high.as_deref()) {
            // Only what is here and free: a rebalance is worth no I/O and no wait.
            let Ok(mut sibling) = buffer.try_lock(BlobId(neighbour.child.id)) else { continue };
            let (ours, theirs) = (self.target_blob().live_bytes(), blob_of(&sibling).live_bytes());
            if theirs < SIBLING_BELOW
                && ours > theirs
                && self.shift(&mut sibling, &neighbour, &around.low, &around.high, (ours - theirs) / 2, key)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves about `bytes` of entries from the target to the sibling. False: nothing was changed.
    fn shift(
        &mut self,
        sibling: &mut Exclusive<'a>,
        neighbour: &Neighbour,
        low: &Option<Vec<u8>>,
        high: &Option<Vec<u8>>,
        bytes: usize,
        key: &[u8],
    ) -> bool {
        let (target, parent) = (self.target_blob(), self.parent_blob());
        let Some(cut) = edge_cut(target, bytes, neighbour.is_right) else { return false };
        let between = self.spell(key, &cut);
        if parent.room() < room_needed(between.len(), CHILD_BYTES) {
            return false;
        }
        let their_delta = usize::from(neighbour.child.delta);
        let shared = self.delta.min(their_delta);
        let new_delta = neighbour
            .beyond
            .as_ref()
            .map_or(shared, |beyond| common_prefix(beyond, &between))
            .min(their_delta);
        let own_edge = if neighbour.is_right { low } else { high };
        let own_delta =
            own_edge.as_ref().map_or(self.delta, |edge| common_prefix(edge, &between)).max(self.delta);

        // The sibling with what moves, built aside.
        let built = Scratch::new();
        let lead = &neighbour.between[new_delta..their_delta];
        if blob_of(sibling).pack(built.words(), Rebase { lead, strip: 0 }).is_err() {
            return false;
        }
        let own_base = &key[self.parent_base..self.parent_base + self.delta];
        let moves = |rest: &[u8]| (rest >= cut.as_slice()) == neighbour.is_right;
        if !append(Blob::new(built.words()), target, own_base, new_delta, moves) {
            return false;
        }
        let kept = copy_of(target);
        Blob::new(kept.words()).prune(&cut, if neighbour.is_right { Keep::Below } else { Keep::From });
        let ours = Scratch::new();
        let strip = own_delta - self.delta;
        if Blob::new(kept.words()).pack(ours.words(), Rebase { lead: &[], strip }).is_err() {
            return false;
        }
        install(sibling, &built);
        install(&mut self.target, &ours);

        let parent = Blob::new(Words::new(self.parent.modify()));
        let theirs = Child { id: neighbour.child.id, ..Blob::new(built.words()).as_child(new_delta) };
        let own = Child { id: self.target.id().0, ..Blob::new(ours.words()).as_child(own_delta) };
        parent.remove(&neighbour.between);
        let (moved, stays) = if neighbour.is_right { (theirs, own) } else { (own, theirs) };
        let stays_at = if neighbour.is_right { low.as_deref() } else { neighbour.beyond.as_deref() };
        parent.set_child(stays_at, stays);
        let inserted = parent.insert(&between, None, &moved.encode());
        debug_assert!(inserted.is_ok(), "the parent's room was asked for");
        true
    }
}

/// A separator that leaves about `bytes` on the right side (or the left one).
fn edge_cut(blob: Blob<'_>, bytes: usize, right: bool) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(blob);
    if right {
        cursor.last()
    } else {
        cursor.first()
    }
    let mut sum = 0;
    while let Some(leaf) = cursor.leaf() {
        sum += leaf.bytes() + 8;
        let edge = cursor.key().to_vec();
        if right {
            cursor.retreat()
        } else {
            cursor.advance()
        }
        cursor.leaf()?;
        if sum >= bytes {
            let (below, from) = if right { (cursor.key(), &edge[..]) } else { (&edge[..], cursor.key()) };
            return Some(separator(below, from).to_vec());
        }
    }
    None
}

impl<'a> Limb<'a> {
    /// Merges the leaf blob of `key` with a neighbour if both are empty enough, and what that leaves above. Best effort.
    pub(crate) fn shrink(&self, gate: &Gate, key: &[u8]) -> Result<()> {
        self.shrink_found(gate, key, 0, Merge::Sparse, &|| self.innermost(key).map(Some))
    }

    /// Merges what a move has left sparse around both ends of a prefix's range, at every level. Best effort.
    pub(crate) fn tidy(&self, gate: &Gate, prefix: &[u8]) -> Result<()> {
        let last = [prefix, &[0xFF; 64]].concat();
        let before = match prefix.split_last() {
            Some((0, rest)) => rest.to_vec(),
            Some((byte, rest)) => [rest, &[byte - 1], &[0xFF; 64]].concat(),
            None => Vec::new(),
        };
        let after = successor(prefix);
        for key in
            [Some(before.as_slice()), Some(prefix), Some(&last), after.as_deref()].into_iter().flatten()
        {
            let top = self.retry(|_| {
                let _entry = gate.enter();
                let (limb, _) = self.innermost(key)?;
                let root = limb.root_step()?;
                let level = root.blob().level();
                root.validate()?;
                Ok(level)
            })?;
            for level in 0..=top {
                self.shrink_found(gate, key, level, Merge::Any, &|| self.innermost(key).map(Some))?;
            }
        }
        Ok(())
    }

    /// Merges the leaf blob of `key` in the limb that is mounted at `path`, if one is, with whatever fits: the key may lead further.
    pub(super) fn shrink_at(&self, gate: &Gate, path: &[u8], key: &[u8]) -> Result<()> {
        self.shrink_found(gate, key, 0, Merge::Any, &|| {
            let root = self.mounted_at(path)?;
            Ok(root.map(|(root, _)| (Self { root: root.guard.id(), ..*self }, path.len())))
        })
    }

    fn shrink_found(
        &self,
        gate: &Gate,
        key: &[u8],
        mut level: u8,
        merge: Merge,
        find: &Find<'_, 'a>,
    ) -> Result<()> {
        let mut tries = super::Tries::default();
        loop {
            // Keys grow when they come under a shorter base, so a merge is no way to free space: it waits until there is some.
            if let Err(full) = self.buffer.claim(MERGE_BLOBS, Claim::Adds) {
                return if full.kind() == ErrorKind::NoSpace { Ok(()) } else { Err(full) };
            }
            self.buffer.reserve(0)?;
            let outcome = {
                let _entry = gate.enter();
                if self.check_alive().is_err() {
                    return Ok(());
                }
                find().and_then(|found| match found {
                    Some((limb, offset)) => limb.merge_once(&key[offset..], level, merge),
                    None => Ok(false),
                })
            };
            match outcome {
                Ok(true) => level += 1,
                Ok(false) => return Ok(()),
                Err(_) if tries.restarts() >= MERGE_TRIES => return Ok(()),
                Err(stop) => self.settle(stop, &mut tries)?,
            }
        }
    }

    /// Merges at one level. True: the level above may have become empty enough.
    fn merge_once(&self, key: &[u8], level: u8, merge: Merge) -> Result<bool, Stop> {
        let Some((parent, step)) = self.descend_to(key, level)? else { return self.lower_root() };
        let (parent_base, base) = (parent.base, step.base);
        let mut parent = parent.guard.upgrade()?;
        let target = step.guard.upgrade()?;
        let blob = blob_of(&parent);
        if blob.entries() == 0 {
            // An only child: the parent itself merges, or the root takes it in.
            return Ok(true);
        }
        let edges = around(blob, &key[parent_base..]);
        let own = blob_of(&target).as_child(base - parent_base);
        let mut target = Some(target);
        for neighbour in neighbours(blob, edges.low.as_deref(), edges.high.as_deref()) {
            let Some(held) = target.take() else { return Ok(false) };
            let sibling = self.buffer.try_lock(BlobId(neighbour.child.id))?;
            let sizes = [blob_of(&held).live_bytes(), blob_of(&sibling).live_bytes()];
            if !merge.wants(sizes) {
                target = Some(held);
                continue;
            }
            let (mut left, right, children, left_at) = match neighbour.is_right {
                true => (held, sibling, [own, neighbour.child], edges.low.clone()),
                false => (sibling, held, [neighbour.child, own], neighbour.beyond.clone()),
            };
            let Some(delta) = join(&mut left, &right, children, &neighbour.between) else { return Ok(false) };
            let blob = Blob::new(Words::new(parent.modify()));
            blob.remove(&neighbour.between);
            blob.set_child(
                left_at.as_deref(),
                Child { id: children[0].id, ..blob_of(&left).as_child(delta) },
            );
            right.free();
            return Ok(blob.live_bytes() < MERGE_ONE_BELOW);
        }
        Ok(false)
    }

    /// While the root has one child only, the child's content moves up into it. Always false: nothing is above.
    fn lower_root(&self) -> Result<bool, Stop> {
        loop {
            let mut root = self.buffer.lock(self.root)?;
            let blob = blob_of(&root);
            let only = blob.leftmost_child();
            if blob.is_leaf() || blob.entries() != 0 || only.delta != 0 {
                return Ok(false);
            }
            let child = self.buffer.try_lock(BlobId(only.id))?;
            install(&mut root, &packed(blob_of(&child))?);
            child.free();
        }
    }
}

/// Puts the content of `right` behind that of `left`; `between` separates them. Returns the delta of the joint base.
/// None: it did not fit, nothing was changed.
fn join(
    left: &mut Exclusive<'_>,
    right: &Exclusive<'_>,
    children: [Child; 2],
    between: &[u8],
) -> Option<usize> {
    let [left_delta, right_delta] = children.map(|child| usize::from(child.delta));
    let delta = left_delta.min(right_delta);
    let built = Scratch::new();
    let blob = Blob::new(built.words());
    blob_of(left).pack(built.words(), Rebase { lead: &between[delta..left_delta], strip: 0 }).ok()?;
    let source = blob_of(right);
    let lead = &between[delta..right_delta];
    if source.kind() == Some(Kind::Inner) {
        blob.shift_deltas((left_delta - delta) as isize);
        let copy = copy_of(source);
        let shifted = Blob::new(copy.words());
        shifted.shift_deltas((right_delta - delta) as isize);
        let rest = &between[delta..];
        if !blob.has_room(rest.len(), CHILD_BYTES)
            || blob.insert(rest, None, &shifted.leftmost_child().encode()).is_err()
            || !append(blob, shifted, lead, 0, |_| true)
        {
            return None;
        }
    } else if !append(blob, source, lead, 0, |_| true) {
        return None;
    }
    install(left, &built);
    Some(delta)
}
