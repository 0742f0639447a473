//! Commits of several changes at once, on any keys of any trees: all or nothing, for readers and across crashes.
//!
//! Every leaf blob that the plan reads or changes is latched before the first change and released after the record is in
//! the journal and all is applied. The latches of leaf blobs are tried, not waited for; after a few failures the gate is closed instead, so
//! that no other writer is in the way. Room is made before, by cutting blobs at keys of the plan where need be, so that no
//! structure changes inside. Plans that change whole directories take another way: [`exclusive`](super::exclusive).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::latched::{Held, Lack, Latched, Need, check_expectation, effects, lacking};
use super::plan::{Change, Plan, Span};
use super::space::Relief;
use super::validate::Unsure;
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, Result};
use crate::journal::{Durability, Journal, Kind, Reservation};
use crate::tree::{Next, Stop, Tries};

/// After so many lost races the gate is closed.
pub(super) const SHARED_TRIES: u32 = 6;

/// What one try came to.
enum Step {
    Done {
        sequence: u64,
        merge: Vec<(Arc<TreeState>, Vec<u8>)>,
    },
    /// What all leaf blobs without the room need.
    Room(Vec<Lack>),
    /// The images of so many leaf blobs may not find space in the data file.
    Space(usize),
    /// What was read lies in too many leaf blobs to latch them all.
    Wide,
}

impl Engine {
    /// Commits a plan; returns its sequence. A plan without changes only checks its expectations and reads, and returns the
    /// last sequence.
    pub(crate) fn commit(&self, plan: &Plan, durability: Option<Durability>) -> Result<u64> {
        let durability = durability.unwrap_or(self.settings.durability);
        if plan.only_reads() && self.journal.is_none() {
            // Nobody changes anything.
            return self.check_open().map(|()| self.last_sequence());
        }
        let journal = self.journal()?;
        self.check_open()?;
        plan.changes.iter().try_for_each(Change::check)?;
        let trees = plan.trees();
        let spans = plan.spans();
        let (payload, kind) = plan.payload();
        if !plan.only_reads() {
            self.admit(journal, plan.frees())?;
        }
        if plan.is_exclusive() {
            return self.commit_exclusive(plan, &trees, &spans, &payload, kind, durability);
        }
        let claim = Claim::of(plan.frees());
        let mut relief = Relief::new(plan.frees());
        let mut reservation = match plan.changes.is_empty() {
            true => None,
            false => Some(
                self.relieved(&mut relief, || self.reserve_journal(journal, payload.len(), plan.frees()))?,
            ),
        };
        let mut tries = Tries::default();
        let mut first = true;
        loop {
            self.relieved(&mut relief, || self.buffer.reserve(0).map(drop))?;
            let outcome = {
                let _passage = self.gate.pass(tries.restarts() >= SHARED_TRIES);
                self.try_plan(plan, &trees, &spans, journal, &mut reservation, &payload, kind)
            };
            match outcome {
                Ok(Ok(Step::Done { sequence, merge })) => {
                    if !plan.changes.is_empty() {
                        self.make_durable(sequence, durability)?;
                    }
                    for (tree, key) in merge {
                        self.tidy(&tree, &key);
                    }
                    return Ok(sequence);
                }
                Ok(Ok(Step::Room(lacks))) => {
                    for Lack { tree, key, need } in lacks {
                        let limb = self.limb(&trees[&tree]);
                        self.relieved(&mut relief, || match need {
                            Need::Room(bytes) => limb.make_room(&self.gate, &key, bytes, first),
                            Need::Cut => limb.cut_at(&self.gate, &key),
                            Need::Admit => limb.admit(&self.gate, &key),
                        })?;
                    }
                    first = false;
                }
                Ok(Ok(Step::Space(blobs))) => {
                    self.relieved(&mut relief, || self.buffer.claim(blobs, claim))?;
                }
                Ok(Ok(Step::Wide)) => {
                    drop(reservation);
                    return self.commit_exclusive(plan, &trees, &spans, &payload, kind, durability);
                }
                Ok(Err(error)) => return Err(error),
                Err((tree, stop)) => self.settle(&trees[&tree], stop, &mut tries)?,
            }
        }
    }

