//! Telling the blobs above of longer keys and of mounts below them, before those are put in.

use smallvec::SmallVec;

use crate::art::{Below, Blob, LookUp, Words};
use crate::buffer::{Claim, Exclusive, Gate};
use crate::error::Result;
use crate::store::BlobId;

use super::descend::Step;
use super::split::blob_of;
use super::{Limb, Stop};

/// Blobs on a way down, mounted limbs included, as a rule.
const PATH_BLOBS: usize = 6;

impl<'a> Limb<'a> {
    /// Makes the leaf blob that `key` would go to admit it: see [`LockedLeaf::admits`](super::LockedLeaf::admits).
    pub(crate) fn admit(&self, gate: &Gate, key: &[u8]) -> Result<()> {
        self.buffer.claim(PATH_BLOBS, Claim::Adds)?;
        self.buffer.reserve(0)?;
        self.retry(|_| {
            let _entry = gate.enter();
            match self.check_alive() {
                Ok(()) => self.admit_once(key).map(Ok),
                Err(ended) => Ok(Err(ended)),
            }
        })?
    }

    /// One passage: latches the blobs on the way from the tree's root, then raises their bounds from the leaf blob upwards.
    fn admit_once(&self, key: &[u8]) -> Result<(), Stop> {
        let mut path: SmallVec<[Step<'a>; 6]> = SmallVec::new();
        path.push(self.root_step()?);
        loop {
            let step = path[path.len() - 1];
            let rest = key.get(step.base..).unwrap_or(&[]);
            let next = if !step.blob().is_leaf() {
                self.child_step(&step, step.blob().child_for(rest), key.len())?
            } else if let Some((to, limb)) = step.blob().mount_on(rest) {
                self.enter(&step, limb, step.base + to)?
            } else {
                break;
            };
            path.push(next);
        }
        let mut held: SmallVec<[(Exclusive<'a>, usize); 6]> = SmallVec::new();
        for step in path {
            held.push((step.guard.upgrade()?, step.base));
        }
        let Some((mut leaf, mut base)) = held.pop() else { return Err(Stop::Restart) };
        let mut below = blob_of(&leaf).below().raised(Below::new(key.len() - base, false));
        Blob::new(Words::new(leaf.modify())).set_below(below);
        while let Some((mut above, above_base)) = held.pop() {
            let blob = Blob::new(Words::new(above.modify()));
            if !blob.raise_child(&key[above_base..], below) {
                return Err(Stop::Corrupt(BlobId(blob.id()), "a child was lost under its latch"));
            }
            below = below.under(base - above_base);
            base = above_base;
        }
        Ok(())
    }
}

impl Blob<'_> {
    /// Makes the entry of the child (or mount) that `key` goes to hold `below`, which is relative to the child's base.
    pub(super) fn raise_child(self, key: &[u8], below: Below) -> bool {
        if self.is_leaf() {
            let LookUp::Mount { path, limb } = self.look_up(key) else { return false };
            let raised = limb.below.and(below);
            self.set_below(self.below().and(Below::new(raised.longest(), true).under(path)));
            return self.set_mount(&key[..path], crate::art::Child { below: raised, ..limb });
        }
        let child = self.child_for(key);
        self.set_child_for(key, crate::art::Child { below: child.below.and(below), ..child });
        true
    }
}
