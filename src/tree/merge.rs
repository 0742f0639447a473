//! Fewer, fuller blobs: sparse neighbours are put together, a level is taken off a root with one child.

use crate::art::{Blob, Child, Cursor, Slot, Words};
use crate::buffer::{Claim, Fault, Gate};
use crate::error::{ErrorKind, Result};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::bounds::successor;
use super::grow::packed;
use super::shift::{Neighbour, join};
use super::split::{Pair, blob_of, install};
use super::{Limb, Stop};

/// After deletes two neighbours merge when one is under the first and both together are under the second.
pub(super) const MERGE_ONE_BELOW: usize = BLOB_BYTES * 40 / 100;
const MERGE_SUM_BELOW: usize = BLOB_BYTES * 88 / 100;
/// After a cut, or in a compaction, any two do that fit together: nothing will cut them again soon.
const TIDY_SUM_BELOW: usize = BLOB_BYTES * 95 / 100;
/// So many neighbours in a row are then made one less, if they fill the others up to this.
const ROW_MAX: usize = 8;
const ROW_FILL_BELOW: usize = BLOB_BYTES * 84 / 100;
/// What a blob of a row is filled up to, and what counts as filled.
const FILL_TO: usize = BLOB_BYTES * 90 / 100;
const FILLED: usize = BLOB_BYTES * 85 / 100;
/// Blobs that a merge changes, with the one that it frees.
const MERGE_BLOBS: usize = 3;
/// How often a merge is tried against other threads before it is left to a later delete.
const MERGE_TRIES: u32 = 8;
/// Most passages of one call.
const PASSAGES_MAX: usize = 32;

/// When neighbours are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// Two of which one is sparse.
    Sparse,
    /// As many as fit into one less.
    Any,
}

/// What one passage does to the blobs of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    /// The next one goes into this one.
    Join(usize),
    /// This one is filled up from the next one.
    Fill(usize),
}

/// What one passage came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merged {
    Nothing,
    /// There may be more to do at the same level, and `above` says whether at the one above.
    Some {
        above: bool,
    },
    /// There are no neighbours: look at the level above.
    Alone,
}

impl Merge {
    fn width(self) -> usize {
        match self {
            Self::Sparse => 1,
            Self::Any => ROW_MAX - 1,
        }
    }

    /// What to do first to the child `at` and its neighbours, whose sizes these are; None: not known.
    fn plan(self, sizes: &[Option<usize>], at: usize) -> Option<Move> {
        let pairs = [Some(at), at.checked_sub(1)];
        let two = |left: &usize| match (sizes.get(*left)?, sizes.get(left + 1)?) {
            (Some(a), Some(b)) => Some([*a, *b]),
            _ => None,
        };
        let joins = |left: &usize| {
            two(left).is_some_and(|sizes| match self {
                Self::Sparse => {
                    sizes[0].min(sizes[1]) < MERGE_ONE_BELOW && sizes[0] + sizes[1] < MERGE_SUM_BELOW
                }
                Self::Any => sizes[0] + sizes[1] < TIDY_SUM_BELOW,
            })
        };
        if let Some(left) = pairs.into_iter().flatten().find(joins) {
            return Some(Move::Join(left));
        }
        let longest = if self == Self::Any { ROW_MAX } else { 0 };
        for count in 3..=longest.min(sizes.len()) {
            let rows = (at + 1).saturating_sub(count)..=at.min(sizes.len() - count);
            let sum = |from: &usize| sizes[*from..from + count].iter().copied().sum::<Option<usize>>();
            let fits = |from: &usize| sum(from).is_some_and(|sum| sum <= (count - 1) * ROW_FILL_BELOW);
            let Some(from) = rows.filter(fits).min_by_key(sum) else { continue };
            return (from..from + count - 1).find_map(|left| match two(&left)? {
                [a, b] if a + b < TIDY_SUM_BELOW => Some(Move::Join(left)),
                [a, _] if a < FILLED => Some(Move::Fill(left)),
                _ => None,
            });
        }
        None
    }
}

/// Some neighbouring children, and which of them leads to a key.
struct Row {
    slots: Vec<Slot>,
    at: usize,
}

impl Row {
    /// The child for `rest` and so many on either side.
    fn around(parent: Blob<'_>, rest: &[u8], width: usize) -> Self {
        let slot = |cursor: &Cursor<'_>| match cursor.leaf() {
            Some(leaf) => Slot { separator: Some(cursor.key().to_vec()), child: parent.child_of(leaf) },
            None => Slot { separator: None, child: parent.leftmost_child() },
        };
        let mut cursor = Cursor::new(parent);
        cursor.seek(&[rest, &[0]].concat());
        if cursor.leaf().is_some() {
            cursor.retreat()
        } else {
            cursor.last()
        }
        let mut slots = vec![slot(&cursor)];
        while slots.len() <= width && slots[slots.len() - 1].separator.is_some() {
            cursor.retreat();
            slots.push(slot(&cursor));
        }
        slots.reverse();
        let at = slots.len() - 1;
        match &slots[at].separator {
            Some(own) => cursor.seek(&[own, &[0][..]].concat()),
            None => cursor.first(),
        }
        while slots.len() <= at + width && cursor.leaf().is_some() {
            slots.push(slot(&cursor));
            cursor.advance();
        }
        Self { slots, at }
    }
}

