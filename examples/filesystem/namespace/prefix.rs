//! Stand-ins for calls on prefixes that trees and batches do not have yet, under the names and with the signatures those will
//! have. They cost a scan and a change for every key, so that a move is held to the limits of a batch; the calls themselves are
//! to cost O(depth).
//!
//! To go over to them: delete this file, its `mod` and the turn in `mod.rs`, and the `use` of its traits in `read.rs` and
//! `change.rs`; what is `commit_alone` there becomes `commit`.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use ramus::{Batch, Entry, IfExists, Result, Tree};

use super::Namespace;

/// Sums over all keys that start with a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefixStats {
    pub keys: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
}

pub trait TreePrefixes {
    fn count_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<PrefixStats>;
}

pub trait BatchPrefixes {
    /// Sees the state before the batch only, not its earlier changes.
    fn rename_prefix(
        &mut self,
        tree: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    );
}

/// A prefix is read before its keys are moved: no key may come to it in between. Shared by all commits but those moves.
static TURN: RwLock<()> = RwLock::new(());

pub fn shared_turn() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

impl Namespace {
    /// One commit that moves a prefix.
    pub(super) fn commit_alone(&self, fill: impl FnOnce(&mut Batch)) -> super::Result<()> {
        let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
        self.db.batch(fill)?;
        Ok(())
    }
}

impl TreePrefixes for Tree {
    fn count_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<PrefixStats> {
        let mut stats = PrefixStats::default();
        for entry in self.prefix(prefix) {
            if let Entry::Record { key, value, .. } = entry? {
                stats.keys += 1;
                stats.key_bytes += key.len() as u64;
                stats.value_bytes += value.len() as u64;
            }
        }
        Ok(stats)
    }
}

fn keys(tree: &Tree, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
    tree.prefix(prefix).keys_only().map(|entry| entry.map(|entry| entry.key().to_vec())).collect()
}

impl BatchPrefixes for Batch {
    fn rename_prefix(
        &mut self,
        tree: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) {
        let (src, dst) = (src.as_ref(), dst.as_ref());
        let inside = src.starts_with(dst) || dst.starts_with(src);
        let (Ok(from), Ok(over), false) = (keys(tree, src), keys(tree, dst), inside) else {
            // The empty key makes the commit fail with InvalidInput.
            return self.delete(tree, b"");
        };
        match (from.first(), over.first(), if_exists) {
            // No key starts with it, so it is no key either: the commit fails with NotFound.
            (None, ..) => self.rename(tree, src, dst, if_exists),
            // It is there, so the commit fails with Exists.
            (_, Some(there), IfExists::Fail) => self.rename(tree, there, there, IfExists::Fail),
            _ => {
                over.iter().for_each(|key| self.delete(tree, key));
                for key in from {
                    let to = [dst, &key[src.len()..]].concat();
                    self.rename(tree, key, to, IfExists::Fail);
                }
            }
        }
    }
}
