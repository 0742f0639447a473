//! Loading many records in the order of their keys.

use std::fmt;

use super::{Tree, WriteOptions};
use crate::engine::Bulk;
use crate::error::Result;

/// A load of sorted records into a tree, from [`Tree::bulk_loader`].
///
/// Records are collected until they fill a blob. Then they are committed together, all of one version: where the tree has no
/// other keys among them, as a blob built at one go; else one by one. So a load is a sequence of commits, in order: after an
/// error, or a crash, the first so many records are there, and a load of the same records from there on, or of all of them,
/// completes it. Records that are there are replaced.
///
/// What a batched commit hands to the operating system goes there in pieces of half a MiB at least until
/// [`finish`](Self::finish): a crash of the process may take the load's last records, up to so many bytes of them.
///
/// Others may read and write the tree meanwhile. Dropping the load drops the records that are not committed yet.
///
/// ```
/// # fn main() -> ramus::Result<()> {
/// # use ramus::WriteOptions;
/// let db = ramus::Db::in_memory()?;
/// let tree = db.default_tree();
/// let mut load = tree.bulk_loader(WriteOptions::new());
/// for inode in 0..10_000 {
///     load.push(format!("archive/{inode:06}"), "metadata")?;
/// }
/// assert_eq!(load.finish()?, 10_000);
/// assert_eq!(tree.count_prefix("archive/")?.keys, 10_000);
/// # Ok(())
/// # }
/// ```
pub struct BulkLoad {
    tree: Tree,
    bulk: Bulk,
}

impl fmt::Debug for BulkLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BulkLoad").field("committed", &self.committed()).finish_non_exhaustive()
    }
}

impl BulkLoad {
    /// Takes the next record. Mostly O(length of the key and value); with every blob that is full, the way down to its place.
    ///
    /// # Errors
    /// InvalidInput: the key is not above that of the record before, or key or value are over their limits. The record is not
    /// taken then, and the load can go on. Those of [`Tree::put`], when records are committed: those that were taken and are
    /// not committed are kept, and the next call tries again; the record is not taken.
    pub fn push(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.bulk.push(self.tree.engine(), key.as_ref(), value.as_ref())
    }

    /// Commits what was taken and is not committed. With [`Durability::Sync`](crate::Durability::Sync) it returns when all of
    /// the load is on stable storage; before that a crash may lose any of its last records. Returns how many records were
    /// loaded. The next record may have any key.
    ///
    /// # Errors
    /// Those of [`Tree::put`]; it may be called again.
    pub fn finish(&mut self) -> Result<u64> {
        self.bulk.finish(self.tree.engine())
    }

    /// How many records are committed: at least the first so many are in the tree.
    pub fn committed(&self) -> u64 {
        self.bulk.committed()
    }
}

impl Tree {
    /// Puts records that come sorted by key, each key once: at a fraction of what [`put`](Self::put) takes. Returns how many. See
    /// [`BulkLoad`] for what is atomic, which this uses.
    ///
    /// # Errors
    /// InvalidInput: a key is not above the one before, or a key or value over its limit; the message has the record's number. Those of
    /// [`put`](Self::put). Records before the error may be in the tree: the message says how many are for certain.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// let db = ramus::Db::in_memory()?;
    /// let loaded = db.default_tree().bulk_load([("a", "1"), ("b", "2"), ("b/c", "3")])?;
    /// assert_eq!(loaded, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bulk_load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        records: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        let mut load = self.bulk_loader(WriteOptions::new());
        for (key, value) in records {
            load.push(key, value)?;
        }
        load.finish()
    }

    /// The same, a record at a time.
    pub fn bulk_loader(&self, options: WriteOptions) -> BulkLoad {
        BulkLoad { tree: self.clone(), bulk: Bulk::new(self.engine(), self.state(), options.durability) }
    }
}
