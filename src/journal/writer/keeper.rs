//! The keeper: a thread of the journal's own, for what nobody is to wait for in a call. It syncs what tickets ask for and in
//! intervals, writes out what batched commits have buffered, lets files grow ahead of use, and wakes tasks.
//!
//! It alone calls the wakers of tasks while it is there, with nothing held: they are foreign code, which may even drop the last
//! handle of the database. It waits for no checkpoint.

use std::task::{Context, Poll};
use std::time::Duration;

use super::Journal;
use crate::error::Result;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Instant, Mutex, Ordering};

/// The shortest interval of timed syncs: none would keep a core busy.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// How others reach the keeper.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    there: AtomicBool,
    /// The last sequence that is to be durable though nobody may wait for it.
    wanted: AtomicU64,
    /// Enough is buffered to be written out.
    write_out: AtomicBool,
    /// It was called and has not looked yet. Changes under `bell`.
    called: AtomicBool,
    /// It is to stop.
    bell: Mutex<bool>,
    rung: Condvar,
}

impl Keeper {
    pub(super) fn is_there(&self) -> bool {
        self.there.load(Ordering::SeqCst)
    }

    /// Has it look what there is to do.
    pub(super) fn call(&self) {
        // Whoever called before has the keeper look at all that was done before this, as it takes the call back before it looks.
        if self.called.load(Ordering::SeqCst) {
            return;
        }
        let _bell = self.bell.lock();
        if !self.called.swap(true, Ordering::SeqCst) {
            self.rung.notify_one();
        }
    }

    /// Waits to be called, until `due`; false when it is to stop.
    fn wait(&self, due: Option<Instant>) -> bool {
        let mut stop = self.bell.lock();
        while !self.called.load(Ordering::SeqCst) && !*stop {
            match due {
                Some(due) if self.rung.wait_until(&mut stop, due).timed_out() => break,
                Some(_) => {}
                None => self.rung.wait(&mut stop),
            }
        }
        self.called.store(false, Ordering::SeqCst);
        !*stop
    }
}

/// The keeper is gone, however it went: tasks look after themselves.
struct Gone<'j>(&'j Journal);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.keeper.there.store(false, Ordering::SeqCst);
        self.0.waiting.wake_tasks(u64::MAX);
    }
}

/// One commit that may be waited for.
#[derive(Debug)]
pub(crate) struct Ask {
    sequence: u64,
    id: u64,
    /// A sync has been asked for.
    made: bool,
    /// A task's waker was left with the journal.
    left: bool,
}

impl Ask {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Journal {
    /// There is a keeper from here on: some thread will call [`keep`](Self::keep).
    pub(crate) fn expect_keeper(&self) {
        self.keeper.there.store(true, Ordering::SeqCst);
    }

    /// The keeper's work, until [`dismiss_keeper`](Self::dismiss_keeper). Every `interval` all that was committed is synced.
    /// `beside` is what else there is to do whenever it was called, piece by piece: whether there is more.
    pub(crate) fn keep(&self, interval: Option<Duration>, beside: impl Fn() -> bool) {
        let _gone = Gone(self);
        let interval = interval.map(|interval| interval.max(INTERVAL_MIN));
        let mut due = interval.and_then(|interval| Instant::now().checked_add(interval));
        while self.keeper.wait(due) {
            // A failure has poisoned the journal: those who ask are told.
            let wanted = self.keeper.wanted.load(Ordering::Acquire);
            if self.durable_sequence() < wanted && !self.is_poisoned() {
                let _ = self.wait_in_turn(wanted);
            }
            self.wake_settled_tasks();
            // One piece at a time: somebody may ask for a sync meanwhile.
            if self.write_ahead() | beside() {
                self.keeper.call();
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                let _ = self.sync();
                due = interval.and_then(|interval| Instant::now().checked_add(interval));
                self.wake_settled_tasks();
            }
        }
    }

    /// Writes out what is buffered if that was asked for, and makes some space; whether there is more to do. A failure shows
    /// when somebody needs it done.
    fn write_ahead(&self) -> bool {
        if self.keeper.write_out.swap(false, Ordering::AcqRel) {
            let _ = self.flush();
        }
        self.is_low.load(Ordering::Relaxed) && matches!(self.grow_ahead(), Ok(true))
    }

    /// Has the keeper, if there is one, hand what is buffered to the operating system; false if there is none.
    pub(super) fn leave_write_to_keeper(&self) -> bool {
        if self.keeper.is_there() {
            self.keeper.write_out.store(true, Ordering::Release);
            self.keeper.call();
        }
        self.keeper.is_there()
    }

    /// Has the keeper, if there is one, look what there is to do.
    pub(crate) fn call_keeper(&self) {
        if self.keeper.is_there() {
            self.keeper.call();
        }
    }

    /// Ends the keeper's work.
    pub(crate) fn dismiss_keeper(&self) {
        *self.keeper.bell.lock() = true;
        self.keeper.rung.notify_one();
    }

    /// Something to wait with for the commit at `sequence`.
    pub(crate) fn new_ask(&self, sequence: u64) -> Ask {
        Ask { sequence, id: self.waiting.next_id(), made: false, left: false }
    }

    /// Has the keeper, if there is one, make a commit durable.
    pub(crate) fn ask(&self, ask: &mut Ask) {
        if ask.made || !self.keeper.is_there() || self.durable_sequence() >= ask.sequence {
            return;
        }
        ask.made = true;
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.keeper.wanted.fetch_max(ask.sequence, Ordering::AcqRel);
        self.keeper.call();
    }

    /// Whether a commit is durable; an error if it never will be. Does not wait.
    pub(crate) fn look(&self, ask: &Ask) -> Result<bool> {
        if self.durable_sequence() >= ask.sequence {
            return Ok(true);
        }
        self.check_poison()?;
        // What became durable before the poison came is durable.
        Ok(self.durable_sequence() >= ask.sequence)
    }

    /// Waits until a commit is durable.
    pub(crate) fn wait(&self, ask: &Ask) -> Result<()> {
        if ask.made { self.wait_in_turn(ask.sequence) } else { self.wait_durable(ask.sequence) }
    }

    /// Whether a commit is durable; if not yet, the task is woken when there is more to say. Without a keeper it may do the
    /// sync itself.
    pub(crate) fn poll(&self, ask: &mut Ask, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            self.ask(ask);
            ask.left = true;
            self.waiting.add_task(ask.sequence, ask.id, context.waker());
            match self.look(ask) {
                Ok(false) => {}
                outcome => return Poll::Ready(outcome.map(drop)),
            }
            if self.keeper.is_there() {
                if ask.made {
                    return Poll::Pending;
                }
                continue;
            }
            let turn = self.turn.lock();
            if turn.busy {
                // Whoever leads wakes the task when it is through.
                return Poll::Pending;
            }
            if let Err(error) = self.lead_group(turn) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Nobody waits for the commit any more.
    pub(crate) fn forget(&self, ask: &Ask) {
        if ask.left {
            self.waiting.remove_task(ask.sequence, ask.id);
        }
    }
}
