//! Commits that move or delete whole directories, alone or among other changes: they run with the gate closed.
//!
//! All changes are carried out in a [`Workspace`], each seeing those before it. Until its commit nothing has happened: a miss,
//! a lost race, and an error that a change turns out to have all end with the workspace dropped. Then the record is
//! appended, and after that nothing can fail. The move counter of every tree involved is odd while the workspace is installed,
//! so that readers which were under way start again ([`Life`](crate::tree::Life)).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::latched::{conflict_absent, conflict_prefix, conflict_version};
use super::plan::{Change, Expectation, Plan, Span, show};
use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Durability, Journal, Kind, Reservation};
use crate::limits::KEY_BYTES_MAX;
use crate::store::BlobId;
use crate::tree::{BOUND_ENOUGH, Known, Stop, Tries, Workspace, successor};

/// New blobs that a try may make, unless one before needed more.
const FRAMES_MIN: usize = 24;
/// Blobs that a plan changes or makes if it cuts one directory out of a limb of usual height.
const BLOBS_USUAL: usize = 12;
/// As many are given to a plan however small the cache is.
const FRAMES_MAX: usize = 192;
/// After so many stops the gate stays closed while missing blobs are loaded, so that they stay.
const OPEN_STOPS: usize = 64;
/// After so many comparisons that a missing blob stopped, what was read is loaded with the gate closed: it may not fit the cache.
const OPEN_COMPARISONS: usize = 3;
/// Passages of reclaiming that a commit makes itself where there is no background thread.
pub(super) const RECLAIM_PASSAGES: usize = 4;

