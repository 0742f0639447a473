//! Those who wait for a commit to become durable: threads, and tasks by the wakers of their futures.
//!
//! Invariant: whoever registers does so before it looks a last time whether it has to wait, and whoever makes something
//! durable, poisons the journal or stops leading does that before it looks who is registered. So nobody sleeps through it.
//!
//! The mutex is a leaf: nothing else is taken under it, and nobody is woken under it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// Where one thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Bed {
    woken: Mutex<bool>,
    called: Condvar,
}

impl Bed {
    /// Sleeps until it is woken, or returns at once if it was since the last time.
    pub(super) fn sleep(&self) {
        let mut woken = self.woken.lock();
        while !std::mem::take(&mut *woken) {
            self.called.wait(&mut woken);
        }
    }

    pub(super) fn wake(&self) {
        *self.woken.lock() = true;
        self.called.notify_one();
    }
}

/// Everybody who waits, by sequence.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ids: AtomicU64,
    held: Mutex<Held>,
}

type Queue<T> = BTreeMap<(u64, u64), T>;

#[derive(Debug, Default)]
struct Held {
    threads: Queue<Arc<Bed>>,
    tasks: Queue<Waker>,
}

/// Takes out those who wait for sequences up to `durable`.
fn take_until<T>(queue: &mut Queue<T>, durable: u64) -> impl Iterator<Item = T> + use<T> {
    let later = queue.split_off(&(durable.saturating_add(1), 0));
    std::mem::replace(queue, later).into_values()
}

impl Waiting {
    /// A number that nobody else who waits has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add_thread(&self, sequence: u64, id: u64, bed: &Arc<Bed>) {
        self.held.lock().threads.insert((sequence, id), Arc::clone(bed));
    }

    /// A task with the same `id` is replaced.
    pub(super) fn add_task(&self, sequence: u64, id: u64, waker: &Waker) {
        let mut held = self.held.lock();
        held.tasks
            .entry((sequence, id))
            .and_modify(|there| there.clone_from(waker))
            .or_insert_with(|| waker.clone());
    }

    /// Wakes the threads that wait for sequences up to `durable`, after the first of the others: it is to lead. Returns
    /// whether there is one.
    pub(super) fn wake_threads(&self, durable: u64) -> bool {
        let (done, next) = {
            let mut held = self.held.lock();
            let done = take_until(&mut held.threads, durable);
            (done, held.threads.pop_first())
        };
        let leads = next.is_some();
        next.into_iter().map(|(_, bed)| bed).chain(done).for_each(|bed| bed.wake());
        leads
    }

    /// Whether a task waits for a sequence up to `durable`.
    pub(super) fn has_task(&self, durable: u64) -> bool {
        self.held.lock().tasks.first_key_value().is_some_and(|((sequence, _), _)| *sequence <= durable)
    }

    /// Wakes the tasks that wait for sequences up to `durable`. Wakers are foreign code: with no lock held.
    pub(super) fn wake_tasks(&self, durable: u64) {
        let done = take_until(&mut self.held.lock().tasks, durable);
        for waker in done {
            // A panic of one must not cost the others their turn.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    /// A task waits no longer.
    pub(super) fn remove_task(&self, sequence: u64, id: u64) {
        self.held.lock().tasks.remove(&(sequence, id));
    }
}
