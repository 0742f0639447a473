//! The public face: handles that are `Clone + Send + Sync` over one shared engine.

mod batch;
mod bounds;
mod bulk;
mod db;
mod options;
mod record;
mod scan;
mod stats;
mod ticket;
mod transact;
mod transaction;
mod tree;

pub use batch::{Batch, BatchOutcome};
pub use bulk::BulkLoad;
pub use db::Db;
pub use options::{Options, WriteOptions};
pub use record::{Entry, EntryRef, IfExists, PrefixStats, Record, Version};
pub use scan::Scan;
pub use stats::{Stats, Survey};
pub use ticket::Ticket;
pub use transaction::{Transaction, TransactionScan};
pub use tree::Tree;

use std::sync::Arc;

use crate::engine::Engine;
use crate::sync::{JoinHandle, Mutex, current};

/// What all handles of one database share; the last one to go ends it.
pub(crate) struct Handle {
    pub(crate) engine: Arc<Engine>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    fn new(engine: Arc<Engine>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { engine, threads: Mutex::new(threads) }
    }

    fn stop(&self) {
        self.engine.stop_background();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The waker of a task may drop the last handle on the thread that calls it.
            if thread.thread().id() != current().id() {
                // A panic there has poisoned what it held; there is nobody left to tell.
                let _ = thread.join();
            }
        }
    }

    /// Ends the database in order.
    fn close(&self) -> crate::Result<()> {
        self.stop();
        self.engine.close()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        if self.engine.settings.flush_on_drop && !self.engine.settings.read_only {
            // Nobody is left to take the error; `Db::close` reports it.
            let _ = self.engine.close();
        } else {
            self.engine.abandon();
        }
    }
}
