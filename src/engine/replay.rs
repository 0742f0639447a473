//! Making the changes of the journal's records anew.
//!
//! Changes of single keys are collected in a [`Segment`] and then made in the order of keys, leaf blob by leaf blob: each is
//! brought into memory and latched once, whatever the cache, and threads share the keys. Everything else waits for those before
//! it, and is carried out alone.

use std::ops::Range;
use std::sync::Arc;

use super::plan::Change;
use super::segment::{Segment, Single};
use super::{Engine, TreeState};
use crate::buffer::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Op, Record, Recovery};
use crate::sync::{AtomicUsize, Mutex, Ordering, in_threads, processors};
use crate::tree::{Fences, LockedLeaf, Tries};

/// More threads do not pay: they take turns where blobs are cut or merged.
const THREADS_MAX: usize = 8;
/// A thread takes so many changes at a time; with fewer in all it is not worth starting one.
const RUN: usize = 512;

/// What is to be done before a leaf blob can take a change.
enum Lack {
    /// The blobs above have to know of so long a key.
    Admission,
    /// So many bytes.
    Room(usize),
}

/// A record that cannot be what was written.
fn not_replayed(sequence: u64, error: &Error) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format_args!("journal: record {sequence} does not fit what is there: {error}"),
    )
}

impl Engine {
    /// Takes a record of the journal on. All of them are made when [`replay_segment`](Self::replay_segment) has made the rest.
    pub(super) fn replay_record(
        &self,
        segment: &mut Segment,
        sequence: u64,
        record: &Record<'_>,
    ) -> Result<()> {
        match record {
            Record::One(op) => self.replay_op(segment, sequence, op),
            Record::Batch(ops) => ops.iter().try_for_each(|op| self.replay_op(segment, sequence, op)),
            Record::TreeCreate { tree, name } => {
                self.replay_segment(segment)?;
                self.replay_tree(*tree, name)
            }
            Record::TreeDrop { tree } => {
                self.replay_segment(segment)?;
                match self.uproot(*tree) {
                    true => Ok(()),
                    false => self.unknown_tree(sequence, *tree),
                }
            }
            Record::Noop => Ok(()),
        }
    }

    /// Makes an empty tree.
    pub(super) fn replay_tree(&self, tree: u32, name: &str) -> Result<()> {
        self.buffer.claim(1, Claim::Adds)?;
        let mut frames = self.buffer.reserve(1)?;
        let there = self.catalog.lock().by_name.get(name).map(|there| there.id);
        if let Some(there) = there {
            // The record that dropped it is among the damaged ones that were skipped.
            self.uproot(there);
        }
        self.plant(&mut self.catalog.lock(), &mut frames, tree, name);
        Ok(())
    }

    fn unknown_tree(&self, sequence: u64, tree: u32) -> Result<()> {
        // Where damaged records are skipped, the one that made the tree may be among them.
        if self.settings.recovery == Recovery::SkipDamaged {
            return Ok(());
        }
        let what = format_args!("journal: record {sequence} names tree {tree}, which does not exist");
        Err(Error::new(ErrorKind::Corrupt, what))
    }

    fn replay_op(&self, segment: &mut Segment, sequence: u64, op: &Op<'_>) -> Result<()> {
        let state = |segment: &Segment, tree: u32| {
            segment.tree(tree).cloned().or_else(|| self.catalog.lock().by_id.get(&tree).cloned())
        };
        let (Op::Put { tree: id, .. }
        | Op::Delete { tree: id, .. }
        | Op::Rename { tree: id, .. }
        | Op::RenamePrefix { tree: id, .. }
        | Op::DeletePrefix { tree: id, .. }
        | Op::DeleteRange { tree: id, .. }) = *op;
        let Some(tree) = state(segment, id) else { return self.unknown_tree(sequence, id) };
        match *op {
            Op::Put { key, value, .. } => self.collect(segment, &tree, sequence, key, Some(value)),
            Op::Delete { key, .. } => self.collect(segment, &tree, sequence, key, None),
            Op::Rename { src, dst, .. } => {
                self.replay_segment(segment)?;
                self.buffer.reserve(0)?;
                let limb = self.limb(&tree);
                match limb.retry(|_| limb.lock_leaf(src))?.read(src) {
                    Some((_, value)) => {
                        self.collect(segment, &tree, sequence, src, None)?;
                        self.collect(segment, &tree, sequence, dst, Some(&value))
                    }
                    None if self.settings.recovery == Recovery::SkipDamaged => Ok(()),
                    None => {
                        let what = format_args!("journal: record {sequence} renames a key that is not there");
                        Err(Error::new(ErrorKind::Corrupt, what))
                    }
                }
            }
            Op::RenamePrefix { src, dst_tree: id, dst, .. } => {
                let Some(dst_tree) = state(segment, id) else { return self.unknown_tree(sequence, id) };
                let (src, dst) = (src.to_vec(), dst.to_vec());
                let change = Change::RenamePrefix { tree, src, dst_tree, dst, replace: true };
                self.replay_wide(segment, sequence, &change)
            }
            Op::DeletePrefix { prefix, .. } => {
                let change = Change::DeletePrefix { tree, prefix: prefix.to_vec() };
                self.replay_wide(segment, sequence, &change)
            }
            Op::DeleteRange { low, high, .. } => {
                let (low, high) = (low.to_vec(), high.map(<[u8]>::to_vec));
                self.replay_wide(segment, sequence, &Change::DeleteRange { tree, low, high })
            }
        }
    }

