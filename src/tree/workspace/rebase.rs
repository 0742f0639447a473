//! Moving blobs to another base: along the edges of what is cut out.

use crate::art::{Blob, Child, Rebase, Scratch};
use crate::store::BlobId;

use super::Workspace;
use crate::tree::Stop;
use crate::tree::reclaim::last_child;

impl Workspace<'_> {
    /// Makes a blob's base `strip` bytes longer: all keys below it start with the same bytes there. Children whose bases are
    /// shorter than that follow.
    pub(super) fn strip(&mut self, id: BlobId, strip: usize) -> Result<Child, Stop> {
        let blob = self.edit(id)?;
        if strip == 0 {
            return Ok(blob.as_child(0));
        }
        let target = Scratch::new();
        if blob.pack(target.words(), Rebase { lead: &[], strip }).is_err() {
            return Err(Stop::Corrupt(id, "its keys do not start with the base that its fences give"));
        }
        let packed = Blob::new(target.words());
        if !blob.is_leaf() {
            let all = packed.slots();
            for slot in all {
                let delta = usize::from(slot.child.delta);
                let child = match delta.checked_sub(strip) {
                    Some(rest) => Child { delta: rest as u16, ..slot.child },
                    None => self.strip(BlobId(slot.child.id), strip - delta)?,
                };
                packed.set_child(slot.separator.as_deref(), child);
            }
        }
        self.replace(id, target)?;
        self.peek(id, |blob| blob.as_child(0))
    }

    /// Makes a blob's base shorter by the bytes of `lead`: only its own keys change. None: they do not fit any more.
    pub(super) fn lead(&mut self, id: BlobId, lead: &[u8]) -> Result<Option<Child>, Stop> {
        let blob = self.edit(id)?;
        if lead.is_empty() {
            return Ok(Some(blob.as_child(0)));
        }
        let target = Scratch::new();
        if blob.pack(target.words(), Rebase { lead, strip: 0 }).is_err() {
            return Ok(None);
        }
        let packed = Blob::new(target.words());
        if !blob.is_leaf() {
            packed.shift_deltas(lead.len() as isize);
        }
        self.replace(id, target)?;
        self.peek(id, |blob| Some(blob.as_child(0)))
    }

    /// The longest base along one edge of what is below a child whose base has this length.
    pub(super) fn edge_base(&self, child: Child, base: usize, right: bool) -> Result<usize, Stop> {
        let next = self.peek(BlobId(child.id), |blob| match (blob.is_leaf(), right) {
            (true, _) => None,
            (false, false) => Some(blob.leftmost_child()),
            (false, true) => Some(last_child(blob).1),
        })?;
        match next {
            Some(next) => Ok(base.max(self.edge_base(next, base + usize::from(next.delta), right)?)),
            None => Ok(base),
        }
    }
}
