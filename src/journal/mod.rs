//! The journal: every change, in commit order, before it is in the data file.
//!
//! Files: `journal.wal`, and `journal.next` while a checkpoint switches from one file to a fresh one.
//!
//! Invariants:
//! - J1 Sequences are contiguous: the first record of a file is its header's start plus one. Only a bridge, which an open writes
//!   behind what it has replayed, passes over some: those that may have been handed out and lost.
//! - J2 A file is zero-filled before use, so stale bytes never follow the last group; each file has its own salt.
//! - J3 Nothing is written into the second file before the first is synced to its last group, and no group into a file
//!   before its header is synced.
//! - J4 No sequence is handed out that is not below a durable mark, so none is issued again after a crash.
//! - J5 Space for a record lies allocated in the file before the record is appended.
//! - J6 After a failed write or sync nothing is written any more: the journal is poisoned until it is opened again.
//!
//! Called by commit, checkpoint and recovery.

#[cfg(all(test, loom))]
mod commit_models;
mod format;
mod puts;
mod reader;
mod record;
mod scan;
mod tail;
mod target;
#[cfg(test)]
mod tests;
mod varint;
mod window;
mod writer;

pub(crate) use puts::Puts;
pub(crate) use reader::{Outcome, is_switching, replay};
pub(crate) use record::{Kind, Op, Record};
pub(crate) use writer::{Ask, Journal, Position, Reservation};

use std::time::Duration;

/// Name of the journal.
const CURRENT_NAME: &str = "journal.wal";
/// Name of the second file during a checkpoint, and of a new journal until it is complete.
const NEXT_NAME: &str = "journal.next";

/// When a commit counts as done, and so what a crash can lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The call returns when its change is on stable storage. A crash loses no change whose call has returned.
    /// Threads that commit at the same time share one sync.
    Sync,
    /// The call returns without waiting for stable storage; one in some writes the buffer out. A crash of the process loses at most the changes that are not yet with the operating
    /// system; a power cut loses those since the last sync. What remains is a prefix of the commit order in both cases.
    Batched {
        /// Changes go to the operating system when this many bytes of them are buffered: at once where there are no [background
        /// threads](crate::Options::background), else soon, by one of them.
        bytes: usize,
        /// About how often a background thread syncs, at least a millisecond; it waits for no checkpoint. Only that of
        /// [`Options::durability`](crate::Options::durability) counts, not that of a single commit. None: only
        /// [`Db::sync`](crate::Db::sync) or a checkpoint puts changes on stable storage.
        interval: Option<Duration>,
    },
}

/// What an open does about a journal with bytes in it that are not what was written there.
///
/// A torn tail, which a crash leaves by rights, is not damage: it holds nothing that was acknowledged as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// The open fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), naming the file and offset.
    #[default]
    Strict,
    /// The journal ends at the damage: the changes before it are kept, those after it are lost.
    TruncateAtFirstError,
    /// Only damaged records are lost. The changes kept are not a prefix of the commit order.
    SkipDamaged,
}
