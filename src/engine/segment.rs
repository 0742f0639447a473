//! Changes of single keys that a replay has read and not made yet, so that they can be made in the order of keys.
//!
//! Invariant: the changes of a segment commute but for those of the same key, of which the last one counts. So nothing else may
//! come between them: moves, deletes of prefixes, and trees that are made or dropped wait until the segment has been applied.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::TreeState;
use crate::sync::{Mutex, in_threads};

/// A segment takes at most this part of the cache, and so many bytes.
const CACHE_PART: u64 = 16;
const BYTES_MAX: u64 = 64 << 20;
/// Says that a change is a delete where else the value's length is.
const DELETE: u16 = u16::MAX;
const _: () = assert!(crate::limits::VALUE_BYTES_MAX < DELETE as usize);

/// One change; its key and value stand in the segment's bytes.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// What of the key is looked at while it is sorted.
    word: u64,
    sequence: u64,
    at: usize,
    tree: u32,
    key_bytes: u16,
    value_bytes: u16,
}

/// A put, or a delete (no value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Single<'s> {
    pub(super) tree: u32,
    pub(super) sequence: u64,
    pub(super) key: &'s [u8],
    pub(super) value: Option<&'s [u8]>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Segment {
    pending: Vec<Pending>,
    bytes: Vec<u8>,
    trees: BTreeMap<u32, Arc<TreeState>>,
    bytes_max: usize,
}

impl Segment {
    /// An empty one for a cache of so many bytes.
    pub(super) fn new(cache_bytes: u64) -> Self {
        let bytes_max = (cache_bytes / CACHE_PART).min(BYTES_MAX) as usize;
        Self { pending: Vec::new(), bytes: Vec::new(), trees: BTreeMap::new(), bytes_max }
    }

    /// Adds a change of a tree that is there.
    pub(super) fn push(&mut self, tree: &Arc<TreeState>, sequence: u64, key: &[u8], value: Option<&[u8]>) {
        self.trees.entry(tree.id).or_insert_with(|| Arc::clone(tree));
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        if self.bytes.len() == at {
            // The order of places is that of changes.
            self.bytes.push(0);
        }
        self.pending.push(Pending {
            word: 0,
            sequence,
            at,
            tree: tree.id,
            key_bytes: key.len() as u16,
            value_bytes: value.map_or(DELETE, |value| value.len() as u16),
        });
    }

    /// Whether it has as much as it is to hold.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() + self.pending.len() * size_of::<Pending>() >= self.bytes_max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Memory that it takes, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.bytes.capacity() + self.pending.capacity() * size_of::<Pending>()) as u64
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.bytes.clear();
        self.trees.clear();
    }

    /// A tree that it has changes of.
    pub(super) fn tree(&self, id: u32) -> Option<&Arc<TreeState>> {
        self.trees.get(&id)
    }

    /// Puts the changes into the order of trees and keys, those of one key in that of their sequences. One thread sorts them
    /// roughly, all go on from there.
    pub(super) fn sort(&mut self, threads: usize) {
        let Self { pending, bytes, .. } = self;
        let bytes = &bytes[..];
        let share = if threads > 1 { pending.len() / (SHARES * threads) } else { usize::MAX };
        let mut shares = Vec::new();
        pending.sort_by_key(|one| one.tree);
        for part in pending.chunk_by_mut(|a, b| a.tree == b.tree) {
            sort_from(bytes, part, 0, share, &mut |part, depth| shares.push((part, depth)));
        }
        let shares = Mutex::new(shares.into_iter());
        in_threads(threads, || {
            loop {
                let share = shares.lock().next();
                let Some((part, depth)) = share else { return };
                sort_from(bytes, part, depth, FEW, &mut |few, depth| {
                    few.sort_unstable_by_key(|one| (&key_of(bytes, one)[depth..], one.at));
                });
            }
        });
    }

    /// The changes of a sorted segment at these places that no later one of the same key makes void, with their places.
    pub(super) fn run(&self, places: Range<usize>) -> impl Iterator<Item = (usize, Single<'_>)> {
        places.filter(|at| !self.is_void(*at)).map(|at| (at, self.single(&self.pending[at])))
    }

    fn is_void(&self, at: usize) -> bool {
        let one = &self.pending[at];
        let key = |one| key_of(&self.bytes, one);
        self.pending.get(at + 1).is_some_and(|next| next.tree == one.tree && key(next) == key(one))
    }

    fn single(&self, one: &Pending) -> Single<'_> {
        let value_at = one.at + usize::from(one.key_bytes);
        let value = || &self.bytes[value_at..value_at + usize::from(one.value_bytes)];
        Single {
            tree: one.tree,
            sequence: one.sequence,
            key: key_of(&self.bytes, one),
            value: (one.value_bytes != DELETE).then(value),
        }
    }
}

