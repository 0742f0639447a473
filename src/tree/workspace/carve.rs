//! Cutting a range out of a limb: what is in it becomes a limb of its own, and the hole closes.
//!
//! Only the blobs along the two cuts are touched: at most two a level, and those whose bases are shorter than the path
//! that the keys lose.

use crate::art::{Blob, CHILD_BYTES, Child, Cursor, Keep, Kind, room_needed};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::edit::under;
use super::path::Hop;
use super::{Change, Taken, Workspace};
use crate::tree::Stop;
use crate::tree::bounds::{common_prefix, successor};
use crate::tree::merge::MERGE_ONE_BELOW;

/// A part of a leaf blob under this size moves entry by entry rather than as a limb.
pub(super) const INLINE_BELOW: usize = BLOB_BYTES / 4;

/// A child to be hung in, with the length of its base relative to the limb.
#[derive(Debug, Clone, Copy)]
struct Piece {
    child: Child,
    base: usize,
}

impl Workspace<'_> {
    /// Lifts everything whose key starts with `prefix` out of the tree; keys in what is returned are relative to the prefix.
    pub(crate) fn take(&mut self, root: BlobId, prefix: &[u8]) -> Result<Taken, Stop> {
        let place = self.place(root, prefix)?;
        let rest = &prefix[place.offset..];
        if let Some(limb) = place.exact {
            let leaf = self.end(place.limb, rest)?;
            self.change(leaf.id, Change::Unmount(rest[leaf.base..].to_vec()))?;
            return Ok(Taken::Limb(limb));
        }
        self.carve(place.limb, rest, successor(rest).as_deref(), Some(rest.len()))
    }

    /// Drops everything whose key starts with `prefix`.
    pub(crate) fn drop_prefix(&mut self, root: BlobId, prefix: &[u8]) -> Result<(), Stop> {
        let place = self.place(root, prefix)?;
        let rest = &prefix[place.offset..];
        let taken = match place.exact {
            Some(_) => self.take(root, prefix)?,
            None => self.carve(place.limb, rest, successor(rest).as_deref(), None)?,
        };
        self.drop_taken(taken);
        Ok(())
    }

    /// Drops everything with a key from `low` to below `high`.
    pub(crate) fn drop_range(&mut self, root: BlobId, low: &[u8], high: Option<&[u8]>) -> Result<(), Stop> {
        let (mut low, mut high) = (low.to_vec(), high.map(<[u8]>::to_vec));
        // A mount that an end of the range crosses is cut inside, innermost first, and stays.
        if let Some((path, limb)) = self.mount_on(root, &low)? {
            let mount = low[..path].to_vec();
            let end = high.as_deref().and_then(|high| high.strip_prefix(mount.as_slice()));
            if path < low.len() || end.is_some_and(|end| !end.is_empty()) {
                self.drop_range(BlobId(limb.id), &low[path..], end)?;
                match successor(&mount) {
                    Some(next) if end.is_none() => low = next,
                    _ => return Ok(()),
                }
            }
        }
        if let Some(end) = high.as_deref()
            && let Some((path, limb)) = self.mount_on(root, end)?
            && path < end.len()
        {
            let mount = end[..path].to_vec();
            self.drop_range(BlobId(limb.id), &[], Some(&end[path..]))?;
            high = Some(mount);
        }
        if high.as_deref().is_none_or(|high| low.as_slice() < high) {
            let taken = self.carve(root, &low, high.as_deref(), None)?;
            self.drop_taken(taken);
        }
        Ok(())
    }

    /// Cuts a range out of one limb; no mount reaches over its ends. `strip`: all keys in the range start with the first
    /// so many bytes of `low`, and lose them; None: all of it is to be dropped, and what is returned need not be all.
    pub(super) fn carve(
        &mut self,
        limb: BlobId,
        low: &[u8],
        high: Option<&[u8]>,
        strip: Option<usize>,
    ) -> Result<Taken, Stop> {
        loop {
            let path = self.path(limb, low)?;
            let Some(top) = path.iter().rev().find(|hop| hop.covers(low, high)) else {
                return Err(Stop::Restart);
            };
            if top.level == 0 {
                return self.carve_leaf(top, low, high, strip);
            }
            // Two separators at the most go in, and at least one comes out.
            let need = [Some(low), high]
                .into_iter()
                .flatten()
                .map(|key| room_needed(key.len() - top.base.min(key.len()), CHILD_BYTES));
            let need: usize = need.sum();
            let (id, level) = (top.id, top.level);
            if self.peek(id, |blob| blob.room() < need)? {
                self.with_room(limb, low, level, &|_| need)?;
                continue;
            }
            return self.carve_inner(&top.clone(), low, high, strip);
        }
    }

    /// The range lies in one leaf blob.
    fn carve_leaf(
        &mut self,
        leaf: &Hop,
        low: &[u8],
        high: Option<&[u8]>,
        strip: Option<usize>,
    ) -> Result<Taken, Stop> {
        let from = low.get(leaf.base..).unwrap_or(&[]);
        let to = high.map(|high| high.get(leaf.base..).unwrap_or(&[]));
        let (entries, bytes, limbs) = self.peek(leaf.id, |blob| {
            let (mut entries, mut bytes, mut limbs) = (0, 0, Vec::new());
            let mut cursor = Cursor::new(blob);
            cursor.seek(from);
            while let Some(found) = cursor.leaf() {
                if to.is_some_and(|to| cursor.key() >= to) {
                    break;
                }
                bytes += found.bytes() + 8;
                limbs.extend(cursor.mount().map(|limb| BlobId(limb.id)));
                entries += 1;
                cursor.advance();
            }
            (entries, bytes, limbs)
        })?;
        if entries == 0 {
            return Ok(Taken::Nothing);
        }
        let content = match strip {
            Some(strip) => Some(self.part(leaf.id, from, to, strip - leaf.base)?),
            None => None,
        };
        self.clear_part(leaf.id, from, to, entries)?;
        self.has_cut |= self.peek(leaf.id, |blob| blob.live_bytes() < MERGE_ONE_BELOW)?;
        let Some(content) = content else {
            self.reclaim.extend(limbs);
            return Ok(Taken::Nothing);
        };
        if bytes < INLINE_BELOW {
            return Ok(Taken::Inline(content));
        }
        let id = self.create_with(content)?;
        Ok(Taken::Limb(self.peek(id, |blob| blob.as_child(0))?))
    }

    /// The range lies in several children of one inner blob.
    fn carve_inner(
        &mut self,
        top: &Hop,
        low: &[u8],
        high: Option<&[u8]>,
        strip: Option<usize>,
    ) -> Result<Taken, Stop> {
        let from = low.get(top.base..).unwrap_or(&[]);
        let to = high.map(|high| high.get(top.base..).unwrap_or(&[]));
        let Row { at, first_child, last_child, inside, next } =
            self.peek(top.id, |blob| row(blob, from, to))?;
        let Some(Inside { first: second, last, count }) = inside else { return Err(Stop::Restart) };
        let base_of = |child: Child| top.base + usize::from(child.delta);
        // The bases of what goes are to be as long as what its keys lose.
        let part_of = |base: usize, child: Child| Child {
            delta: (base.max(strip.unwrap_or(0)) - top.base) as u16,
            ..child
        };

        // What stays of the first child, and what goes of it.
        let begins = match (&at, &top.low) {
            (Some(separator), _) => separator.as_slice() == from,
            (None, Some(fence)) => fence == low,
            (None, None) => low.is_empty(),
        };
        self.has_cut = true;
        let (mut left, mut first) = (None, Some(first_child));
        if !begins {
            let base = base_of(first_child);
            let (stays, goes) = self.cut_off(first_child, base, low, Keep::Below, strip)?;
            left = Some(Piece { child: stays, base });
            first = goes.map(|goes| part_of(base, goes));
        }
        // What goes of the last child, and what stays of it.
        let ends = match (&next, to) {
            (_, None) => true,
            (Some(next), Some(to)) => next == to,
            (None, Some(_)) => top.high.as_deref() == high,
        };
        let (mut right, mut end) = (None, Some(last_child));
        if !ends && let Some(high) = high {
            let base = base_of(last_child);
            let (stays, goes) = self.cut_off(last_child, base, high, Keep::From, strip)?;
            right = Some(Piece { child: stays, base });
            end = goes.map(|goes| part_of(base, goes));
        }
        // All but the first and the last child are in there as they are.
        let strip = strip.map_or(0, |strip| strip - top.base);
        let content = self.part(top.id, &second, to, strip)?;
        self.clear_part(top.id, &second, to, count)?;
        self.close(top, low, high, at.as_deref(), left, right)?;
        let moved = Blob::new(content.words());
        let mut is_whole = moved.entries() as usize == count;
        let separator = &last[strip..];
        is_whole &= match end {
            Some(child) => moved.set_child(Some(separator), child),
            None => moved.remove(separator),
        };
        if !is_whole {
            return Err(Stop::Corrupt(top.id, "a separator was lost"));
        }
        let first = match first {
            Some(first) => first,
            None => {
                // The second one takes its place, if there is one left.
                let separator = &second[strip..];
                let Some(leaf) = moved.find(separator) else { return Ok(Taken::Nothing) };
                let second = moved.child_of(leaf);
                moved.remove(separator);
                second
            }
        };
        moved.set_leftmost_child(first);
        self.follow(moved, strip)?;
        let id = self.create_with(content)?;
        Ok(Taken::Limb(self.peek(id, |blob| blob.as_child(0))?))
    }

    /// Cuts a child at `key`: what stays of it, and what goes, unless that was dropped at once.
    fn cut_off(
        &mut self,
        child: Child,
        base: usize,
        key: &[u8],
        stays: Keep,
        strip: Option<usize>,
    ) -> Result<(Child, Option<Child>), Stop> {
        if strip.is_none()
            && let Some(left) = self.shed(child, under(BlobId(child.id), key, base)?, stays)?
        {
            return Ok((left, None));
        }
        let (id, least) = (BlobId(child.id), strip.unwrap_or(0));
        let (stays, goes) = match stays {
            Keep::Below => self.split(id, base, key, [0, least])?,
            Keep::From => {
                let (goes, stays) = self.split(id, base, key, [least, 0])?;
                (stays, goes)
            }
        };
        Ok((stays, Some(goes)))
    }

    /// Drops what a leaf blob has on the other side of `cut`, relative to it: no part of it need become a blob of its own to be
    /// reclaimed. Returns the rest; None: it is no leaf blob, or limbs may be mounted in it.
    fn shed(&mut self, child: Child, cut: &[u8], keep: Keep) -> Result<Option<Child>, Stop> {
        let id = BlobId(child.id);
        if !self.peek(id, |blob| blob.is_leaf() && !blob.below().mounts())? {
            return Ok(None);
        }
        let blob = self.edit(id)?;
        blob.prune(cut, keep);
        match blob.recount() {
            true => Ok(Some(blob.as_child(0))),
            false => Err(Stop::Corrupt(id, "what is left of it cannot be counted")),
        }
    }

    /// Closes the hole between `left` and `right`: one of them takes its range over if its bases start both ends of it, else
    /// an empty blob does. Either way no separator lies strictly inside.
    fn close(
        &mut self,
        top: &Hop,
        low: &[u8],
        high: Option<&[u8]>,
        at: Option<&[u8]>,
        left: Option<Piece>,
        right: Option<Piece>,
    ) -> Result<(), Stop> {
        let shared = high.map_or(0, |high| common_prefix(low, high));
        let child = |piece: Piece| Child { delta: (piece.base - top.base) as u16, ..piece.child };
        let from = low.get(top.base..).unwrap_or(&[]);
        let to = high.map(|high| high.get(top.base..).unwrap_or(&[]));
        let reaches = |space: &Self, piece: Option<Piece>, edge: bool| match piece {
            Some(piece) => Ok(space.edge_base(piece.child, piece.base, edge)? <= shared),
            None => Ok::<bool, Stop>(false),
        };
        let left_reaches = reaches(self, left, true)?;
        let right_reaches = !left_reaches && reaches(self, right, false)?;
        let mut entries: Vec<(Vec<u8>, Child)> = Vec::new();
        let mut here = left.map(child);
        if right_reaches && let Some(right) = right {
            match here {
                Some(_) => entries.push((from.to_vec(), child(right))),
                None => here = Some(child(right)),
            }
        } else {
            if !left_reaches {
                let empty = self.stub(top.level - 1)?;
                match here {
                    Some(_) => entries.push((from.to_vec(), empty)),
                    None => here = Some(empty),
                }
            }
            if let (Some(right), Some(to)) = (right, to) {
                entries.push((to.to_vec(), child(right)));
            }
        }
        let blob = self.edit(top.id)?;
        if let Some(here) = here {
            blob.set_child(at, here);
        }
        for (separator, child) in entries {
            if blob.insert(&separator, None, &child.encode()).is_err() {
                return Err(Stop::Corrupt(top.id, "no room for a separator that fitted"));
            }
        }
        Ok(())
    }

    /// An empty child of this level.
    fn stub(&mut self, level: u8) -> Result<Child, Stop> {
        let mut id = self.create(Kind::Leaf, 0)?;
        for above in 1..=level {
            let under = self.peek(id, |blob| blob.as_child(0))?;
            id = self.create(Kind::Inner, above)?;
            self.edit(id)?.set_leftmost_child(under);
        }
        self.peek(id, |blob| blob.as_child(0))
    }
}

