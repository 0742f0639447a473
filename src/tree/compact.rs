//! Compaction of a whole limb and of those mounted in it: garbage out of every leaf blob, sparse neighbours merged.

use crate::art::Cursor;
use crate::buffer::{Claim, Gate};
use crate::error::Result;
use crate::limits::BLOB_BYTES;

use super::descend::Aim;
use super::grow::compact;
use super::split::blob_of;
use super::{Limb, Stop};

/// A leaf blob under this fill is worth a look for a neighbour.
const SPARSE_BELOW: usize = BLOB_BYTES * 80 / 100;

/// Where a compaction stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The path that a limb is mounted at.
    limb: Vec<u8>,
    /// A key in the leaf blob that is next.
    low: Vec<u8>,
}

/// What the compaction of a leaf blob leaves to do.
struct Packed {
    live_bytes: usize,
    high: Option<Vec<u8>>,
    /// The paths of the mounts in it, from the high end.
    mounts: Vec<Vec<u8>>,
}

impl<'a> Limb<'a> {
    /// Packs the leaf blob at a place if it holds garbage and merges it if it is sparse, beside other work. Puts the places that
    /// come next behind `next`, the first of them last: the limbs mounted in it, then the next leaf blob. Does I/O.
    pub(crate) fn compact_at(&self, gate: &Gate, place: &Place, next: &mut Vec<Place>) -> Result<()> {
        self.buffer.claim(1, Claim::Frees)?;
        self.buffer.reserve(0)?;
        let packed = self.retry(|_| {
            let _entry = gate.enter();
            match self.check_alive() {
                Ok(()) => self.compact_leaf(&place.limb, &place.low).map(Ok),
                Err(ended) => Ok(Err(ended)),
            }
        })??;
        let Some(packed) = packed else { return Ok(()) };
        if packed.live_bytes < SPARSE_BELOW {
            self.shrink_at(gate, &place.limb, &place.low)?;
        }
        next.extend(packed.high.map(|low| Place { limb: place.limb.clone(), low }));
        next.extend(packed.mounts.into_iter().map(|mount| Place { limb: mount.clone(), low: mount }));
        Ok(())
    }

    /// Packs the leaf blob of `key` in the limb that is mounted at `path`. None: no limb is, any more.
    fn compact_leaf(&self, path: &[u8], key: &[u8]) -> Result<Option<Packed>, Stop> {
        let Some((root, _)) = self.mounted_at(path)? else { return Ok(None) };
        let fenced = self.fenced_from(root, Aim::At(key), 0)?;
        let base = fenced.leaf.base;
        let mut guard = fenced.leaf.guard.upgrade()?;
        if blob_of(&guard).garbage() > 0 {
            compact(&mut guard)?;
        }
        let blob = blob_of(&guard);
        let mut mounts = Vec::new();
        if blob.below().mounts() {
            let mut cursor = Cursor::new(blob);
            // Those before `key` came from a neighbour that was merged, and are done.
            cursor.last();
            while cursor.leaf().is_some() && cursor.key() >= &key[base..] {
                if cursor.mount().is_some() {
                    mounts.push([&key[..base], cursor.key()].concat());
                }
                cursor.retreat();
            }
        }
        Ok(Some(Packed { live_bytes: blob.live_bytes(), high: fenced.high, mounts }))
    }
}
