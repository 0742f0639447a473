//! The gate: every mutating operation passes it from descent to journal append; cuts, drops of trees, the close of the
//! database, and batches and renames that lost too many races close it.
//!
//! Invariant: while a [`Closed`] exists, no [`Entry`] does. An entrant counts itself, then looks whether the
//! gate is closed; a closer says so, then looks at the counts; both in one total order (SeqCst), so one of
//! them sees the other. An entrant that sees the gate closed takes its count back, so entrants cannot starve
//! a closer.
//!
//! Inside, nobody does I/O or waits for memory or journal space; a thread does not enter twice, nor close
//! while it is inside.
use super::waits::{Meter, Waits};
use crate::sync::{
    AtomicBool, AtomicUsize, Instant, Mutex, MutexGuard, Ordering, order, spin_loop, thread_number, yield_now,
};

/// Few in models: a closer looks at each.
const SHARDS: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// A count on cache lines of its own (two, since they are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicUsize);

/// The gate of one database.
pub(crate) struct Gate {
    inside: [Shard; SHARDS],
    closed: AtomicBool,
    /// Held while closed; entrants wait on it.
    door: Mutex<()>,
    waits: Meter,
    closures: Meter,
}

/// What happened at a gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateStats {
    /// How long entrants waited.
    pub(crate) waits: Waits,
    /// How long it was closed, each time.
    pub(crate) closures: Waits,
}

/// Being inside, until dropped.
pub(crate) struct Entry<'a>(&'a AtomicUsize);

/// The gate is closed, until dropped.
pub(crate) struct Closed<'a> {
    gate: &'a Gate,
    since: Instant,
    _door: MutexGuard<'a, ()>,
}

impl Gate {
    /// An open gate.
    pub(crate) fn new() -> Self {
        Self {
            inside: Default::default(),
            closed: AtomicBool::new(false),
            door: Mutex::new(()),
            waits: Meter::default(),
            closures: Meter::default(),
        }
    }

    /// Enters; waits while the gate is closed.
    pub(crate) fn enter(&self) -> Entry<'_> {
        let count = &self.inside[thread_number() % SHARDS].0;
        loop {
            count.fetch_add(1, order("gate enter", Ordering::SeqCst));
            if !self.closed.load(Ordering::SeqCst) {
                return Entry(count);
            }
            count.fetch_sub(1, Ordering::SeqCst);
            self.waits.time(|| drop(self.door.lock()));
        }
    }

    pub(crate) fn stats(&self) -> GateStats {
        GateStats { waits: self.waits.read(), closures: self.closures.read() }
    }

    /// Closes the gate; waits until all have left.
    pub(crate) fn close(&self) -> Closed<'_> {
        let door = self.door.lock();
        self.closed.store(true, order("gate close", Ordering::SeqCst));
        let closed = Closed { gate: self, since: Instant::now(), _door: door };
        for shard in &self.inside {
            let mut tries = 0;
            while shard.0.load(Ordering::SeqCst) != 0 {
                tries += 1;
                if tries < 64 { spin_loop() } else { yield_now() }
            }
        }
        closed
    }

    /// Enters, or closes the gate to be the only one inside.
    #[inline]
    pub(crate) fn pass(&self, alone: bool) -> (Option<Entry<'_>>, Option<Closed<'_>>) {
        if alone { (None, Some(self.close())) } else { (Some(self.enter()), None) }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, order("gate leave", Ordering::Release));
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.closed.store(false, order("gate open", Ordering::SeqCst));
        self.gate.closures.add(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    #[test]
    fn closing_excludes_and_is_not_starved() {
        let gate = Gate::new();
        let (inside, closings) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _entry = gate.enter();
                        inside.fetch_add(1, Ordering::Relaxed);
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
            let closers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let _closed = gate.close();
                            assert_eq!(inside.load(Ordering::Relaxed), 0);
                            let n = closings.load(Ordering::Relaxed);
                            closings.store(n + 1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = closers.into_iter().map(|closer| closer.join()).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert_eq!(closings.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_panic_inside_leaves_the_gate() {
        let gate = Gate::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _entry = gate.enter();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        drop(gate.close());
        drop(gate.enter());
    }
}
