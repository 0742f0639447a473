//! Pages: entries of one leaf blob, copied out in the order of a scan.

use std::cell::RefCell;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::art::{Blob, Bytes, Leaf, Walk, WalkMemory, position};
use crate::sync::thread_local;

/// Where and how a page is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'k> {
    /// Least key, inclusive.
    pub(crate) low: &'k [u8],
    /// First key above the range; None: no bound.
    pub(crate) high: Option<&'k [u8]>,
    /// From high to low.
    pub(crate) reverse: bool,
    /// Leave values out.
    pub(crate) keys_only: bool,
    /// Roll keys up to this byte, looked for behind so many bytes of the key.
    pub(crate) delimiter: Option<(u8, usize)>,
    /// Stop after so many entries.
    pub(crate) entries_max: usize,
}

/// Where an entry stands in the page's bytes, and what else it says.
#[derive(Debug, Clone, Copy)]
struct Item {
    version: u64,
    start: u32,
    key_end: u32,
    value_end: u32,
    rolled: bool,
}

/// Entries in the order of the scan. Its memory is kept for the thread's next page.
#[derive(Debug)]
pub(crate) struct Page {
    memory: Memory,
    /// Where the scan goes on: the new low bound (forward) or high bound (reverse). None: the scan is over.
    pub(crate) resume: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Each entry's key and value, one entry behind the other.
    bytes: Bytes,
    items: Vec<Item>,
    walk: WalkMemory,
}

/// One entry of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageEntry<'p> {
    pub(crate) key: &'p [u8],
    pub(crate) value: &'p [u8],
    pub(crate) version: u64,
    /// The key stands for all keys that start with it.
    pub(crate) rolled: bool,
}

/// A page stops growing at about this size.
const PAGE_BYTES: usize = 64 * 1024;
/// What a thread keeps: so many pages' memory, each of at most so many bytes.
const SPARE_MAX: usize = 4;
const SPARE_BYTES: usize = 4 * PAGE_BYTES;

thread_local! {
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

impl Default for Page {
    fn default() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let mut page = Self { memory: spare.unwrap_or_default(), resume: None };
        page.clear();
        page
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.bytes.capacity() > SPARE_BYTES {
            return;
        }
        // A thread that ends has no spare ones.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(memory);
            }
        });
    }
}

impl Page {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.memory.items.len()
    }

    #[inline]
    pub(crate) fn entry(&self, index: usize) -> PageEntry<'_> {
        let Item { version, start, key_end, value_end, rolled } = self.memory.items[index];
        let bytes = &self.memory.bytes.as_slice()[start as usize..value_end as usize];
        let (key, value) = bytes.split_at((key_end - start) as usize);
        PageEntry { key, value, version, rolled }
    }

    pub(crate) fn last(&self) -> Option<PageEntry<'_>> {
        self.len().checked_sub(1).map(|last| self.entry(last))
    }

    /// A hash of all that an entry says: its key, version and value, and whether it was rolled up.
    pub(crate) fn digest(&self, index: usize) -> u128 {
        let Item { version, start, key_end, value_end, rolled } = self.memory.items[index];
        // The seed tells where the key ends; versions are well below 2^48.
        let seed = version ^ u64::from(key_end - start) << 48 ^ u64::from(rolled) << 63;
        xxh3_128_with_seed(&self.memory.bytes.as_slice()[start as usize..value_end as usize], seed)
    }

    pub(crate) fn clear(&mut self) {
        self.memory.bytes.clear();
        self.memory.items.clear();
        self.resume = None;
    }

    #[inline(always)]
    pub(super) fn is_full(&self, request: &PageRequest<'_>) -> bool {
        self.len() >= request.entries_max || self.memory.bytes.len() >= PAGE_BYTES
    }

    /// How much the page has, to [`cut`](Self::cut) it back to.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.memory.items.len(), self.memory.bytes.len())
    }

    pub(super) fn cut(&mut self, (items, bytes): (usize, usize)) {
        self.memory.items.truncate(items);
        self.memory.bytes.truncate(bytes);
    }

    /// What walks work with.
    pub(super) fn walk_memory(&mut self) -> &mut WalkMemory {
        &mut self.memory.walk
    }

    /// Adds a common prefix.
    #[inline(always)]
    pub(super) fn push_rolled(&mut self, prefix: &[u8]) {
        let start = self.memory.bytes.len();
        self.memory.bytes.extend(prefix);
        self.close_rolled(start);
    }

    /// Makes a common prefix of the bytes from `start` on.
    #[inline(always)]
    fn close_rolled(&mut self, start: usize) {
        let (start, end) = (start as u32, self.memory.bytes.len() as u32);
        self.memory.items.push(Item { version: 0, start, key_end: end, value_end: end, rolled: true });
    }

    /// Adds the entry under the walk, whose key starts as the last one's did for `kept` bytes. Some: it was rolled up into a
    /// common prefix of this length.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
        blob: Blob<'_>,
        walk: &Walk<'_>,
        leaf: Leaf,
        kept: usize,
        request: &PageRequest<'_>,
    ) -> Option<usize> {
        let bytes = &mut self.memory.bytes;
        let start = bytes.len();
        let above_end = start + walk.above().len();
        let value_len = if request.keys_only { 0 } else { leaf.value_len() };
        if let Some((delimiter, behind)) = request.delimiter {
            // What was kept has no delimiter behind the prefix, or it would have been rolled up and skipped.
            if let Some(len) = find(walk.above(), kept.max(behind), delimiter) {
                self.push_rolled(&walk.above()[..len]);
                return Some(len);
            }
            walk.append_above(bytes);
            bytes.append(blob.w, leaf.suffix_at(), leaf.suffix_len());
            if let Some(len) = find(&bytes.as_slice()[start..], (above_end - start).max(behind), delimiter) {
                bytes.truncate(start + len);
                self.close_rolled(start);
                return Some(len);
            }
            bytes.append(blob.w, leaf.value_at(), value_len);
        } else {
            walk.append_above(bytes);
            // The value lies behind the suffix.
            bytes.append(blob.w, leaf.suffix_at(), leaf.suffix_len() + value_len);
        }
        self.memory.items.push(Item {
            version: leaf.version(blob),
            start: start as u32,
            key_end: (above_end + leaf.suffix_len()) as u32,
            value_end: bytes.len() as u32,
            rolled: false,
        });
        None
    }
}

/// How long the part of `key` is that ends with the first `byte` behind `from` bytes of it.
#[inline(always)]
fn find(key: &[u8], from: usize, byte: u8) -> Option<usize> {
    position(key.get(from..)?, byte).map(|at| from + at + 1)
}
