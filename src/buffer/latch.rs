//! A slot's latch: one 64-bit word of version, mode and the clock's mark.
//!
//! Word: bits 0..12 mode, bit 12 mark, bits 13..64 version. Zero is evicted at version 0, so fresh memory
//! needs no set-up.
//!
//! | mode | meaning | leaves by |
//! |---|---|---|
//! | evicted | not in memory | `claim` (load), `claim_new` (create) → exclusive |
//! | exclusive | one writer | `unlock` → unlocked, `evict` → evicted, `free` → free |
//! | free | not in memory, and the id is nobody's | `claim_new` → exclusive |
//! | leaving | an evictor writes its image; readers go on, nobody may latch it | `stay` → unlocked, `lock_leaving` → exclusive |
//! | unlocked | in memory | `lock`, `try_lock`, `upgrade`, `lock_marked` → exclusive; `leave`; `share` |
//! | shared(n) | n readers that keep writers out | `unshare` |
//!
//! Invariants: the version grows with every release that ends a change, an eviction, a free or a load, and
//! survives all of them; only the holder of exclusive stores to the slot, and only it changes the word then.
//!
//! **Why an optimistic read that validates saw one state** (the seqlock of Boehm, "Can seqlocks get along
//! with programming language memory models?", MSPC 2012, figure 6, with the sequence number split into
//! version and mode). Reader: R1 load word (acquire), R2 relaxed loads of the slot, R3 fence (acquire), R4
//! relaxed load of the word; it accepts if R4 shows R1's version in a mode that admits readers. Writer: W1
//! compare-and-swap to exclusive (acquire), W2 fence (release), W3 relaxed stores to the slot, W4 store of
//! the word with a new version (release).
//! - If R2 reads a value that W3 stored, R3 and W2 synchronise (acquire fence after the load, release fence
//!   before the store), so W1 happens before R4 and R4 reads W1's word or a later one: exclusive, or a
//!   greater version. Not accepted.
//! - If R1 read W4's word or a later one of its version, W4 happens before R2, so R2 reads no value older than
//!   W3's: what shares, marks and leaves is a read-modify-write, which continues W4's release sequence.
//!
//! So every word read in R2 is the one that was current throughout the version R1 read. Memory given back to
//! the system or to another slot in between is argued in `arena.rs` and `slab.rs`.

use crate::sync::{AtomicU64, Ordering, fence_at, order, spin_loop, yield_now};

const MODE_MASK: u64 = (1 << 12) - 1;
const MARK: u64 = 1 << 12;
const VERSION_SHIFT: u32 = 13;
const VERSION_ONE: u64 = 1 << VERSION_SHIFT;

const EVICTED: u64 = 0;
const EXCLUSIVE: u64 = 1;
const FREE: u64 = 2;
/// Modes from here on admit optimistic readers.
const LEAVING: u64 = 3;
const UNLOCKED: u64 = 4;
/// Most readers that share are `SHARED_MAX - UNLOCKED`; one more waits.
const SHARED_MAX: u64 = MODE_MASK;

const _: () = assert!(LEAVING + 1 == UNLOCKED && MODE_MASK < MARK && MARK < VERSION_ONE);

fn mode(word: u64) -> u64 {
    word & MODE_MASK
}

/// The word with another mode, unmarked.
fn with_mode(word: u64, mode: u64) -> u64 {
    word & !(MODE_MASK | MARK) | mode
}

/// Why a latch was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not in memory, or about to leave it.
    Absent,
    /// The id is nobody's: whoever named it did so from something that has changed.
    Gone,
    /// Held by another, or changed since it was sampled.
    Busy,
}

/// Where a slot is, for those who bring it in or take it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In memory, possibly latched.
    Resident,
    /// In memory, its image being written by an evictor.
    Leaving,
    /// Not in memory, at this version.
    Evicted(u64),
    /// Nobody's.
    Free,
}

