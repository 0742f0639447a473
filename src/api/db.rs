//! The database handle.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::{Batch, BatchOutcome, Handle, Options, Stats, Ticket, Tree, Version, WriteOptions};
use crate::engine::{CheckReport, DEFAULT_TREE, Engine, Plan};
use crate::error::Result;
use crate::io::MemoryStorage;

/// An open database. Clones share it; it ends when the last handle (trees and listings included) is dropped.
#[derive(Clone)]
pub struct Db {
    handle: Arc<Handle>,
    default_tree: Tree,
}

impl fmt::Debug for Db {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Db").field("trees", &self.tree_names()).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database in the directory `path` with default [`Options`], making it if it does not exist.
    ///
    /// # Errors
    /// See [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    /// A new database in memory, gone with its last handle.
    ///
    /// # Errors
    /// None but those of a system out of memory.
    pub fn in_memory() -> Result<Self> {
        Options::new().storage(Arc::new(MemoryStorage::new())).open("")
    }

    pub(super) fn start(engine: Arc<Engine>) -> Result<Self> {
        let default = engine.find_tree(DEFAULT_TREE)?;
        let threads = match engine.settings.background && !engine.settings.read_only {
            true => engine.start_background()?,
            false => Vec::new(),
        };
        let handle = Arc::new(Handle::new(engine, threads));
        let default_tree = Tree::new(Arc::clone(&handle), default);
        Ok(Self { handle, default_tree })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.handle.engine
    }

    /// Opens the tree `name` (1 to 255 bytes), making it if it does not exist.
    ///
    /// # Errors
    /// InvalidInput: the name, too many trees, or a closed database. Where it has to be made: ReadOnly, NoSpace, Io, Poisoned.
    pub fn tree(&self, name: &str) -> Result<Tree> {
        let state = self.engine().open_tree(name)?;
        Ok(Tree::new(Arc::clone(&self.handle), state))
    }

    /// Opens the tree `name` if it exists.
    ///
    /// # Errors
    /// NotFound: there is no such tree. InvalidInput: the name, or a closed database.
    pub fn existing_tree(&self, name: &str) -> Result<Tree> {
        let state = self.engine().find_tree(name)?;
        Ok(Tree::new(Arc::clone(&self.handle), state))
    }

    /// The tree named `default`, which every database has.
    pub fn default_tree(&self) -> Tree {
        self.default_tree.clone()
    }

    /// Drops a tree with all its records, atomically; then frees its blobs in steps, without reading the leaves: O(blobs).
    /// What cannot be freed now is freed by the next compaction or open. Other handles of the tree answer NotFound from then on.
    ///
    /// # Errors
    /// NotFound: there is no such tree. InvalidInput: the default tree. ReadOnly, NoSpace, Io, Poisoned.
    pub fn drop_tree(&self, name: &str) -> Result<()> {
        self.engine().drop_tree(name)
    }

    /// The names of all trees, in order.
    pub fn tree_names(&self) -> Vec<String> {
        self.engine().tree_names()
    }

