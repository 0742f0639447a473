//! Compaction of a whole limb and of those mounted in it: garbage out of every leaf blob, sparse neighbours merged.

use crate::art::Cursor;
use crate::buffer::Gate;
use crate::error::Result;
use crate::limits::BLOB_BYTES;

use super::descend::Aim;
use super::grow::compact;
use super::merge::Merge;
use super::split::blob_of;
use super::{Limb, Stop};

/// A leaf blob under this fill is worth a look for a neighbour.
const SPARSE_BELOW: usize = BLOB_BYTES * 80 / 100;

/// What the compaction of a leaf blob leaves to do.
struct Packed {
    live_bytes: usize,
    high: Option<Vec<u8>>,
    /// The paths of the mounts in it, from the high end.
    mounts: Vec<Vec<u8>>,
}

impl<'a> Limb<'a> {
    /// Packs every leaf blob that holds garbage and merges the sparse ones, one blob at a time beside other work; those of a
    /// mounted limb right after the leaf blob with its mount. Does I/O.
    pub(crate) fn compact(&self, gate: &Gate) -> Result<()> {
        // The path to a limb, and where to go on in it.
        let mut places = vec![(Vec::new(), Vec::new())];
        while let Some((path, low)) = places.pop() {
            self.buffer.reserve(0)?;
            let packed = self.retry(|_| {
                let _entry = gate.enter();
                match self.check_alive() {
                    Ok(()) => self.compact_leaf(&path, &low).map(Ok),
                    Err(ended) => Ok(Err(ended)),
                }
            })??;
            let Some(packed) = packed else { continue };
            if packed.live_bytes < SPARSE_BELOW {
                self.shrink_at(gate, &path, &low, Merge::Any)?;
            }
            places.extend(packed.high.map(|high| (path, high)));
            places.extend(packed.mounts.into_iter().map(|mount| (mount.clone(), mount)));
        }
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
