//! The keys of one tree as a transaction sees them: its own writes, and where in the database each other range of keys is read.
//!
//! A directory move cuts the pieces and writes of its source out and hangs them, under the other prefix, where it moves to;
//! nothing is read for that.
//!
//! Invariants: the first piece begins at the empty key; each goes on to the next one. All keys in a piece with an origin start
//! with the origin's `here`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::engine::TreeState;
use crate::tree::successor;

/// Where a piece is read: what starts with `here` is what starts with `there` of a tree of the database.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) tree: Arc<TreeState>,
    pub(super) there: Vec<u8>,
    pub(super) here: Vec<u8>,
}

impl Origin {
    /// The whole of a tree, where it is.
    pub(super) fn whole(tree: &Arc<TreeState>) -> Self {
        Self { tree: Arc::clone(tree), there: Vec::new(), here: Vec::new() }
    }

    /// The key of the database for one of the piece.
    pub(super) fn to_there(&self, key: &[u8]) -> Vec<u8> {
        [&self.there, key.get(self.here.len()..).unwrap_or(&[])].concat()
    }

    /// The key of the piece for one of the database.
    pub(super) fn to_here(&self, key: &[u8]) -> Vec<u8> {
        [&self.here, key.get(self.there.len()..).unwrap_or(&[])].concat()
    }

    /// Whether a key of the database is below `bound` as the piece names it.
    pub(super) fn is_below(&self, key: &[u8], bound: &[u8]) -> bool {
        let rest = key.get(self.there.len()..).unwrap_or(&[]);
        match bound.strip_prefix(self.here.as_slice()) {
            Some(bound) => rest < bound,
            None => self.here.as_slice() < bound,
        }
    }

    /// The end of a range of the database for one of the piece (None: to the end).
    pub(super) fn end_there(&self, high: Option<&[u8]>) -> Option<Vec<u8>> {
        match high {
            Some(high) if high.starts_with(&self.here) => Some(self.to_there(high)),
            _ => successor(&self.there),
        }
    }
}

/// The part of a range that is read in one place. No origin: the database has nothing for it.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) low: Vec<u8>,
    pub(super) high: Option<Vec<u8>>,
    pub(super) origin: Option<Origin>,
}

/// The value that the transaction gives a key; None: it deletes it.
pub(super) type Write = Option<Vec<u8>>;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    writes: BTreeMap<Vec<u8>, Write>,
    pieces: BTreeMap<Vec<u8>, Option<Origin>>,
}

/// What was cut out of a view: keys without the prefix.
#[derive(Debug)]
pub(super) struct Cutting {
    writes: Vec<(Vec<u8>, Write)>,
    pieces: Vec<(Vec<u8>, Option<Origin>)>,
}

/// Whether `key` is below an end (None: there is none).
fn ends_above(high: Option<&[u8]>, key: &[u8]) -> bool {
    high.is_none_or(|high| key < high)
}

impl View {
    /// A tree without changes.
    pub(super) fn new(tree: &Arc<TreeState>) -> Self {
        let pieces = BTreeMap::from([(Vec::new(), Some(Origin::whole(tree)))]);
        Self { writes: BTreeMap::new(), pieces }
    }

    /// The transaction's own write of a key, if there is one.
    pub(super) fn write(&self, key: &[u8]) -> Option<&Write> {
        self.writes.get(key)
    }

    pub(super) fn set(&mut self, key: &[u8], write: Write) {
        self.writes.insert(key.to_vec(), write);
    }

