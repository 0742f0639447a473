//! The gate in all executions. The words that it guards are cells in which loom sees a race whenever two accesses, one of them a
//! write, are not ordered. A waiter that is never woken, or a closer that waits for ever, is a deadlock or too long an execution.

use super::gate::Gate;
use crate::sync::{check, fails_without};
use loom::cell::UnsafeCell;
use std::sync::Arc;

/// What entrants read and closers write.
struct Guarded {
    gate: Gate,
    cells: [UnsafeCell<u64>; 2],
}

// SAFETY: loom watches every access to the cells and fails the model where two are not ordered.
unsafe impl Sync for Guarded {}
// SAFETY: there is nothing in it that belongs to a thread.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(), cells: [UnsafeCell::new(0), UnsafeCell::new(0)] })
    }

    fn enter(&self) {
        let _entry = self.gate.enter();
        // SAFETY: the gate is held; the model fails if that is not enough.
        let [first, second] = [0, 1].map(|at| self.cells[at].with(|cell| unsafe { *cell }));
        assert_eq!(first, second, "an entrant beside a closer");
    }

    fn close(&self) {
        let _closed = self.gate.close();
        for cell in &self.cells {
            // SAFETY: the gate is closed; the model fails if that is not enough.
            cell.with_mut(|cell| unsafe { *cell += 1 });
        }
    }
}

fn spawn(guarded: &Arc<Guarded>, body: fn(&Guarded)) -> loom::thread::JoinHandle<()> {
    let guarded = Arc::clone(guarded);
    loom::thread::spawn(move || body(&guarded))
}

/// Two entrants and a closer.
fn entrants_and_a_closer() {
    let guarded = Guarded::new();
    let threads = [spawn(&guarded, Guarded::enter), spawn(&guarded, Guarded::enter)];
    guarded.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    guarded.enter();
}

/// Two closers and an entrant that comes again.
fn closers_and_an_entrant() {
    let guarded = Guarded::new();
    let again = |guarded: &Guarded| (0..2).for_each(|_| guarded.enter());
    let threads = [spawn(&guarded, Guarded::close), spawn(&guarded, again)];
    guarded.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    guarded.enter();
}

#[test]
fn closing_excludes_all_entrants_and_wakes_them() {
    check("gate, two entrants and a closer", 3, entrants_and_a_closer);
}

#[test]
fn closers_take_turns_and_are_not_starved() {
    check("gate, two closers and an entrant", 3, closers_and_an_entrant);
}

#[test]
fn the_gate_fails_without_its_orderings() {
    for site in ["gate enter", "gate close", "gate leave", "gate open"] {
        fails_without(site, "gate, two entrants and a closer", 2, entrants_and_a_closer);
    }
}
