//! `check`: reads everything and proves that it fits together.

use std::collections::HashSet;

use super::Engine;
use crate::error::Result;
use crate::store::BlobId;
use crate::sync::{AtomicU64, Ordering};
use crate::tree::LimbStats;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// One line for each thing that is wrong; empty when the database is sound.
    pub problems: Vec<String>,
    /// Named trees visited.
    pub trees: u64,
    /// Index blobs visited.
    pub blobs: u64,
    /// Records counted; mounts of directories that moved are none.
    pub entries: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Work under way that changes the shape of trees and not their contents, so that no sequence tells of it.
#[derive(Debug, Default)]
pub(super) struct Reshapes {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One such work, until dropped.
pub(super) struct Reshape<'e>(&'e Reshapes);

impl Reshapes {
    pub(super) fn begin(&self) -> Reshape<'_> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        Reshape(self)
    }

    /// How many there were; None while one is under way.
    fn settled(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::Acquire);
        (self.begun.load(Ordering::Acquire) == ended).then_some(ended)
    }
}

impl Drop for Reshape<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// Keeps the background thread from its work, until dropped.
struct Paused<'e>(&'e Engine);

impl<'e> Paused<'e> {
    fn new(engine: &'e Engine) -> Self {
        engine.pause_background();
        Self(engine)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.resume_background();
    }
}

impl Engine {
    /// Verifies every checksum, every blob's structure and fences, and that each blob is reached exactly once or free.
    /// The last is exact only when nobody writes meanwhile; if somebody does it is left out.
    pub(crate) fn check(&self) -> Result<CheckReport> {
        self.check_open()?;
        // It merges and splices beside a walk.
        let _paused = Paused::new(self);
        let mut report = CheckReport::default();
        if self.journal.is_some() {
            if let Err(error) = self.reclaim() {
                report.problems.push(format!("a dropped tree: {error}"));
            }
            self.checkpoint()?;
        }
        let state = || self.reshapes.settled().map(|reshapes| (self.last_sequence(), reshapes));
        let before = state();
        let (mut reached, mut twice) = (HashSet::new(), Vec::new());
        for tree in self.trees() {
            report.trees += 1;
            let mut stats = LimbStats::default();
            let database = self.store.database_id();
            let mut problems = Vec::new();
            let walked = self.limb(&tree).walk(&mut |visit| {
                report.blobs += 1;
                if !reached.insert(visit.id) {
                    twice.push(format!("tree {:?}: index blob {} is reached twice", tree.name, visit.id.0));
                }
                visit.check(database, &mut problems);
                visit.count(&mut stats);
            });
            if let Err(error) = walked {
                problems.push(error.to_string());
            }
            report.entries += stats.entries;
            report.problems.extend(problems.into_iter().map(|what| format!("tree {:?}: {what}", tree.name)));
        }
        self.store.check(&mut report.problems);
        let stored: HashSet<BlobId> = self.store.blob_ids().into_iter().collect();
        let is_quiet = before.is_some() && state() == before;
        if is_quiet {
            report.problems.append(&mut twice);
        }
        // A reader leaves limbs that are still to be freed as they are.
        if is_quiet && report.problems.is_empty() && self.catalog.lock().reclaim.is_empty() {
            let mut lost: Vec<_> = stored.difference(&reached).collect();
            lost.sort_unstable();
            report
                .problems
                .extend(lost.iter().map(|id| format!("blob {} is stored but nothing leads to it", id.0)));
        }
        Ok(report)
    }

    /// Sums over all trees. Reads every blob that is not in memory.
    pub(crate) fn survey(&self) -> Result<LimbStats> {
        self.check_open()?;
        let mut stats = LimbStats::default();
        for tree in self.trees() {
            let walked = self.limb(&tree).walk(&mut |visit| visit.count(&mut stats));
            match walked {
                Err(_) if tree.life().has_ended() => {}
                outcome => outcome?,
            }
        }
        Ok(stats)
    }
}
