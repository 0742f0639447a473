//! Copies of blobs as of a cut, each in memory of its own that goes back to the system with it.
//!
//! From the heap they would be cut between other things: two million records in, its end had 14 MiB that nobody used and the system
//! did not get back.

use crate::limits::BLOCK_BYTES;
use crate::sync::{Ordering, SlotWords};

#[cfg(not(any(miri, loom, shuttle)))]
use memmap2::{MmapMut, MmapOptions};

/// An image that waits to be written.
pub(super) struct Shadow {
    memory: Memory,
    bytes: usize,
}

enum Memory {
    #[cfg(not(any(miri, loom, shuttle)))]
    Mapped(MmapMut),
    /// What came as a vector, and what the system gave no mapping for.
    Heap(Vec<u8>),
}

impl Shadow {
    /// The first `bytes` bytes of a blob whose exclusive latch the caller has, so this is quick.
    pub(super) fn of(words: &SlotWords, bytes: usize) -> Self {
        let mut shadow = Self { memory: Memory::of(bytes.next_multiple_of(8)), bytes };
        let (chunks, _) = shadow.memory.all_mut().as_chunks_mut::<8>();
        for (chunk, word) in chunks.iter_mut().zip(words) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        shadow
    }

    pub(super) fn image(&self) -> &[u8] {
        &self.memory.all()[..self.bytes]
    }

    /// What it takes in memory, or in the file if that is more.
    pub(super) fn memory_bytes(&self) -> u64 {
        let bytes = match &self.memory {
            #[cfg(not(any(miri, loom, shuttle)))]
            Memory::Mapped(map) => map.len(),
            Memory::Heap(bytes) => bytes.capacity(),
        };
        bytes.next_multiple_of(BLOCK_BYTES) as u64
    }
}

impl From<Vec<u8>> for Shadow {
    fn from(image: Vec<u8>) -> Self {
        Self { bytes: image.len(), memory: Memory::Heap(image) }
    }
}

impl Memory {
    /// Zeroed memory, its pages there.
    fn of(bytes: usize) -> Self {
        #[cfg(not(any(miri, loom, shuttle)))]
        if let Ok(map) = MmapOptions::new().len(bytes).populate().map_anon() {
            return Self::Mapped(map);
        }
        Self::Heap(vec![0; bytes])
    }

    fn all(&self) -> &[u8] {
        match self {
            #[cfg(not(any(miri, loom, shuttle)))]
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        match self {
            #[cfg(not(any(miri, loom, shuttle)))]
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::arena::Arena;
    use crate::store::BlobId;

    #[test]
    fn a_shadow_has_the_bytes_of_its_blob_and_counts_whole_pages() {
        let arena = Arena::new(4, 2);
        arena.attach(BlobId(1));
        for (at, word) in arena.words(BlobId(1)).iter().enumerate() {
            word.store(at as u64 | 7 << 56, Ordering::Relaxed);
        }
        let expected: Vec<u8> = (0..8192u64).flat_map(|at| (at | 7 << 56).to_le_bytes()).collect();
        for bytes in [8, 4095, 4096, 4100, 65_532, 65_536] {
            let shadow = Shadow::of(arena.words(BlobId(1)), bytes);
            assert_eq!(shadow.image(), &expected[..bytes]);
            assert_eq!(shadow.memory_bytes(), bytes.next_multiple_of(4096) as u64);
            let kept = Shadow::from(expected[..bytes].to_vec());
            assert_eq!((kept.image(), kept.memory_bytes()), (shadow.image(), shadow.memory_bytes()));
        }
    }
}