/// The children of a blob that meet a range.
struct Row {
    /// The separator of the first one; None: it is the leftmost.
    at: Option<Vec<u8>>,
    first_child: Child,
    last_child: Child,
    /// None: there is but one.
    inside: Option<Inside>,
    /// The separator of the child behind them.
    next: Option<Vec<u8>>,
}

/// The separators between the children of a row.
struct Inside {
    first: Vec<u8>,
    last: Vec<u8>,
    count: usize,
}

fn row(blob: Blob<'_>, from: &[u8], to: Option<&[u8]>) -> Row {
    let mut cursor = Cursor::new(blob);
    cursor.seek(&[from, &[0]].concat());
    if cursor.leaf().is_some() {
        cursor.retreat()
    } else {
        cursor.last()
    }
    let (at, first_child) = match cursor.leaf() {
        Some(leaf) => (Some(cursor.key().to_vec()), blob.child_of(leaf)),
        None => (None, blob.leftmost_child()),
    };
    match at {
        Some(_) => cursor.advance(),
        None => cursor.first(),
    }
    let mut row = Row { at, first_child, last_child: first_child, inside: None, next: None };
    while let Some(leaf) = cursor.leaf() {
        if to.is_some_and(|to| cursor.key() >= to) {
            row.next = Some(cursor.key().to_vec());
            break;
        }
        match &mut row.inside {
            None => {
                let key = cursor.key().to_vec();
                row.inside = Some(Inside { last: key.clone(), first: key, count: 1 });
            }
            Some(inside) => {
                inside.last.clear();
                inside.last.extend_from_slice(cursor.key());
                inside.count += 1;
            }
        }
        row.last_child = blob.child_of(leaf);
        cursor.advance();
    }
    row
}
