//! Hanging what was cut out elsewhere.

use crate::art::{Below, Blob, CHILD_BYTES, Child, Scratch, room_needed};
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::path::Step;
use super::{Change, Workspace};
use crate::tree::Stop;
use crate::tree::bounds::successor;
use crate::tree::grow::packed;
use crate::tree::shift::append_entries;
use crate::tree::split::copy_of;

/// What was lifted out of a tree.
pub(crate) enum Taken {
    /// There was nothing.
    Nothing,
    /// A few records, in a leaf blob that has no id.
    Inline(Scratch),
    /// A limb.
    Limb(Child),
}

/// A leaf blob is filled up to this by what is put into it whole.
pub(super) const INLINE_FILL: usize = BLOB_BYTES * 9 / 10;

impl Workspace<'_> {
    /// Hangs what was taken at `prefix`: its keys are below that from now on. No key of the tree starts with the prefix, which
    /// is not empty.
    pub(crate) fn hang(&mut self, root: BlobId, prefix: &[u8], taken: Taken) -> Result<(), Stop> {
        if matches!(taken, Taken::Nothing) {
            return Ok(());
        }
        let place = self.place(root, prefix)?;
        let rest = &prefix[place.offset..];
        if place.exact.is_some() || rest.is_empty() {
            return Err(Stop::Corrupt(place.limb, "a directory is hung over another"));
        }
        let leaf = self.clear(place.limb, rest)?;
        let limb = match taken {
            Taken::Nothing => return Ok(()),
            Taken::Limb(limb) => limb,
            Taken::Inline(content) => {
                if let Some(below) = self.merge_in(leaf, rest, &content)? {
                    return self.raise(root, prefix, below);
                }
                let id = self.create_with(content)?;
                self.peek(id, |blob| blob.as_child(0))?
            }
        };
        // The bounds come first: afterwards this would need a copy of the blob.
        let leaf =
            self.with_room(place.limb, rest, 0, &|base| room_needed(rest.len() - base, CHILD_BYTES))?;
        self.raise(root, prefix, Below::new(limb.below.longest(), true))?;
        self.change(leaf.id, Change::Mount(rest[leaf.base..].to_vec(), Child { delta: 0, ..limb }))
    }

    /// Makes the range of a prefix that has no keys lie in one leaf blob: separators outlive their keys.
    fn clear(&mut self, limb: BlobId, prefix: &[u8]) -> Result<Step, Stop> {
        let high = successor(prefix);
        let leaf = self.leaf(limb, prefix)?;
        if leaf.covers(prefix, high.as_deref()) {
            return Ok(leaf.step());
        }
        let stale = self.carve(limb, prefix, high.as_deref(), None)?;
        self.drop_taken(stale);
        let leaf = self.leaf(limb, prefix)?;
        match leaf.covers(prefix, high.as_deref()) {
            true => Ok(leaf.step()),
            false => Err(Stop::Corrupt(leaf.id, "a range that was cut out has separators")),
        }
    }

    /// Puts the records of `content` below `path` into a leaf blob. None: they do not fit, nothing has changed.
    pub(super) fn merge_in(
        &mut self,
        leaf: Step,
        path: &[u8],
        content: &Scratch,
    ) -> Result<Option<Below>, Stop> {
        let from = Blob::new(content.words());
        let blob = self.edit(leaf.id)?;
        let lead = &path[leaf.base..];
        if blob.live_bytes() + from.live_bytes() + lead.len() > INLINE_FILL {
            return Ok(None);
        }
        // A copy is cheaper than a packed one, where nothing has to make room.
        let mut host = copy_of(blob);
        if blob.room() < 2 * from.live_bytes()
            || !append_entries(Blob::new(host.words()), from, lead, 0, |_| true)
        {
            host = packed(blob)?;
            if !append_entries(Blob::new(host.words()), from, lead, 0, |_| true) {
                return Ok(None);
            }
        }
        self.replace(leaf.id, host)?;
        Ok(Some(from.below()))
    }
}
