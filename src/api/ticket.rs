//! A commit that was made and may be waited for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Handle, Version, WriteOptions};
use crate::engine::Ask;
use crate::error::Result;

/// A commit made with one of the calls that end in `_async`: done, seen by all readers, in the journal's order, and perhaps not
/// yet on stable storage. [`wait`](Self::wait), or awaiting it as a future, returns when it is.
///
/// Dropping a ticket takes nothing back. When the commit becomes durable then depends on the durability it was made with:
/// - [`Durability::Sync`](crate::Durability::Sync): a thread of the database syncs it at once, together with all that has come
///   until then, whether anybody waits or not. In a database without [background threads](crate::Options::background) the
///   first who waits or polls does the sync, in the call, and nobody else does.
/// - [`Durability::Batched`](crate::Durability::Batched): as with any such commit; waiting or polling asks for a sync.
///
/// The future needs no particular executor. What is waited for is a sequence: when a ticket is done, so are all commits with
/// lower versions. A ticket keeps its database open.
///
/// ```
/// # fn main() -> ramus::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = ramus::Db::open(dir.path().join("db"))?;
/// let tree = db.default_tree();
/// let tickets = ["a", "b", "c"].map(|key| tree.put_async(key, "1"));
/// assert!(tree.contains("c")?);
/// for ticket in tickets {
///     ticket?.wait()?;
/// }
/// # db.close()
/// # }
/// ```
#[must_use = "the commit is made, but it may not be durable before the ticket says so"]
pub struct Ticket {
    handle: Arc<Handle>,
    ask: Ask,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ticket").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Ticket {
    pub(super) fn new(handle: &Arc<Handle>, version: Version, options: WriteOptions) -> Result<Self> {
        let ask = handle.engine.begin_wait(version, options.durability)?;
        Ok(Self { handle: Arc::clone(handle), ask })
    }

    /// The version that the commit gave its records.
    pub fn version(&self) -> Version {
        self.ask.sequence()
    }

    /// Whether the commit is on stable storage. Does not wait, and asks for nothing.
    ///
    /// # Errors
    /// Poisoned: it is not known to be, and never will be; it may survive a reopen.
    pub fn is_durable(&self) -> Result<bool> {
        self.handle.engine.is_durable(&self.ask)
    }

    /// Waits until the commit, with all before it, is on stable storage. Returns its version.
    ///
    /// # Errors
    /// Io, Poisoned: it may survive a reopen. A commit that was durable before the failure is no error.
    pub fn wait(&self) -> Result<Version> {
        self.handle.engine.wait(&self.ask)?;
        Ok(self.version())
    }
}

/// Ready when the commit is on stable storage, with its version; or with the error of [`wait`](Ticket::wait).
impl Future for Ticket {
    type Output = Result<Version>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { handle, ask } = &mut *self;
        handle.engine.poll(ask, context).map_ok(|()| ask.sequence())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.handle.engine.end_wait(&self.ask);
    }
}
