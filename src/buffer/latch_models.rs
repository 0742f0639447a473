//! The latch in all executions: two words under one state word, all seen by loom. What is left out in the second half are the
//! orderings named in the proof at the head of `latch.rs`.
//!
//! Not shown: that an unshare has to release. Without that a sharing reader could read what a later writer stores, and loom lets
//! no load read from the future.

use super::latch::{Latch, Place, Refusal};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicU64, check, fails_without};
use std::sync::Arc;

/// A slot of two words, for models.
pub(crate) struct Slot {
    state: AtomicU64,
    words: [AtomicU64; 2],
}

impl Slot {
    /// In memory, unlocked; both words are 1.
    pub(crate) fn resident() -> Arc<Self> {
        let slot = Self { state: AtomicU64::new(0), words: [AtomicU64::new(1), AtomicU64::new(1)] };
        assert!(slot.latch().claim_new());
        slot.latch().unlock(true);
        Arc::new(slot)
    }

    /// The same, passed by the clock: it may leave.
    fn marked() -> Arc<Self> {
        let slot = Self::resident();
        assert!(!slot.latch().pass() && slot.latch().pass());
        slot
    }

    fn latch(&self) -> Latch<'_> {
        Latch(&self.state)
    }

    fn load(&self) -> [u64; 2] {
        [self.words[0].load(Relaxed), self.words[1].load(Relaxed)]
    }

    fn store(&self, number: u64) {
        for word in &self.words {
            word.store(number, Relaxed);
        }
    }

    /// Stores a number into both words under the latch.
    pub(crate) fn change(&self, number: u64) {
        self.latch().lock().unwrap();
        self.store(number);
        self.latch().unlock(true);
    }

    /// What an optimistic read accepts.
    pub(crate) fn read(&self) -> Option<[u64; 2]> {
        let version = self.latch().sample().ok()?;
        let found = self.load();
        self.latch().validate(version).then_some(found)
    }

    /// Adds one under the exclusive latch that the caller has.
    fn add_one(&self) {
        let number = self.words[0].load(Relaxed);
        self.store(number + 1);
        self.latch().unlock(true);
    }
}

fn assert_whole(found: [u64; 2]) {
    assert_eq!(found[0], found[1], "an accepted read of two states");
}

fn spawn(slot: &Arc<Slot>, body: impl FnOnce(&Slot) + 'static) -> loom::thread::JoinHandle<()> {
    let slot = Arc::clone(slot);
    loom::thread::spawn(move || body(&slot))
}

/// Two changes beside a reader.
fn optimistic_reads() {
    let slot = Slot::resident();
    let writer = spawn(&slot, |slot| {
        for _ in 0..2 {
            slot.latch().lock().unwrap();
            slot.add_one();
        }
    });
    if let Some(found) = slot.read() {
        assert_whole(found);
    }
    writer.join().unwrap();
    assert_eq!(slot.read(), Some([3, 3]));
}

/// Adds one if the state that was read is still there.
fn upgrade(slot: &Slot) -> u64 {
    let version = slot.latch().sample().unwrap();
    let seen = slot.load();
    if slot.latch().upgrade(version).is_err() {
        return 0;
    }
    assert_whole(seen);
    assert_eq!(slot.load(), seen, "what was read before an upgrade is the state after it");
    slot.add_one();
    1
}

fn try_lock(slot: &Slot) -> u64 {
    if slot.latch().try_lock().is_err() {
        return 0;
    }
    slot.add_one();
    1
}

fn lock(slot: &Slot) -> u64 {
    slot.latch().lock().unwrap();
    slot.add_one();
    1
}

/// Two ways to become the writer beside each other. (With more than two threads two of them could wait for ever, each for the
/// other to look.)
fn writers(one: fn(&Slot) -> u64, other: fn(&Slot) -> u64) {
    let slot = Slot::resident();
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let thread = spawn(&slot, move |slot| count.store(one(slot), Relaxed));
    let changes = other(&slot);
    thread.join().unwrap();
    let expected = 1 + changes + done.load(Relaxed);
    assert_eq!(slot.read(), Some([expected; 2]), "a lost update");
}

/// A reader that keeps writers out.
fn shared_reads() {
    let slot = Slot::resident();
    let writer = spawn(&slot, |slot| {
        slot.latch().lock().unwrap();
        slot.add_one();
    });
    let sharing = spawn(&slot, |slot| {
        slot.latch().share().unwrap();
        assert_whole(slot.load());
        slot.latch().unshare();
    });
    slot.latch().share().unwrap();
    let found = slot.load();
    assert_whole(found);
    assert_eq!(slot.load(), found);
    slot.latch().unshare();
    writer.join().unwrap();
    sharing.join().unwrap();
    assert_eq!(slot.read(), Some([2, 2]));
}

