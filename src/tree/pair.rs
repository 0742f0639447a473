//! The leaf blobs of two keys latched at once, for a record that goes from one to the other.
//!
//! Both are found before either is latched, and neither latch is waited for: whoever holds one of them waits for nothing.
//! So there is no order that others would have to keep. That of the ids is kept all the same: of two threads that want the
//! same two blobs one gets both.

use crate::error::Result;

use super::write::LockedLeaf;
use super::{Limb, Stop};

/// The leaf blobs of a source and of a target under their exclusive latches.
pub(crate) struct LockedPair<'a> {
    source: LockedLeaf<'a>,
    /// None: both keys are in one.
    target: Option<LockedLeaf<'a>>,
}

impl<'a> Limb<'a> {
    /// Latches the leaf blobs that hold two keys or would, whatever mounts are on the way to them.
    pub(crate) fn lock_pair(&self, src: &[u8], dst: &[u8]) -> Result<LockedPair<'a>, Stop> {
        let source = self.descend_deep(src)?.leaf;
        let target = self.descend_deep(dst)?.leaf;
        if source.guard.id() == target.guard.id() {
            // The first way down came to it before the second did: if it is as the first saw it, so it was for the second.
            return Ok(LockedPair { source: LockedLeaf::new(source)?, target: None });
        }
        if source.guard.id() < target.guard.id() {
            let source = LockedLeaf::new(source)?;
            Ok(LockedPair { source, target: Some(LockedLeaf::new(target)?) })
        } else {
            let target = Some(LockedLeaf::new(target)?);
            Ok(LockedPair { source: LockedLeaf::new(source)?, target })
        }
    }
}

impl<'a> LockedPair<'a> {
    pub(crate) fn source(&self) -> &LockedLeaf<'a> {
        &self.source
    }

    pub(crate) fn target(&self) -> &LockedLeaf<'a> {
        self.target.as_ref().unwrap_or(&self.source)
    }

    /// Takes the record of `src` out and puts one with this value at `dst`. It fits: see [`LockedLeaf::fits_put`]; a record
    /// less in the same blob takes no room away.
    pub(crate) fn carry(&mut self, src: &[u8], dst: &[u8], version: u64, value: &[u8]) -> Result<()> {
        if src != dst {
            self.source.remove(src);
        }
        self.target.as_mut().unwrap_or(&mut self.source).put(dst, version, value)
    }

    /// Whether the source's blob, which has a record less, should look for a neighbour to merge with.
    pub(crate) fn wants_merge(&self) -> bool {
        self.target.is_some() && self.source.wants_merge()
    }
}
