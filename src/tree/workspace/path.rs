//! Ways down a limb as the workspace has it: the blobs on them with their ranges, and what is asked along the way.

use smallvec::SmallVec;

use crate::art::{Blob, Child, Cursor, Leaf, LookUp};
use crate::store::BlobId;

use super::Workspace;
use crate::tree::Stop;
use crate::tree::bounds::successor;

/// A blob on the way down a limb.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) id: BlobId,
    pub(super) level: u8,
    /// Length of the base, relative to the limb.
    pub(super) base: usize,
}

/// The same with its range, which costs a multiple of that. Fences and base are relative to the limb.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) id: BlobId,
    pub(super) level: u8,
    /// Length of the base.
    pub(super) base: usize,
    pub(super) low: Option<Vec<u8>>,
    pub(super) high: Option<Vec<u8>>,
}

impl Hop {
    pub(super) fn step(&self) -> Step {
        Step { id: self.id, level: self.level, base: self.base }
    }

    /// Whether the blob's range holds all of the range.
    pub(super) fn covers(&self, low: &[u8], high: Option<&[u8]>) -> bool {
        self.low.as_deref().is_none_or(|own| own <= low)
            && match (&self.high, high) {
                (None, _) => true,
                (Some(own), Some(high)) => high <= own.as_slice(),
                (Some(_), None) => false,
            }
    }
}

/// The limb that a key is in, and how many of the key's bytes lead there; the mount at exactly that key, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) limb: BlobId,
    pub(super) offset: usize,
    pub(super) exact: Option<Child>,
}

/// The child for `key` and the separators around it, all relative to the blob.
pub(super) fn route(blob: Blob<'_>, key: &[u8]) -> (Child, Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut cursor = Cursor::new(blob);
    // The separator just above the key, then back to the one at most it.
    cursor.seek(&[key, &[0]].concat());
    let high = cursor.leaf().map(|_| cursor.key().to_vec());
    if high.is_some() {
        cursor.retreat()
    } else {
        cursor.last()
    }
    match cursor.leaf() {
        Some(leaf) => (blob.child_of(leaf), Some(cursor.key().to_vec()), high),
        None => (blob.leftmost_child(), None, high),
    }
}

