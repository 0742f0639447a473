//! Two neighbours under one parent: entries go from one to the other, or all into one.

use crate::art::{Blob, CHILD_BYTES, Child, Cursor, Keep, Kind, Rebase, Scratch, Words};
use crate::buffer::{Buffer, Exclusive};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::Stop;
use super::bounds::{common_prefix, separator};
use super::split::{Pair, around, blob_of, copy_of, install};

/// A sibling under this fill takes entries over from a full neighbour.
const SIBLING_BELOW: usize = BLOB_BYTES * 60 / 100;

/// The neighbour of a child: its separator to the child, its own further separator, and itself.
pub(super) struct Neighbour {
    pub(super) between: Vec<u8>,
    /// None: it is the parent's leftmost child, or the last one.
    pub(super) beyond: Option<Vec<u8>>,
    pub(super) child: Child,
    pub(super) is_right: bool,
}

/// Two neighbours as they will be, and what is to separate them.
struct Shifted {
    target: Scratch,
    target_delta: usize,
    sibling: Scratch,
    sibling_delta: usize,
    between: Vec<u8>,
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

impl<'a> Pair<'a> {
    /// Whether `key` (relative to the target) goes on an ascending run.
    pub(super) fn is_run(&self, key: &[u8]) -> bool {
        let blob = self.target_blob();
        let last = blob.last_inserted();
        last != 0 && blob.floor(key).is_some_and(|(ptr, _)| ptr == last)
    }

