//! Many puts in a row, for imports.
//!
//! They are commits of their own and go to the operating system in large pieces. A crash keeps a prefix of the commit
//! order, so that what is committed after a put, such as a mark that counts it, is never there without it.

use anyhow::Result;
use ramus::{Db, Durability, Tree, WriteOptions};

use crate::context::BATCHED_BYTES;

/// Puts in a step.
const STEP: u64 = 512;

/// Counts puts in steps; each step ends durable if that is asked for.
pub(crate) struct Feeder<'a> {
    db: &'a Db,
    sync: bool,
    puts: u64,
}

impl<'a> Feeder<'a> {
    /// With `sync` each step is on stable storage before the next begins.
    pub(crate) fn new(db: &'a Db, sync: bool) -> Self {
        Self { db, sync, puts: 0 }
    }

    /// Puts a record. True: that was the last one of a step.
    pub(crate) fn put(&mut self, tree: &Tree, key: &[u8], value: &[u8]) -> Result<bool> {
        let batched = Durability::Batched { bytes: BATCHED_BYTES, interval: None };
        tree.put_with(key, value, WriteOptions::new().durability(batched))?;
        self.puts += 1;
        let is_last = self.puts.is_multiple_of(STEP);
        if is_last && self.sync {
            self.db.sync()?;
        }
        Ok(is_last)
    }
}