/// A clean slot leaves memory, and two threads bring it back: one of them does, and nobody reads what lay there meanwhile.
fn eviction_and_load() {
    let slot = Slot::marked();
    let load = |slot: &Slot| match slot.latch().place() {
        Place::Evicted(version) if slot.latch().claim(version) => {
            assert_eq!(slot.load(), [0, 0], "a slot that another loader has filled");
            slot.store(7);
            slot.latch().unlock(true);
        }
        _ => {}
    };
    let evictor = spawn(&slot, move |slot| {
        if slot.latch().lock_marked() {
            slot.store(0);
            slot.latch().evict();
            load(slot);
        }
    });
    let loader = spawn(&slot, load);
    if let Some(found) = slot.read() {
        assert_whole(found);
        assert_ne!(found[0], 0, "a read of a slot that was out of memory");
    }
    evictor.join().unwrap();
    loader.join().unwrap();
    assert!(matches!(slot.read(), Some([1, 1] | [7, 7])));
}

/// A dirty slot leaves: its image is that of the slot when it is dropped, whatever readers and writers do.
fn leaving() {
    let slot = Slot::marked();
    let evictor = spawn(&slot, |slot| {
        if !slot.latch().leave() {
            return;
        }
        let image = slot.load();
        assert_whole(image);
        if slot.latch().lock_leaving() {
            assert_eq!(slot.load(), image, "a change that the image does not have");
            slot.store(0);
            slot.latch().evict();
        } else {
            slot.latch().stay();
        }
    });
    let writer = spawn(&slot, |slot| match slot.latch().lock() {
        Ok(()) => slot.add_one(),
        Err(refusal) => assert_eq!(refusal, Refusal::Absent),
    });
    if let Some(found) = slot.read() {
        assert_whole(found);
        assert_ne!(found[0], 0, "a read of a slot that was out of memory");
    }
    evictor.join().unwrap();
    writer.join().unwrap();
}

/// A blob ends, and its id begins another one.
fn reuse() {
    let slot = Slot::resident();
    let owner = spawn(&slot, |slot| {
        slot.latch().lock().unwrap();
        slot.store(0);
        slot.latch().free();
        assert!(slot.latch().claim_new());
        slot.store(5);
        slot.latch().unlock(true);
    });
    let old = slot.latch().sample();
    let found = slot.load();
    if let Ok(version) = old
        && slot.latch().validate(version)
    {
        assert_whole(found);
        assert_ne!(found[0], 0, "a read of a blob that has ended");
    }
    owner.join().unwrap();
    if let Ok(version) = old {
        let still = slot.latch().validate(version);
        assert!(!still || found == [5, 5], "a version that came twice");
    }
}

#[test]
fn optimistic_reads_see_one_state() {
    check("latch, optimistic reads", 4, optimistic_reads);
}

#[test]
fn writers_exclude_each_other() {
    check("latch, lock and upgrade", 4, || writers(lock, upgrade));
    check("latch, two upgrades", 4, || writers(upgrade, upgrade));
    check("latch, two locks", 4, || writers(lock, lock));
    check("latch, lock and try", 4, || writers(lock, try_lock));
}

#[test]
fn shared_reads_keep_writers_out() {
    check("latch, shared reads", 2, shared_reads);
}

#[test]
fn evicted_slots_are_not_read_and_loaded_once() {
    check("latch, eviction and load", 3, eviction_and_load);
}

#[test]
fn what_leaves_is_what_was_written() {
    check("latch, leaving", 2, leaving);
}

#[test]
fn a_version_does_not_come_again() {
    check("latch, reuse", 4, reuse);
}

#[test]
fn the_latch_fails_without_its_orderings() {
    for site in ["latch R1", "latch R3", "latch W2", "latch W4"] {
        fails_without(site, "latch, optimistic reads", 3, optimistic_reads);
    }
    for site in ["latch W1", "latch W4"] {
        fails_without(site, "latch, two locks", 4, || writers(lock, lock));
        fails_without(site, "latch, shared reads", 2, shared_reads);
    }
    fails_without("latch R1", "latch, two upgrades", 4, || writers(upgrade, upgrade));
}
