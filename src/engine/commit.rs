//! Commits of one change: to one key, or to the two of a [`rename`](super::rename). The fast path: several changes go through
//! [`batch`](super::batch).

use std::cell::RefCell;

use super::batch::SHARED_TRIES;
use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Durability, Journal, Kind, Op, Reservation};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::sync::thread_local;
use crate::tree::{Limb, LockedLeaf, Stop, Tries};

/// What must hold of the record that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Anything.
    Any,
    /// There is none.
    Absent,
    /// It has this version.
    Version(u64),
}

/// What became of a single change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done at this sequence. The old record, where it was asked for.
    Done { sequence: u64, old: Option<(u64, Vec<u8>)> },
    /// The condition did not hold: this is the version that is there.
    Unmet(Option<u64>),
}

/// What one try came to.
pub(super) enum Step<'k> {
    /// It is decided. Some: a key of a blob that has become sparse.
    Done(Outcome, Option<&'k [u8]>),
    /// There is no room for the value: so many bytes are needed.
    Room(usize),
    /// The key is longer than those that the blobs above know of.
    Admit,
}

/// The record of a change that is being tried, and its place in the journal.
pub(super) struct Draft<'j, 'p> {
    pub(super) journal: &'j Journal,
    reservation: Option<Reservation<'j>>,
    kind: Kind,
    payload: &'p [u8],
}

impl Draft<'_, '_> {
    /// Appends the record; returns its sequence. From now on the change must be applied.
    pub(super) fn append(&mut self) -> Result<u64> {
        match self.reservation.take() {
            Some(reservation) => Ok(self.journal.append(reservation, self.kind, self.payload).sequence),
            None => Err(Error::invalid("a change was applied twice")),
        }
    }

    /// One try of a put, or of a delete (no value), under the leaf blob's latch.
    fn step<'k>(
        &mut self,
        mut leaf: LockedLeaf<'_>,
        key: &'k [u8],
        value: Option<&[u8]>,
        condition: Condition,
        want_old: bool,
    ) -> Result<Step<'k>> {
        if condition != Condition::Any || value.is_none() {
            let there = leaf.version(key);
            let holds = match condition {
                Condition::Any => there.is_some(),
                Condition::Absent => there.is_none(),
                Condition::Version(version) => there == Some(version),
            };
            if !holds {
                return Ok(Step::Done(Outcome::Unmet(there), None));
            }
        }
        if let Some(value) = value
            && let Some(lack) = self.lack(&leaf, key, value.len())
        {
            return Ok(lack);
        }
        let old = if want_old { leaf.read(key) } else { None };
        let _watch = self.journal.watch();
        let sequence = self.append()?;
        let mut sparse = None;
        match value {
            Some(value) => leaf.put(key, sequence, value).map_err(|error| self.journal.poison(error))?,
            None => {
                leaf.remove(key);
                sparse = leaf.wants_merge().then_some(key);
            }
        }
        Ok(Step::Done(Outcome::Done { sequence, old }, sparse))
    }

    /// What a put of so large a value has to wait for; None: it can be made.
    pub(super) fn lack<'k>(&self, leaf: &LockedLeaf<'_>, key: &[u8], value: usize) -> Option<Step<'k>> {
        if !leaf.admits(key) {
            return Some(Step::Admit);
        }
        (!leaf.fits_put(key, value, self.journal.last_sequence())).then(|| Step::Room(leaf.need(key, value)))
    }
}

thread_local! {
    static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks a key against its limits.
#[inline]
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX { Err(bad_key(key)) } else { Ok(()) }
}

#[cold]
fn bad_key(key: &[u8]) -> Error {
    if key.is_empty() {
        return Error::invalid("the key is empty: keys have 1 to 8192 bytes");
    }
    Error::invalid(format_args!(
        "the key of {} bytes that starts {:?} is over the limit of {KEY_BYTES_MAX}",
        key.len(),
        key[..32].escape_ascii().to_string()
    ))
}

/// Checks a value against its limit.
#[inline]
pub(crate) fn check_value(key: &[u8], value: &[u8]) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX { Err(bad_value(key, value)) } else { Ok(()) }
}

#[cold]
fn bad_value(key: &[u8], value: &[u8]) -> Error {
    Error::invalid(format_args!(
        "the value of {} bytes for key {:?} is over the limit of {VALUE_BYTES_MAX}",
        value.len(),
        key[..key.len().min(64)].escape_ascii().to_string()
    ))
}

impl Engine {
    /// Puts one record.
    pub(crate) fn put(
        &self,
        tree: &TreeState,
        key: &[u8],
        value: &[u8],
        condition: Condition,
        want_old: bool,
        durability: Option<Durability>,
    ) -> Result<Outcome> {
        check_key(key)?;
        check_value(key, value)?;
        let op = Op::Put { tree: tree.id, key, value };
        self.single(tree, op, key, durability, |limb, draft| {
            Ok(draft.step(limb.lock_leaf(key)?, key, Some(value), condition, want_old))
        })
    }

