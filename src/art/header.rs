//! The header of a blob: its layout, and the bump allocator behind it.
//!
//! ```text
//! offset bytes field
//!      0     4 magic "RBLB"
//!      4     2 format
//!      6     1 kind: 1 leaf blob, 2 inner blob
//!      7     1 level: 0 leaf blob, 1 and more inner blobs
//!      8     4 blob id
//!     12     4 heap end: first byte not in use
//!     16     4 garbage: bytes below the heap end that no node or leaf uses
//!     20     2 entries, mounts included
//!     22     2 below (leaf blob: of all keys in it; inner blob: of the leftmost child)
//!     24     2 root pointer
//!     26     2 pointer of the leaf inserted last (0 none): tells an ascending run
//!     28     4 leftmost child's id (inner blob)
//!     32     8 version base: narrow versions are deltas to it
//!     40     8 database id
//!     48     2 how many bytes longer the leftmost child's base is (inner blob)
//!     50     2 flags, reserved (large values, expiry below)
//!     52     2 hint table offset in units of 4 bytes, reserved (0 none)
//!     54     2 hint table entries, reserved
//!     56     4 sum of the lengths of the relative keys
//!     60     4 sum of the lengths of the values
//! ```
//! Invariant H1: `64 + live bytes + garbage = heap end`.
//!
//! *Below* ([`Below`](super::Below)) bounds what lies below: bits 0-13 the longest relative key, bit 15 whether there may be
//! mounts. A parent's is never less than its child's, plus the bytes between their bases.

use super::words::Words;
use crate::limits::BLOB_BYTES;

pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"RBLB");
pub(crate) const FORMAT: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 64;

/// Cache lines worth fetching ahead of a search: the header and most nodes of a packed leaf blob (measured: DESIGN.md §10).
const PREFETCH_LINES: usize = 48;
/// Cache lines that an entry usually takes.
const END_LINES: usize = 3;

const AT_MAGIC: usize = 0;
const AT_FORMAT: usize = 4;
const AT_KIND: usize = 6;
const AT_LEVEL: usize = 7;
const AT_ID: usize = 8;
const AT_HEAP_END: usize = 12;
const AT_GARBAGE: usize = 16;
const AT_ENTRIES: usize = 20;
const AT_BELOW: usize = 22;
/// Where the root pointer lies: the first slot of every descent.
pub(crate) const AT_ROOT: usize = 24;
const AT_LAST: usize = 26;
const AT_LEFTMOST: usize = 28;
const AT_VERSION_BASE: usize = 32;
const AT_DATABASE: usize = 40;
const AT_LEFTMOST_DELTA: usize = 48;
const AT_FLAGS: usize = 50;
const AT_HINTS: usize = 52;
const AT_KEY_BYTES: usize = 56;
const AT_VALUE_BYTES: usize = 60;
const _: () = {
    assert!(AT_ROOT.is_multiple_of(2) && AT_LAST == AT_ROOT + 2 && AT_LEFTMOST == AT_LAST + 2);
    assert!(
        AT_LEFTMOST_DELTA == AT_DATABASE + 8 && AT_FLAGS == AT_LEFTMOST_DELTA + 2 && AT_HINTS == AT_FLAGS + 2
    );
    assert!(AT_BELOW == AT_ENTRIES + 2 && AT_ROOT == AT_BELOW + 2);
    assert!(AT_VALUE_BYTES + 4 == HEADER_BYTES && AT_KEY_BYTES == AT_HINTS + 4);
};

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Entries of users: (relative key, version, value).
    Leaf = 1,
    /// Children: (relative separator, child).
    Inner = 2,
}

/// One blob: an ART over relative keys in a slot's memory.
#[derive(Clone, Copy)]
pub(crate) struct Blob<'a> {
    pub(crate) w: Words<'a>,
}

macro_rules! field {
    ($get:ident, $read:ident, $at:ident, $type:ty) => {
        #[inline]
        pub(crate) fn $get(self) -> $type {
            self.w.$read($at)
        }
    };
    ($get:ident, $set:ident, $read:ident, $write:ident, $at:ident, $type:ty) => {
        field!($get, $read, $at, $type);
        #[inline]
        pub(crate) fn $set(self, value: $type) {
            self.w.$write($at, value);
        }
    };
}

impl<'a> Blob<'a> {
    #[inline]
    pub(crate) fn new(w: Words<'a>) -> Self {
        Self { w }
    }

