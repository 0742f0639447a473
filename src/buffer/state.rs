//! A word of state for each slot, zero at first.
//!
//! For all ids they are 128 MiB of addresses, of which only what is in use should be memory. An allocator does not see to that:
//! where something as large was freed before, it takes that and clears it. So they are a mapping of their own where there are
//! such.

pub(super) use words::StateWords;

#[cfg(all(target_os = "linux", not(any(miri, loom, shuttle))))]
mod words {
    use std::alloc::{Layout, handle_alloc_error};

    use memmap2::{MmapOptions, MmapRaw};

    use crate::sync::AtomicU64;

    /// The words, by the slot's number.
    pub(in crate::buffer) struct StateWords(MmapRaw);

    impl StateWords {
        /// Ends the process where there is no memory, as every allocation does.
        pub(in crate::buffer) fn new(count: usize) -> Self {
            let Ok(layout) = Layout::array::<AtomicU64>(count.max(1)) else {
                handle_alloc_error(Layout::new::<AtomicU64>())
            };
            match MmapOptions::new().len(layout.size()).no_reserve_swap().map_anon() {
                Ok(map) => Self(MmapRaw::from(map)),
                Err(_) => handle_alloc_error(layout),
            }
        }
    }

    impl std::ops::Deref for StateWords {
        type Target = [AtomicU64];

        #[inline(always)]
        fn deref(&self) -> &[AtomicU64] {
            let count = self.0.len() / size_of::<AtomicU64>();
            // SAFETY: the mapping holds `count` words and starts at a page boundary, so it is aligned for them; anonymous
            // memory is initialised (zeros) and every bit pattern is a valid `AtomicU64`. It is readable and writable, and
            // unmapped only when `self` drops, which the returned lifetime precludes. Only atomics ever access it.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<AtomicU64>(), count) }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(any(miri, loom, shuttle)))))]
mod words {
    use crate::sync::AtomicU64;

    /// The words, by the slot's number.
    pub(in crate::buffer) struct StateWords(Box<[AtomicU64]>);

    impl StateWords {
        pub(in crate::buffer) fn new(count: usize) -> Self {
            #[cfg(not(any(loom, shuttle)))]
            return Self(crate::buffer::arena::zeroed_words(count));
            // Those of a model checker are more than a word each.
            #[cfg(any(loom, shuttle))]
            Self((0..count).map(|_| AtomicU64::new(0)).collect())
        }
    }

    impl std::ops::Deref for StateWords {
        type Target = [AtomicU64];

        #[inline(always)]
        fn deref(&self) -> &[AtomicU64] {
            &self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering::Relaxed;

    #[test]
    fn words_are_zero_and_apart() {
        let words = StateWords::new(1000);
        assert_eq!(words.len(), 1000);
        assert!(words.iter().all(|word| word.load(Relaxed) == 0));
        words.iter().zip(1..).for_each(|(word, number)| word.store(number, Relaxed));
        assert!(words.iter().zip(1..).all(|(word, number)| word.load(Relaxed) == number));
        let others = StateWords::new(1000);
        assert!(others.iter().all(|word| word.load(Relaxed) == 0));
    }
}
