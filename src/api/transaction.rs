//! Transactions.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use super::bounds::{bounds, within_limit};
use super::scan::options;
use super::{Entry, EntryRef, Handle, IfExists, PrefixStats, Record, Tree, Version, WriteOptions};
use crate::engine::{self, Item, Listing, TreeState, ViewScan};
use crate::error::{Error, Result};
use crate::tree::{Counted, successor};

/// Reads and changes that take effect together, as if nobody else had been there; see
/// [`Db::transaction`](crate::Db::transaction).
///
/// Reads see the transaction's own changes; nobody else does before [`commit`](Self::commit). It locks nothing: others go on,
/// however long it lives. In exchange the commit fails with Conflict if anything that was read (a record, that there is none, what
/// a range holds, a count) does not read the same any more. Until then two reads may be of different instants: only a commit that
/// succeeds says that they were true together.
///
/// A listing counts as read as far as it was taken. Puts, deletes, and deletes of prefixes and ranges read nothing; renames read
/// what their answers depend on.
///
/// Memory: keys and values of the changes twice; for each record read its key, for each page of up to 1,024 items listed its bounds.
///
/// Dropping a transaction gives it up, as [`rollback`](Self::rollback) does.
pub struct Transaction {
    handle: Arc<Handle>,
    inner: engine::Transaction,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        let inner = engine::Transaction::new(Arc::clone(&handle.engine));
        Self { handle, inner }
    }

    fn state<'t>(&self, tree: &'t Tree) -> Result<&'t Arc<TreeState>> {
        if !tree.belongs_to(&self.handle) {
            let what =
                format_args!("tree {:?} belongs to another database than the transaction", tree.name());
            return Err(Error::invalid(what));
        }
        Ok(tree.state_ref())
    }

    /// The value of `key`. A key that could not be put (empty, or over 8,192 bytes) is not there.
    ///
    /// # Errors
    /// Conflict: the transaction has read the record before, and it was another one. InvalidInput: a tree of another database, a
    /// database that was closed. NotFound: the tree was dropped. Io, Corrupt: its blob could not be read.
    pub fn get(&self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let found = self.inner.get(self.state(tree)?, key.as_ref(), &mut value)?;
        Ok(found.map(|_| value))
    }

    /// The record of `key`. One that the transaction has put or renamed has version 0: its commit is still to come.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn get_record(&self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let mut value = Vec::new();
        let found = self.inner.get(self.state(tree)?, key.as_ref(), &mut value)?;
        Ok(found.map(|version| Record::new(value, version)))
    }

    /// Whether there is a record of `key`. Only that is validated: a record that is put over another one is no conflict.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn contains(&self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<bool> {
        self.inner.contains(self.state(tree)?, key.as_ref())
    }

    /// Counts the records whose keys start with `prefix`, and their bytes: as [`Tree::count_prefix`], and a read of each record there
    /// that the transaction has written over. The sums are validated.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub fn count_prefix(&self, tree: &Tree, prefix: impl AsRef<[u8]>) -> Result<PrefixStats> {
        let Counted { keys, key_bytes, value_bytes } =
            self.inner.count(self.state(tree)?, prefix.as_ref())?;
        Ok(PrefixStats { keys, key_bytes, value_bytes })
    }

    /// Lists the records with keys in `range`, in order.
    ///
    /// An inverted range (start above end) is InvalidInput, reported by the first item.
    pub fn range<K: AsRef<[u8]>>(&self, tree: &Tree, range: impl RangeBounds<K>) -> TransactionScan<'_> {
        self.list(tree, bounds(range).map(|(low, high)| Listing::new(low, high, 0)))
    }

    /// Lists the records whose keys start with `prefix`, in order. An empty prefix lists all.
    pub fn prefix(&self, tree: &Tree, prefix: impl AsRef<[u8]>) -> TransactionScan<'_> {
        let prefix = prefix.as_ref();
        self.list(tree, Ok(Listing::new(prefix.to_vec(), successor(prefix), prefix.len())))
    }

    fn list(&self, tree: &Tree, listing: Result<Listing>) -> TransactionScan<'_> {
        let (listing, error) = match self.state(tree).and(listing) {
            Ok(listing) => (listing, None),
            Err(error) => (Listing::new(Vec::new(), None, 0), Some(error)),
        };
        TransactionScan {
            scan: self.inner.list(tree.state_ref(), listing),
            error,
            is_over: false,
            item: None,
        }
    }

    /// Puts a record.
    ///
    /// # Errors
    /// InvalidInput: key or value out of their limits, a tree of another database, changes of over 16 MiB in all. The transaction is as
    /// before then.
    pub fn put(&mut self, tree: &Tree, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let tree = self.state(tree)?;
        self.inner.put(tree, key.as_ref(), value.as_ref())
    }

    /// Deletes a record if it is there.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn delete(&mut self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<()> {
        let tree = self.state(tree)?;
        self.inner.delete(tree, key.as_ref())
    }

    /// Moves a record to another key.
    ///
    /// # Errors
    /// NotFound: there is no record of `src`. Exists: there is one of `dst` and `if_exists` is Fail. Both are validated by the commit.
    /// Those of [`put`](Self::put) and [`get`](Self::get).
    pub fn rename(
        &mut self,
        tree: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<()> {
        let tree = self.state(tree)?;
        self.inner.rename(tree, src.as_ref(), dst.as_ref(), if_exists == IfExists::Replace)
    }

    /// Moves every key that starts with `src` to `dst`: see [`Tree::rename_prefix`]. Reads nothing of what moves, but whether there is
    /// any. That a key would become too long is only found by the commit.
    ///
    /// # Errors
    /// NotFound: no key starts with `src`. Exists: keys start with `dst` and `if_exists` is Fail. Both are validated by the commit.
    /// InvalidInput: a prefix is empty or too long, one starts with the other. Those of [`put`](Self::put) and [`get`](Self::get).
    pub fn rename_prefix(
        &mut self,
        tree: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<()> {
        self.rename_prefix_to(tree, tree, src, dst, if_exists)
    }

    /// As [`rename_prefix`](Self::rename_prefix), from one tree to another.
    ///
    /// # Errors
    /// Those of [`rename_prefix`](Self::rename_prefix).
    pub fn rename_prefix_to(
        &mut self,
        tree: &Tree,
        other: &Tree,
        src: impl AsRef<[u8]>,
        dst: impl AsRef<[u8]>,
        if_exists: IfExists,
    ) -> Result<()> {
        let (tree, other) = (self.state(tree)?, self.state(other)?);
        let replace = if_exists == IfExists::Replace;
        self.inner.rename_prefix((tree, src.as_ref()), (other, dst.as_ref()), replace)
    }

    /// Deletes every record whose key starts with `prefix`: see [`Tree::delete_prefix`].
    ///
    /// # Errors
    /// InvalidInput: the prefix is over 8,192 bytes. Those of [`put`](Self::put).
    pub fn delete_prefix(&mut self, tree: &Tree, prefix: impl AsRef<[u8]>) -> Result<()> {
        let tree = self.state(tree)?;
        self.inner.delete_prefix(tree, prefix.as_ref())
    }

    /// Deletes every record whose key is in `range`: see [`Tree::delete_range`].
    ///
    /// # Errors
    /// InvalidInput: the range is inverted. Those of [`put`](Self::put).
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, tree: &Tree, range: impl RangeBounds<K>) -> Result<()> {
        let tree = self.state(tree)?;
        match within_limit(bounds(range)?) {
            Some((low, high)) => self.inner.delete_range(tree, low, high),
            None => Ok(()),
        }
    }

    /// Commits: everything that was read reads the same, and all changes take effect, at one instant; in one journal record, all
    /// or nothing across crashes. Returns the version that all put and renamed records have; commits are serializable in the order of
    /// their versions. One without changes returns the version of the last commit, and says that all it read was of one instant.
    ///
    /// It latches the leaf blobs (64 KiB each) of its changes and its reads. One that moves or deletes directories, or whose reads
    /// lie in more than 64 leaf blobs beside those of its changes, keeps all other commits waiting while it compares what it read and
    /// is carried out: the time that the same reads took, from memory.
    ///
    /// # Errors
    /// Conflict: something does not read the same; the message names the key, or the range. InvalidInput: the changes touch more
    /// leaf blobs than a quarter of the cache holds, or would make a key over 8,192 bytes. NotFound: a dropped tree. NoSpace,
    /// ReadOnly; Io or Corrupt of a blob. Nothing is changed then. Poisoned, or Io of the journal: it may survive a reopen.
    pub fn commit(self) -> Result<Version> {
        self.commit_with(WriteOptions::new())
    }

    /// As [`commit`](Self::commit), with options of its own.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit).
    pub fn commit_with(self, options: WriteOptions) -> Result<Version> {
        self.inner.commit(options.durability)
    }

    /// Gives the transaction up: nothing happens.
    pub fn rollback(self) {}

    /// Gives the changes up. Conflict if what was read does not read the same.
    pub(super) fn validate(self) -> Result<()> {
        self.inner.validate()
    }
}

