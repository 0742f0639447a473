//! Orchestration: what ties tree, buffer, journal and store together into one database.
//!
//! Order in which things are taken, outermost first: the checkpoint's turn, the gate, the catalog's lock, latches from
//! root to leaf, the journal's tail. Journal space and memory are reserved before the gate is entered; waiting for
//! durability and all I/O happen after it is left.
//!
//! Invariants:
//! - E1 A change is applied under the latches of all blobs it touches, after its record has its place in the journal and
//!   before those latches are released: journal order is conflict order.
//! - E2 What the cut of a checkpoint holds is exactly the state at one sequence: blobs, page table, catalog.
//! - E3 After a failure or a panic between a record's append and the end of its application, or between a cut and its
//!   superblock, the journal is poisoned: nothing more is acknowledged.

mod background;
mod batch;
mod bulk;
mod catalog;
mod check;
mod checkpoint;
mod commit;
mod compact;
mod exclusive;
#[cfg(test)]
mod exclusive_tests;
mod latched;
mod listing;
mod mend;
#[cfg(test)]
mod mend_tests;
#[cfg(test)]
mod mount_tests;
mod plan;
mod reads;
mod recovery;
mod rename;
#[cfg(test)]
mod rename_tests;
mod replay;
mod segment;
mod space;
mod ticket;
mod transaction;
mod trees;
mod unmount;
mod validate;

pub(crate) use bulk::Bulk;
pub(crate) use catalog::TreeState;
pub use check::CheckReport;
pub(crate) use commit::{Condition, Outcome};
pub(crate) use listing::Listing;
pub(crate) use plan::{Change, Expectation, Plan};
pub(crate) use transaction::{Item, Transaction, ViewScan};
pub(crate) use trees::DEFAULT_TREE;

use std::sync::Arc;

pub use crate::buffer::Waits;
use crate::buffer::{Buffer, BufferStats, Gate, GateStats};
use crate::error::{Error, ErrorKind, Result};
use crate::io::StorageLock;
pub(crate) use crate::journal::Ask;
use crate::journal::{Durability, Journal};
use crate::store::{Store, StoreStats};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::tree::Limb;
use catalog::Catalog;
use mend::Mends;

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cache_bytes: u64,
    pub(crate) durability: Durability,
    pub(crate) journal_bytes: u64,
    pub(crate) background: bool,
    pub(crate) recovery: crate::journal::Recovery,
    pub(crate) read_only: bool,
    pub(crate) flush_on_drop: bool,
}

/// One open database. Shared by all handles and the background thread.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    store: Arc<Store>,
    buffer: Buffer,
    gate: Gate,
    /// None: opened read-only.
    journal: Option<Journal>,
    catalog: Mutex<Arc<Catalog>>,
    /// The one checkpoint, compaction or close under way.
    turn: Mutex<Turn>,
    closed: AtomicBool,
    lock: Mutex<Option<Box<dyn StorageLock>>>,
    wake: Mutex<Wake>,
    woken: Condvar,
    /// Where cuts left sparse blobs.
    mends: Mutex<Mends>,
    reshapes: check::Reshapes,
    /// What writers are to pause for and have not yet.
    owed_nanos: AtomicU64,
    checkpoints: AtomicU64,
    /// Blobs freed from the reclaim list.
    reclaimed: AtomicU64,
    /// Journal memory that the buffer's budget was charged with.
    charged: AtomicU64,
    pub(crate) recovered: Recovered,
}

/// What the open found in the journal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recovered {
    pub(crate) records: u64,
    pub(crate) discarded_bytes: u64,
}

/// State of the checkpointer.
#[derive(Debug, Default)]
struct Turn {
    /// The sequence of the last checkpoint, and whether its superblock says that nothing above was handed out.
    sequence: u64,
    sealed: bool,
    /// A cut that found the device full.
    open: Option<checkpoint::OpenCut>,
    /// By so many units the data file is longer than it has to be, and moving blobs did not help.
    stuck: u64,
}

/// What the background thread is asked for, and what writers wait for.
#[derive(Debug, Default)]
struct Wake {
    checkpoint: bool,
    /// There may be limbs to reclaim.
    reclaim: bool,
    /// There are many places to mend.
    mend: bool,
    stop: bool,
    /// How often it was paused and not resumed.
    paused: u32,
    /// It is at work.
    busy: bool,
    /// Checkpoints tried so far, and how the last one failed.
    tried: u64,
    failed: Option<Error>,
}

impl Engine {
    pub(crate) fn limb<'e>(&'e self, tree: &'e TreeState) -> Limb<'e> {
        Limb::new(&self.buffer, tree.root()).of(tree.life(), &self.gate)
    }

    /// Runs a read: it counts only if the tree was not dropped under it.
    #[inline]
    pub(crate) fn read<T>(&self, tree: &TreeState, read: impl FnOnce(&Limb<'_>) -> Result<T>) -> Result<T> {
        self.check_open()?;
        let outcome = read(&self.limb(tree));
        tree.check_alive()?;
        outcome
    }

    /// The journal, or why there is none to write to.
    fn journal(&self) -> Result<&Journal> {
        self.journal
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::ReadOnly, "the database was opened read-only"))
    }

    /// An error once the database was closed.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::invalid("the database was closed through another handle"));
        }
        Ok(())
    }

    /// Most leaf blobs that one batch may touch: they are all in memory and latched at once.
    fn batch_blobs_max(&self) -> usize {
        self.buffer.at_once_max()
    }

    /// Makes all commits so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_open()?;
        match &self.journal {
            Some(journal) => journal.sync(),
            None => Ok(()),
        }
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        match &self.journal {
            Some(journal) => journal.last_sequence(),
            None => self.turn.lock().sequence,
        }
    }

    /// The numbers of all layers. Reads nothing.
    pub(crate) fn stats(&self) -> EngineStats {
        EngineStats {
            buffer: self.buffer.stats(),
            gate: self.gate.stats(),
            store: self.store.stats(),
            journal_bytes: self.journal.as_ref().map_or(0, Journal::file_bytes),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            reclaimed: self.reclaimed.load(Ordering::Relaxed),
            recovered: self.recovered,
            last_version: self.last_sequence(),
            cache_bytes: self.settings.cache_bytes,
            charged: self.charged.load(Ordering::Relaxed),
        }
    }
}

/// The numbers of all layers.
pub(crate) struct EngineStats {
    pub(crate) buffer: BufferStats,
    pub(crate) gate: GateStats,
    pub(crate) store: StoreStats,
    pub(crate) journal_bytes: u64,
    pub(crate) checkpoints: u64,
    pub(crate) reclaimed: u64,
    pub(crate) recovered: Recovered,
    pub(crate) last_version: u64,
    pub(crate) cache_bytes: u64,
    /// Journal memory counted against the cache.
    pub(crate) charged: u64,
}
