//! The background thread, and how writers are slowed before the journal or memory runs over.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::exclusive::RECLAIM_PASSAGES;
use super::unmount::Looks;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Durability, Journal};
use crate::sync::{JoinHandle, Ordering, sleep, spawn};

/// What a commit pauses for at the most, on the average: when the journal is all but at twice its limit, or dirty blobs at what
/// memory holds.
const PAUSE_MAX: Duration = Duration::from_millis(2);
/// The share of the way to there on which nobody pauses.
const PAUSE_FREE: f64 = 0.125;
/// Shorter pauses are saved up until they come to this: a thread that sleeps less sleeps longer than it meant to.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// How often the background thread looks without being asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Lets go of those who wait for the background thread when a panic ends it.
struct Ended<'e>(&'e Engine);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_checkpoints();
        }
    }
}

impl Engine {
    /// Lets a writer in: asks for a checkpoint when one is due, pauses it ever longer as the journal grows past its limit or dirty
    /// blobs fill the memory, and holds it at twice the limit; a change that `frees` goes on where only space is missing. Called
    /// outside the gate.
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
            return self.checkpoint_if(|| journal.file_bytes() >= limit || self.buffer.over_dirty_limit());
        }
        let at_twice = || journal.file_bytes() >= 2 * limit;
        let mut wake = self.wake.lock();
        if wake.paused > 0 {
            drop(wake);
            return if at_twice() { self.checkpoint_if(at_twice) } else { Ok(()) };
        }
        if !wake.checkpoint {
            wake.checkpoint = true;
            self.woken.notify_all();
        }
        if bytes < 2 * limit {
            drop(wake);
            let over = (bytes as f64 / limit as f64 - 1.0).max(self.buffer.dirty_share());
            self.pause(over);
            return Ok(());
        }
        let tried = wake.tried;
        while wake.tried == tried && !wake.stop && wake.paused == 0 {
            self.woken.wait(&mut wake);
        }
        if wake.tried == tried && wake.paused > 0 {
            drop(wake);
            return self.checkpoint_if(at_twice);
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

    /// A writer's own checkpoint, if one is `due`. Whoever finds one under way goes on: eviction still bounds memory.
    fn checkpoint_if(&self, due: impl Fn() -> bool) -> Result<()> {
        let Some(mut turn) = self.turn.try_lock() else { return Ok(()) };
        self.check_open()?;
        if due() { self.checkpoint_in_turn(&mut turn, false) } else { Ok(()) }
    }

    /// Keeps the background thread from what it does of its own accord, until it is resumed as often as it was paused. Returns
    /// when it is through with what it was at.
    pub(crate) fn pause_background(&self) {
        let mut wake = self.wake.lock();
        wake.paused += 1;
        // Writers that wait for a checkpoint make it themselves.
        self.woken.notify_all();
        while wake.busy && !wake.stop {
            self.woken.wait(&mut wake);
        }
    }

    /// Takes one pause back.
    pub(crate) fn resume_background(&self) {
        let mut wake = self.wake.lock();
        wake.paused = wake.paused.saturating_sub(1);
        self.woken.notify_all();
    }

    /// Pauses a writer for the share `over` of the way from where a checkpoint is due to where nothing goes on. The first
    /// eighth is free, and what a commit owes grows as the square from there: a checkpoint made in time is not felt.
    fn pause(&self, over: f64) {
        let share = (over - PAUSE_FREE) / (1.0 - PAUSE_FREE);
        if share <= 0.0 {
            return;
        }
        let share = share.min(1.0);
        let owed = PAUSE_MAX.mul_f64(share * share).as_nanos() as u64;
        if self.owed_nanos.fetch_add(owed, Ordering::Relaxed) + owed >= PAUSE_MIN.as_nanos() as u64 {
            let owed = Duration::from_nanos(self.owed_nanos.swap(0, Ordering::Relaxed));
            sleep(owed.min(PAUSE_MAX));
        }
    }

    /// Starts the background threads: one for checkpoints and reclaiming, one that keeps the journal.
    pub(crate) fn start_background(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>> {
        let journal = self.journal()?;
        let interval = match self.settings.durability {
            Durability::Batched { interval, .. } => interval,
            Durability::Sync => None,
        };
        let start = |name, body: fn(&Self, Option<Duration>)| {
            let engine = Arc::clone(self);
            spawn(name, move || body(&engine, interval))
                .map_err(|error| Error::io(format_args!("starting the thread {name}"), error))
        };
        let background = start("ramus-background", |engine, _| engine.run_background())?;
        journal.expect_keeper();
        match start("ramus-journal", |engine, interval| {
            if let Some(journal) = &engine.journal {
                journal.keep(interval, || engine.buffer.grow_ahead());
            }
        }) {
            Ok(keeper) => Ok(vec![background, keeper]),
            Err(error) => {
                self.stop_background();
                let _ = background.join();
                Err(error)
            }
        }
    }

    /// Tells the background threads to end.
    pub(crate) fn stop_background(&self) {
        self.stop_checkpoints();
        if let Some(journal) = &self.journal {
            journal.dismiss_keeper();
        }
    }

    fn stop_checkpoints(&self) {
        self.wake.lock().stop = true;
        self.woken.notify_all();
    }

    /// Asks the background thread to free what is on the reclaim list.
    pub(super) fn ask_for_reclaim(&self) {
        self.wake.lock().reclaim = true;
        self.woken.notify_all();
    }

    fn run_background(&self) {
        let _ended = Ended(self);
        let mut looks = Looks::new();
        loop {
            let (checkpoint, reclaim) = {
                let mut wake = self.wake.lock();
                if wake.busy {
                    wake.busy = false;
                    self.woken.notify_all();
                }
                if !wake.stop && (wake.paused > 0 || !(wake.checkpoint || wake.reclaim)) {
                    self.woken.wait_for(&mut wake, LOOK_EVERY);
                }
                if wake.stop {
                    return;
                }
                if wake.paused > 0 {
                    continue;
                }
                wake.busy = true;
                (wake.checkpoint, std::mem::take(&mut wake.reclaim))
            };
            if checkpoint {
                self.run_checkpoint();
            }
            if reclaim && !self.reclaim_some(RECLAIM_PASSAGES) {
                self.ask_for_reclaim();
            }
            self.look_at_mounts(&mut looks);
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
