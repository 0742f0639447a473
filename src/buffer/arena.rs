//! The memory of all slots.
//!
//! Invariants:
//! - A `&SlotWords` handed out stays valid for the life of the arena: memory is never unmapped or freed
//!   before it. Its content may change under a reader at any time, to zeros or to another blob even; that is
//!   why it is atomic words, and why an optimistic reader validates.
//! - A slot that is not in use (never attached, or released) reads as zeros when it is attached.
//! - [`Arena::attach`], [`Arena::release_from`] and [`Arena::detach`] are called under the slot's exclusive
//!   latch only.

use super::slab::Slab;
use crate::limits::{BLOB_BYTES, BLOBS_MAX, BLOCK_BYTES};
use crate::store::BlobId;
use crate::sync::{SlotWord, SlotWords};

/// Zeroed words from memory that the system commits on first touch where it can.
pub(super) fn zeroed_words(count: usize) -> Box<[SlotWord]> {
    const _: () = assert!(size_of::<SlotWord>() == size_of::<u64>());
    const _: () = assert!(align_of::<SlotWord>() == align_of::<u64>());
    let words = vec![0u64; count].into_boxed_slice();
    // SAFETY: the pointer comes from `Box::into_raw` just now, so it is unique and owned; `SlotWord` has the
    // same bit validity as `u64` and, asserted above, the same size and alignment, so the allocation's layout
    // is unchanged.
    unsafe { Box::from_raw(Box::into_raw(words) as *mut [SlotWord]) }
}

/// Slots of a database. Model checkers run small ones many times.
pub(super) const SLOTS: usize = if cfg!(any(loom, shuttle)) { 256 } else { BLOBS_MAX };

/// Where slots are.
pub(super) enum Arena {
    /// At an address that is arithmetic over the id.
    #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
    Mapped(mapped::Mapped),
    /// In recycled frames.
    Slab(Box<Slab>),
}

impl Arena {
    /// An arena for up to `slots` ids: mapped where the system can map at least `slots_min` of them, else a
    /// slab.
    pub(super) fn new(slots: usize, slots_min: usize) -> Self {
        #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
        if let Some(mapped) = mapped::Mapped::new(slots, slots_min) {
            return Self::Mapped(mapped);
        }
        let _ = slots_min;
        Self::slab(slots)
    }

    /// An arena of recycled frames.
    pub(super) fn slab(slots: usize) -> Self {
        Self::Slab(Box::new(Slab::new(slots)))
    }

