//! Mending what cuts leave: the blobs beside one are sparse, and merge with their neighbours some time after the commit.
//!
//! What a directory that left has raised, the bounds on the lengths of keys above it, is lowered at the same time once it is high.
//!
//! The background thread does it; without one the commit itself does. The places that wait are only in memory: those that a
//! close or a crash loses keep their sparse blobs until something merges there or a compaction.

use std::collections::VecDeque;
use std::sync::Arc;

use super::plan::{Change, Plan};
use super::{Engine, TreeState};
use crate::error::Result;
use crate::tree::BOUND_ENOUGH;

/// Places that may wait; a commit that finds as many mends its own.
const PLACES_MAX: usize = 4096;
/// The background thread is woken for so many; fewer wait until it looks.
const PLACES_WAKE: usize = 64;
/// Places that one step of the background thread mends.
const PLACES_STEP: usize = 16;
/// Ways down a tree on which one step lowers the bounds of keys' lengths.
const LOWER_STEPS: usize = 16;

/// A place at which a limb was cut: a tree and a prefix or an end of a range.
type Place = (Arc<TreeState>, Vec<u8>);

/// The places that wait.
#[derive(Debug, Default)]
pub(super) struct Mends(VecDeque<Place>);

impl Mends {
    /// Takes a place in, unless it is there. False: there are too many.
    fn push(&mut self, place: &Place) -> bool {
        let is_same = |there: &Place| there.0.id == place.0.id && there.1 == place.1;
        if self.0.iter().rev().take(PLACES_STEP).any(is_same) {
            return true;
        }
        if self.0.len() >= PLACES_MAX {
            return false;
        }
        self.0.push_back(place.clone());
        true
    }
}

/// The places that a plan cuts at.
fn places(plan: &Plan) -> Vec<Place> {
    let mut places = Vec::new();
    for change in &plan.changes {
        match change {
            Change::RenamePrefix { tree, src, dst_tree, dst, .. } => {
                places.push((Arc::clone(tree), src.clone()));
                places.push((Arc::clone(dst_tree), dst.clone()));
            }
            Change::DeletePrefix { tree, prefix } => places.push((Arc::clone(tree), prefix.clone())),
            Change::DeleteRange { tree, low, high } => {
                places.push((Arc::clone(tree), low.clone()));
                places.extend(high.iter().map(|high| (Arc::clone(tree), high.clone())));
            }
            Change::Put { .. } | Change::Delete { .. } | Change::Rename { .. } => {}
        }
    }
    places
}

impl Engine {
    /// Has the places of a committed plan mended; `at_once`: by this thread. Best effort: the commit must not be reported as
    /// failed.
    pub(super) fn mend_later(&self, plan: &Plan, at_once: bool) {
        let mut wakes = false;
        for place in places(plan) {
            let waits = self.settings.background && !at_once && {
                let mut mends = self.mends.lock();
                let waits = mends.push(&place);
                wakes |= mends.0.len() >= PLACES_WAKE;
                waits
            };
            if !waits {
                self.mend(&place);
            }
        }
        if wakes {
            self.ask_for_mending();
        }
    }

    /// Mends some of the places that wait. True: that was all.
    pub(super) fn mend_some(&self) -> bool {
        for _ in 0..PLACES_STEP {
            let Some(place) = self.mends.lock().0.pop_front() else { return true };
            self.mend(&place);
        }
        false
    }

    fn mend(&self, (tree, key): &Place) {
        let _reshape = self.reshapes.begin();
        let _ = self.limb(tree).tidy(&self.gate, key);
        let _ = self.lower(tree);
    }

    /// Lowers what bounds the lengths of a tree's keys, if that is high.
    pub(super) fn lower(&self, tree: &TreeState) -> Result<()> {
        for _ in 0..LOWER_STEPS {
            if !self.limb(tree).lower(&self.gate, self.store.database_id(), BOUND_ENOUGH)? {
                break;
            }
        }
        Ok(())
    }
}
