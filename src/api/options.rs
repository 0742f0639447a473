//! How a database is opened, and how a single commit may differ.

use std::path::Path;
use std::sync::Arc;

use super::Db;
use crate::engine::{Engine, Settings};
use crate::error::{Error, Result};
use crate::io::{FileStorage, Storage};
use crate::journal::{Durability, Recovery};
use crate::limits::{CACHE_BYTES_DEFAULT, CACHE_BYTES_MIN, JOURNAL_BYTES_DEFAULT, JOURNAL_BYTES_MIN};

/// Options for opening a database.
///
/// ```
/// # fn main() -> ramus::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = ramus::Options::new().cache_bytes(64 << 20).open(dir.path().join("db"))?;
/// # db.close()
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    settings: Settings,
    storage: Option<Arc<dyn Storage>>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults: a cache of 1 GiB, [`Durability::Sync`], a journal of 256 MiB, a background checkpointer, strict
    /// recovery, a checkpoint when the last handle is dropped.
    pub fn new() -> Self {
        let settings = Settings {
            cache_bytes: CACHE_BYTES_DEFAULT,
            durability: Durability::Sync,
            journal_bytes: JOURNAL_BYTES_DEFAULT,
            background: true,
            recovery: Recovery::Strict,
            read_only: false,
            flush_on_drop: true,
        };
        Self { settings, storage: None }
    }

    /// Memory for blobs, copies made for a checkpoint, and journal buffers, in bytes; at least 4 MiB. Page table and state
    /// words come on top (40 to 56 bytes a blob) and are shown in [`Stats`](crate::Stats).
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.settings.cache_bytes = bytes;
        self
    }

    /// When a commit counts as done; a single one may differ ([`WriteOptions`]).
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Bytes of journal records that make a checkpoint due; at least 1 MiB. The file is longer, by what it grows ahead of use. With
    /// the background thread commits are slowed from there on and held at twice this size, so it bounds how long recovery takes.
    /// A checkpoint is also due when changed blobs and copies of them take over half of the cache.
    pub fn journal_bytes(mut self, bytes: u64) -> Self {
        self.settings.journal_bytes = bytes;
        self
    }

    /// Whether there are two background threads: one makes checkpoints and frees what was dropped, one writes and syncs what nobody
    /// waits for, in intervals or for [tickets](crate::Ticket), and makes space in the files ahead of need. Without them the
    /// commit that finds a checkpoint due makes it, a ticket is synced by who waits for it, and a sync interval has no effect.
    pub fn background(mut self, on: bool) -> Self {
        self.settings.background = on;
        self
    }

    /// What an open does about a damaged journal.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.settings.recovery = recovery;
        self
    }

    /// Opens for reading: any number of such opens share a database that no writer has open. A journal that needs replay
    /// is replayed in memory, which must fit the cache: the open fails with ReadOnly if it does not.
    pub fn read_only(mut self, on: bool) -> Self {
        self.settings.read_only = on;
        self
    }

    /// Whether dropping the last handle makes a checkpoint (the default). Without it the drop leaves only what had been
    /// flushed, as a crash would.
    pub fn flush_on_drop(mut self, on: bool) -> Self {
        self.settings.flush_on_drop = on;
        self
    }

    /// Where the files lie, instead of the directory named in [`open`](Self::open).
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Opens the database in the directory `path`, making it, with all its parents, if it does not exist. With
    /// [`storage`](Self::storage) the path is not used. O(blobs) for the page table, and a replay of the journal, for which there may be
    /// several threads unless [background threads](Self::background) are off. The checkpoint after a replay is made in the background,
    /// or when it is due; only where the crash came in the middle of a checkpoint or the journal is damaged it is made before the call returns.
    ///
    /// # Errors
    /// InvalidInput: an option out of range, or a directory that holds something else. Busy: open elsewhere. NotFound:
    /// nothing to read. Corrupt: damaged files. Unsupported: a newer format. ReadOnly: a read-only file system, or opened
    /// read-only with a journal that does not fit the cache. NoSpace, Io.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Db> {
        self.check()?;
        let path = path.as_ref();
        let storage: Arc<dyn Storage> = match &self.storage {
            Some(storage) => Arc::clone(storage),
            None => {
                let make = !self.settings.read_only;
                let storage = FileStorage::open_dir(path, make).map_err(|error| {
                    Error::io(format_args!("opening the directory {}", path.display()), error)
                })?;
                Arc::new(storage)
            }
        };
        Db::start(Engine::open(storage, self.settings.clone())?)
    }

    fn check(&self) -> Result<()> {
        let at_least = |what: &str, bytes: u64, min: u64| match bytes < min {
            true => {
                Err(Error::invalid(format_args!("{what} of {bytes} bytes is under the minimum of {min}")))
            }
            false => Ok(()),
        };
        at_least("a cache", self.settings.cache_bytes, CACHE_BYTES_MIN)?;
        at_least("a journal", self.settings.journal_bytes, JOURNAL_BYTES_MIN)
    }
}

/// How one commit differs from the database's options.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    pub(crate) durability: Option<Durability>,
}

impl WriteOptions {
    /// No difference.
    pub fn new() -> Self {
        Self::default()
    }

    /// When this commit counts as done.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}
