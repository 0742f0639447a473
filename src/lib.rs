//! Ramus: an embedded, durable, ordered map for path-shaped metadata.
//!
//! A [`Db`] holds named [`Tree`]s, each an ordered map from keys, which are full paths of any bytes, to small values. Every
//! record has a [`Version`], the commit that wrote it. Single changes go through [`Tree`], several at once through
//! [`Db::batch`], and what depends on what is there through [`Db::transact`]; a listing is a [`Scan`]. [`Options`] say how a database is opened, [`Durability`] when a commit counts as
//! done, [`Error::kind`] what to do about an error. Handles are cheap to clone and may be used from many threads.
//!
//! ```
//! # fn main() -> ramus::Result<()> {
//! let db = ramus::Db::in_memory()?;
//! let tree = db.default_tree();
//! let version = tree.put("usr/bin/ls", "inode 7")?;
//! tree.compare_and_put("usr/bin/ls", version, "inode 8")?;
//! assert_eq!(tree.get("usr/bin/ls")?.as_deref(), Some(&b"inode 8"[..]));
//! # Ok(())
//! # }
//! ```

mod api;
mod art;
mod buffer;
mod engine;
mod error;
pub mod io;
mod journal;
pub mod limits;
mod store;
mod sync;
mod tree;

pub use api::{
    Batch, BatchOutcome, BulkLoad, Db, Entry, EntryRef, IfExists, Options, PrefixStats, Record, Scan, Stats,
    Survey, Ticket, Transaction, TransactionScan, Tree, Version, WriteOptions,
};
pub use engine::{CheckReport, Waits};
pub use error::{Error, ErrorKind, Result};
pub use journal::{Durability, Recovery};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
