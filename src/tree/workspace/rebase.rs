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
        if strip > 0 {
            let mut content = self.work(id)?.take();
            if !Blob::new(content.words()).strip_front(strip) {
                let packed = Scratch::new();
                let rebase = Rebase { lead: &[], strip };
                if Blob::new(content.words()).pack(packed.words(), rebase).is_err() {
                    return Err(Stop::Corrupt(
                        id,
                        "its keys do not start with the base that its fences give",
                    ));
                }
                content = packed;
            }
            let blob = Blob::new(content.words());
            if !blob.is_leaf() {
                self.follow(blob, strip)?;
            }
            self.replace(id, content)?;
        }
        self.peek(id, |blob| blob.as_child(0))
    }

    /// Has the children of an inner blob follow its base, which has become `strip` bytes longer.
    pub(super) fn follow(&mut self, blob: Blob<'_>, strip: usize) -> Result<(), Stop> {
        let mut short = Vec::new();
        blob.each_child(|place, child| match usize::from(child.delta).checked_sub(strip) {
            Some(rest) => blob.set_child_at(place, Child { delta: rest as u16, ..child }),
            None => short.push((place, child)),
        });
        for (place, child) in short {
            self.check_level(BlobId(child.id), blob.level())?;
            let stripped = self.strip(BlobId(child.id), strip - usize::from(child.delta))?;
            blob.set_child_at(place, stripped);
        }
        Ok(())
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
        let (level, next) = self.peek(BlobId(child.id), |blob| {
            let next = match (blob.is_leaf(), right) {
                (true, _) => None,
                (false, false) => Some(blob.leftmost_child()),
                (false, true) => Some(last_child(blob).1),
            };
            (blob.level(), next)
        })?;
        let Some(next) = next else { return Ok(base) };
        self.check_level(BlobId(next.id), level)?;
        Ok(base.max(self.edge_base(next, base + usize::from(next.delta), right)?))
    }
}