impl Place {
    /// Whether the slot is in memory.
    pub(super) fn is_resident(self) -> bool {
        matches!(self, Self::Resident | Self::Leaving)
    }
}

/// A sample gives up after so many waits: the id may come from a torn read, and the latch may be held by the caller.
const SAMPLE_WAITS: u32 = 4096;

/// Waiting for a latch that is held for microseconds.
struct Spin(u32);

impl Spin {
    fn wait(&mut self) {
        self.0 += 1;
        if self.0 < 64 {
            spin_loop();
        } else {
            yield_now();
        }
    }
}

/// The latch in a state word.
#[derive(Clone, Copy)]
pub(super) struct Latch<'a>(pub(super) &'a AtomicU64);

impl Latch<'_> {
    /// Starts an optimistic read: the version to [`validate`](Self::validate) against. Waits for a
    /// writer, but not for ever.
    #[inline]
    pub(super) fn sample(self) -> Result<u64, Refusal> {
        let mut spin = Spin(0);
        loop {
            match self.try_sample() {
                Err(Refusal::Busy) if spin.0 < SAMPLE_WAITS => spin.wait(),
                done => return done,
            }
        }
    }

    /// The same without waiting.
    #[inline]
    pub(super) fn try_sample(self) -> Result<u64, Refusal> {
        let word = self.0.load(order("latch R1", Ordering::Acquire));
        match mode(word) {
            EVICTED => Err(Refusal::Absent),
            FREE => Err(Refusal::Gone),
            EXCLUSIVE => Err(Refusal::Busy),
            _ => {
                if word & MARK != 0 {
                    self.unmark(word);
                }
                Ok(word >> VERSION_SHIFT)
            }
        }
    }

    /// Whether nothing has changed since the sample of `version`.
    #[inline]
    pub(super) fn validate(self, version: u64) -> bool {
        fence_at("latch R3", Ordering::Acquire);
        let word = self.0.load(Ordering::Relaxed);
        word >> VERSION_SHIFT == version && mode(word) >= LEAVING
    }

    #[cold]
    fn unmark(self, word: u64) {
        let _ = self.0.compare_exchange(word, word & !MARK, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Tells the clock that the slot is wanted.
    pub(super) fn reference(self) {
        self.0.fetch_and(!MARK, Ordering::Relaxed);
    }

    /// Joins the readers that keep writers out; waits while a writer is in.
    pub(super) fn share(self) -> Result<(), Refusal> {
        let mut spin = Spin(0);
        loop {
            match self.try_share() {
                Err(Refusal::Busy) => spin.wait(),
                done => return done,
            }
        }
    }

    /// Joins them if no writer is in.
    pub(super) fn try_share(self) -> Result<(), Refusal> {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            match mode(word) {
                EVICTED | LEAVING => return Err(Refusal::Absent),
                FREE => return Err(Refusal::Gone),
                EXCLUSIVE | SHARED_MAX => return Err(Refusal::Busy),
                held if self.swap(word, with_mode(word, held + 1)) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Leaves the sharing readers.
    pub(super) fn unshare(self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Becomes the writer; waits while others hold the latch.
    pub(super) fn lock(self) -> Result<(), Refusal> {
        let mut spin = Spin(0);
        loop {
            match self.try_lock() {
                Err(Refusal::Busy) => spin.wait(),
                done => return done,
            }
        }
    }

    /// Becomes the writer if nobody holds the latch.
    pub(super) fn try_lock(self) -> Result<(), Refusal> {
        let word = self.0.load(Ordering::Relaxed);
        match mode(word) {
            EVICTED | LEAVING => Err(Refusal::Absent),
            FREE => Err(Refusal::Gone),
            UNLOCKED if self.swap(word, with_mode(word, EXCLUSIVE)) => Ok(()),
            _ => Err(Refusal::Busy),
        }
    }

    /// Becomes the writer if nothing has changed since the sample of `version` and nobody holds the latch.
    pub(super) fn upgrade(self, version: u64) -> Result<(), Refusal> {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            if word >> VERSION_SHIFT != version {
                return Err(Refusal::Busy);
            }
            match mode(word) {
                LEAVING => return Err(Refusal::Absent),
                UNLOCKED if self.swap(word, with_mode(word, EXCLUSIVE)) => return Ok(()),
                UNLOCKED => {}
                _ => return Err(Refusal::Busy),
            }
        }
    }

    /// One compare-and-swap that acquires; what the caller stores next cannot be seen without it (W1 and W2).
    fn swap(self, from: u64, to: u64) -> bool {
        let acquire = order("latch W1", Ordering::Acquire);
        let done = self.0.compare_exchange(from, to, acquire, Ordering::Relaxed).is_ok();
        fence_at("latch W2", Ordering::Release);
        done
    }

    /// The writer leaves; `changed` says whether it may have stored anything.
    pub(super) fn unlock(self, changed: bool) {
        let step = if changed { VERSION_ONE } else { 0 };
        self.end_exclusive(step, UNLOCKED);
    }

    /// The writer has taken the blob out of memory.
    pub(super) fn evict(self) {
        self.end_exclusive(VERSION_ONE, EVICTED);
    }

    /// The writer has ended the blob.
    pub(super) fn free(self) {
        self.end_exclusive(VERSION_ONE, FREE);
    }

    fn end_exclusive(self, step: u64, to: u64) {
        let word = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(mode(word), EXCLUSIVE);
        self.0.store(with_mode(word.wrapping_add(step), to), order("latch W4", Ordering::Release));
    }

    /// Where the slot is.
    pub(super) fn place(self) -> Place {
        let word = self.0.load(Ordering::Acquire);
        match mode(word) {
            EVICTED => Place::Evicted(word >> VERSION_SHIFT),
            FREE => Place::Free,
            LEAVING => Place::Leaving,
            _ => Place::Resident,
        }
    }

    /// The loader of a blob that has been out of memory since `version` becomes its writer.
    pub(super) fn claim(self, version: u64) -> bool {
        self.swap(version << VERSION_SHIFT | EVICTED, version << VERSION_SHIFT | EXCLUSIVE)
    }

    /// The maker of a blob becomes its writer. False if the id is in use.
    pub(super) fn claim_new(self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        matches!(mode(word), EVICTED | FREE) && self.swap(word, with_mode(word, EXCLUSIVE))
    }

    /// The clock passes: marks an unlocked slot; true if it was marked already, so nobody wanted it for a
    /// turn.
    pub(super) fn pass(self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        if mode(word) == UNLOCKED && word & MARK == 0 {
            let _ = self.0.compare_exchange(word, word | MARK, Ordering::Relaxed, Ordering::Relaxed);
        }
        mode(word) == UNLOCKED && word & MARK != 0
    }

    /// Becomes the writer of a marked slot that nobody holds.
    pub(super) fn lock_marked(self) -> bool {
        self.swap_marked(UNLOCKED, EXCLUSIVE)
    }

    /// Announces that a marked slot that nobody holds leaves memory as soon as its image is written.
    pub(super) fn leave(self) -> bool {
        self.swap_marked(UNLOCKED, LEAVING | MARK)
    }

    /// The evictor becomes the writer of a leaving slot, unless somebody read it meanwhile.
    pub(super) fn lock_leaving(self) -> bool {
        self.swap_marked(LEAVING, EXCLUSIVE)
    }

    fn swap_marked(self, from: u64, to: u64) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        mode(word) == from && word & MARK != 0 && self.swap(word, with_mode(word, 0) | to)
    }

    /// A leaving slot stays after all.
    pub(super) fn stay(self) {
        // Only readers clearing the mark race with this, and adding leaves the mark to them.
        self.0.fetch_add(UNLOCKED - LEAVING, Ordering::Release);
    }
}
