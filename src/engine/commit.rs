//! Commits of one change to one key: the fast path. Several keys go through [`batch`](super::batch).

use std::cell::RefCell;

use super::space::Relief;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Durability, Journal, Kind, Op, Record, Reservation, encode_put};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::sync::thread_local;
use crate::tree::{LockedLeaf, Stop, Tries};

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
enum Step {
    Done(Outcome, bool),
    /// There is no room for the value: so many bytes are needed.
    Room(usize),
    /// The key is longer than those that the blobs above know of.
    Admit,
}

thread_local! {
    static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks a key against its limits.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("the key is empty: keys have 1 to 8192 bytes"));
    }
    if key.len() > KEY_BYTES_MAX {
        let what = format_args!(
            "the key of {} bytes that starts {:?} is over the limit of {KEY_BYTES_MAX}",
            key.len(),
            key[..32].escape_ascii().to_string()
        );
        return Err(Error::invalid(what));
    }
    Ok(())
}

/// Checks a value against its limit.
pub(crate) fn check_value(key: &[u8], value: &[u8]) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        let what = format_args!(
            "the value of {} bytes for key {:?} is over the limit of {VALUE_BYTES_MAX}",
            value.len(),
            key[..key.len().min(64)].escape_ascii().to_string()
        );
        return Err(Error::invalid(what));
    }
    Ok(())
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
        self.single(tree, key, Some(value), condition, want_old, durability)
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
        self.single(tree, key, None, condition, want_old, durability)
    }

    fn single(
        &self,
        tree: &TreeState,
        key: &[u8],
        value: Option<&[u8]>,
        condition: Condition,
        want_old: bool,
        durability: Option<Durability>,
    ) -> Result<Outcome> {
        let durability = durability.unwrap_or(self.settings.durability);
        let journal = self.journal()?;
        self.check_open()?;
        PAYLOAD.with(|payload| {
            let payload = &mut *payload.borrow_mut();
            payload.clear();
            match value {
                Some(value) => encode_put(tree.id, key, value, payload),
                None => Record::One(Op::Delete { tree: tree.id, key }).encode_into(payload),
            }
            let frees = value.is_none();
            let mut relief = Relief::new(frees);
            self.admit(journal, frees)?;
            let mut reservation =
                Some(self.relieved(&mut relief, || self.reserve_journal(journal, payload.len(), frees))?);
            let limb = self.limb(tree);
            let mut tries = Tries::default();
            let mut first = true;
            loop {
                self.relieved(&mut relief, || {
                    self.buffer.claim(1, Claim::of(frees))?;
                    if self.buffer.is_low() {
                        journal.call_keeper();
                    }
                    self.buffer.reserve(0)
                })?;
                let step = {
                    let _entry = self.gate.enter();
                    self.check_open()?;
                    tree.check_alive()?;
                    match limb.lock_leaf(key) {
                        Ok(leaf) => Ok(self.step(
                            journal,
                            leaf,
                            key,
                            value,
                            condition,
                            want_old,
                            &mut reservation,
                            payload,
                        )?),
                        Err(stop) => Err(stop),
                    }
                };
                match step {
                    Ok(Step::Done(outcome, merge)) => {
                        drop(reservation);
                        return self.finish(tree, key, outcome, merge, durability);
                    }
                    Ok(Step::Room(need)) => {
                        self.relieved(&mut relief, || limb.make_room(&self.gate, key, need, first))?;
                        first = false;
                    }
                    Ok(Step::Admit) => limb.admit(&self.gate, key)?,
                    Err(stop) => self.settle(tree, stop, &mut tries)?,
                }
            }
        })
    }

    /// One try under the leaf blob's latch.
    #[expect(clippy::too_many_arguments, reason = "the change and what was reserved for it")]
    fn step(
        &self,
        journal: &Journal,
        mut leaf: LockedLeaf<'_>,
        key: &[u8],
        value: Option<&[u8]>,
        condition: Condition,
        want_old: bool,
        reservation: &mut Option<Reservation<'_>>,
        payload: &[u8],
    ) -> Result<Step> {
        if condition != Condition::Any || value.is_none() {
            let there = leaf.version(key);
            let holds = match condition {
                Condition::Any => there.is_some(),
                Condition::Absent => there.is_none(),
                Condition::Version(version) => there == Some(version),
            };
            if !holds {
                return Ok(Step::Done(Outcome::Unmet(there), false));
            }
        }
        if let Some(value) = value {
            if !leaf.admits(key) {
                return Ok(Step::Admit);
            }
            if !leaf.fits_put(key, value.len(), journal.last_sequence()) {
                return Ok(Step::Room(leaf.need(key, value.len())));
            }
        }
        let old = if want_old { leaf.read(key) } else { None };
        let Some(reservation) = reservation.take() else {
            return Err(Error::invalid("a change was applied twice"));
        };
        let _watch = journal.watch();
        let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
        let sequence = journal.append(reservation, kind, payload).sequence;
        let mut merge = false;
        match value {
            Some(value) => leaf.put(key, sequence, value).map_err(|error| journal.poison(error))?,
            None => {
                leaf.remove(key);
                merge = leaf.wants_merge();
            }
        }
        Ok(Step::Done(Outcome::Done { sequence, old }, merge))
    }

    fn finish(
        &self,
        tree: &TreeState,
        key: &[u8],
        outcome: Outcome,
        merge: bool,
        durability: Durability,
    ) -> Result<Outcome> {
        if let Outcome::Done { sequence, .. } = outcome {
            self.make_durable(sequence, durability)?;
        }
        if merge {
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
