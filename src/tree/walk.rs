//! Visits all blobs of a limb and of those mounted in it: for statistics and for `check`.

use std::collections::HashSet;

use crate::art::{Below, Blob, CHILD_BYTES, Cursor, Kind, Scratch};
use crate::error::Result;
use crate::limits::BLOB_BYTES;
use crate::store::BlobId;

use super::descend::Aim;
use super::split::copy_of;
use super::{Limb, Stop};

/// One blob as a walk finds it: a private copy, validated. Base and fences are full keys.
pub(crate) struct Visit {
    pub(crate) id: BlobId,
    copy: Scratch,
    base: Vec<u8>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
    /// What the entry that leads to the blob says that it holds; None: the root of a tree.
    bound: Option<Below>,
    /// It is the root of its limb.
    is_root: bool,
    /// How many limbs lead here, its own included.
    depth: u64,
}

/// Sums over the blobs of a limb and of those mounted in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LimbStats {
    /// Records; mounts are none.
    pub(crate) entries: u64,
    /// Sum of the lengths of the full keys.
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    pub(crate) leaf_blobs: u64,
    pub(crate) inner_blobs: u64,
    /// Levels of the highest limb, the leaf level included.
    pub(crate) height: u64,
    /// Bytes in use in all blobs, headers included, and bytes that a compaction would free.
    pub(crate) live_bytes: u64,
    pub(crate) garbage_bytes: u64,
    /// Leaf blobs less than 35 % full, roots not counted.
    pub(crate) sparse_leaf_blobs: u64,
    pub(crate) mounts: u64,
    /// Limbs on the longest way down.
    pub(crate) limb_depth: u64,
}

impl Visit {
    fn blob(&self) -> Blob<'_> {
        Blob::new(self.copy.words())
    }

    /// Calls `found` with the path of each mount in the blob, relative to its base.
    fn mounts(&self, mut found: impl FnMut(&[u8])) {
        let blob = self.blob();
        if !blob.is_leaf() || !blob.below().mounts() {
            return;
        }
        let mut cursor = Cursor::new(blob);
        cursor.first();
        while cursor.leaf().is_some() {
            if cursor.mount().is_some() {
                found(cursor.key());
            }
            cursor.advance();
        }
    }

    /// Checks the blob by itself and against what stands above it.
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
        let below = blob.below();
        if let Some(bound) = self.bound.filter(|bound| !bound.holds(below)) {
            let [own, said] = [below, bound].map(|below| (below.longest(), below.mounts()));
            problem(format!(
                "it may hold more than the entry that leads to it says: {own:?} is not in {said:?}"
            ));
        }
        // The least separator above a mount's path, at whatever level, is the upper fence of its leaf blob.
        self.mounts(|path| {
            let path = [&self.base, path].concat();
            if self.high.as_ref().is_some_and(|high| high.starts_with(&path)) {
                problem(format!("a separator lies inside the range of the mount {}", path.escape_ascii()));
            }
        });
    }

    /// Adds the blob to the sums.
    pub(crate) fn count(&self, stats: &mut LimbStats) {
        let blob = self.blob();
        stats.height = stats.height.max(u64::from(blob.level()) + 1);
        stats.limb_depth = stats.limb_depth.max(self.depth);
        stats.live_bytes += blob.live_bytes() as u64;
        stats.garbage_bytes += u64::from(blob.garbage());
        if blob.kind() != Some(Kind::Leaf) {
            stats.inner_blobs += 1;
            return;
        }
        let (mut mounts, mut path_bytes) = (0, 0);
        self.mounts(|path| {
            mounts += 1;
            path_bytes += path.len() as u64;
        });
        let entries = u64::from(blob.entries()) - mounts;
        stats.leaf_blobs += 1;
        stats.mounts += mounts;
        stats.entries += entries;
        stats.key_bytes += u64::from(blob.key_bytes()) - path_bytes + self.base.len() as u64 * entries;
        stats.value_bytes += u64::from(blob.value_bytes()) - mounts * CHILD_BYTES as u64;
        if !self.is_root && blob.live_bytes() < BLOB_BYTES * 35 / 100 {
            stats.sparse_leaf_blobs += 1;
        }
    }
}

/// What a walk has still to visit: the blobs of one limb from one of them on.
struct Place {
    /// Leads to the limb.
    path: Vec<u8>,
    depth: u64,
    /// None: the root.
    level: Option<u8>,
    low: Vec<u8>,
}

impl<'a> Limb<'a> {
    /// Visits every blob: in each limb the levels from the root down, each from its low end to its high end, and a limb that is
    /// mounted in a leaf blob right after that. Does I/O. Exact when nobody changes the limbs meanwhile; else each blob is as
    /// it was when it was visited, and a limb that is moved away may be missed or met twice.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Visit)) -> Result<()> {
        let mut entered = HashSet::new();
        let mut places = vec![Place { path: Vec::new(), depth: 1, level: None, low: Vec::new() }];
        while let Some(Place { path, depth, level, low }) = places.pop() {
            // Found by path each time: a mount that vanished is no error.
            let Some(found) = self.read(|_| self.visit(&path, depth, level, &low))? else { continue };
            visit(&found);
            if level.is_none() && !entered.insert(found.id) {
                // Its root was shown twice, which tells whoever looks for it; mounts that lead in a circle must not.
                continue;
            }
            let level = found.blob().level();
            let mut inside = Vec::new();
            found.mounts(|mount| {
                let path = [&found.base, mount].concat();
                inside.push(Place { low: path.clone(), path, depth: depth + 1, level: None });
            });
            match (found.high, level.checked_sub(1)) {
                (Some(high), _) => places.push(Place { path, depth, level: Some(level), low: high }),
                (None, Some(below)) => {
                    places.push(Place { low: path.clone(), path, depth, level: Some(below) })
                }
                (None, None) => {}
            }
            places.extend(inside.into_iter().rev());
        }
        Ok(())
    }

    fn visit(&self, path: &[u8], depth: u64, level: Option<u8>, low: &[u8]) -> Result<Option<Visit>, Stop> {
        let Some((root, mounted)) = self.mounted_at(path)? else { return Ok(None) };
        let root_id = root.guard.id();
        let fenced = self.fenced_from(root, Aim::At(low), level.unwrap_or(u8::MAX))?;
        let step = fenced.leaf;
        let copy = copy_of(step.blob());
        step.validate()?;
        let id = step.guard.id();
        Ok(Some(Visit {
            id,
            copy,
            base: low[..step.base].to_vec(),
            low: fenced.low,
            high: fenced.high,
            bound: fenced.bound.or(mounted),
            is_root: id == root_id,
            depth,
        }))
    }
}
