//! Making, finding and dropping named trees.

use std::collections::HashSet;
use std::sync::Arc;

use super::catalog::Catalog;
use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Record;
use crate::limits::{TREE_NAME_BYTES_MAX, TREES_MAX};
use crate::store::BlobId;
use crate::sync::Ordering;
use crate::tree::{Limb, Reclaimed};

/// Blobs that one step of reclaiming changes and does not free: those above the ones that it frees.
const RECLAIM_BLOBS: usize = 6;

/// The tree that every database has.
pub(crate) const DEFAULT_TREE: &str = "default";

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > TREE_NAME_BYTES_MAX {
        let what = format_args!("a tree name of {} bytes: names have 1 to {TREE_NAME_BYTES_MAX}", name.len());
        return Err(Error::invalid(what));
    }
    Ok(())
}

impl Engine {
    pub(crate) fn tree_names(&self) -> Vec<String> {
        self.catalog.lock().by_name.keys().cloned().collect()
    }

    /// All trees as of now.
    pub(super) fn trees(&self) -> Vec<Arc<TreeState>> {
        self.catalog.lock().by_id.values().cloned().collect()
    }

    pub(crate) fn find_tree(&self, name: &str) -> Result<Arc<TreeState>> {
        check_name(name)?;
        self.check_open()?;
        let found = self.catalog.lock().by_name.get(name).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format_args!("there is no tree {name:?}")))
    }

    /// Opens a tree, making it if it does not exist.
    pub(crate) fn open_tree(&self, name: &str) -> Result<Arc<TreeState>> {
        match self.find_tree(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_tree(name),
            outcome => outcome,
        }
    }

    fn make_tree(&self, name: &str) -> Result<Arc<TreeState>> {
        let journal = self.journal()?;
        let record = |tree| Record::TreeCreate { tree, name };
        let mut payload = Vec::new();
        record(u32::MAX).encode_into(&mut payload);
        self.admit(journal, false)?;
        let mut relief = Relief::new(false);
        let journal_space = self.relieved(&mut relief, || journal.reserve(payload.len()))?;
        let mut frames = self.relieved(&mut relief, || {
            self.buffer.claim(1, Claim::Adds)?;
            self.buffer.reserve(1)
        })?;
        let (tree, sequence) = {
            let _entry = self.gate.enter();
            self.check_open()?;
            let mut catalog = self.catalog.lock();
            if let Some(there) = catalog.by_name.get(name) {
                return Ok(Arc::clone(there));
            }
            if catalog.by_id.len() >= TREES_MAX {
                return Err(Error::invalid(format_args!(
                    "there are {TREES_MAX} trees, the most there can be"
                )));
            }
            let _watch = journal.watch();
            let id = catalog.next_id();
            payload.clear();
            record(id).encode_into(&mut payload);
            let sequence = journal.append(journal_space, record(id).kind(), &payload).sequence;
            (self.plant(&mut catalog, &mut frames, id, name), sequence)
        };
        self.make_durable(sequence, self.settings.durability)?;
        Ok(tree)
    }

    /// Makes an empty tree in memory.
    pub(super) fn plant<'e>(
        &'e self,
        catalog: &mut Arc<Catalog>,
        frames: &mut crate::buffer::Reservation<'e>,
        id: u32,
        name: &str,
    ) -> Arc<TreeState> {
        let root = Limb::plant(&self.buffer, frames, self.store.database_id());
        let tree = Arc::new(TreeState::new(id, name.to_owned(), root));
        Arc::make_mut(catalog).insert(Arc::clone(&tree));
        self.store.expect_catalog(catalog.encoded_bytes());
        tree
    }

    /// Drops a tree and all that is in it. Its space is reclaimed before the call returns.
    pub(crate) fn drop_tree(&self, name: &str) -> Result<()> {
        let journal = self.journal()?;
        if name == DEFAULT_TREE {
            return Err(Error::invalid("the default tree cannot be dropped"));
        }
        let mut payload = Vec::new();
        Record::TreeDrop { tree: u32::MAX }.encode_into(&mut payload);
        self.admit(journal, true)?;
        let space =
            self.relieved(&mut Relief::new(true), || self.reserve_journal(journal, payload.len(), true))?;
        let sequence = {
            // No writer may be between its look at the tree and its record.
            let _closed = self.gate.close();
            let tree = self.find_tree(name)?;
            let _watch = journal.watch();
            let record = Record::TreeDrop { tree: tree.id };
            payload.clear();
            record.encode_into(&mut payload);
            let sequence = journal.append(space, record.kind(), &payload).sequence;
            self.uproot(tree.id);
            sequence
        };
        self.make_durable(sequence, self.settings.durability)?;
        // The tree is gone, whatever keeps its blobs from being freed now: they stay on the list, and the next compaction
        // or open goes on, and reports what is in the way.
        let _ = self.reclaim();
        Ok(())
    }

    /// Takes a tree out of the catalog; its limb goes to the reclaim list.
    pub(super) fn uproot(&self, id: u32) -> bool {
        match Arc::make_mut(&mut self.catalog.lock()).remove(id) {
            Some(tree) => {
                tree.life().end();
                true
            }
            None => false,
        }
    }

    /// Frees what is on the reclaim list, in steps beside other work. What cannot be freed stays on the list; the error says
    /// why.
    pub(super) fn reclaim(&self) -> Result<()> {
        let mut outcome = Ok(());
        let mut stuck = HashSet::new();
        loop {
            // Limbs mounted in those that were freed come behind them: the next round finds them.
            let mut listed = self.catalog.lock().reclaim.clone();
            listed.retain(|root| !stuck.contains(root));
            if listed.is_empty() {
                return outcome;
            }
            for root in listed.into_iter().rev() {
                if let Err(error) = self.reclaim_limb(root) {
                    stuck.insert(root);
                    outcome = outcome.and(Err(error));
                }
            }
        }
    }

    fn reclaim_limb(&self, root: BlobId) -> Result<()> {
        while !self.reclaim_step(root)? {}
        Ok(())
    }

    /// One passage. True: the limb is gone.
    pub(super) fn reclaim_step(&self, root: BlobId) -> Result<bool> {
        let limb = Limb::new(&self.buffer, root);
        // Each step has its own tries: it gets on.
        self.relieved(&mut Relief::new(true), || {
            self.buffer.claim(RECLAIM_BLOBS, Claim::Frees)?;
            self.buffer.reserve(0).map(drop)
        })?;
        limb.retry(|_| {
            let _entry = self.gate.enter();
            let mut catalog = self.catalog.lock();
            // Another thread may have ended it.
            let Some(at) = catalog.reclaim.iter().rposition(|listed| *listed == root) else {
                return Ok(true);
            };
            let mut reclaimed = Reclaimed::default();
            let outcome = limb.reclaim_once(&mut reclaimed);
            self.reclaimed.fetch_add(reclaimed.blobs, Ordering::Relaxed);
            // Also where the passage was stopped: a cut must find on the list what nothing leads to any more.
            let is_gone = outcome == Ok(true);
            if is_gone || !reclaimed.limbs.is_empty() {
                let list = &mut Arc::make_mut(&mut catalog).reclaim;
                if is_gone {
                    list.remove(at);
                }
                list.append(&mut reclaimed.limbs);
            }
            outcome
        })
    }
}
