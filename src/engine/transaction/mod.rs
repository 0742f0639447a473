//! Transactions: reads of the database and of their own writes, and one commit that validates the reads.
//!
//! A transaction holds nothing between its calls: no latch, no entry of the gate, no snapshot. It remembers what it read, in terms
//! of the database ([`Read`](super::reads::Read)), and what it is to change ([`Change`]). Invariants:
//!
//! - X1 Whatever an answer depended on is either the transaction's own, or was read from the database and is remembered.
//! - X2 The commit compares all of it at one instant at which nobody else can change any of it, and takes its place in the
//!   journal at that instant. So the transaction might as well have run whole at that instant: commits are serializable, in the
//!   order of their versions.
//!
//! Until then, two reads may be of different instants.

mod scan;
mod view;

pub(crate) use scan::{Item, ViewScan};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use self::view::{Origin, Piece, View};
use super::commit::{check_key, check_value};
use super::listing::Listing;
use super::plan::show;
use super::reads::{Items, Range, Read, Seen};
use super::{Change, Engine, Plan, TreeState};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Durability;
use crate::limits::{KEY_BYTES_MAX, RECORD_BYTES_MAX};
use crate::tree::{Counted, Page, PageRequest, successor};

/// What a change takes in the journal record beside its keys and value, at most, in bytes.
const CHANGE_BYTES: usize = 24;

/// What was read so far.
#[derive(Debug, Default)]
struct Reads {
    /// By the tree's id and the key.
    points: BTreeMap<(u32, Vec<u8>), (Arc<TreeState>, Seen)>,
    ranges: Vec<Read>,
}

/// A transaction; see the module.
pub(crate) struct Transaction {
    engine: Arc<Engine>,
    /// Trees that it changes.
    views: BTreeMap<u32, View>,
    changes: Vec<Change>,
    /// Upper bound of the record's length.
    change_bytes: usize,
    reads: RefCell<Reads>,
}