    /// One try. The outer error: start again; the inner one is the plan's.
    #[expect(clippy::too_many_arguments, reason = "the plan and what was made of it once")]
    fn try_plan<'e>(
        &'e self,
        plan: &Plan,
        trees: &'e BTreeMap<u32, Arc<TreeState>>,
        spans: &[Span],
        journal: &Journal,
        reservation: &mut Option<Reservation<'_>>,
        payload: &[u8],
        kind: Kind,
    ) -> Result<Result<Step>, (u32, Stop)> {
        let alive = || trees.values().try_for_each(|tree| tree.check_alive());
        if let Err(error) = self.check_open().and_then(|()| alive()) {
            return Ok(Err(error));
        }
        let mut latched = match self.latch_all(trees, spans)? {
            Ok(latched) => latched,
            Err(error) => return Ok(Err(error)),
        };
        let touched = latched.0.len();
        match self.validate_latched(plan, &mut latched, trees) {
            Ok(()) => {}
            Err(Unsure::Wide) => return Ok(Ok(Step::Wide)),
            Err(Unsure::Stop(tree, stop)) => return Err((tree, stop)),
            Err(Unsure::Error(error)) => return Ok(Err(error)),
        }
        Ok(self.apply_plan(plan, &mut latched, touched, trees, journal, reservation, payload, kind))
    }

    /// Latches the leaf blobs of all spans, in order.
    pub(super) fn latch_all<'e>(
        &'e self,
        trees: &'e BTreeMap<u32, Arc<TreeState>>,
        spans: &[Span],
    ) -> Result<Result<Latched<'e>>, (u32, Stop)> {
        let mut latched = Latched(Vec::with_capacity(spans.len().min(64)));
        for span in spans {
            let mut from = span.start.clone();
            loop {
                let held = self.hold(&mut latched, &trees[&span.tree], &from, self.batch_blobs_max());
                let Some(at) = held.map_err(|stop| (span.tree, stop))? else {
                    return Ok(Err(self.batch_too_wide()));
                };
                if !span.open {
                    break;
                }
                let held = &latched.0[at];
                from = match held.leaf.next_below(&span.start, &from) {
                    // Decided already; the apply step finds the same.
                    Next::Record => break,
                    Next::Mount(path) => path,
                    Next::Nothing => match &held.fences.high {
                        Some(high) if span.end.as_ref().is_none_or(|end| high < end) => high.clone(),
                        _ => break,
                    },
                };
            }
        }
        Ok(Ok(latched))
    }

    /// The place among the latched leaf blobs of the one that the key is in or would be; it is latched if it was not. None: it
    /// would be one more than `most`.
    pub(super) fn hold<'e>(
        &'e self,
        latched: &mut Latched<'e>,
        tree: &'e TreeState,
        key: &[u8],
        most: usize,
    ) -> Result<Option<usize>, Stop> {
        let host = latched.innermost(tree.id, key);
        if let Some(at) = host.filter(|at| latched.0[*at].leaf.owns(key)) {
            return Ok(Some(at));
        }
        if latched.0.len() >= most {
            return Ok(None);
        }
        let limb = self.limb(tree);
        let (leaf, fences) = match host {
            // Nobody gets through a latched blob from above.
            Some(at) => limb.lock_leaf_inside(&latched.0[at].leaf, key)?,
            None => limb.lock_leaf_fenced(key)?,
        };
        Ok(Some(latched.insert(Held { tree: tree.id, fences, leaf })))
    }

    pub(super) fn batch_too_wide(&self) -> Error {
        Error::invalid(format_args!(
            "the batch touches more than {} blobs, a quarter of the cache of {} bytes",
            self.batch_blobs_max(),
            self.settings.cache_bytes
        ))
    }

    /// Carries the plan out on its leaf blobs, of which all but `touched` were latched for reads only.
    #[expect(clippy::too_many_arguments, reason = "the plan and what was made of it once")]
    fn apply_plan(
        &self,
        plan: &Plan,
        latched: &mut Latched<'_>,
        touched: usize,
        trees: &BTreeMap<u32, Arc<TreeState>>,
        journal: &Journal,
        reservation: &mut Option<Reservation<'_>>,
        payload: &[u8],
        kind: Kind,
    ) -> Result<Step> {
        for expectation in &plan.expectations {
            check_expectation(expectation, latched)?;
        }
        let effects = effects(plan, latched)?;
        let lacks = lacking(&effects, latched, journal.last_sequence());
        let cuts = lacks.iter().filter(|lack| lack.need == Need::Cut).count();
        if touched + cuts > self.batch_blobs_max() {
            return Err(self.batch_too_wide());
        }
        if latched.0.len() + cuts > self.batch_blobs_max() {
            return Ok(Step::Wide);
        }
        if !lacks.is_empty() {
            return Ok(Step::Room(lacks));
        }
        if reservation.is_none() {
            return Ok(Step::Done { sequence: journal.last_sequence(), merge: Vec::new() });
        }
        if !self.buffer.has_space(touched, Claim::of(plan.frees())) {
            return Ok(Step::Space(touched));
        }
        let Some(reservation) = reservation.take() else {
            return Err(Error::invalid("a plan was applied twice"));
        };
        let _watch = journal.watch();
        let sequence = journal.append(reservation, kind, payload).sequence;
        let mut merge = Vec::new();
        for ((tree, key), value) in &effects {
            let leaf = latched.leaf(*tree, key).map_err(|error| journal.poison(error))?;
            match value {
                Some(value) => leaf.put(key, sequence, value).map_err(|error| journal.poison(error))?,
                None => {
                    leaf.remove(key);
                    if leaf.wants_merge() {
                        merge.push((Arc::clone(&trees[tree]), key.to_vec()));
                    }
                }
            }
        }
        Ok(Step::Done { sequence, merge })
    }
}