/// Why a try came to nothing.
pub(super) enum Halt {
    /// In this tree: settle it and start again.
    Stop(u32, Stop),
    /// The plan's own error: nothing happens.
    Error(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A step of a workspace in one tree.
trait In<T> {
    fn in_tree(self, tree: &TreeState) -> Result<T, Halt>;
}

impl<T> In<T> for Result<T, Stop> {
    fn in_tree(self, tree: &TreeState) -> Result<T, Halt> {
        self.map_err(|stop| Halt::Stop(tree.id, stop))
    }
}

/// The trees of a plan by their id.
type Trees = BTreeMap<u32, Arc<TreeState>>;

/// While it lives, directories move in these trees. What a panic leaves half-way is not read any more.
pub(super) struct Moving<'t> {
    trees: &'t Trees,
    was_panicking: bool,
}

impl<'t> Moving<'t> {
    pub(super) fn begin(trees: &'t Trees) -> Self {
        trees.values().for_each(|tree| tree.life().begin_move());
        Self { trees, was_panicking: std::thread::panicking() }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let is_torn = std::thread::panicking() && !self.was_panicking;
        for tree in self.trees.values() {
            if is_torn { tree.life().tear() } else { tree.life().end_move() }
        }
    }
}

impl Engine {
    /// Commits a plan with changes of whole directories, or with reads of more leaf blobs than are latched at once.
    pub(super) fn commit_exclusive(
        &self,
        plan: &Plan,
        trees: &Trees,
        spans: &[Span],
        payload: &[u8],
        kind: Kind,
        durability: Durability,
    ) -> Result<u64> {
        let journal = self.journal()?;
        let claim = Claim::of(plan.frees());
        let mut relief = Relief::new(plan.frees());
        self.fetch(trees, spans, &mut relief)?;
        let mut valid_at = self.validate_early(plan, journal)?;
        let mut reservation = match plan.changes.is_empty() {
            true => None,
            false => Some(
                self.relieved(&mut relief, || self.reserve_journal(journal, payload.len(), plan.frees()))?,
            ),
        };
        // A claim found missing at the end costs a whole try.
        if plan.changes.iter().any(Change::is_wide) && !self.buffer.has_space(BLOBS_USUAL, claim) {
            let _ = self.buffer.claim(BLOBS_USUAL, Claim::Adds);
        }
        let mut tries = Tries::default();
        let (mut stops, mut frames_wanted, mut claimed, mut unsure) = (0, FRAMES_MIN, 0, 0);
        // Both last until the gate opens.
        let (mut closed, mut known) = (None, Known::default());
        let done = loop {
            let frames = match closed.is_some().then(|| self.buffer.reserve(frames_wanted)) {
                Some(Ok(frames)) => frames,
                // The relief is a checkpoint, which closes the gate itself.
                _ => {
                    (closed, known) = (None, Known::default());
                    self.relieved(&mut relief, || self.buffer.reserve(frames_wanted))?
                }
            };
            let (_, turn) = closed.get_or_insert_with(|| {
                // Whoever loads inside must not meet a checkpoint that has the disk's turn and waits for the gate.
                let loads = stops > OPEN_STOPS || unsure >= OPEN_COMPARISONS;
                let turn = loads.then(|| self.turn.lock());
                (self.gate.close(), turn)
            });
            let loads = turn.is_some();
            self.check_open()?;
            trees.values().try_for_each(|tree| tree.check_alive())?;
            if journal.last_sequence() != valid_at {
                match self.validate_alone(plan, loads) {
                    Ok(()) => valid_at = journal.last_sequence(),
                    Err(Halt::Error(error)) => return Err(error),
                    Err(Halt::Stop(..)) => {
                        (closed, known) = (None, Known::default());
                        unsure += 1;
                        valid_at = self.validate_early(plan, journal)?;
                        continue;
                    }
                }
            }
            let mut space = Workspace::new(&self.buffer, frames, self.store.database_id());
            match self.carry_out_all(plan, trees, &mut space, &mut known, journal) {
                Ok(changed) if !changed => break None,
                Ok(_) if space.blobs() > claimed && !self.buffer.has_space(space.blobs(), claim) => {
                    claimed = space.blobs();
                    drop(space);
                    (closed, known) = (None, Known::default());
                    self.relieved(&mut relief, || self.buffer.claim(claimed, claim))?;
                }
                Ok(_) => {
                    let has_cut = space.has_cut();
                    let sequence = self.install(space, trees, journal, &mut reservation, payload, kind)?;
                    break Some((sequence, has_cut));
                }
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Stop(tree, stop)) => {
                    drop(space);
                    // Claims are not held for long.
                    claimed = 0;
                    stops += 1;
                    if !loads {
                        (closed, known) = (None, Known::default());
                    }
                    if stop == Stop::Frames {
                        frames_wanted *= 2;
                        if frames_wanted > FRAMES_MAX.max(self.batch_blobs_max()) {
                            return Err(self.batch_too_wide());
                        }
                    }
                    self.settle(&trees[&tree], stop, &mut tries)?;
                }
            }
        };
        drop(closed);
        let Some((sequence, has_cut)) = done else { return Ok(journal.last_sequence()) };
        self.make_durable(sequence, durability)?;
        if has_cut || known.is_high {
            self.mend_later(plan, known.has_searched);
        }
        if !self.settings.background {
            self.reclaim_some(RECLAIM_PASSAGES);
        } else if !self.catalog.lock().reclaim.is_empty() {
            self.ask_for_reclaim();
        }
        Ok(sequence)
    }

