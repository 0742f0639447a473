//! Visits all blobs of a limb, level by level: for statistics and for `check`.

use crate::art::{Blob, Cursor, Kind, Scratch};
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::descend::Aim;
use super::split::copy_of;
use super::{Limb, Stop};

/// One blob as a walk finds it: a private copy, validated.
pub(crate) struct Visit {
    pub(crate) id: BlobId,
    copy: Scratch,
    base: Vec<u8>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

/// Sums over the blobs of a limb.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LimbStats {
    pub(crate) entries: u64,
    /// Sum of the lengths of the full keys.
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    pub(crate) leaf_blobs: u64,
    pub(crate) inner_blobs: u64,
    /// Levels, the leaf level included.
    pub(crate) height: u64,
    /// Bytes in use in all blobs, headers included, and bytes that a compaction would free.
    pub(crate) live_bytes: u64,
    pub(crate) garbage_bytes: u64,
    /// Leaf blobs less than 35 % full, the root not counted.
    pub(crate) sparse_leaf_blobs: u64,
}

impl Visit {
    fn blob(&self) -> Blob<'_> {
        Blob::new(self.copy.words())
    }

    /// Checks the blob by itself and against the fences that its parents give it.
    pub(crate) fn check(&self, database: u64, problems: &mut Vec<String>) {
        let blob = self.blob();
        let mut problem = |what: String| problems.push(format!("index blob {}: {what}", self.id.0));
        if let Err(what) = blob.verify(BLOB_BYTES, Some((self.id.0, database))) {
            return problem(what);
        }
        let mut cursor = Cursor::new(blob);
        cursor.first();
        if cursor.leaf().is_some() {
            let key = [&self.base, cursor.key()].concat();
            if self.low.as_ref().is_some_and(|low| key < *low) {
                problem(format!("key {} is below the blob's range", key.escape_ascii()));
            }
        }
        cursor.last();
        if cursor.leaf().is_some() {
            let key = [&self.base, cursor.key()].concat();
            if self.high.as_ref().is_some_and(|high| key >= *high) {
                problem(format!("key {} is above the blob's range", key.escape_ascii()));
            }
        }
        for edge in [&self.low, &self.high].into_iter().flatten() {
            if !edge.starts_with(&self.base) {
                problem(format!("its base does not start its fence {}", edge.escape_ascii()));
            }
        }
    }

    /// Adds the blob to the sums.
    pub(crate) fn count(&self, root: BlobId, stats: &mut LimbStats) {
        let blob = self.blob();
        stats.height = stats.height.max(u64::from(blob.level()) + 1);
        stats.live_bytes += blob.live_bytes() as u64;
        stats.garbage_bytes += u64::from(blob.garbage());
        match blob.kind() {
            Some(Kind::Leaf) => {
                stats.leaf_blobs += 1;
                stats.entries += u64::from(blob.entries());
                stats.key_bytes +=
                    u64::from(blob.key_bytes()) + self.base.len() as u64 * u64::from(blob.entries());
                stats.value_bytes += u64::from(blob.value_bytes());
                if self.id != root && blob.live_bytes() < BLOB_BYTES * 35 / 100 {
                    stats.sparse_leaf_blobs += 1;
                }
            }
            _ => stats.inner_blobs += 1,
        }
    }
}

impl<'a> Limb<'a> {
    /// Visits every blob: the levels from the root down, each from its low end to its high end. Does I/O. Exact when
    /// nobody changes the limb meanwhile; else each blob is as it was when it was visited.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Visit)) -> Result<()> {
        let mut level = self.read(|_| {
            let root = self.root_step()?;
            let level = root.blob().level();
            root.validate()?;
            Ok(level)
        })?;
        loop {
            let mut low = Vec::new();
            loop {
                let found = self.read(|_| self.visit(&low, level))?;
                visit(&found);
                match found.high {
                    Some(high) => low = high,
                    None => break,
                }
            }
            match level.checked_sub(1) {
                Some(below) => level = below,
                None => return Ok(()),
            }
        }
    }

    fn visit(&self, low: &[u8], level: u8) -> Result<Visit, Stop> {
        let fenced = self.descend_fenced(Aim::At(low), level)?;
        let step = fenced.leaf;
        let copy = copy_of(step.blob());
        step.validate()?;
        let base = low[..step.base].to_vec();
        Ok(Visit { id: step.guard.id(), copy, base, low: fenced.low, high: fenced.high })
    }
}