    /// Ids below this number have slots.
    pub(super) fn slots(&self) -> usize {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(mapped) => mapped.slots(),
            Self::Slab(slab) => slab.slots(),
        }
    }

    /// The memory of `id`, which is below [`Arena::slots`].
    #[inline]
    pub(super) fn words(&self, id: BlobId) -> &SlotWords {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(mapped) => mapped.words(id),
            Self::Slab(slab) => slab.words(id),
        }
    }

    /// Memory pages that a slot in use up to `bytes` takes.
    pub(super) fn pages(&self, bytes: usize) -> usize {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(_) => bytes.min(BLOB_BYTES).div_ceil(BLOCK_BYTES),
            Self::Slab(_) => BLOB_BYTES / BLOCK_BYTES,
        }
    }

    /// Puts zeroed memory under `id`.
    pub(super) fn attach(&self, id: BlobId) {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(_) => {}
            Self::Slab(slab) => slab.attach(id),
        }
    }

    /// Has the system commit the first `bytes` of the slot at once, where it can: cheaper than page by page on first touch.
    pub(super) fn populate(&self, id: BlobId, bytes: usize) {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(mapped) => mapped.populate(id, bytes),
            Self::Slab(_) => {}
        }
        let _ = (id, bytes);
    }

    /// Gives back the whole pages of the slot past `bytes`, where single pages can be given back.
    pub(super) fn release_from(&self, id: BlobId, bytes: usize) {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(mapped) => mapped.release_from(id, bytes),
            Self::Slab(_) => {}
        }
        let _ = (id, bytes);
    }

    /// Gives back all memory of the slot.
    pub(super) fn detach(&self, id: BlobId) {
        match self {
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
            Self::Mapped(mapped) => mapped.release_from(id, 0),
            Self::Slab(slab) => slab.detach(id),
        }
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
mod mapped {
    use super::{BLOB_BYTES, BLOCK_BYTES, BlobId, SlotWords};
    use crate::sync::Ordering;
    use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

    /// One private anonymous mapping, without swap reserve or huge pages; a slot's pages are committed by the
    /// first touch.
    pub(in crate::buffer) struct Mapped {
        map: MmapRaw,
        slots: usize,
    }

    impl Mapped {
        /// Maps `slots` slots, or half as many as often as it takes but not under `slots_min`.
        pub(super) fn new(mut slots: usize, slots_min: usize) -> Option<Self> {
            loop {
                let map = slots
                    .checked_mul(BLOB_BYTES)
                    .and_then(|bytes| MmapOptions::new().len(bytes).no_reserve_swap().map_anon().ok());
                if let Some(map) = map {
                    // A kernel without huge pages refuses the advice, and does not need it.
                    let _ = map.advise(Advice::NoHugePage);
                    return Some(Self { map: MmapRaw::from(map), slots });
                }
                if slots / 2 < slots_min.max(1) {
                    return None;
                }
                slots /= 2;
            }
        }

        pub(super) fn slots(&self) -> usize {
            self.slots
        }

        #[inline]
        pub(super) fn words(&self, id: BlobId) -> &SlotWords {
            let slot = id.0 as usize;
            assert!(slot < self.slots, "a slot past the arena");
            // SAFETY: the mapping holds `slots * BLOB_BYTES` bytes and `slot < slots`, so the 64 KiB at this
            // address lie in it; it starts at a page boundary, so the address is aligned for `SlotWord`;
            // anonymous memory is initialised (zeros) and every bit pattern is a valid `SlotWord`. The
            // mapping is readable and writable and is unmapped only when `self` drops, which the returned
            // lifetime precludes. All accesses go through the atomics.
            unsafe { &*self.map.as_ptr().add(slot * BLOB_BYTES).cast::<SlotWords>() }
        }

        /// Systems that do not know how commit on first touch as ever.
        pub(super) fn populate(&self, id: BlobId, bytes: usize) {
            let bytes = bytes.next_multiple_of(BLOCK_BYTES).min(BLOB_BYTES);
            let _ = self.map.advise_range(Advice::PopulateWrite, id.0 as usize * BLOB_BYTES, bytes);
        }

        /// Afterwards the slot's bytes past `bytes` rounded up to a page read as zeros and take no memory. A
        /// stale reader may see the zeros early; that they are not taken for data follows from the exclusive
        /// latch under which this runs: the system call interrupts every core that has the page in its TLB,
        /// so a core that reads such a zero also sees the latch as it was taken before the call.
        pub(super) fn release_from(&self, id: BlobId, bytes: usize) {
            let start = bytes.next_multiple_of(BLOCK_BYTES);
            if start >= BLOB_BYTES {
                return;
            }
            let offset = id.0 as usize * BLOB_BYTES + start;
            // SAFETY: the range lies within the mapping (the id has a slot, as its latch, from a table of as
            // many, shows), and losing its content is the purpose: the caller holds the slot's exclusive
            // latch, and what others see turn to zeros they read through atomics and discard by validation.
            let advised = unsafe {
                self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, BLOB_BYTES - start)
            };
            if advised.is_err() {
                for word in &self.words(id)[start / 8..] {
                    word.store(0, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering::Relaxed;

    fn both() -> [Arena; 2] {
        [Arena::new(64, 16), Arena::slab(64)]
    }

    #[test]
    fn slots_are_apart_and_zero_after_reuse() {
        for arena in both() {
            assert_eq!(arena.slots(), 64);
            for id in 1..64 {
                arena.attach(BlobId(id));
                for word in arena.words(BlobId(id)) {
                    word.store(u64::from(id), Relaxed);
                }
            }
            for id in 1..64 {
                assert!(arena.words(BlobId(id)).iter().all(|word| word.load(Relaxed) == u64::from(id)));
            }
            for id in 1..64 {
                arena.detach(BlobId(id));
                assert!(arena.words(BlobId(id)).iter().all(|word| word.load(Relaxed) == 0));
                arena.attach(BlobId(id));
                assert!(arena.words(BlobId(id)).iter().all(|word| word.load(Relaxed) == 0));
            }
        }
    }

    #[test]
    fn release_keeps_the_bytes_before_the_page() {
        let arena = Arena::new(64, 16);
        let words = arena.words(BlobId(63));
        for word in words {
            word.store(7, Relaxed);
        }
        arena.release_from(BlobId(63), BLOCK_BYTES + 1);
        if arena.pages(1) == 1 {
            let kept = words.iter().take_while(|word| word.load(Relaxed) == 7).count();
            assert_eq!(kept * 8, 2 * BLOCK_BYTES);
            assert!(words[kept..].iter().all(|word| word.load(Relaxed) == 0));
        }
    }

    #[test]
    fn the_largest_database_has_slots_for_all_ids() {
        let arena = Arena::new(crate::limits::BLOBS_MAX, 256);
        for id in [1, arena.slots() as u32 - 1] {
            arena.attach(BlobId(id));
            arena.words(BlobId(id))[BLOB_BYTES / 8 - 1].store(u64::from(id), Relaxed);
        }
        assert_eq!(arena.words(BlobId(1))[BLOB_BYTES / 8 - 1].load(Relaxed), 1);
    }

    #[test]
    fn an_address_space_too_small_halves() {
        let arena = Arena::new(1 << 34, 16);
        assert!(arena.slots() < 1 << 34);
        arena.attach(BlobId(1));
        arena.words(BlobId(1))[0].store(1, Relaxed);
    }
}