impl Workspace<'_> {
    /// The blobs from the root of a limb to the leaf blob of `key`; mounts are not followed.
    pub(super) fn way(&self, root: BlobId, key: &[u8]) -> Result<SmallVec<[Step; 6]>, Stop> {
        let mut steps = SmallVec::new();
        let (mut id, mut base, mut above) = (root, 0, None);
        loop {
            let rest =
                key.get(base..).ok_or(Stop::Corrupt(id, "its base is longer than a key that leads to it"))?;
            let (level, child) =
                self.peek(id, |blob| (blob.level(), (!blob.is_leaf()).then(|| blob.child_for(rest))))?;
            if above.is_some_and(|above| level + 1 != above) || child.is_some() != (level > 0) {
                return Err(Stop::Corrupt(id, "its level does not fit its parent's"));
            }
            steps.push(Step { id, level, base });
            let Some(child) = child else { return Ok(steps) };
            (id, base, above) = (BlobId(child.id), base + usize::from(child.delta), Some(level));
        }
    }

    /// Whether a child is one level below its parent: a walk that went on without would not end in blobs that lead to
    /// themselves.
    pub(super) fn check_level(&self, child: BlobId, parent: u8) -> Result<(), Stop> {
        match self.peek(child, |blob| blob.level())?.checked_add(1) == Some(parent) {
            true => Ok(()),
            false => Err(Stop::Corrupt(child, "its level does not fit its parent's")),
        }
    }

    /// The last of them.
    pub(super) fn end(&self, root: BlobId, key: &[u8]) -> Result<Step, Stop> {
        self.way(root, key)?.pop().ok_or(Stop::Restart)
    }

    /// The blobs from the root of a limb to the leaf blob of `key`, with their ranges; mounts are not followed.
    pub(super) fn path(&self, root: BlobId, key: &[u8]) -> Result<Vec<Hop>, Stop> {
        let level = self.peek(root, |blob| blob.level())?;
        let mut hops = vec![Hop { id: root, level, base: 0, low: None, high: None }];
        loop {
            let above = &hops[hops.len() - 1];
            if above.level == 0 {
                return Ok(hops);
            }
            let rest = key.get(above.base..).unwrap_or(&[]);
            let (child, low, high) = self.peek(above.id, |blob| route(blob, rest))?;
            let spell = |part: Vec<u8>| [&key[..above.base.min(key.len())], &part].concat();
            let hop = Hop {
                id: BlobId(child.id),
                level: self.peek(BlobId(child.id), |blob| blob.level())?,
                base: above.base + usize::from(child.delta),
                low: low.map(spell).or_else(|| above.low.clone()),
                high: high.map(spell).or_else(|| above.high.clone()),
            };
            if hop.level + 1 != above.level || hop.base > key.len() {
                return Err(Stop::Corrupt(hop.id, "level or base does not fit its parent"));
            }
            hops.push(hop);
        }
    }

    /// The leaf blob of `key` in a limb; mounts are not followed.
    pub(super) fn leaf(&self, root: BlobId, key: &[u8]) -> Result<Hop, Stop> {
        let mut path = self.path(root, key)?;
        path.pop().ok_or(Stop::Restart)
    }

    /// The mount in one limb that `key` starts with: the length of its path, and its limb.
    pub(super) fn mount_on(&self, root: BlobId, key: &[u8]) -> Result<Option<(usize, Child)>, Stop> {
        let leaf = self.end(root, key)?;
        let found = self.peek(leaf.id, |blob| blob.mount_on(key.get(leaf.base..).unwrap_or(&[])))?;
        Ok(found.map(|(path, limb)| (leaf.base + path, limb)))
    }

    /// Follows the mounts on the way of `key`, but not one at exactly the key.
    pub(super) fn place(&self, root: BlobId, key: &[u8]) -> Result<Place, Stop> {
        let (mut limb, mut offset) = (root, 0);
        loop {
            match self.mount_on(limb, &key[offset..])? {
                Some((path, child)) if offset + path == key.len() => {
                    return Ok(Place { limb, offset, exact: Some(child) });
                }
                Some((path, child)) => {
                    limb = BlobId(child.id);
                    offset += path;
                }
                None => return Ok(Place { limb, offset, exact: None }),
            }
        }
    }

    /// Version and value of a record.
    pub(crate) fn get(&self, root: BlobId, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, Stop> {
        let (mut limb, mut rest) = (root, key);
        loop {
            let leaf = self.end(limb, rest)?;
            let read = |blob: Blob<'_>, found: Leaf| {
                let mut value = Vec::new();
                blob.w.append_to(found.value_at(), found.value_len(), &mut value);
                (found.version(blob), value)
            };
            let relative = rest.get(leaf.base..).unwrap_or(&[]);
            let (found, record) = self.peek(leaf.id, |blob| {
                let found = blob.look_up(relative);
                let record = match found {
                    LookUp::Record(leaf) => Some(read(blob, leaf)),
                    LookUp::Mount { .. } | LookUp::Nothing => None,
                };
                (found, record)
            })?;
            match found {
                LookUp::Mount { path, limb: child } => {
                    limb = BlobId(child.id);
                    rest = &rest[leaf.base + path..];
                }
                LookUp::Record(_) | LookUp::Nothing => return Ok(record),
            }
        }
    }

    /// Whether there is a record with a key from `low` to below `high`.
    pub(crate) fn has_range(&self, root: BlobId, low: &[u8], high: Option<&[u8]>) -> Result<bool, Stop> {
        let mut low = low.to_vec();
        loop {
            if high.is_some_and(|high| high <= low.as_slice()) {
                return Ok(false);
            }
            let next = match self.mount_on(root, &low)? {
                Some((path, limb)) => {
                    let mount = &low[..path];
                    let end = high.and_then(|high| high.strip_prefix(mount));
                    if self.has_range(BlobId(limb.id), &low[path..], end)? {
                        return Ok(true);
                    }
                    successor(mount)
                }
                None => {
                    let leaf = self.leaf(root, &low)?;
                    match self.first_in(&leaf, &low, high)? {
                        First::Record => return Ok(true),
                        First::Mount(path) => Some(path),
                        First::End => return Ok(false),
                        First::Nothing => leaf.high,
                    }
                }
            };
            match next {
                Some(next) => low = next,
                None => return Ok(false),
            }
        }
    }

    /// What comes first in a leaf blob from `low` on.
    fn first_in(&self, leaf: &Hop, low: &[u8], high: Option<&[u8]>) -> Result<First, Stop> {
        self.peek(leaf.id, |blob| {
            let mut cursor = Cursor::new(blob);
            cursor.seek(low.get(leaf.base..).unwrap_or(&[]));
            if cursor.leaf().is_none() {
                return First::Nothing;
            }
            let key = [&low[..leaf.base.min(low.len())], cursor.key()].concat();
            match high {
                Some(high) if key.as_slice() >= high => First::End,
                _ if cursor.mount().is_some() => First::Mount(key),
                _ => First::Record,
            }
        })
    }

    /// How long a key of a tree may be: an upper bound.
    pub(crate) fn longest_of_all(&self, root: BlobId) -> Result<usize, Stop> {
        self.peek(root, |blob| blob.below().longest())
    }

    /// How much longer than the prefix a key that starts with it may be: an upper bound.
    pub(crate) fn longest(&self, root: BlobId, prefix: &[u8]) -> Result<usize, Stop> {
        let place = self.place(root, prefix)?;
        if let Some(limb) = place.exact {
            return Ok(limb.below.longest());
        }
        let low = &prefix[place.offset..];
        let high = successor(low);
        let path = self.path(place.limb, low)?;
        let Some(top) = path.iter().rev().find(|hop| hop.covers(low, high.as_deref())) else {
            return Err(Stop::Restart);
        };
        let from = low.get(top.base..).unwrap_or(&[]);
        let to = high.as_deref().map(|high| high.get(top.base..).unwrap_or(&[]));
        let longest = self.peek(top.id, |blob| {
            if blob.is_leaf() {
                return longest_in(blob, from, to);
            }
            let all = blob.slots();
            let ends = |at: usize| all.get(at + 1).and_then(|next| next.separator.as_deref());
            let meets = |at: &usize| {
                let starts = all[*at].separator.as_deref().unwrap_or(&[]);
                ends(*at).is_none_or(|end| end > from) && to.is_none_or(|to| starts < to)
            };
            let seen = (0..all.len()).filter(meets).map(|at| all[at].child);
            seen.map(|child| usize::from(child.delta) + child.below.longest()).max().unwrap_or(0)
        })?;
        Ok((top.base + longest).saturating_sub(low.len()))
    }
}

/// What a leaf blob has first in a range.
enum First {
    Record,
    /// At this key relative to the limb.
    Mount(Vec<u8>),
    /// Something above the range.
    End,
    /// Nothing: the next leaf blob may have.
    Nothing,
}

/// The longest key from `low` to below `high` in a leaf blob, those below mounts included.
fn longest_in(blob: Blob<'_>, low: &[u8], high: Option<&[u8]>) -> usize {
    let mut longest = 0;
    let mut cursor = Cursor::new(blob);
    cursor.seek(low);
    while cursor.leaf().is_some() && high.is_none_or(|high| cursor.key() < high) {
        let under = cursor.mount().map_or(0, |limb| limb.below.longest());
        longest = longest.max(cursor.key().len() + under);
        cursor.advance();
    }
    longest
}