/// A listing of a [`Transaction`]: first its options are set, then it is an iterator of `Result<Entry>`, or lends its items one
/// by one by [`next_entry`](Self::next_entry).
///
/// It lists as [`Scan`](crate::Scan) does, with the transaction's own changes in it; their records have version 0. What was
/// taken from it is validated by the commit: that these items are there, and no others between them. What a limit
/// or the caller left untaken is not.
///
/// # Errors
/// InvalidInput: an inverted range, a tree of another database. Those of [`Transaction::get`]. After an error the listing ends.
///
/// ```
/// # fn main() -> ramus::Result<()> {
/// let db = ramus::Db::in_memory()?;
/// let tree = db.default_tree();
/// tree.put("jobs/7", "print")?;
/// // Takes the first job, and nobody else does.
/// let mut transaction = db.transaction();
/// let first = transaction.prefix(&tree, "jobs/").limit(1).next().transpose()?;
/// if let Some(job) = first {
///     transaction.delete(&tree, job.key())?;
/// }
/// transaction.commit()?;
/// assert_eq!(tree.count_prefix("jobs/")?.keys, 0);
/// # Ok(())
/// # }
/// ```
pub struct TransactionScan<'t> {
    scan: ViewScan<'t>,
    error: Option<Error>,
    is_over: bool,
    /// What is lent.
    item: Option<Entry>,
}

impl TransactionScan<'_> {
    fn listing(&mut self) -> &mut Listing {
        self.scan.listing()
    }

    options!();

    /// The next item, lent until the next step. None: the listing is over.
    ///
    /// # Errors
    /// Those of the listing, which is over then.
    pub fn next_entry(&mut self) -> Result<Option<EntryRef<'_>>> {
        self.item = self.next().transpose()?;
        Ok(self.item.as_ref().map(Entry::as_entry_ref))
    }
}

impl Iterator for TransactionScan<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let outcome = match self.error.take() {
            Some(error) => Err(error),
            None => self.scan.step(),
        };
        self.is_over = !matches!(outcome, Ok(Some(_)));
        outcome.transpose().map(|item| {
            item.map(|Item { key, value, version, rolled }| match rolled {
                true => Entry::CommonPrefix(key),
                false => Entry::Record { key, value, version },
            })
        })
    }
}

impl std::iter::FusedIterator for TransactionScan<'_> {}