    /// A change of a whole directory. Nobody else is there, so the gate need not be closed, nor need readers be told.
    fn replay_wide(&self, segment: &mut Segment, sequence: u64, change: &Change) -> Result<()> {
        self.replay_segment(segment)?;
        change.check().map_err(|error| not_replayed(sequence, &error))?;
        match self.carry_out_alone(change, sequence) {
            // What it names may be among the damaged records that were skipped.
            Err(error)
                if self.settings.recovery == Recovery::SkipDamaged
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) =>
            {
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                Err(not_replayed(sequence, &error))
            }
            outcome => outcome,
        }
    }

    fn collect(
        &self,
        segment: &mut Segment,
        tree: &Arc<TreeState>,
        sequence: u64,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<()> {
        segment.push(tree, sequence, key, value);
        if segment.is_full() { self.replay_segment(segment) } else { Ok(()) }
    }

    /// Makes the changes collected so far.
    pub(super) fn replay_segment(&self, segment: &mut Segment) -> Result<()> {
        if segment.is_empty() {
            return Ok(());
        }
        let memory_bytes = segment.memory_bytes();
        self.buffer.charge(memory_bytes);
        let outcome = self.make_all(segment);
        self.buffer.discharge(memory_bytes);
        segment.clear();
        outcome
    }

    fn make_all(&self, segment: &mut Segment) -> Result<()> {
        let most = if self.settings.background { processors().min(THREADS_MAX) } else { 1 };
        let threads = most.min(segment.len().div_ceil(RUN));
        segment.sort(threads);
        let (segment, next) = (&*segment, AtomicUsize::new(0));
        let (reshaping, failed) = (Mutex::new(()), Mutex::new(None));
        in_threads(threads, || {
            while failed.lock().is_none() {
                let start = next.fetch_add(RUN, Ordering::Relaxed);
                if start >= segment.len() {
                    return;
                }
                let places = start..segment.len().min(start + RUN);
                if let Err(error) = self.make_run(segment, places, threads, &reshaping) {
                    failed.lock().get_or_insert(error);
                }
            }
        });
        let failed = failed.lock().take();
        failed.map_or(Ok(()), Err)
    }

    /// Makes the changes at these places. Blobs are cut and merged by one thread at a time, so that all together claim no
    /// more space than is always left for such claims.
    fn make_run(
        &self,
        segment: &Segment,
        mut places: Range<usize>,
        threads: usize,
        reshaping: &Mutex<()>,
    ) -> Result<()> {
        let mut tries = Tries::default();
        let mut first = true;
        while let Some((place, one)) = segment.run(places.clone()).next() {
            let Some(tree) = segment.tree(one.tree) else { return self.unknown_tree(one.sequence, one.tree) };
            let limb = self.limb(tree);
            self.buffer.claim(threads, Claim::Adds)?;
            self.buffer.reserve(0)?;
            let (leaf, fences) = match limb.lock_leaf_fenced(one.key) {
                Ok(locked) => locked,
                Err(stop) => {
                    limb.settle(stop, &mut tries)?;
                    continue;
                }
            };
            let filled = fill(leaf, &fences, segment, place..places.end)?;
            if filled.next > place {
                (tries, first) = (Tries::default(), true);
            }
            places.start = filled.next;
            let _turn = (filled.lack.is_some() || filled.sparse.is_some()).then(|| reshaping.lock());
            if let Some(key) = filled.sparse {
                limb.shrink(&self.gate, key)?;
            }
            let stopped = segment.run(places.clone()).next().map(|(_, one)| one.key);
            match filled.lack.zip(stopped) {
                Some((Lack::Admission, key)) => limb.admit(&self.gate, key)?,
                Some((Lack::Room(bytes), key)) => {
                    limb.make_room(&self.gate, key, bytes, first)?;
                    first = false;
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// What a put of so large a value lacks in a leaf blob.
fn lack(leaf: &LockedLeaf<'_>, key: &[u8], value: usize, sequence: u64) -> Option<Lack> {
    if !leaf.admits(key) {
        return Some(Lack::Admission);
    }
    (!leaf.fits_put(key, value, sequence)).then(|| Lack::Room(leaf.need(key, value)))
}

/// How far a leaf blob took changes.
struct Filled<'s> {
    /// The place of the first change that was not made.
    next: usize,
    /// What that one lacks in this blob; nothing where it belongs into another one.
    lack: Option<Lack>,
    /// A key of the blob if it should be merged with a neighbour.
    sparse: Option<&'s [u8]>,
}

/// Makes those of the changes, the first one at least, that belong into a leaf blob.
fn fill<'s>(
    mut leaf: LockedLeaf<'_>,
    fences: &Fences,
    segment: &'s Segment,
    places: Range<usize>,
) -> Result<Filled<'s>> {
    let mut filled = Filled { next: places.end, lack: None, sparse: None };
    let mut tree = None;
    for (place, Single { tree: id, sequence, key, value }) in segment.run(places) {
        if *tree.get_or_insert(id) != id || !fences.hold(key) || !leaf.owns(key) {
            filled.next = place;
            break;
        }
        let Some(value) = value else {
            leaf.remove(key);
            if leaf.wants_merge() {
                filled.sparse = Some(key);
            }
            continue;
        };
        filled.lack = lack(&leaf, key, value.len(), sequence);
        if filled.lack.is_some() {
            filled.next = place;
            break;
        }
        leaf.put(key, sequence, value)?;
    }
    Ok(filled)
}