impl Transaction {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            views: BTreeMap::new(),
            changes: Vec::new(),
            change_bytes: 0,
            reads: RefCell::default(),
        }
    }

    /// The version of the record of `key` (0: the transaction's own), and its value.
    pub(crate) fn get(&self, tree: &Arc<TreeState>, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>> {
        value.clear();
        let view = self.views.get(&tree.id);
        if let Some(own) = view.and_then(|view| view.write(key)) {
            value.extend(own.iter().flatten());
            return Ok(own.as_ref().map(|_| 0));
        }
        match view {
            None => self.get_there(tree, key, value),
            Some(view) => match view.origin(key) {
                Some(origin) => self.get_there(&origin.tree, &origin.to_there(key), value),
                None => Ok(None),
            },
        }
    }

    /// Reads a record of the database.
    fn get_there(&self, tree: &Arc<TreeState>, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>> {
        let found = self.engine.read(tree, |limb| limb.get(key, value))?.map(|found| found.version);
        self.remember(tree, key, found.map_or(Seen::Absent, |version| Seen::record(version, value)))?;
        Ok(found)
    }

    /// Whether there is a record of `key`.
    pub(crate) fn contains(&self, tree: &Arc<TreeState>, key: &[u8]) -> Result<bool> {
        let view = self.views.get(&tree.id);
        if let Some(own) = view.and_then(|view| view.write(key)) {
            return Ok(own.is_some());
        }
        let whole = Origin::whole(tree);
        let Some(origin) = view.map_or(Some(&whole), |view| view.origin(key)) else { return Ok(false) };
        let key = origin.to_there(key);
        let found = self.engine.read(&origin.tree, |limb| limb.version(&key))?.is_some();
        self.remember(&origin.tree, &key, if found { Seen::Present } else { Seen::Absent })?;
        Ok(found)
    }

    fn remember(&self, tree: &Arc<TreeState>, key: &[u8], seen: Seen) -> Result<()> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            // Nobody can put it.
            return Ok(());
        }
        match self.reads.borrow_mut().points.entry((tree.id, key.to_vec())) {
            Entry::Vacant(place) => {
                place.insert((Arc::clone(tree), seen));
            }
            Entry::Occupied(mut place) => match place.get().1.join(seen) {
                Some(joined) => place.get_mut().1 = joined,
                None => {
                    let read = Read::Point { tree: Arc::clone(tree), key: key.to_vec(), seen };
                    return Err(read.conflict());
                }
            },
        }
        Ok(())
    }

    fn remember_range(&self, read: Read) -> usize {
        let ranges = &mut self.reads.borrow_mut().ranges;
        ranges.push(read);
        ranges.len() - 1
    }

    /// A listing.
    pub(crate) fn list(&self, tree: &Arc<TreeState>, listing: Listing) -> ViewScan<'_> {
        ViewScan::new(self, tree, listing)
    }

    /// The pieces of a range.
    fn pieces(&self, tree: &Arc<TreeState>, low: &[u8], high: Option<&[u8]>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut next = Some(low.to_vec());
        while let Some(low) = next.filter(|low| high.is_none_or(|high| low.as_slice() < high)) {
            let piece = self.piece(tree, &low, high, false);
            next = piece.high.clone();
            pieces.push(piece);
        }
        pieces
    }

    /// The first piece of a range, or the last.
    fn piece(&self, tree: &Arc<TreeState>, low: &[u8], high: Option<&[u8]>, last: bool) -> Piece {
        match self.views.get(&tree.id) {
            Some(view) if last => view.last_piece(low, high),
            Some(view) => view.first_piece(low, high),
            None => {
                Piece { low: low.to_vec(), high: high.map(<[u8]>::to_vec), origin: Some(Origin::whole(tree)) }
            }
        }
    }

    /// Whether there is any record in a range.
    fn any(&self, tree: &Arc<TreeState>, low: &[u8], high: Option<&[u8]>) -> Result<bool> {
        let view = self.views.get(&tree.id);
        let has_own = |low: &[u8], high: Option<&[u8]>, live: bool| {
            view.is_some_and(|view| view.writes(low, high).any(|(_, write)| !live || write.is_some()))
        };
        if has_own(low, high, true) {
            return Ok(true);
        }
        for piece in self.pieces(tree, low, high) {
            let found = match &piece.origin {
                None => false,
                // Records that it has deleted do not count: they have to be told from the others.
                Some(_) if has_own(&piece.low, piece.high.as_deref(), false) => {
                    let mut listing = Listing::new(piece.low, piece.high, 0);
                    listing.keys_only = true;
                    self.list(tree, listing).step()?.is_some()
                }
                Some(origin) => self.any_there(origin, &piece)?,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn any_there(&self, origin: &Origin, piece: &Piece) -> Result<bool> {
        let range = there(origin, &piece.low, piece.high.as_deref());
        let mut page = Page::default();
        let mut next = Some(range.low.clone());
        let mut found = false;
        while let Some(low) = next.filter(|_| !found) {
            let request = PageRequest {
                low: &low,
                high: range.high.as_deref(),
                reverse: false,
                keys_only: true,
                delimiter: None,
                entries_max: 1,
            };
            self.engine.read(&range.tree, |limb| limb.fill(&request, &mut page))?;
            found = page.len() > 0;
            next = page.resume.take();
        }
        self.remember_range(Read::Any { range, found });
        Ok(found)
    }

    /// Counts the records whose keys start with a prefix, and their bytes.
    pub(crate) fn count(&self, tree: &Arc<TreeState>, prefix: &[u8]) -> Result<Counted> {
        let end = successor(prefix);
        let mut sum = Counted::default();
        let mut value = Vec::new();
        for piece in self.pieces(tree, prefix, end.as_deref()) {
            if let Some(origin) = &piece.origin {
                let range = there(origin, &piece.low, piece.high.as_deref());
                let counted =
                    self.engine.read(&range.tree, |limb| limb.count(&range.low, range.high.as_deref()))?;
                self.remember_range(Read::Count { range, counted });
                let renamed = counted.keys * origin.here.len() as u64;
                let key_bytes = counted.key_bytes + renamed;
                let named = counted.keys * origin.there.len() as u64;
                sum.add(counted.keys, key_bytes.saturating_sub(named), counted.value_bytes);
            }
            let Some(view) = self.views.get(&tree.id) else { continue };
            for (key, write) in view.writes(&piece.low, piece.high.as_deref()) {
                if let Some(origin) = &piece.origin
                    && self.get_there(&origin.tree, &origin.to_there(key), &mut value)?.is_some()
                {
                    // Written over. Should the two reads not fit together, the commit finds that out.
                    sum.keys = sum.keys.saturating_sub(1);
                    sum.key_bytes = sum.key_bytes.saturating_sub(key.len() as u64);
                    sum.value_bytes = sum.value_bytes.saturating_sub(value.len() as u64);
                }
                if let Some(write) = write {
                    sum.add(1, key.len() as u64, write.len() as u64);
                }
            }
        }
        Ok(sum)
    }

    fn view(&mut self, tree: &Arc<TreeState>) -> &mut View {
        self.views.entry(tree.id).or_insert_with(|| View::new(tree))
    }

    /// Adds a change to the record, if that does not become too long.
    fn change(&mut self, change: Change) -> Result<()> {
        let bytes = self.change_bytes + CHANGE_BYTES + change.bytes();
        if bytes > RECORD_BYTES_MAX {
            let what = format_args!(
                "the transaction's changes take more than the limit of {RECORD_BYTES_MAX} bytes (RECORD_BYTES_MAX)"
            );
            return Err(Error::invalid(what));
        }
        self.change_bytes = bytes;
        self.changes.push(change);
        Ok(())
    }

    pub(crate) fn put(&mut self, tree: &Arc<TreeState>, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        check_value(key, value)?;
        self.change(Change::Put { tree: Arc::clone(tree), key: key.to_vec(), value: value.to_vec() })?;
        self.view(tree).set(key, Some(value.to_vec()));
        Ok(())
    }

    pub(crate) fn delete(&mut self, tree: &Arc<TreeState>, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.change(Change::Delete { tree: Arc::clone(tree), key: key.to_vec() })?;
        self.view(tree).set(key, None);
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        tree: &Arc<TreeState>,
        src: &[u8],
        dst: &[u8],
        replace: bool,
    ) -> Result<()> {
        let change = Change::Rename { tree: Arc::clone(tree), src: src.to_vec(), dst: dst.to_vec(), replace };
        change.check()?;
        let mut value = Vec::new();
        if self.get(tree, src, &mut value)?.is_none() {
            let what = format_args!("rename: key {:?} is not there", show(src));
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        if !replace && self.contains(tree, dst)? {
            let what = format_args!("rename: key {:?} exists", show(dst));
            return Err(Error::new(ErrorKind::Exists, what));
        }
        self.change(change)?;
        let view = self.view(tree);
        view.set(src, None);
        view.set(dst, Some(value));
        Ok(())
    }

    pub(crate) fn rename_prefix(
        &mut self,
        (tree, src): (&Arc<TreeState>, &[u8]),
        (dst_tree, dst): (&Arc<TreeState>, &[u8]),
        replace: bool,
    ) -> Result<()> {
        let change = Change::RenamePrefix {
            tree: Arc::clone(tree),
            src: src.to_vec(),
            dst_tree: Arc::clone(dst_tree),
            dst: dst.to_vec(),
            replace,
        };
        change.check()?;
        if !self.any(tree, src, successor(src).as_deref())? {
            let what = format_args!("rename: no key starts with \"{}\"", show(src));
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        if tree.id == dst_tree.id && src == dst {
            return Ok(());
        }
        if !replace && self.any(dst_tree, dst, successor(dst).as_deref())? {
            let what = format_args!("rename: there are keys that start with \"{}\"", show(dst));
            return Err(Error::new(ErrorKind::Exists, what));
        }
        self.change(change)?;
        let cutting = self.view(tree).cut_out(src);
        self.view(dst_tree).hang(dst, cutting);
        Ok(())
    }

    pub(crate) fn delete_prefix(&mut self, tree: &Arc<TreeState>, prefix: &[u8]) -> Result<()> {
        let change = Change::DeletePrefix { tree: Arc::clone(tree), prefix: prefix.to_vec() };
        change.check()?;
        self.change(change)?;
        self.view(tree).clear(prefix, successor(prefix).as_deref());
        Ok(())
    }

    /// Both ends are within the limit of keys.
    pub(crate) fn delete_range(
        &mut self,
        tree: &Arc<TreeState>,
        low: Vec<u8>,
        high: Option<Vec<u8>>,
    ) -> Result<()> {
        let change = Change::DeleteRange { tree: Arc::clone(tree), low: low.clone(), high: high.clone() };
        change.check()?;
        self.change(change)?;
        self.view(tree).clear(&low, high.as_deref());
        Ok(())
    }

    /// Commits. Returns its sequence; without changes, that of the last commit before.
    pub(crate) fn commit(self, durability: Option<Durability>) -> Result<u64> {
        let reads = self.reads.into_inner();
        let points = reads.points.into_iter().map(|((_, key), (tree, seen))| Read::Point { tree, key, seen });
        let reads = points.chain(reads.ranges).collect();
        let plan = Plan { changes: self.changes, expectations: Vec::new(), reads };
        self.engine.commit(&plan, durability)
    }

    /// Conflict if what was read does not read the same now. The changes are given up.
    pub(crate) fn validate(mut self) -> Result<()> {
        self.changes.clear();
        self.commit(None).map(drop)
    }
}

/// The range of the database that a range of a piece is read in.
fn there(origin: &Origin, low: &[u8], high: Option<&[u8]>) -> Range {
    Range { tree: Arc::clone(&origin.tree), low: origin.to_there(low), high: origin.end_there(high) }
}