    /// Commits what `fill` puts into the batch: all or nothing, for readers and across crashes, in one journal record.
    /// Returns the version that all its records have. Later changes see earlier ones; expectations are checked against the
    /// state before the first. If `fill` returns an error, nothing is committed and the error is returned.
    ///
    /// # Errors
    /// Conflict: an expectation does not hold. NotFound: the source of a rename, or a dropped tree. Exists: the target of a rename.
    /// InvalidInput: a key, prefix or value over its limit, a move of a directory into itself, an inverted range, a tree of another database, a batch of over 16 MiB, or one that reads or
    /// changes more leaf blobs (64 KiB each; an expected-empty prefix counts those its range meets) than a quarter of the
    /// cache holds. NoSpace, ReadOnly. Nothing is changed then. Io, Poisoned: it may survive a reopen.
    ///
    /// O(changes × height of the tree). A batch without changes returns the last version, and so does one that only deletes
    /// prefixes and ranges in which there is nothing.
    ///
    /// A batch that moves or deletes directories runs alone: other commits wait while it is carried out. The keys that it
    /// moves keep their versions.
    ///
    /// ```
    /// # fn main() -> ramus::Result<()> {
    /// let db = ramus::Db::in_memory()?;
    /// let tree = db.default_tree();
    /// db.batch(|b| {
    ///     b.expect_absent(&tree, b"src/lib.rs");
    ///     b.put(&tree, b"src/lib.rs", b"inode 7");
    ///     b.put(&tree, b"src", b"directory");
    /// })?;
    /// assert!(tree.contains(b"src")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch<R: BatchOutcome>(&self, fill: impl FnOnce(&mut Batch) -> R) -> Result<Version> {
        self.batch_with(WriteOptions::new(), fill)
    }

    /// As [`batch`](Self::batch), with options of its own.
    ///
    /// # Errors
    /// Those of [`batch`](Self::batch).
    pub fn batch_with<R: BatchOutcome>(
        &self,
        options: WriteOptions,
        fill: impl FnOnce(&mut Batch) -> R,
    ) -> Result<Version> {
        let plan = self.plan(fill)?;
        self.engine().commit(&plan, options.durability)
    }

    fn plan<R: BatchOutcome>(&self, fill: impl FnOnce(&mut Batch) -> R) -> Result<Plan> {
        let mut batch = Batch::new(Arc::clone(&self.handle));
        fill(&mut batch).into_result()?;
        batch.into_plan()
    }

    /// As [`batch`](Self::batch), without waiting until it is durable: see [`Ticket`].
    ///
    /// # Errors
    /// Those of [`batch`](Self::batch); an Io of the sync is for the ticket.
    pub fn batch_async<R: BatchOutcome>(&self, fill: impl FnOnce(&mut Batch) -> R) -> Result<Ticket> {
        self.batch_async_with(WriteOptions::new(), fill)
    }

    /// As [`batch_async`](Self::batch_async), with options of its own.
    ///
    /// # Errors
    /// Those of [`batch_async`](Self::batch_async).
    pub fn batch_async_with<R: BatchOutcome>(
        &self,
        options: WriteOptions,
        fill: impl FnOnce(&mut Batch) -> R,
    ) -> Result<Ticket> {
        let plan = self.plan(fill)?;
        let version = self.engine().commit(&plan, self.engine().unwaited(options.durability))?;
        Ticket::new(&self.handle, version, options)
    }

    /// Returns when all commits so far are on stable storage: those of all threads whose changes could be seen when it was called,
    /// whatever durability they were made with. Does nothing when opened read-only.
    ///
    /// # Errors
    /// Io, Poisoned.
    pub fn sync(&self) -> Result<()> {
        self.engine().sync()
    }

    /// Makes all commits so far durable in the data file and truncates the journal: O(changed blobs). Commits go on meanwhile.
    ///
    /// # Errors
    /// NoSpace, Io, Poisoned, ReadOnly.
    pub fn checkpoint(&self) -> Result<()> {
        self.engine().checkpoint()
    }

    /// Keeps the background thread from checkpoints, from freeing what was dropped and from putting moved directories back, until
    /// [`resume_background`](Self::resume_background) was called as often as this. Returns when it is through with what it was at, which
    /// may be a checkpoint. What callers ask for goes on ([`checkpoint`](Self::checkpoint), [`compact`](Self::compact), syncs),
    /// and so does the eviction of blobs.
    ///
    /// Commits are not slowed meanwhile. One that finds the journal at twice [`Options::journal_bytes`] makes a checkpoint itself, as
    /// in a database without [background threads](Options::background), where pauses change nothing.
    pub fn pause_background(&self) {
        self.engine().pause_background();
    }

    /// Takes one [`pause_background`](Self::pause_background) back. Without one it does nothing.
    pub fn resume_background(&self) {
        self.engine().resume_background();
    }

    /// Ends the database for all its handles after a last checkpoint, and unlocks it. Later calls that can fail answer
    /// InvalidInput, but a second close is Ok.
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint); the database is ended all the same. On a full device its journal has all that
    /// was committed, else what was flushed.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }

    /// Frees garbage in the blobs, merges sparse ones, and makes the data file as short as its contents. O(size of the
    /// database); other threads go on.
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint).
    pub fn compact(&self) -> Result<()> {
        self.engine().compact()
    }

    /// Reads everything and verifies checksums, structure, order, counts, and, if nothing else is wrong and nobody commits
    /// meanwhile, that every blob is reached once or free. Where it may write it makes a checkpoint first. O(size of the database).
    ///
    /// # Errors
    /// Only what keeps the check from going on (NoSpace, Io, Poisoned of that checkpoint); damage is in the report.
    pub fn check(&self) -> Result<CheckReport> {
        self.engine().check()
    }

    /// Numbers about the database. Cheap: nothing is read.
    pub fn stats(&self) -> Stats {
        Stats::new(self.engine().stats())
    }

    /// As [`stats`](Self::stats), with the sums over all blobs. O(blobs): reads those that are not in memory.
    ///
    /// # Errors
    /// Io, Corrupt.
    pub fn survey(&self) -> Result<Stats> {
        let mut stats = self.stats();
        stats.add_survey(&self.engine().survey()?);
        Ok(stats)
    }
}