    /// Deletes one record. Unmet(None): there is none.
    pub(crate) fn delete(
        &self,
        tree: &TreeState,
        key: &[u8],
        condition: Condition,
        want_old: bool,
        durability: Option<Durability>,
    ) -> Result<Outcome> {
        check_key(key)?;
        let op = Op::Delete { tree: tree.id, key };
        self.single(tree, op, key, durability, |limb, draft| {
            Ok(draft.step(limb.lock_leaf(key)?, key, None, condition, want_old))
        })
    }

    /// Tries a change inside the gate until it is decided. What it may wait for is had before each try, outside gate and
    /// latches; room is made, and longer keys are admitted, where `key` is or would be.
    pub(super) fn single<'k>(
        &self,
        tree: &TreeState,
        op: Op<'_>,
        key: &[u8],
        durability: Option<Durability>,
        mut attempt: impl FnMut(&Limb<'_>, &mut Draft<'_, '_>) -> Result<Result<Step<'k>>, Stop>,
    ) -> Result<Outcome> {
        let durability = durability.unwrap_or(self.settings.durability);
        let journal = self.journal()?;
        self.check_open()?;
        PAYLOAD.with(|payload| {
            let payload = &mut *payload.borrow_mut();
            payload.clear();
            op.encode_into(payload);
            let (frees, blobs) = match op {
                Op::Delete { .. } => (true, 1),
                Op::Rename { .. } => (false, 2),
                _ => (false, 1),
            };
            let mut relief = Relief::new(frees);
            self.admit(journal, frees)?;
            let reservation =
                Some(self.relieved(&mut relief, || self.reserve_journal(journal, payload.len(), frees))?);
            let mut draft = Draft { journal, reservation, kind: op.kind(), payload };
            let limb = self.limb(tree);
            let mut tries = Tries::default();
            let mut first = true;
            loop {
                self.relieved(&mut relief, || {
                    self.buffer.claim(blobs, Claim::of(frees))?;
                    if self.buffer.is_low() {
                        journal.call_keeper();
                    }
                    self.buffer.reserve(0)
                })?;
                let step = {
                    // One latch is had in the end; two may be lost to others again and again.
                    let _passage = self.gate.pass(blobs > 1 && tries.restarts() >= SHARED_TRIES);
                    self.check_open()?;
                    tree.check_alive()?;
                    attempt(&limb, &mut draft)
                };
                match step {
                    Ok(Ok(Step::Done(outcome, sparse))) => {
                        drop(draft);
                        return self.finish(tree, outcome, sparse, durability);
                    }
                    Ok(Ok(Step::Room(need))) => {
                        self.relieved(&mut relief, || limb.make_room(&self.gate, key, need, first))?;
                        first = false;
                    }
                    Ok(Ok(Step::Admit)) => limb.admit(&self.gate, key)?,
                    Ok(Err(error)) => return Err(error),
                    Err(stop) => self.settle(tree, stop, &mut tries)?,
                }
            }
        })
    }

    fn finish(
        &self,
        tree: &TreeState,
        outcome: Outcome,
        sparse: Option<&[u8]>,
        durability: Durability,
    ) -> Result<Outcome> {
        if let Outcome::Done { sequence, .. } = outcome {
            self.make_durable(sequence, durability)?;
        }
        if let Some(key) = sparse {
            self.tidy(tree, key);
        }
        Ok(outcome)
    }

    /// Merges the leaf blob of `key` with a neighbour if that is worth it. The commit before it is done and must not be
    /// reported as failed: a merge that cannot be made is left to a later delete or compaction.
    pub(super) fn tidy(&self, tree: &TreeState, key: &[u8]) {
        let _reshape = self.reshapes.begin();
        let _ = self.limb(tree).shrink(&self.gate, key);
    }

    /// Waits until the commit is as safe as asked for.
    pub(super) fn make_durable(&self, sequence: u64, durability: Durability) -> Result<()> {
        self.journal()?.commit(crate::journal::Position { sequence }, durability)
    }

    /// Space in the journal; what frees space in the end may use the reserve of a full disk.
    pub(super) fn reserve_journal<'j>(
        &self,
        journal: &'j Journal,
        payload: usize,
        frees: bool,
    ) -> Result<Reservation<'j>> {
        match journal.reserve(payload) {
            Err(error) if frees && error.kind() == ErrorKind::NoSpace => journal.reserve_emergency(payload),
            outcome => outcome,
        }
    }

    /// Deals with what stopped a try; a dropped tree ends the loop.
    pub(super) fn settle(&self, tree: &TreeState, stop: Stop, tries: &mut Tries) -> Result<()> {
        tree.check_alive()?;
        self.limb(tree).settle(stop, tries)
    }
}