fn key_of<'s>(bytes: &'s [u8], one: &Pending) -> &'s [u8] {
    &bytes[one.at..one.at + usize::from(one.key_bytes)]
}

/// Bytes of a key in a word.
const WORD_BYTES: usize = 7;
/// So few changes are sorted by their keys as a whole.
const FEW: usize = 8;
/// Parts of a segment for each thread, so that all have about as much to do.
const SHARES: usize = 8;

/// Sorts changes of one tree whose keys agree in the first `depth` bytes, until all that is left to be sorted is parts of up to
/// `few`; those are for `rest`, with what their keys agree in. Memory is the bottleneck: so it looks at a key word by word, and
/// at no word twice.
fn sort_from<'p>(
    bytes: &[u8],
    part: &'p mut [Pending],
    depth: usize,
    few: usize,
    rest: &mut impl FnMut(&'p mut [Pending], usize),
) {
    if part.len() <= few {
        return rest(part, depth);
    }
    part.iter_mut().for_each(|one| one.word = word_of(&key_of(bytes, one)[depth..]));
    part.sort_unstable_by_key(|one| one.word);
    for same in part.chunk_by_mut(|a, b| a.word == b.word) {
        match same {
            [_] => {}
            [one, ..] if one.word as u8 as usize <= WORD_BYTES => same.sort_unstable_by_key(|one| one.at),
            _ => sort_from(bytes, same, depth + WORD_BYTES, few, rest),
        }
    }
}

/// The next bytes of a key such that words are in order as the keys are; the last byte says how many there are.
fn word_of(rest: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES + 1];
    let there = rest.len().min(WORD_BYTES);
    word[..there].copy_from_slice(&rest[..there]);
    word[WORD_BYTES] = rest.len().min(WORD_BYTES + 1) as u8;
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BlobId;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few bytes, so that keys agree in much, end in each other, and come again.
        proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(255)], 0..20)
    }

    proptest! {
        #[test]
        fn the_last_change_of_each_key_is_left_in_the_order_of_keys(
            changes in proptest::collection::vec((0..3_u32, key(), any::<bool>()), 0..400),
            threads in 1..4_usize,
        ) {
            let trees = [0, 1, 2].map(|id| Arc::new(TreeState::new(id, String::new(), BlobId(id + 1))));
            let mut segment = Segment::new(1 << 20);
            let mut model = BTreeMap::new();
            for (sequence, (tree, key, puts)) in (7..).zip(&changes) {
                let value = puts.then(|| vec![sequence as u8; sequence as usize % 5]);
                segment.push(&trees[*tree as usize], sequence, key, value.as_deref());
                model.insert((*tree, key.clone()), (sequence, value));
            }
            segment.sort(threads);
            let left: Vec<_> = segment
                .run(0..segment.len())
                .map(|(_, one)| ((one.tree, one.key.to_vec()), (one.sequence, one.value.map(<[u8]>::to_vec))))
                .collect();
            prop_assert_eq!(left, model.into_iter().collect::<Vec<_>>());
        }
    }
}