    /// Moves entries of a leaf blob to a neighbour that has room, so that both are equally full. False: there is no such
    /// neighbour.
    pub(super) fn rebalance(&mut self, buffer: &'a Buffer, key: &[u8]) -> Result<bool, Stop> {
        let parent = self.parent_blob();
        let around = around(parent, &key[self.parent_base..]);
        for neighbour in neighbours(parent, around.low.as_deref(), around.high.as_deref()) {
            // Only what is here and free: a rebalance is worth no I/O and no wait.
            let Ok(mut sibling) = buffer.try_lock(BlobId(neighbour.child.id)) else { continue };
            let (ours, theirs) = (self.target_blob().live_bytes(), blob_of(&sibling).live_bytes());
            let own_edge = if neighbour.is_right { &around.low } else { &around.high };
            if theirs < SIBLING_BELOW
                && ours > theirs
                && self.shift(&mut sibling, &neighbour, own_edge.as_deref(), (ours - theirs) / 2, key)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves about `bytes` of entries from the target to the sibling; those of an inner blob only to the left one. `key` leads
    /// to the target; `own_edge` is the target's fence on its other side, where the parent has one. False: nothing was changed.
    pub(super) fn shift(
        &mut self,
        sibling: &mut Exclusive<'a>,
        neighbour: &Neighbour,
        own_edge: Option<&[u8]>,
        bytes: usize,
        key: &[u8],
    ) -> bool {
        let target = self.target_blob();
        blob_of(sibling).w.warm(blob_of(sibling).heap_end() as usize);
        let Some(cut) = edge_cut(target, bytes, neighbour.is_right) else { return false };
        let between = self.spell(key, &cut);
        let own_base = &key[self.parent_base..self.parent_base + self.delta];
        let shifted = match (target.is_leaf(), neighbour.is_right) {
            (true, _) => self.shift_records(blob_of(sibling), neighbour, own_edge, own_base, &cut, between),
            (false, false) => self.shift_children(blob_of(sibling), neighbour, own_base, &cut, between),
            (false, true) => None,
        };
        let Some(shifted) = shifted.filter(|shifted| self.parent_takes(shifted.between.len())) else {
            return false;
        };
        let own_at =
            if neighbour.is_right { around(self.parent_blob(), &key[self.parent_base..]).low } else { None };
        install(sibling, &shifted.sibling);
        install(&mut self.target, &shifted.target);

        let parent = Blob::new(Words::new(self.parent.modify()));
        let theirs = Blob::new(shifted.sibling.words()).as_child(shifted.sibling_delta);
        let theirs = Child { id: neighbour.child.id, ..theirs };
        let own = Blob::new(shifted.target.words()).as_child(shifted.target_delta);
        let own = Child { id: self.target.id().0, ..own };
        parent.remove(&neighbour.between);
        let (moved, stays) = if neighbour.is_right { (theirs, own) } else { (own, theirs) };
        let stays_at = if neighbour.is_right { own_at.as_deref() } else { neighbour.beyond.as_deref() };
        parent.set_child(stays_at, stays);
        let inserted = parent.insert(&shifted.between, None, &moved.encode());
        debug_assert!(inserted.is_ok(), "the parent's room was asked for");
        true
    }

    fn shift_records(
        &self,
        sibling: Blob<'_>,
        neighbour: &Neighbour,
        own_edge: Option<&[u8]>,
        own_base: &[u8],
        cut: &[u8],
        between: Vec<u8>,
    ) -> Option<Shifted> {
        let target = self.target_blob();
        let their_delta = usize::from(neighbour.child.delta);
        let shared = self.delta.min(their_delta);
        let sibling_delta = neighbour
            .beyond
            .as_ref()
            .map_or(shared, |beyond| common_prefix(beyond, &between))
            .min(their_delta);
        let target_delta = own_edge.map_or(self.delta, |edge| common_prefix(edge, &between)).max(self.delta);

        // The sibling with what moves, built aside.
        let built = Scratch::new();
        let lead = &neighbour.between[sibling_delta..their_delta];
        sibling.pack(built.words(), Rebase { lead, strip: 0 }).ok()?;
        let moves = |rest: &[u8]| (rest >= cut) == neighbour.is_right;
        if !append(Blob::new(built.words()), target, own_base, sibling_delta, moves) {
            return None;
        }
        let kept = copy_of(target);
        Blob::new(kept.words()).prune(cut, if neighbour.is_right { Keep::Below } else { Keep::From });
        let ours = Scratch::new();
        let strip = target_delta - self.delta;
        Blob::new(kept.words()).pack(ours.words(), Rebase { lead: &[], strip }).ok()?;
        Some(Shifted { target: ours, target_delta, sibling: built, sibling_delta, between })
    }

    /// The children before the separator `cut` go to the left sibling; the one at it becomes the target's leftmost.
    fn shift_children(
        &self,
        sibling: Blob<'_>,
        neighbour: &Neighbour,
        own_base: &[u8],
        cut: &[u8],
        between: Vec<u8>,
    ) -> Option<Shifted> {
        let target = self.target_blob();
        let their_delta = usize::from(neighbour.child.delta);
        // No child that moves comes under a longer base.
        let sibling_delta = self.delta.min(their_delta);
        let built = Scratch::new();
        let lead = &neighbour.between[sibling_delta..their_delta];
        sibling.pack(built.words(), Rebase { lead, strip: 0 }).ok()?;
        let into = Blob::new(built.words());
        into.shift_deltas((their_delta - sibling_delta) as isize);
        let longer = (self.delta - sibling_delta) as isize;
        if !append_children(
            into,
            target,
            longer,
            &neighbour.between[sibling_delta..],
            &own_base[sibling_delta..],
            |rest| rest < cut,
        ) {
            return None;
        }
        let kept = copy_of(target);
        let rest = Blob::new(kept.words());
        let first = rest.child_of(rest.find(cut)?);
        rest.prune(cut, Keep::From);
        rest.set_leftmost_child(first);
        rest.remove(cut);
        let ours = Scratch::new();
        rest.pack(ours.words(), Rebase::default()).ok()?;
        Some(Shifted { target: ours, target_delta: self.delta, sibling: built, sibling_delta, between })
    }
}

/// A separator that leaves about `bytes` on the right side (or the left one): for leaf blobs a short one, for inner blobs one
/// of theirs.
fn edge_cut(blob: Blob<'_>, bytes: usize, right: bool) -> Option<Vec<u8>> {
    match cut_after(blob, bytes, right) {
        Ok(cut) => Some(cut),
        // Entries are less than that: most of the blob is what their keys share.
        Err(all) => cut_after(blob, bytes * all / blob.live_bytes(), right).ok(),
    }
}

/// The separator behind so many bytes of entries. Err: how many there are.
fn cut_after(blob: Blob<'_>, bytes: usize, right: bool) -> Result<Vec<u8>, usize> {
    let mut cursor = Cursor::new(blob);
    if right {
        cursor.last()
    } else {
        cursor.first()
    }
    let (mut sum, mut edge) = (0, Vec::new());
    while let Some(leaf) = cursor.leaf() {
        sum += leaf.bytes() + 8;
        edge.clear();
        edge.extend_from_slice(cursor.key());
        if right {
            cursor.retreat()
        } else {
            cursor.advance()
        }
        if cursor.leaf().is_some() && sum >= bytes {
            if !blob.is_leaf() {
                return Ok(cursor.key().to_vec());
            }
            let (below, from) = if right { (cursor.key(), &edge[..]) } else { (&edge[..], cursor.key()) };
            return Ok(separator(below, from).to_vec());
        }
    }
    Err(sum)
}

/// As [`append_entries`], and `into` admits what `from` did.
fn append(into: Blob<'_>, from: Blob<'_>, lead: &[u8], strip: usize, only: impl Fn(&[u8]) -> bool) -> bool {
    let fits = append_entries(into, from, lead, strip, only);
    if fits && from.is_leaf() {
        into.set_below(into.below().and(from.below().under(lead.len()).over(strip)));
    }
    fits
}

/// Inserts all entries of `from` into `into`, each key with `lead` put before and `strip` bytes cut off. False: no room; some may
/// be there.
pub(super) fn append_entries(
    into: Blob<'_>,
    from: Blob<'_>,
    lead: &[u8],
    strip: usize,
    only: impl Fn(&[u8]) -> bool,
) -> bool {
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
    true
}

/// Appends the children of the inner blob `from`, whose range begins at `at`, to `into`: their bases are by `longer` bytes
/// longer than its own there, their separators start with `lead`. False: no room.
fn append_children(
    into: Blob<'_>,
    from: Blob<'_>,
    longer: isize,
    at: &[u8],
    lead: &[u8],
    only: impl Fn(&[u8]) -> bool,
) -> bool {
    let copy = copy_of(from);
    let shifted = Blob::new(copy.words());
    shifted.shift_deltas(longer);
    into.has_room(at.len(), CHILD_BYTES)
        && into.insert(at, None, &shifted.leftmost_child().encode()).is_ok()
        && append(into, shifted, lead, 0, only)
}

/// Puts the content of `right` behind that of `left`; `between` separates them. Returns the delta of the joint base.
/// None: it did not fit, nothing was changed.
pub(super) fn join(
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
    let fits = if source.kind() == Some(Kind::Inner) {
        blob.shift_deltas((left_delta - delta) as isize);
        append_children(blob, source, (right_delta - delta) as isize, &between[delta..], lead, |_| true)
    } else {
        append(blob, source, lead, 0, |_| true)
    };
    if !fits {
        return None;
    }
    install(left, &built);
    Some(delta)
}
