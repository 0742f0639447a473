//! Un-mounting what has come to rest: limbs that moves left mounted go back into their hosts, so that look-ups do not go
//! through a chain of limbs.
//!
//! A directory that keeps moving keeps its mount: only a mount that two looks of the background thread found at the same
//! path is taken. No list of mounts is kept, they are found by way of the bounds above them: trees are looked through after the
//! open, and again when something has moved in them. A compaction takes all mounts of all trees.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{Engine, TreeState};
use crate::error::Result;
use crate::sync::Instant;
use crate::tree::Mount;

/// The least time between two looks: a mount stays at least as long.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most mounts that are looked at in one tree.
const MOUNTS_MAX: usize = 4096;
/// Most limbs that one look puts back: each closes the gate for moments.
const TAKEN_MAX: usize = 256;
/// Most trees that one look sees for the first time: that reads their roots.
const TREES_MAX: usize = 64;
/// Mounts asked for at once.
const PAGE: usize = 64;

/// What a look found at a path, and whether it is known to have to stay there.
#[derive(Debug, Clone, Copy)]
struct Rest {
    root: u32,
    stays: bool,
}

/// What was seen in one tree.
#[derive(Debug, Default)]
struct Seen {
    /// The move counter at the last look.
    moves: u64,
    mounts: HashMap<Vec<u8>, Rest>,
    /// Nothing will change before something moves.
    settled: bool,
}

/// What the background thread remembers between its looks.
#[derive(Debug)]
pub(super) struct Looks {
    trees: HashMap<u32, Seen>,
    last: Instant,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self { trees: HashMap::new(), last: Instant::now() }
    }
}

impl Engine {
    /// Puts back what has been at rest since the last look, if it is time for another.
    pub(super) fn look_at_mounts(&self, looks: &mut Looks) {
        if looks.last.elapsed() < LOOK_EVERY {
            return;
        }
        looks.last = Instant::now();
        let trees = self.trees();
        let there: HashSet<u32> = trees.iter().map(|tree| tree.id).collect();
        looks.trees.retain(|id, _| there.contains(id));
        let mut unseen = 0;
        for tree in trees {
            let moves = tree.life().moves();
            if !looks.trees.contains_key(&tree.id) {
                unseen += 1;
                if unseen > TREES_MAX {
                    continue;
                }
            }
            let seen = looks.trees.entry(tree.id).or_default();
            if seen.settled && seen.moves == moves {
                continue;
            }
            seen.moves = moves;
            // What is in the way shows in the next commit or check; the mounts stay.
            let _ = self.look_at_tree(&tree, seen);
        }
    }

    fn look_at_tree(&self, tree: &TreeState, seen: &mut Seen) -> Result<()> {
        let before = std::mem::take(&mut seen.mounts);
        let (mut taken, mut is_new) = (0, false);
        for mount in self.all_mounts(tree, MOUNTS_MAX)? {
            let known = before.get(&mount.path).filter(|rest| rest.root == mount.root);
            let mut rest = Rest { root: mount.root, stays: known.is_some_and(|rest| rest.stays) };
            match known {
                None => is_new = true,
                Some(_) if rest.stays => {}
                Some(_) if taken < TAKEN_MAX => {
                    if self.unmount(tree, &mount.path)? {
                        taken += 1;
                        continue;
                    }
                    rest.stays = true;
                }
                Some(_) => {}
            }
            seen.mounts.insert(mount.path, rest);
        }
        seen.settled = !is_new && taken == 0;
        Ok(())
    }

    /// Puts all limbs of a tree back that can be.
    pub(super) fn unmount_all(&self, tree: &TreeState) -> Result<()> {
        for mount in self.all_mounts(tree, usize::MAX)? {
            self.unmount(tree, &mount.path)?;
        }
        Ok(())
    }

    fn unmount(&self, tree: &TreeState, path: &[u8]) -> Result<bool> {
        let _reshape = self.reshapes.begin();
        let limb = self.limb(tree);
        let is_done = limb.unmount(&self.gate, self.store.database_id(), path)?;
        if is_done {
            limb.tidy(&self.gate, path)?;
        }
        Ok(is_done)
    }

    /// Mounts of a tree, those inside a limb before its own.
    fn all_mounts(&self, tree: &TreeState, most: usize) -> Result<Vec<Mount>> {
        let mut all = Vec::new();
        self.mounts_below(tree, &[], most, &mut all)?;
        Ok(all)
    }

    fn mounts_below(&self, tree: &TreeState, limb: &[u8], most: usize, all: &mut Vec<Mount>) -> Result<()> {
        let mut from = limb.to_vec();
        while all.len() < most {
            let page = self.limb(tree).mounts(&self.gate, limb, &from, PAGE)?;
            let Some(last) = page.as_ref().and_then(|page| page.last()) else { break };
            from = [last.path.as_slice(), &[0]].concat();
            for mount in page.into_iter().flatten() {
                self.mounts_below(tree, &mount.path, most, all)?;
                all.push(mount);
            }
        }
        Ok(())
    }
}
