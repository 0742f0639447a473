//! Which blob ids are in use: one bit an id, lowest free id first, so that the page table stays dense.

use crate::limits::BLOBS_MAX;

/// The set of ids in use. Id 0 is never given out.
#[derive(Debug)]
pub(super) struct Ids {
    words: Vec<u64>,
    /// No word below this one has a free id.
    cursor: usize,
    bound: u32,
}

impl Ids {
    /// No id in use; none at or above `bound` was ever used.
    pub(super) fn new(bound: u32) -> Self {
        Self { words: vec![1], cursor: 0, bound: bound.max(1) }
    }

    /// Marks `id`, which is below [`BLOBS_MAX`], as in use.
    pub(super) fn mark(&mut self, id: u32) {
        let word = id as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 64);
        self.bound = self.bound.max(id + 1);
    }

    /// Takes the lowest free id.
    pub(super) fn allocate(&mut self) -> Option<u32> {
        while self.words.get(self.cursor).is_some_and(|&word| word == u64::MAX) {
            self.cursor += 1;
        }
        let ones = self.words.get(self.cursor).map_or(0, |word| word.trailing_ones());
        let id = self.cursor as u32 * 64 + ones;
        if id as usize >= BLOBS_MAX {
            return None;
        }
        self.mark(id);
        Some(id)
    }

    /// Gives `id` back; one that is not in use is left alone.
    pub(super) fn free(&mut self, id: u32) {
        if id != 0 && self.contains(id) {
            self.words[id as usize / 64] &= !(1 << (id % 64));
            self.cursor = self.cursor.min(id as usize / 64);
        }
    }

    /// Whether `id` is in use.
    pub(super) fn contains(&self, id: u32) -> bool {
        id != 0 && self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Ids from here on were never used.
    pub(super) fn bound(&self) -> u32 {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_first_never_zero_never_twice() {
        let mut ids = Ids::new(0);
        let taken: Vec<u32> = (0..200).map_while(|_| ids.allocate()).collect();
        assert_eq!(taken, (1..=200).collect::<Vec<_>>());
        ids.free(0);
        ids.free(70);
        ids.free(3);
        ids.free(9999);
        assert!(!ids.contains(0) && !ids.contains(70) && ids.contains(71));
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [Some(3), Some(70), Some(201)]);
        assert_eq!(ids.bound(), 202);
    }

    #[test]
    fn ends_at_the_limit() {
        let mut ids = Ids::new(0);
        ids.words = vec![u64::MAX; BLOBS_MAX / 64];
        assert_eq!(ids.allocate(), None);
        ids.free(BLOBS_MAX as u32 - 1);
        assert_eq!(ids.allocate(), Some(BLOBS_MAX as u32 - 1));
    }
}