    /// Its own writes from `low` to below `high`.
    pub(super) fn writes<'v>(
        &'v self,
        low: &[u8],
        high: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'v [u8], Option<&'v [u8]>)> {
        let end = match high {
            // A range of a map may not be inverted.
            Some(high) => Bound::Excluded(high.max(low)),
            None => Bound::Unbounded,
        };
        let range = self.writes.range::<[u8], _>((Bound::Included(low), end));
        range.map(|(key, write)| (key.as_slice(), write.as_deref()))
    }

    /// Where a key is read that has no write.
    pub(super) fn origin(&self, key: &[u8]) -> Option<&Origin> {
        self.pieces.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?.1.as_ref()
    }

    /// The first piece of a range that is not empty.
    pub(super) fn first_piece(&self, low: &[u8], high: Option<&[u8]>) -> Piece {
        let after = self.pieces.range::<[u8], _>((Bound::Excluded(low), Bound::Unbounded)).next();
        let end = after.map(|(start, _)| start.as_slice()).filter(|start| ends_above(high, start)).or(high);
        Piece { low: low.to_vec(), high: end.map(<[u8]>::to_vec), origin: self.origin(low).cloned() }
    }

    /// The last piece of a range that is not empty.
    pub(super) fn last_piece(&self, low: &[u8], high: Option<&[u8]>) -> Piece {
        let end = high.map_or(Bound::Unbounded, Bound::Excluded);
        let last = self.pieces.range::<[u8], _>((Bound::Unbounded, end)).next_back();
        let (start, origin) =
            last.map_or((&[][..], None), |(start, origin)| (start.as_slice(), origin.clone()));
        Piece { low: start.max(low).to_vec(), high: high.map(<[u8]>::to_vec), origin }
    }

    /// Makes a piece begin at a key.
    fn cut_at(&mut self, key: &[u8]) {
        if !self.pieces.contains_key(key) {
            let origin = self.origin(key).cloned();
            self.pieces.insert(key.to_vec(), origin);
        }
    }

    /// Takes a range out: writes and pieces as they were. What is left there is nothing.
    fn take(&mut self, low: &[u8], high: Option<&[u8]>) -> Cutting {
        if !ends_above(high, low) {
            return Cutting { writes: Vec::new(), pieces: Vec::new() };
        }
        self.cut_at(low);
        if let Some(high) = high {
            self.cut_at(high);
        }
        fn part<T>(map: &mut BTreeMap<Vec<u8>, T>, low: &[u8], high: Option<&[u8]>) -> BTreeMap<Vec<u8>, T> {
            let mut part = map.split_off(low);
            if let Some(high) = high {
                map.append(&mut part.split_off(high));
            }
            part
        }
        let writes = part(&mut self.writes, low, high).into_iter().collect();
        let pieces = part(&mut self.pieces, low, high).into_iter().collect();
        self.pieces.insert(low.to_vec(), None);
        Cutting { writes, pieces }
    }

    /// Deletes a range.
    pub(super) fn clear(&mut self, low: &[u8], high: Option<&[u8]>) {
        self.take(low, high);
    }

    /// Takes all that starts with the prefix out.
    pub(super) fn cut_out(&mut self, prefix: &[u8]) -> Cutting {
        let mut cutting = self.take(prefix, successor(prefix).as_deref());
        for (key, _) in &mut cutting.writes {
            key.drain(..prefix.len());
        }
        for (start, origin) in &mut cutting.pieces {
            start.drain(..prefix.len());
            let Some(origin) = origin else { continue };
            match origin.here.strip_prefix(prefix) {
                Some(rest) => origin.here = rest.to_vec(),
                None => {
                    origin.there = origin.to_there(prefix);
                    origin.here.clear();
                }
            }
        }
        cutting
    }

    /// Hangs what was cut out under a prefix, in place of all that is there.
    pub(super) fn hang(&mut self, prefix: &[u8], cutting: Cutting) {
        self.clear(prefix, successor(prefix).as_deref());
        let name = |rest: Vec<u8>| [prefix, &rest].concat();
        self.writes.extend(cutting.writes.into_iter().map(|(key, write)| (name(key), write)));
        for (start, mut origin) in cutting.pieces {
            if let Some(origin) = &mut origin {
                origin.here = [prefix, &origin.here].concat();
            }
            self.pieces.insert(name(start), origin);
        }
    }
}