    /// Writes the header of an empty blob.
    pub(crate) fn init(self, kind: Kind, level: u8, id: u32, database: u64) {
        for offset in (0..HEADER_BYTES).step_by(8) {
            self.w.set_u64(offset, 0);
        }
        self.w.set_u32(AT_MAGIC, MAGIC);
        self.w.set_u16(AT_FORMAT, FORMAT);
        self.w.set_u8(AT_KIND, kind as u8);
        self.w.set_u8(AT_LEVEL, level);
        self.w.set_u32(AT_ID, id);
        self.w.set_u64(AT_DATABASE, database);
        self.set_heap_end(HEADER_BYTES as u32);
    }

    field!(magic, u32_at, AT_MAGIC, u32);
    field!(format, u16_at, AT_FORMAT, u16);
    field!(id, set_id, u32_at, set_u32, AT_ID, u32);
    field!(heap_end, set_heap_end, u32_at, set_u32, AT_HEAP_END, u32);
    field!(garbage, set_garbage, u32_at, set_u32, AT_GARBAGE, u32);
    field!(below_word, set_below_word, u16_at, set_u16, AT_BELOW, u16);
    field!(root, u16_at, AT_ROOT, u16);
    field!(last_inserted, set_last_inserted, u16_at, set_u16, AT_LAST, u16);
    field!(leftmost, set_leftmost, u32_at, set_u32, AT_LEFTMOST, u32);
    field!(version_base, set_version_base, u64_at, set_u64, AT_VERSION_BASE, u64);
    field!(database, u64_at, AT_DATABASE, u64);
    field!(leftmost_delta, set_leftmost_delta, u16_at, set_u16, AT_LEFTMOST_DELTA, u16);
    field!(reserved_flags, u16_at, AT_FLAGS, u16);
    field!(hints, u32_at, AT_HINTS, u32);
    field!(key_bytes, set_key_bytes, u32_at, set_u32, AT_KEY_BYTES, u32);
    field!(value_bytes, set_value_bytes, u32_at, set_u32, AT_VALUE_BYTES, u32);
    field!(level, u8_at, AT_LEVEL, u8);

    /// Number of entries, mounts included.
    #[inline]
    pub(crate) fn entries(self) -> u32 {
        u32::from(self.w.u16_at(AT_ENTRIES))
    }

    pub(crate) fn set_entries(self, entries: u32) {
        debug_assert!(entries <= u32::from(u16::MAX));
        self.w.set_u16(AT_ENTRIES, entries as u16);
    }

    /// What the blob says it holds; None for a byte that is no kind.
    #[inline]
    pub(crate) fn kind(self) -> Option<Kind> {
        match self.w.u8_at(AT_KIND) {
            1 => Some(Kind::Leaf),
            2 => Some(Kind::Inner),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn is_leaf(self) -> bool {
        self.w.u8_at(AT_KIND) == Kind::Leaf as u8
    }

    /// Asks for the header and the first nodes, which a packed blob has behind it, heavy ones in front.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        for line in 0..PREFETCH_LINES {
            self.w.prefetch(line * 64);
        }
    }

    /// Has the processor fetch the place where the next entry goes.
    #[inline]
    pub(crate) fn prefetch_end(self) {
        for line in 0..END_LINES {
            self.w.prefetch(self.heap_end() as usize + line * 64);
        }
    }

    /// Bytes in use that a compaction would keep, header included.
    pub(crate) fn live_bytes(self) -> usize {
        (self.heap_end() as usize).saturating_sub(self.garbage() as usize)
    }

    /// Bytes that can still be allocated without compaction.
    pub(crate) fn room(self) -> usize {
        BLOB_BYTES.saturating_sub(self.heap_end() as usize)
    }

    /// Takes `bytes` (a multiple of four) from the heap; None when they are not there.
    pub(super) fn allocate(self, bytes: usize) -> Option<usize> {
        debug_assert!(bytes.is_multiple_of(4));
        let at = self.heap_end() as usize;
        if bytes > BLOB_BYTES.saturating_sub(at) {
            return None;
        }
        self.set_heap_end((at + bytes) as u32);
        Some(at)
    }

    /// Gives `bytes` at `offset` back.
    pub(super) fn release(self, offset: usize, bytes: usize) {
        if offset + bytes == self.heap_end() as usize {
            self.set_heap_end(offset as u32);
        } else {
            self.set_garbage(self.garbage() + bytes as u32);
        }
    }
}