/// Finds the limb to merge in, and how many bytes of the key lead to it.
type Find<'f, 'a> = dyn Fn() -> Result<Option<(Limb<'a>, usize)>, Stop> + 'f;

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
            // From above: only children of one parent merge.
            for level in (0..=top).rev() {
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
        let mut climbs = false;
        for _ in 0..PASSAGES_MAX {
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
                    None => Ok(Merged::Nothing),
                })
            };
            match outcome {
                Ok(Merged::Some { above }) => {
                    climbs |= above;
                    if merge == Merge::Sparse {
                        (level, climbs) = (level + 1, false);
                        if !above {
                            return Ok(());
                        }
                    }
                }
                Ok(Merged::Alone) => (level, climbs) = (level + 1, false),
                Ok(Merged::Nothing) if climbs => (level, climbs) = (level + 1, false),
                Ok(Merged::Nothing) => return Ok(()),
                Err(_) if tries.restarts() >= MERGE_TRIES => return Ok(()),
                Err(stop) => self.settle(stop, &mut tries)?,
            }
        }
        Ok(())
    }

    /// One passage at one level.
    fn merge_once(&self, key: &[u8], level: u8, merge: Merge) -> Result<Merged, Stop> {
        let Some((parent, _)) = self.descend_to(key, level)? else { return self.lower_root() };
        let parent_base = parent.base;
        let mut parent = parent.guard.upgrade()?;
        let blob = blob_of(&parent);
        if blob.entries() == 0 {
            // An only child: the parent itself merges, or the root takes it in.
            return Ok(Merged::Alone);
        }
        let row = Row::around(blob, &key[parent_base..], merge.width());
        let sizes = self.sizes(&row)?;
        let Some(planned) = merge.plan(&sizes, row.at) else { return Ok(Merged::Nothing) };
        let (Move::Join(at) | Move::Fill(at)) = planned;
        let [left_slot, right_slot] = [&row.slots[at], &row.slots[at + 1]];
        let Some(between) = &right_slot.separator else { return Err(Stop::Restart) };
        let mut left = self.buffer.try_lock(BlobId(left_slot.child.id))?;
        let right = self.buffer.try_lock(BlobId(right_slot.child.id))?;
        if let Move::Fill(_) = planned {
            let bytes = FILL_TO.saturating_sub(blob_of(&left).live_bytes());
            let key = [&key[..parent_base], between].concat();
            let delta = usize::from(right_slot.child.delta);
            let mut pair = Pair { parent, target: right, parent_base, delta };
            let neighbour = Neighbour {
                between: between.clone(),
                beyond: left_slot.separator.clone(),
                child: left_slot.child,
                is_right: false,
            };
            // Beyond the row is not known: then the base stays as it is.
            let edge = row.slots.get(at + 2).and_then(|next| next.separator.as_deref());
            // Long keys may leave no room for as much.
            let is_done = [bytes, bytes / 2, bytes / 4]
                .into_iter()
                .any(|bytes| pair.shift(&mut left, &neighbour, edge, bytes, &key));
            return Ok(if is_done { Merged::Some { above: false } } else { Merged::Nothing });
        }
        let children = [left_slot.child, right_slot.child];
        let Some(delta) = join(&mut left, &right, children, between) else { return Ok(Merged::Nothing) };
        let blob = Blob::new(Words::new(parent.modify()));
        blob.remove(between);
        let joint = Child { id: left_slot.child.id, ..blob_of(&left).as_child(delta) };
        blob.set_child(left_slot.separator.as_deref(), joint);
        right.free();
        Ok(Merged::Some { above: blob.live_bytes() < MERGE_ONE_BELOW })
    }

    /// Bytes in use in the blobs of a row: of the child in question and its neighbours in any case, of those further off if they
    /// are in memory.
    fn sizes(&self, row: &Row) -> Result<Vec<Option<usize>>, Stop> {
        let size = |(at, slot): (usize, &Slot)| match self.buffer.read(BlobId(slot.child.id)) {
            Ok(guard) => Ok(Some(Blob::new(Words::new(guard.words())).live_bytes())),
            Err(Fault::Miss(id)) if at.abs_diff(row.at) <= 1 => Err(Stop::Miss(id)),
            Err(_) => Ok(None),
        };
        row.slots.iter().enumerate().map(size).collect()
    }

    /// While the root has one child only, the child's content moves up into it. Nothing is above.
    fn lower_root(&self) -> Result<Merged, Stop> {
        loop {
            let mut root = self.buffer.lock(self.root)?;
            let blob = blob_of(&root);
            let only = blob.leftmost_child();
            if blob.is_leaf() || blob.entries() != 0 || only.delta != 0 {
                return Ok(Merged::Nothing);
            }
            let child = self.buffer.try_lock(BlobId(only.id))?;
            install(&mut root, &packed(blob_of(&child))?);
            child.free();
        }
    }
}
