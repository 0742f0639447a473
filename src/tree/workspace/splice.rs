//! Un-mounting: a mounted limb becomes part of its host again, so that look-ups do not go through a chain of limbs.
//!
//! The inverse of a cut: no key changes its name, so readers need not be told.

use crate::art::{CHILD_BYTES, Child, room_needed};
use crate::store::BlobId;

use super::Workspace;
use super::carve::INLINE_BELOW;
use super::graft::INLINE_FILL;
use crate::buffer::{Claim, Gate};
use crate::error::{ErrorKind, Result as Outcome};
use crate::limits::BLOB_BYTES;
use crate::tree::bounds::{common_prefix, successor};
use crate::tree::grow::packed;
use crate::tree::reclaim::last_child;
use crate::tree::{Limb, Stop, Tries};

/// Blobs that a splice makes at the most, in a limb of usual height; with more it starts again.
const FRAMES: usize = 8;
/// How often a splice is tried before it is left to later.
const TRIES: u32 = 20;

impl Limb<'_> {
    /// Splices the limb mounted at exactly `path` back into its host. True: it was done. Closes the gate for moments; does I/O
    /// outside.
    pub(crate) fn unmount(&self, gate: &Gate, database: u64, path: &[u8]) -> Outcome<bool> {
        let (mut tries, mut frames) = (Tries::default(), FRAMES);
        loop {
            // Nothing is lost if it waits for space.
            if let Err(full) = self.buffer.claim(2 * frames, Claim::Adds) {
                return if full.kind() == ErrorKind::NoSpace { Ok(false) } else { Err(full) };
            }
            let reservation = self.buffer.reserve(frames)?;
            let stop = {
                let _closed = gate.close();
                self.check_alive()?;
                let mut space = Workspace::new(self.buffer, reservation, database);
                match space.splice(self.root, path) {
                    Ok(true) => {
                        space.commit();
                        return Ok(true);
                    }
                    Ok(false) => return Ok(false),
                    Err(stop) => stop,
                }
            };
            match stop {
                Stop::Frames => frames *= 2,
                _ if tries.restarts() >= TRIES => return Ok(false),
                stop => self.settle(stop, &mut tries)?,
            }
        }
    }
}

impl Workspace<'_> {
    /// Splices the limb that is mounted at exactly `path` back into its host: an empty one goes, a few records go into the host's
    /// leaf blob, another becomes a subtree of it, for which a lower host grows. False: there is no such mount, or it has to stay;
    /// then the workspace is of no use any more.
    pub(crate) fn splice(&mut self, root: BlobId, path: &[u8]) -> Result<bool, Stop> {
        let place = self.place(root, path)?;
        let Some(limb) = place.exact else { return Ok(false) };
        let (host, at, id) = (place.limb, &path[place.offset..], BlobId(limb.id));
        let (level, entries, live) =
            self.peek(id, |blob| (blob.level(), blob.entries(), blob.live_bytes()))?;
        if level == 0 && (entries == 0 || live < INLINE_BELOW) {
            let content = packed(self.edit(id)?)?;
            let leaf = self.end(host, at)?;
            self.edit(leaf.id)?.remove(&at[leaf.base..]);
            self.free(id)?;
            if entries == 0 {
                return Ok(true);
            }
            // No separator comes to lie strictly inside the path's range: there is no key in it now.
            let need = |base| live + at.len() - base + BLOB_BYTES - INLINE_FILL;
            let leaf = self.with_room(host, at, 0, &need)?;
            return match self.merge_in(leaf, at, &content)? {
                Some(below) => self.raise(root, path, below).map(|()| true),
                None => Ok(false),
            };
        }
        while self.peek(host, |blob| blob.level())? <= level {
            self.grow_root(host)?;
        }
        self.splice_in(host, at, id, level)
    }

    /// Makes the limb a child of the host's blob above its level, in the place of the blobs that lead to the mount.
    fn splice_in(&mut self, host: BlobId, path: &[u8], limb: BlobId, level: u8) -> Result<bool, Stop> {
        let end = successor(path);
        let need = |base: usize| {
            let separators = [Some(path), end.as_deref()];
            separators
                .into_iter()
                .flatten()
                .map(|key| room_needed(key.len().saturating_sub(base), CHILD_BYTES))
                .sum()
        };
        let above = self.with_room(host, path, level + 1, &need)?;
        let Some(hop) = self.path(host, path)?.into_iter().find(|hop| hop.level == level) else {
            return Err(Stop::Restart);
        };
        // The bases along the limb's right edge must start the end of the mount's range too.
        let shared = end.as_deref().map_or(0, |end| common_prefix(path, end));
        if above.base > shared {
            return Ok(false);
        }
        let Some(limb) = self.lead_edge(limb, &path[shared..])? else { return Ok(false) };
        let limb = Child { delta: (shared - above.base) as u16, ..limb };

        let delta = (hop.base - above.base) as u16;
        let mut middle = hop.id;
        let mut left = None;
        if hop.low.as_deref() != Some(path) {
            let (stays, goes) = self.split(hop.id, hop.base, path, [0, 0])?;
            left = Some(Child { delta, ..stays });
            middle = BlobId(goes.id);
        }
        let mut right = None;
        if let Some(end) = end.as_deref()
            && hop.high.as_deref() != Some(end)
        {
            let (goes, stays) = self.split(middle, hop.base, end, [0, 0])?;
            middle = BlobId(goes.id);
            right = Some(Child { delta, ..stays });
        }
        if !self.free_way(middle)? {
            return Err(Stop::Corrupt(middle, "a mount shares its range"));
        }
        let (from, blob) = (&path[above.base..], self.edit(above.id)?);
        let inserted = match left {
            Some(left) => {
                blob.set_child_for(from, left);
                blob.insert(from, None, &limb.encode()).is_ok()
            }
            None => {
                blob.set_child_for(from, limb);
                true
            }
        };
        let inserted = inserted
            && match (right, end.as_deref()) {
                (Some(right), Some(end)) => blob.insert(&end[above.base..], None, &right.encode()).is_ok(),
                _ => true,
            };
        match inserted {
            true => Ok(true),
            false => Err(Stop::Corrupt(above.id, "no room for separators that fitted")),
        }
    }

    /// Makes the bases along a limb's right edge shorter. None: a blob there is too full.
    fn lead_edge(&mut self, id: BlobId, lead: &[u8]) -> Result<Option<Child>, Stop> {
        let Some(_) = self.lead(id, lead)? else { return Ok(None) };
        let last = self.peek(id, |blob| (!blob.is_leaf()).then(|| last_child(blob)))?;
        if let Some((separator, last)) = last {
            // Its base was that of its parent: empty.
            let Some(child) = self.lead_edge(BlobId(last.id), lead)? else { return Ok(None) };
            let child = Child { delta: last.delta - lead.len() as u16, ..child };
            self.edit(id)?.set_child(separator.as_deref(), child);
        }
        Ok(Some(self.peek(id, |blob| blob.as_child(0))?))
    }

    /// Frees the blobs that lead to a mount and nothing else. False: there is something else.
    fn free_way(&mut self, id: BlobId) -> Result<bool, Stop> {
        let (is_leaf, entries, next) =
            self.peek(id, |blob| (blob.is_leaf(), blob.entries(), blob.leftmost_child()))?;
        if entries != u32::from(is_leaf) {
            return Ok(false);
        }
        self.free(id)?;
        if is_leaf { Ok(true) } else { self.free_way(BlobId(next.id)) }
    }
}