    /// Carries one change out where nobody else is there, without a record.
    pub(super) fn carry_out_alone(&self, change: &Change, sequence: u64) -> Result<()> {
        let mut tries = Tries::default();
        let (mut known, mut frames_wanted, mut claimed) = (Known::default(), FRAMES_MIN, 0);
        loop {
            let frames = self.buffer.reserve(frames_wanted)?;
            let mut space = Workspace::new(&self.buffer, frames, self.store.database_id());
            match carry_out(change, &mut space, &mut known, sequence) {
                Ok(_) if space.blobs() > claimed && !self.buffer.has_space(space.blobs(), Claim::Adds) => {
                    claimed = space.blobs();
                    drop(space);
                    self.buffer.claim(claimed, Claim::Adds)?;
                }
                Ok(_) => {
                    self.list_for_reclaim(space.commit());
                    if known.has_searched {
                        let [own, other] = change.both_trees();
                        // Best effort: the next change that searches comes by here again.
                        let _ = self.lower(own).and_then(|()| self.lower(other));
                    }
                    return Ok(());
                }
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Stop(tree, stop)) => {
                    drop(space);
                    if stop == Stop::Frames {
                        frames_wanted *= 2;
                    }
                    let [own, other] = change.both_trees();
                    self.settle(if own.id == tree { own } else { other }, stop, &mut tries)?;
                }
            }
        }
    }

    /// Loads the leaf blobs of all single keys and finds out whether they are too many: what is not in memory costs a whole
    /// try once the gate is closed.
    fn fetch(&self, trees: &Trees, spans: &[Span], relief: &mut Relief) -> Result<()> {
        let mut tries = Tries::default();
        while !spans.is_empty() {
            self.relieved(relief, || self.buffer.reserve(0).map(drop))?;
            let outcome = {
                let _entry = self.gate.enter();
                trees.values().try_for_each(|tree| tree.check_alive())?;
                self.latch_all(trees, spans).map(|latched| latched.map(drop))
            };
            match outcome {
                Ok(outcome) => return outcome,
                Err((tree, stop)) => self.settle(&trees[&tree], stop, &mut tries)?,
            }
        }
        Ok(())
    }

    /// One try: expectations, then changes. False: there is nothing to commit.
    fn carry_out_all(
        &self,
        plan: &Plan,
        trees: &Trees,
        space: &mut Workspace<'_>,
        known: &mut Known,
        journal: &Journal,
    ) -> Result<bool, Halt> {
        debug_assert!(!trees.is_empty(), "a change has a tree");
        for expectation in &plan.expectations {
            check_expectation(expectation, space)?;
        }
        // The gate is closed: nobody else takes it.
        let sequence = journal.last_sequence() + 1;
        let mut changed = false;
        for change in &plan.changes {
            changed |= carry_out(change, space, known, sequence)?;
        }
        Ok(changed)
    }

    /// The record, then what it says: nothing fails any more.
    fn install(
        &self,
        space: Workspace<'_>,
        trees: &Trees,
        journal: &Journal,
        reservation: &mut Option<Reservation<'_>>,
        payload: &[u8],
        kind: Kind,
    ) -> Result<u64> {
        let Some(reservation) = reservation.take() else {
            return Err(Error::invalid("a change was applied twice"));
        };
        let _watch = journal.watch();
        let expected = journal.last_sequence() + 1;
        let sequence = journal.append(reservation, kind, payload).sequence;
        if sequence != expected {
            let what = format_args!("a commit got sequence {sequence} where {expected} was next");
            return Err(journal.poison(Error::new(ErrorKind::Corrupt, what)));
        }
        let _moving = Moving::begin(trees);
        self.list_for_reclaim(space.commit());
        Ok(sequence)
    }

    /// Puts limbs on the reclaim list, inside the passage that made nothing lead to them.
    pub(super) fn list_for_reclaim(&self, mut limbs: Vec<BlobId>) {
        if !limbs.is_empty() {
            Arc::make_mut(&mut self.catalog.lock()).reclaim.append(&mut limbs);
        }
    }

    /// Frees some of what is on the reclaim list, in passages beside other work. True: no more can be freed.
    pub(super) fn reclaim_some(&self, passages: usize) -> bool {
        let mut stuck = 0;
        for _ in 0..passages {
            let Some(root) = self.catalog.lock().reclaim.iter().nth_back(stuck).copied() else { return true };
            // What cannot be freed stays on the list: compaction and the next open say why.
            if self.reclaim_step(root).is_err() {
                stuck += 1;
            }
        }
        false
    }
}

/// Conflict if it does not hold.
fn check_expectation(expectation: &Expectation, space: &Workspace<'_>) -> Result<(), Halt> {
    let version = |tree: &TreeState, key: &[u8]| -> Result<Option<u64>, Halt> {
        Ok(space.get(tree.root(), key).in_tree(tree)?.map(|(version, _)| version))
    };
    match expectation {
        Expectation::Version { tree, key, version: expected } => {
            conflict_version(key, *expected, version(tree, key)?)?;
        }
        Expectation::Absent { tree, key } => conflict_absent(key, version(tree, key)?)?,
        Expectation::PrefixEmpty { tree, prefix } => {
            conflict_prefix(prefix, has_prefix(space, tree, prefix)?)?;
        }
    }
    Ok(())
}

