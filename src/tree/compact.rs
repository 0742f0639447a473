//! Compaction of a whole limb: garbage out of every leaf blob, sparse neighbours merged.

use crate::buffer::{Claim, Gate};
use crate::error::Result;
use crate::limits::BLOB_BYTES;

use super::descend::Aim;
use super::grow::compact;
use super::merge::Merge;
use super::split::blob_of;
use super::{Limb, Stop};

/// A leaf blob under this fill is worth a look for a neighbour.
const SPARSE_BELOW: usize = BLOB_BYTES * 80 / 100;

impl<'a> Limb<'a> {
    /// Packs the leaf blob of `low` if it holds garbage and merges it if it is sparse, beside other work. Returns where the
    /// next leaf blob begins. Does I/O.
    pub(crate) fn compact_from(&self, gate: &Gate, low: &[u8]) -> Result<Option<Vec<u8>>> {
        self.buffer.claim(1, Claim::Frees)?;
        self.buffer.reserve(0)?;
        let (live_bytes, high) = self.retry(|_| {
            let _entry = gate.enter();
            match self.check_alive() {
                Ok(()) => self.compact_leaf(low).map(Ok),
                Err(ended) => Ok(Err(ended)),
            }
        })??;
        if live_bytes < SPARSE_BELOW {
            self.shrink_from(gate, low, 0, Merge::Any)?;
        }
        Ok(high)
    }

    /// Packs the leaf blob of `key`; returns its size and its upper fence.
    fn compact_leaf(&self, key: &[u8]) -> Result<(usize, Option<Vec<u8>>), Stop> {
        let fenced = self.descend_fenced(Aim::At(key), 0)?;
        let mut guard = fenced.leaf.guard.upgrade()?;
        if blob_of(&guard).garbage() > 0 {
            compact(&mut guard)?;
        }
        Ok((blob_of(&guard).live_bytes(), fenced.high))
    }
}
