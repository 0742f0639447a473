//! The background thread, and how writers are slowed before the journal or memory runs over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::exclusive::RECLAIM_PASSAGES;
use super::unmount::Looks;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Durability, Journal};
use crate::sync::{JoinHandle, Ordering, sleep, spawn};

/// The longest pause that a commit makes while the journal is between its limit and twice that.
const PAUSE_MAX: Duration = Duration::from_millis(2);
/// How often the background thread looks without being asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The shortest interval of timed syncs: none would keep a core busy.
const LOOK_LEAST: Duration = Duration::from_millis(1);

/// Lets go of those who wait for the background thread when a panic ends it.
struct Ended<'e>(&'e Engine);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_background();
        }
    }
}

impl Engine {
    /// Lets a writer in: asks for a checkpoint when one is due, pauses it ever longer as the journal grows past its limit,
    /// and holds it at twice the limit; a change that `frees` goes on where only space is missing. Called outside the gate.
    #[inline]
    pub(super) fn admit(&self, journal: &Journal, frees: bool) -> Result<()> {
        let (bytes, limit) = (journal.file_bytes(), self.settings.journal_bytes);
        if bytes < limit && !self.buffer.over_dirty_limit() {
            return Ok(());
        }
        match self.admit_late(journal, bytes, limit) {
            // A full device can still be emptied.
            Err(full) if frees && full.kind() == ErrorKind::NoSpace => Ok(()),
            outcome => outcome,
        }
    }

    #[cold]
    fn admit_late(&self, journal: &Journal, bytes: u64, limit: u64) -> Result<()> {
        if !self.settings.background {
            // Whoever finds a checkpoint under way goes on: eviction still bounds memory.
            let Some(mut turn) = self.turn.try_lock() else { return Ok(()) };
            self.check_open()?;
            if journal.file_bytes() < limit && !self.buffer.over_dirty_limit() {
                return Ok(());
            }
            return self.checkpoint_in_turn(&mut turn, false);
        }
        let mut wake = self.wake.lock();
        if !wake.checkpoint {
            wake.checkpoint = true;
            self.woken.notify_all();
        }
        if bytes < limit {
            return Ok(());
        }
        if bytes < 2 * limit {
            drop(wake);
            let share = (bytes - limit) as f64 / limit as f64;
            sleep(PAUSE_MAX.mul_f64(share * share));
            return Ok(());
        }
        let tried = wake.tried;
        while wake.tried == tried && !wake.stop {
            self.woken.wait(&mut wake);
        }
        match &wake.failed {
            Some(error) if journal.file_bytes() >= 2 * limit => Err(Error::new(
                match error.kind() {
                    ErrorKind::NoSpace => ErrorKind::NoSpace,
                    _ => ErrorKind::Poisoned,
                },
                format_args!(
                    "the journal is at twice its limit of {limit} bytes and a checkpoint failed: {error}"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Starts the background thread.
    pub(crate) fn start_background(self: &Arc<Self>) -> Result<JoinHandle<()>> {
        let engine = Arc::clone(self);
        spawn("ramus-background", move || engine.run_background())
            .map_err(|error| Error::io("starting the background thread", error))
    }

    /// Tells the background thread to end.
    pub(crate) fn stop_background(&self) {
        self.wake.lock().stop = true;
        self.woken.notify_all();
    }

    /// Asks the background thread to free what is on the reclaim list.
    pub(super) fn ask_for_reclaim(&self) {
        self.wake.lock().reclaim = true;
        self.woken.notify_all();
    }

    /// Asks the background thread to merge what cuts left sparse.
    pub(super) fn ask_for_mending(&self) {
        let mut wake = self.wake.lock();
        if !wake.mend {
            wake.mend = true;
            self.woken.notify_all();
        }
    }

    fn run_background(&self) {
        let interval = match self.settings.durability {
            Durability::Batched { interval, .. } => interval,
            Durability::Sync => None,
        };
        let _ended = Ended(self);
        let (mut synced, mut looks) = (Instant::now(), Looks::new());
        loop {
            let (checkpoint, reclaim) = {
                let mut wake = self.wake.lock();
                if !wake.checkpoint && !wake.reclaim && !wake.mend && !wake.stop {
                    let pause = interval.unwrap_or(LOOK_EVERY).clamp(LOOK_LEAST, LOOK_EVERY);
                    self.woken.wait_for(&mut wake, pause);
                }
                if wake.stop {
                    return;
                }
                wake.mend = false;
                (wake.checkpoint, std::mem::take(&mut wake.reclaim))
            };
            if checkpoint {
                self.run_checkpoint();
            }
            if reclaim && !self.reclaim_some(RECLAIM_PASSAGES) {
                self.ask_for_reclaim();
            }
            if !self.mend_some() {
                self.ask_for_mending();
            }
            self.look_at_mounts(&mut looks);
            if interval.is_some_and(|interval| synced.elapsed() >= interval) {
                // A failed sync has poisoned the journal: the next commit reports it.
                let _ = self.sync();
                synced = Instant::now();
            }
        }
    }

    fn run_checkpoint(&self) {
        let outcome = {
            let mut turn = self.turn.lock();
            if self.closed.load(Ordering::Acquire) {
                Ok(())
            } else {
                self.checkpoint_in_turn(&mut turn, false)
            }
        };
        let mut wake = self.wake.lock();
        wake.checkpoint = false;
        wake.tried += 1;
        wake.failed = outcome.err();
        self.woken.notify_all();
    }
}