fn has_prefix(space: &Workspace<'_>, tree: &TreeState, prefix: &[u8]) -> Result<bool, Halt> {
    space.has_range(tree.root(), prefix, successor(prefix).as_deref()).in_tree(tree)
}

/// Carries one change out. False: a change of a range that had nothing in it.
pub(super) fn carry_out(
    change: &Change,
    space: &mut Workspace<'_>,
    known: &mut Known,
    sequence: u64,
) -> Result<bool, Halt> {
    match change {
        Change::Put { tree, key, value } => {
            space.put(tree.root(), key, sequence, value).in_tree(tree)?;
        }
        Change::Delete { tree, key } => {
            space.delete(tree.root(), key).in_tree(tree)?;
        }
        Change::Rename { tree, src, dst, replace } => {
            rename(space, tree, [src, dst], *replace, sequence)?;
        }
        Change::RenamePrefix { tree, src, dst_tree, dst, replace } => {
            return rename_prefix(space, known, (tree, src), (dst_tree, dst), *replace);
        }
        Change::DeletePrefix { tree, prefix } => {
            if !has_prefix(space, tree, prefix)? {
                return Ok(false);
            }
            space.drop_prefix(tree.root(), prefix).in_tree(tree)?;
        }
        Change::DeleteRange { tree, low, high } => {
            if !space.has_range(tree.root(), low, high.as_deref()).in_tree(tree)? {
                return Ok(false);
            }
            space.drop_range(tree.root(), low, high.as_deref()).in_tree(tree)?;
        }
    }
    Ok(true)
}

fn rename(
    space: &mut Workspace<'_>,
    tree: &TreeState,
    [src, dst]: [&[u8]; 2],
    replace: bool,
    sequence: u64,
) -> Result<(), Halt> {
    let Some((_, value)) = space.get(tree.root(), src).in_tree(tree)? else {
        let what = format_args!("rename: key {:?} is not there", show(src));
        return Err(Error::new(ErrorKind::NotFound, what).into());
    };
    if !replace && space.get(tree.root(), dst).in_tree(tree)?.is_some() {
        let what = format_args!("rename: key {:?} exists", show(dst));
        return Err(Error::new(ErrorKind::Exists, what).into());
    }
    space.delete(tree.root(), src).in_tree(tree)?;
    space.put(tree.root(), dst, sequence, &value).in_tree(tree)
}

/// Moves a directory. False: to where it is.
fn rename_prefix(
    space: &mut Workspace<'_>,
    known: &mut Known,
    (tree, src): (&TreeState, &[u8]),
    (dst_tree, dst): (&TreeState, &[u8]),
    replace: bool,
) -> Result<bool, Halt> {
    if !has_prefix(space, tree, src)? {
        let what = format_args!("rename: no key starts with \"{}\"", show(src));
        return Err(Error::new(ErrorKind::NotFound, what).into());
    }
    if tree.id == dst_tree.id && src == dst {
        return Ok(false);
    }
    if !replace && has_prefix(space, dst_tree, dst)? {
        let what = format_args!("rename: there are keys that start with \"{}\"", show(dst));
        return Err(Error::new(ErrorKind::Exists, what).into());
    }
    let most = KEY_BYTES_MAX - dst.len();
    // The cheap answers first.
    let is_sure = dst.len() <= src.len()
        || {
            let longest = space.longest_of_all(tree.root()).in_tree(tree)?;
            known.is_high |= longest > BOUND_ENOUGH;
            longest.saturating_sub(src.len()) <= most
        }
        || space.longest(tree.root(), src).in_tree(tree)? <= most;
    if !is_sure && space.any_longer(tree.root(), src, most, known).in_tree(tree)? {
        let what = format_args!(
            "rename: a key that starts with \"{}\" would be over the limit of {KEY_BYTES_MAX} bytes",
            show(src)
        );
        return Err(Error::invalid(what).into());
    }
    space.drop_prefix(dst_tree.root(), dst).in_tree(dst_tree)?;
    let taken = space.take(tree.root(), src).in_tree(tree)?;
    space.hang(dst_tree.root(), dst, taken).in_tree(dst_tree)?;
    Ok(true)
}
