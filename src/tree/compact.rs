//! Compaction of a whole limb: garbage out of every leaf blob, sparse neighbours merged.

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

impl<'a> Limb<'a> {
    /// Packs every leaf blob that holds garbage and merges the sparse ones, one blob at a time beside other work. Does I/O.
    pub(crate) fn compact(&self, gate: &Gate) -> Result<()> {
        let mut low = Vec::new();
        loop {
            self.buffer.reserve(0)?;
            let (live_bytes, high) = self.retry(|_| {
                let _entry = gate.enter();
                match self.check_alive() {
                    Ok(()) => self.compact_leaf(&low).map(Ok),
                    Err(ended) => Ok(Err(ended)),
                }
            })??;
            if live_bytes < SPARSE_BELOW {
                self.shrink_from(gate, &low, 0, Merge::Any)?;
            }
            match high {
                Some(high) => low = high,
                None => return Ok(()),
            }
        }
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
