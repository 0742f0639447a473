//! Lowering bounds on the lengths of keys: what a directory that moved away leaves behind is a bound that nothing needs.
//!
//! A search follows the greatest bounds down from a tree's root, through mounts too, and makes those on its way exact from the
//! leaf blob upwards. So it needs not know where something was taken out, and what one search does is there for the next.

use crate::art::{Below, Blob, Child, Cursor};
use crate::buffer::{Claim, Gate};
use crate::error::Result as Outcome;
use crate::limits::KEY_BYTES_MAX;
use crate::store::BlobId;
use crate::tree::{Limb, Stop, Tries};

use super::Workspace;
use super::length::lengths;

/// Blobs that one search changes as a rule.
const BLOBS: usize = 8;
/// Races that one search loses at the most.
const TRIES: u32 = 20;

/// Where the greatest bound in a blob comes from, said so that it holds if the blob is packed meanwhile.
pub(super) enum Worst {
    /// From a child of an inner blob.
    Child(Child),
    /// From a limb mounted in a leaf blob at this path.
    Mount(Vec<u8>, Child),
    /// From a record of a leaf blob.
    Record,
}

impl Limb<'_> {
    /// Makes the bounds exact along the way of the greatest ones, if a key may be longer than `enough` by the tree's bound.
    /// True: another search may lower it further. Closes the gate for moments; does I/O outside.
    pub(crate) fn lower(&self, gate: &Gate, database: u64, enough: usize) -> Outcome<bool> {
        let mut tries = Tries::default();
        loop {
            self.buffer.claim(BLOBS, Claim::Adds)?;
            let frames = self.buffer.reserve(0)?;
            let stop = {
                let _closed = gate.close();
                self.check_alive()?;
                let mut space = Workspace::new(self.buffer, frames, database);
                match space.lower(self.root, enough) {
                    Ok(true) if self.buffer.has_space(space.blobs(), Claim::Adds) => {
                        space.commit();
                        return Ok(true);
                    }
                    Ok(_) => return Ok(false),
                    Err(stop) => stop,
                }
            };
            if tries.restarts() >= TRIES {
                return Ok(false);
            }
            self.settle(stop, &mut tries)?;
        }
    }
}

impl Workspace<'_> {
    /// See [`Limb::lower`]. True: a bound was lowered.
    pub(crate) fn lower(&mut self, root: BlobId, enough: usize) -> Result<bool, Stop> {
        if self.peek(root, |blob| blob.below().longest())? <= enough {
            return Ok(false);
        }
        let way = self.worst_way(root)?;
        self.lower_along(way)
    }

    /// Makes the bounds on this way exact. True: a bound was lowered.
    pub(super) fn lower_along(&mut self, way: Vec<(BlobId, Worst)>) -> Result<bool, Stop> {
        let mut is_lower = false;
        let mut exact = Below::default();
        for (id, worst) in way.into_iter().rev() {
            let above = match &worst {
                Worst::Record => None,
                Worst::Child(child) | Worst::Mount(_, child) => Some(*child),
            };
            if let Some(child) = above.filter(|child| child.below != exact) {
                let child = Child { below: exact, ..child };
                let blob = self.edit(id)?;
                match &worst {
                    Worst::Child(_) => blob.each_child(|place, there| {
                        if there.id == child.id {
                            blob.set_child_at(place, child);
                        }
                    }),
                    Worst::Mount(path, _) if blob.set_mount(path, child) => {}
                    _ => return Err(Stop::Corrupt(id, "a mount was lost while nobody else was there")),
                }
                is_lower = true;
            }
            let (said, needed) = self.peek(id, |blob| (blob.below(), needed(blob)))?;
            if said != needed {
                self.edit(id)?.set_below(needed);
                is_lower = true;
            }
            exact = needed;
        }
        Ok(is_lower)
    }

    /// The blobs that the greatest bounds lead to, from the root of a tree, mounted limbs included.
    pub(super) fn worst_way(&self, root: BlobId) -> Result<Vec<(BlobId, Worst)>, Stop> {
        let (mut way, mut id, mut path) = (Vec::new(), root, 0);
        loop {
            let (level, worst) = self.peek(id, |blob| (blob.level(), worst(blob)))?;
            let next = match &worst {
                Worst::Record => None,
                Worst::Child(child) => Some(BlobId(child.id)),
                Worst::Mount(to, child) => {
                    path += to.len();
                    Some(BlobId(child.id))
                }
            };
            let is_child = matches!(worst, Worst::Child(..));
            way.push((id, worst));
            let Some(next) = next else { return Ok(way) };
            let under = self.peek(next, |blob| blob.level())?;
            if path > KEY_BYTES_MAX || is_child && under + 1 != level {
                return Err(Stop::Corrupt(next, "it does not fit what leads to it"));
            }
            id = next;
        }
    }
}

/// Where the greatest bound of a blob comes from.
fn worst(blob: Blob<'_>) -> Worst {
    if !blob.is_leaf() {
        let (mut longest, mut worst) = (0, Worst::Record);
        blob.each_child(|_, child| {
            let own = usize::from(child.delta) + child.below.longest();
            if own >= longest {
                (longest, worst) = (own, Worst::Child(child));
            }
        });
        return worst;
    }
    let (mut longest, mut worst) = (0, Worst::Record);
    let mut cursor = Cursor::new(blob);
    cursor.first();
    while cursor.leaf().is_some() {
        let (path, limb) = (cursor.key().len(), cursor.mount());
        let own = path + limb.map_or(0, |limb| limb.below.longest());
        if own > longest {
            longest = own;
            worst = limb.map_or(Worst::Record, |limb| Worst::Mount(cursor.key().to_vec(), limb));
        }
        cursor.advance();
    }
    worst
}

/// The bound that a blob needs; that of a leaf blob is rounded where it is for records, so that few puts have to raise it.
fn needed(blob: Blob<'_>) -> Below {
    if !blob.is_leaf() {
        return blob.below();
    }
    let (records, limbs) = lengths(blob, [None, None]);
    let mounts = limbs
        .iter()
        .fold(Below::default(), |all, (_, path, under)| all.and(Below::new(*under, true).under(*path)));
    let all = Below::default().raised(Below::new(records.unwrap_or(0), false)).and(mounts);
    Below::new(all.longest().min(blob.below().longest()), all.mounts())
}
