//! Commits whose caller does not wait: applied at once, waited for later.

use std::task::{Context, Poll};

use super::Engine;
use crate::error::Result;
use crate::journal::{Ask, Durability};

/// What a commit is made with whose caller does not wait, in a database or with options that would: it leaves everything in
/// the buffer.
const LEFT_IN_BUFFER: Durability = Durability::Batched { bytes: usize::MAX, interval: None };

impl Engine {
    /// The durability to make a commit with that is waited for later, if at all; then [`begin_wait`](Self::begin_wait).
    pub(crate) fn unwaited(&self, durability: Option<Durability>) -> Option<Durability> {
        match durability.unwrap_or(self.settings.durability) {
            Durability::Sync => Some(LEFT_IN_BUFFER),
            batched @ Durability::Batched { .. } => Some(batched),
        }
    }

    /// Something to wait with for the commit at `sequence`. With [`Durability::Sync`] its sync is begun, if there is a thread for
    /// that.
    pub(crate) fn begin_wait(&self, sequence: u64, durability: Option<Durability>) -> Result<Ask> {
        let journal = self.journal()?;
        let mut ask = journal.new_ask(sequence);
        if durability.unwrap_or(self.settings.durability) == Durability::Sync {
            journal.ask(&mut ask);
        }
        Ok(ask)
    }

    /// Whether a commit is durable; an error if it never will be.
    pub(crate) fn is_durable(&self, ask: &Ask) -> Result<bool> {
        self.journal()?.look(ask)
    }

    /// Waits until a commit is durable.
    pub(crate) fn wait(&self, ask: &Ask) -> Result<()> {
        self.journal()?.wait(ask)
    }

    /// Whether a commit is durable; if not, the task is woken when there is more to say.
    pub(crate) fn poll(&self, ask: &mut Ask, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.journal() {
            Ok(journal) => journal.poll(ask, context),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Nobody waits for a commit any more.
    pub(crate) fn end_wait(&self, ask: &Ask) {
        if let Some(journal) = &self.journal {
            journal.forget(ask);
        }
    }
}
