//! Group commit: many commits share one sync.
//!
//! Whoever finds nobody leading leads: it writes and syncs all that is appended, for everybody. Those who come meanwhile sleep,
//! and share the next sync. One of them would lead it alone as soon as the first is through, while those it served are
//! about to come again, and every other sync would serve one commit. So a leader first waits until about as many have come as
//! the last sync served and left behind; not for long compared with a sync, and less if nobody comes at all.
//!
//! Where there is a *keeper*, a thread that does nothing else, it leads for commits that nobody waits for, and wakes tasks.
//! Else a task leads in its own poll.

use std::sync::Arc;
use std::time::Duration;

use super::waiting::Bed;
use super::{Files, Journal, Lead, Turn};
use crate::error::Result;
use crate::sync::{Instant, MutexGuard, Ordering, yield_now};

/// A leader gathers for at most this part of what a sync takes.
const GATHER_PART: u32 = 2;
/// About how long it takes for one more to be woken and to come again. So many are gathered that to wait for one more would
/// cost those who are there as much time, all together, as it saves that one: a sync.
const COMING: Duration = Duration::from_micros(4);
/// It gives up when nobody has come for this part.
const SILENCE_PART: u32 = 8;
/// And in any case after so long.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// What leaders know of the groups before.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Of all commits that ever asked for a sync: those that were there when the last group was taken.
    taken: u64,
    /// How many may come together for the next one.
    expected: u64,
    /// About how long a sync takes at least.
    sync: Duration,
}

impl Journal {
    /// Waits until all commits up to `sequence` are durable.
    pub(super) fn wait_durable(&self, sequence: u64) -> Result<()> {
        if self.durable_sequence() >= sequence {
            return Ok(());
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.wait_in_turn(sequence)
    }

    /// The same for one that was counted already.
    pub(super) fn wait_in_turn(&self, sequence: u64) -> Result<()> {
        let mut bed = None;
        loop {
            let turn = self.turn.lock();
            if self.durable_sequence() >= sequence {
                return Ok(());
            }
            if !turn.busy {
                // It takes all that is appended.
                return self.lead_group(turn);
            }
            self.check_poison()?;
            let (id, bed) = bed.get_or_insert_with(|| (self.waiting.next_id(), Arc::new(Bed::default())));
            self.waiting.add_thread(sequence, *id, bed);
            drop(turn);
            bed.sleep();
            if self.durable_sequence() >= sequence {
                return Ok(());
            }
        }
    }

    /// Writes and syncs all that is appended, and what comes in a moment.
    pub(super) fn lead_group(&self, turn: MutexGuard<'_, Turn>) -> Result<()> {
        self.lead_now(turn, |files| {
            self.gather(files);
            let asked = self.asked.load(Ordering::Relaxed);
            let served = asked - files.pace.taken;
            files.pace.taken = asked;
            let started = Instant::now();
            self.write_out(files, true)?;
            let took = started.elapsed();
            // Most of a long one is waiting for the processor, which those who are served use meanwhile.
            files.pace.sync = match files.pace.sync {
                Duration::ZERO => took,
                before => took.min(before + before / 32),
            };
            files.pace.expected = served + self.asked.load(Ordering::Relaxed) - asked;
            Ok(())
        })
    }

    /// Lets those come that are on their way.
    fn gather(&self, files: &Files) {
        let Pace { taken, expected, sync } = files.pace;
        let mut come = self.asked.load(Ordering::Relaxed) - taken;
        let enough = expected.min((sync.as_nanos() / COMING.as_nanos()) as u64);
        if come >= enough {
            return;
        }
        let most = (sync / GATHER_PART).min(GATHER_MAX);
        let silence = most / (SILENCE_PART / GATHER_PART);
        let started = Instant::now();
        let mut last = started;
        loop {
            yield_now();
            let (now, before) = (Instant::now(), come);
            come = self.asked.load(Ordering::Relaxed) - taken;
            if come != before {
                last = now;
            }
            if come >= enough || now - last > silence || now - started > most {
                return;
            }
        }
    }

    /// Lets those go on whose commits are durable, or never will be, and somebody lead for the rest. Called by whoever ends
    /// leading.
    pub(super) fn release(&self) {
        let settled = self.settled();
        let led = self.waiting.wake_threads(settled);
        if !self.waiting.has_task(u64::MAX) {
            return;
        }
        if self.keeper.is_there() {
            if self.waiting.has_task(settled) {
                self.keeper.call();
            }
        } else {
            // Any task may lead; one whose waker does nothing must not stand before the others.
            self.waiting.wake_tasks(if led { settled } else { u64::MAX });
        }
    }

    /// Nobody has to wait for a commit up to this sequence: it is durable, or nothing will be any more.
    fn settled(&self) -> u64 {
        if self.is_poisoned() { u64::MAX } else { self.durable_sequence() }
    }

    /// Wakes the tasks that need not wait any longer.
    pub(super) fn wake_settled_tasks(&self) {
        self.waiting.wake_tasks(self.settled());
    }

    /// Does `work` as the leader; nobody leads now.
    pub(super) fn lead_now<T>(
        &self,
        mut turn: MutexGuard<'_, Turn>,
        work: impl FnOnce(&mut Files) -> Result<T>,
    ) -> Result<T> {
        debug_assert!(!turn.busy);
        turn.busy = true;
        drop(turn);
        let _lead = Lead(self.watch());
        self.check_poison()?;
        work(&mut self.files.lock())
    }
}
