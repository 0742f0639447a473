//! A named tree: reads and single changes.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use super::bounds::{bounds, within_limit};
use super::{Handle, IfExists, PrefixStats, Record, Scan, Ticket, Version, WriteOptions};
use crate::engine::{Change, Condition, Engine, Outcome, Plan, TreeState};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::thread_local;
use crate::tree::{Counted, Limb, successor};

/// A named tree of a database: an ordered map from keys (1 to 8,192 bytes of any content) to values (up to 4 KiB).
///
/// Single operations are linearizable. They cost O(height of the tree): three blobs at two million records.
#[derive(Clone)]
pub struct Tree {
    handle: Arc<Handle>,
    state: Arc<TreeState>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tree").field("name", &self.name()).finish_non_exhaustive()
    }
}

thread_local! {
    static VALUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn conflict(key: &[u8], there: Option<Version>, expected: &str) -> Error {
    let key = key[..key.len().min(128)].escape_ascii();
    let what = match there {
        Some(version) => format!("key \"{key}\" has version {version}; {expected}"),
        None => format!("key \"{key}\" is not there; {expected}"),
    };
    Error::new(ErrorKind::Conflict, what)
}

impl Tree {
    pub(super) fn new(handle: Arc<Handle>, state: Arc<TreeState>) -> Self {
        Self { handle, state }
    }

    pub(super) fn belongs_to(&self, handle: &Arc<Handle>) -> bool {
        Arc::ptr_eq(&self.handle, handle)
    }

    pub(super) fn state(&self) -> Arc<TreeState> {
        Arc::clone(&self.state)
    }

    pub(super) fn state_ref(&self) -> &Arc<TreeState> {
        &self.state
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// The tree's name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Runs a read: it counts only if the tree was not dropped under it.
    #[inline]
    pub(super) fn read<T>(&self, read: impl FnOnce(&Limb<'_>) -> Result<T>) -> Result<T> {
        self.engine().read(&self.state, read)
    }

    /// The value of `key`. A key that could not be put (empty, or over 8,192 bytes) is not there.
    ///
    /// # Errors
    /// Io, Corrupt: its blob could not be read. NotFound: the tree was dropped. InvalidInput: the database was closed.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let found = self.read(|limb| limb.get(key.as_ref(), &mut value))?;
        Ok(found.map(|_| value))
    }

    /// The record of `key`.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn get_record(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let mut value = Vec::new();
        let found = self.read(|limb| limb.get(key.as_ref(), &mut value))?;
        Ok(found.map(|found| Record::new(value, found.version)))
    }

    /// Calls `read` with the value of `key`, without allocating. The value is a copy: `read` may take its time.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn get_with<T>(&self, key: impl AsRef<[u8]>, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        // Taken out while in use, so that `read` may call in here again.
        let mut value = VALUE.with(RefCell::take);
        let found = self.read(|limb| limb.get(key.as_ref(), &mut value));
        let outcome = found.map(|found| found.map(|_| read(&value)));
        VALUE.with(|kept| kept.replace(value));
        outcome
    }

    /// Whether there is a record of `key`.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.read(|limb| limb.version(key.as_ref()))?.is_some())
    }

    /// The record with the longest key that `key` starts with (`key` itself included), and that key. One descent of the tree,
    /// and a step for each other leaf blob that would hold one of the prefixes longer than that: none if it lies in the first, a few
    /// where none is there. The answer is one that held at one moment, unless these are over a quarter of the blobs that the cache
    /// holds: then each so many were read at one moment, the longer prefixes first.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn longest_prefix(&self, key: impl AsRef<[u8]>) -> Result<Option<(Vec<u8>, Record)>> {
        let key = key.as_ref();
        let mut value = Vec::new();
        let found = self.read(|limb| limb.longest_prefix(key, &mut value))?;
        Ok(found.map(|(len, found)| (key[..len].to_vec(), Record::new(value, found.version))))
    }

    fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        condition: Condition,
        want_old: bool,
        options: WriteOptions,
    ) -> Result<Outcome> {
        self.engine().put(&self.state, key, value, condition, want_old, options.durability)
    }

    /// Puts a record, replacing what is there. Returns its version.
    ///
    /// # Errors
    /// InvalidInput: key or value out of their limits, or a closed database. NoSpace, ReadOnly. NotFound: the tree was dropped.
    /// Nothing is changed then. Io, Poisoned: the commit may survive a reopen.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Version> {
        self.put_with(key, value, WriteOptions::new())
    }

    /// As [`put`](Self::put), with options of its own.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Version> {
        let key = key.as_ref();
        match self.put_if(key, value.as_ref(), Condition::Any, false, options)? {
            Outcome::Done { sequence, .. } => Ok(sequence),
            Outcome::Unmet(there) => Err(conflict(key, there, "an unconditional put was refused")),
        }
    }

    /// As [`put`](Self::put), without waiting until it is durable: see [`Ticket`]. It may wait for what a put waits for besides:
    /// a blob to be read, space, a journal that has grown over its limit.
    ///
    /// # Errors
    /// Those of [`put`](Self::put); an Io of the sync is for the ticket.
    pub fn put_async(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ticket> {
        self.put_async_with(key, value, WriteOptions::new())
    }

    /// As [`put_async`](Self::put_async), with options of its own.
    ///
    /// # Errors
    /// Those of [`put_async`](Self::put_async).
    pub fn put_async_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Ticket> {
        let unwaited = WriteOptions { durability: self.engine().unwaited(options.durability) };
        let version = self.put_with(key, value, unwaited)?;
        Ticket::new(&self.handle, version, options)
    }

    /// Puts a record if there is none of `key`; says whether it did.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn put_if_absent(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        let outcome =
            self.put_if(key.as_ref(), value.as_ref(), Condition::Absent, false, WriteOptions::new())?;
        Ok(matches!(outcome, Outcome::Done { .. }))
    }

    /// Replaces the record of `key` if it has this version. Returns the new version.
    ///
    /// # Errors
    /// Conflict: it has another version, or is not there. Those of [`put`](Self::put).
    pub fn compare_and_put(
        &self,
        key: impl AsRef<[u8]>,
        version: Version,
        value: impl AsRef<[u8]>,
    ) -> Result<Version> {
        let key = key.as_ref();
        match self.put_if(key, value.as_ref(), Condition::Version(version), false, WriteOptions::new())? {
            Outcome::Done { sequence, .. } => Ok(sequence),
            Outcome::Unmet(there) => Err(conflict(key, there, &format!("version {version} was expected"))),
        }
    }

    /// Puts a record and returns the one that was there.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let outcome = self.put_if(key.as_ref(), value.as_ref(), Condition::Any, true, WriteOptions::new())?;
        Ok(old_record(outcome))
    }

    fn delete_if(
        &self,
        key: &[u8],
        condition: Condition,
        want_old: bool,
        options: WriteOptions,
    ) -> Result<Outcome> {
        self.engine().delete(&self.state, key, condition, want_old, options.durability)
    }

    /// Deletes the record of `key`; says whether there was one.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, WriteOptions::new())
    }

    /// As [`delete`](Self::delete), with options of its own.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<bool> {
        let outcome = self.delete_if(key.as_ref(), Condition::Any, false, options)?;
        Ok(matches!(outcome, Outcome::Done { .. }))
    }

    /// As [`delete`](Self::delete), without waiting until it is durable: see [`Ticket`]. None: there was no record.
    ///
    /// # Errors
    /// Those of [`put`](Self::put); an Io of the sync is for the ticket.
    pub fn delete_async(&self, key: impl AsRef<[u8]>) -> Result<Option<Ticket>> {
        self.delete_async_with(key, WriteOptions::new())
    }

    /// As [`delete_async`](Self::delete_async), with options of its own.
    ///
    /// # Errors
    /// Those of [`delete_async`](Self::delete_async).
    pub fn delete_async_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<Option<Ticket>> {
        let unwaited = WriteOptions { durability: self.engine().unwaited(options.durability) };
        match self.delete_if(key.as_ref(), Condition::Any, false, unwaited)? {
            Outcome::Done { sequence, .. } => Ticket::new(&self.handle, sequence, options).map(Some),
            Outcome::Unmet(_) => Ok(None),
        }
    }

    /// Deletes the record of `key` and returns it.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let outcome = self.delete_if(key.as_ref(), Condition::Any, true, WriteOptions::new())?;
        Ok(old_record(outcome))
    }

    /// Deletes the record of `key` if it has this version. False: there is no record.
    ///
    /// # Errors
    /// Conflict: it has another version. Those of [`put`](Self::put).
    pub fn delete_if_version(&self, key: impl AsRef<[u8]>, version: Version) -> Result<bool> {
        let key = key.as_ref();
        match self.delete_if(key, Condition::Version(version), false, WriteOptions::new())? {
            Outcome::Done { .. } => Ok(true),
            Outcome::Unmet(None) => Ok(false),
            Outcome::Unmet(there) => Err(conflict(key, there, &format!("version {version} was expected"))),
        }
    }

    /// Moves the record of `src` to `dst`: one commit, all or nothing; [`rename_prefix`](Self::rename_prefix) moves a directory. Returns its version, which the record then has.
    ///
    /// # Errors
    /// NotFound: there is no record of `src`. Exists: there is one of `dst` and `if_exists` is Fail. Those of
    /// [`put`](Self::put).
    pub fn rename(
        &self,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<Version> {
        let replace = if_exists == IfExists::Replace;
        self.engine().rename(&self.state, src.as_ref(), dst.as_ref(), replace, None)
    }

    fn commit(&self, change: Change) -> Result<Version> {
        let plan = Plan { changes: vec![change], ..Plan::default() };
        self.engine().commit(&plan, None)
    }

    /// Moves a directory: every key that starts with `src` starts with `dst` instead, with the same rest, value and version.
    /// One commit, all or nothing, for readers and across crashes. Returns its version.
    ///
    /// Prefixes are bytes, and end where they end: to move the directory `a`, say `a/`, or `ab` goes along. With
    /// [`IfExists::Replace`] everything that starts with `dst` is deleted; nothing is merged. `src` and `dst` the same: nothing
    /// is done, and the last version is returned.
    ///
    /// O(height of the tree), however many keys move: a handful of blobs is cut and relinked, and one journal record of under
    /// 200 bytes and the two prefixes is written. Other commits wait for microseconds; what was replaced is freed later. Only if
    /// the blobs say that a key may become too long, those that say so are read first.
    ///
    /// To commit it with other changes, or with another durability, use [`Db::batch_with`](crate::Db::batch_with).
    ///
    /// # Errors
    /// NotFound: no key starts with `src`, or the tree was dropped. Exists: keys start with `dst` and `if_exists` is Fail.
    /// InvalidInput: a prefix is empty or over 8,192 bytes; one starts with the other; a key would be over 8,192 bytes; a
    /// closed database. NoSpace, ReadOnly, and an Io or Corrupt of a blob on the way. Nothing is changed then. Poisoned, or Io of
    /// the journal: the commit may survive a reopen.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// # use ramus::IfExists;
    /// let db = ramus::Db::in_memory()?;
    /// let tree = db.default_tree();
    /// tree.put("draft/a", "1")?;
    /// tree.put("draft/b/c", "2")?;
    /// tree.rename_prefix("draft/", "final/2024/", IfExists::Fail)?;
    /// assert_eq!(tree.get("final/2024/b/c")?.as_deref(), Some(&b"2"[..]));
    /// assert_eq!(tree.count_prefix("draft/")?.keys, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rename_prefix(
        &self,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<Version> {
        self.rename_prefix_to(self, src, dst, if_exists)
    }

    /// As [`rename_prefix`](Self::rename_prefix), into another tree of the database (or the same).
    ///
    /// # Errors
    /// InvalidInput: the other tree is of another database. Those of [`rename_prefix`](Self::rename_prefix).
    pub fn rename_prefix_to(
        &self,
        other: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<Version> {
        if !other.belongs_to(&self.handle) {
            let names = (self.name(), other.name());
            let what = format_args!("trees {:?} and {:?} are of different databases", names.0, names.1);
            return Err(Error::invalid(what));
        }
        self.commit(Change::RenamePrefix {
            tree: self.state(),
            src: src.as_ref().to_vec(),
            dst_tree: other.state(),
            dst: dst.as_ref().to_vec(),
            replace: if_exists == IfExists::Replace,
        })
    }

    /// Deletes every record whose key starts with `prefix`; an empty one empties the tree. One commit, all or nothing. Returns its
    /// version; if there is nothing to delete, the last one.
    ///
    /// O(height of the tree), however many records go. Their blobs are freed later, in steps: by the background thread, or, where
    /// there is none, by later calls like this one, compaction, or the next open.
    ///
    /// # Errors
    /// InvalidInput: the prefix is over 8,192 bytes, or a closed database. NotFound: the tree was dropped. NoSpace, ReadOnly, and an
    /// Io or Corrupt of a blob on the way. Nothing is changed then. Poisoned, or Io of the journal: the commit may survive a reopen.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Version> {
        self.commit(Change::DeletePrefix { tree: self.state(), prefix: prefix.as_ref().to_vec() })
    }

    /// Deletes every record whose key is in `range`. Otherwise as [`delete_prefix`](Self::delete_prefix).
    ///
    /// # Errors
    /// InvalidInput: the range is inverted (start above end). Those of [`delete_prefix`](Self::delete_prefix), but that the ends may
    /// be of any length.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Version> {
        match within_limit(bounds(range)?) {
            Some((low, high)) => self.commit(Change::DeleteRange { tree: self.state(), low, high }),
            // No key can be in it: only whether the database may be written to is asked.
            None => self.engine().commit(&Plan::default(), None),
        }
    }

    /// Counts the records whose keys start with `prefix`, and their bytes; an empty prefix counts all.
    ///
    /// Mostly from the headers of leaf blobs, some 375 records each: O(blobs under the prefix). Each blob counts as it was at
    /// one moment, so changes made meanwhile may or may not show.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn count_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<PrefixStats> {
        let prefix = prefix.as_ref();
        let counted = self.read(|limb| limb.count(prefix, successor(prefix).as_deref()))?;
        let Counted { keys, key_bytes, value_bytes } = counted;
        Ok(PrefixStats { keys, key_bytes, value_bytes })
    }

    /// Lists the records with keys in `range`, in order.
    ///
    /// An inverted range (start above end) is InvalidInput, reported by the first item.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan {
        Scan::range(self.clone(), range)
    }

    /// Lists the records whose keys start with `prefix`, in order. An empty prefix lists all.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::prefix(self.clone(), prefix.as_ref())
    }

    /// Lists all records in order.
    pub fn iter(&self) -> Scan {
        self.prefix(b"")
    }
}

fn old_record(outcome: Outcome) -> Option<Record> {
    match outcome {
        Outcome::Done { old: Some((version, value)), .. } => Some(Record::new(value, version)),
        _ => None,
    }
}
