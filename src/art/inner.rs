//! The entries of an inner blob: separators and children; and mounts, the entries of leaf blobs that lead to a limb.
//!
//! ```text
//! value of an inner entry: u32 child id, u16 how many bytes longer the child's base is, u16 below
//! value of a mount:        u32 id of the limb's root, u16 zero, u16 below
//! ```
//! The leftmost child has no separator: it takes all keys below the first one, and stands in the header.

use super::cursor::Cursor;
use super::header::{AT_ROOT, Blob};
use super::leaf::Leaf;
use super::node::Node;
use super::ptr::{Target, decode};
use super::search::LookUp;
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX};

/// Length of an inner entry's value.
pub(crate) const CHILD_BYTES: usize = 8;

/// A child as its parent knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    /// The blob's id.
    pub(crate) id: u32,
    /// How many bytes longer its base is than the parent's; 0 for a mount.
    pub(crate) delta: u16,
    /// What it may hold.
    pub(crate) below: Below,
}

/// Bounds on what lies below a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Below(u16);

/// Bounds are rounded up to this, so that few puts have to raise them.
const LONGEST_STEP: usize = 256;
/// Above this they are exact, so that no limit is missed by the rounding.
const LONGEST_ROUNDED_MAX: usize = 4096;
const MOUNTS: u16 = 1 << 15;
const LONGEST: u16 = (1 << 14) - 1;
const _: () = assert!(KEY_BYTES_MAX <= LONGEST as usize);

impl Below {
    /// No key longer than `longest`, at the limit any key, and mounts or not.
    pub(crate) fn new(longest: usize, mounts: bool) -> Self {
        Self(longest.min(KEY_BYTES_MAX) as u16 | if mounts { MOUNTS } else { 0 })
    }

    #[inline(always)]
    pub(super) fn from_word(word: u16) -> Self {
        Self(word)
    }

    pub(super) fn word(self) -> u16 {
        self.0
    }

    /// The longest key, relative to the base, that may be below.
    #[inline(always)]
    pub(crate) fn longest(self) -> usize {
        usize::from(self.0 & LONGEST)
    }

    /// Whether there may be mounts below.
    pub(crate) fn mounts(self) -> bool {
        self.0 & MOUNTS != 0
    }

    /// The same, seen from a base that is so many bytes shorter.
    pub(crate) fn under(self, bytes: usize) -> Self {
        Self::new(self.longest() + bytes, self.mounts())
    }

    /// The same, seen from a base that is so many bytes longer. The limit itself stands for whatever was cut down to it.
    pub(crate) fn over(self, bytes: usize) -> Self {
        let cut = if self.longest() < KEY_BYTES_MAX { bytes } else { 0 };
        Self::new(self.longest().saturating_sub(cut), self.mounts())
    }

    /// What bounds both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::new(self.longest().max(other.longest()), self.mounts() || other.mounts())
    }

    /// Whether it bounds all that `other` does.
    pub(crate) fn holds(self, other: Self) -> bool {
        self.longest() >= other.longest() && (self.mounts() || !other.mounts())
    }

    /// What bounds this too, rounded up.
    pub(crate) fn raised(self, other: Self) -> Self {
        let both = self.and(other);
        Self::new(round_up(both.longest()), both.mounts())
    }
}

/// A bound for keys of this length, rounded.
pub(super) fn round_up(longest: usize) -> usize {
    if longest > LONGEST_ROUNDED_MAX { longest } else { longest.max(1).next_multiple_of(LONGEST_STEP) }
}

impl Child {
    pub(crate) fn encode(self) -> [u8; CHILD_BYTES] {
        let mut bytes = [0; CHILD_BYTES];
        bytes[..4].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.delta.to_le_bytes());
        bytes[6..].copy_from_slice(&self.below.word().to_le_bytes());
        bytes
    }

    #[inline(always)]
    fn decode(word: u64) -> Self {
        Self { id: word as u32, delta: (word >> 32) as u16, below: Below::from_word((word >> 48) as u16) }
    }
}

/// A child of an inner blob and its separator, None for the leftmost.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) separator: Option<Vec<u8>>,
    pub(crate) child: Child,
}

/// Where a child stands in its parent, until that changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildPlace(Option<usize>);

impl Blob<'_> {
    /// The child whose range holds `key` (relative to this blob).
    #[inline]
    pub(crate) fn child_for(self, key: &[u8]) -> Child {
        match self.floor(key) {
            Some((_, leaf)) => self.child_of(leaf),
            None => self.leftmost_child(),
        }
    }

    /// The child whose range holds `key`, if it is neither the leftmost nor that of the [last entry](Self::last_entry).
    #[inline]
    pub(crate) fn child_inside(self, key: &[u8], last: u16) -> Option<Child> {
        let (ptr, leaf) = self.floor(key)?;
        (ptr != last).then(|| self.child_of(leaf))
    }

    /// The pointer of the entry with the greatest key, 0 for none.
    pub(crate) fn last_entry(self) -> u16 {
        self.greatest(self.root()).map_or(0, |(ptr, _)| ptr)
    }

    /// The child of the greatest entry under a pointer that [`floors`](Self::floors) gave; 0: the leftmost.
    #[inline]
    pub(crate) fn child_at(self, ptr: u16) -> Child {
        match self.greatest(ptr) {
            Some((_, leaf)) => self.child_of(leaf),
            None => self.leftmost_child(),
        }
    }

    /// The child of an inner entry.
    #[inline(always)]
    pub(crate) fn child_of(self, leaf: Leaf) -> Child {
        Child::decode(self.w.u64_at(leaf.value_at()))
    }

    #[inline]
    pub(crate) fn leftmost_child(self) -> Child {
        Child {
            id: self.leftmost(),
            delta: self.leftmost_delta(),
            below: Below::from_word(self.below_word()),
        }
    }

    pub(crate) fn set_leftmost_child(self, child: Child) {
        self.set_leftmost(child.id);
        self.set_leftmost_delta(child.delta);
        self.set_below_word(child.below.word());
    }

    /// Bounds on what is in the blob and below it, relative to its base.
    pub(crate) fn below(self) -> Below {
        if self.is_leaf() {
            return Below::from_word(self.below_word());
        }
        let mut all = Below::default();
        self.each_child(|_, child| all = all.and(child.below.under(usize::from(child.delta))));
        all
    }

    /// Sets what a leaf blob may hold.
    pub(crate) fn set_below(self, below: Below) {
        debug_assert!(self.is_leaf());
        self.set_below_word(below.word());
    }

    /// The blob as a child of one whose base is so many bytes shorter.
    pub(crate) fn as_child(self, delta: usize) -> Child {
        Child { id: self.id(), delta: delta as u16, below: self.below() }
    }

    /// Writes the child of an entry anew; `separator` None: the leftmost. False: there is no such entry.
    pub(crate) fn set_child(self, separator: Option<&[u8]>, child: Child) -> bool {
        match separator {
            None => self.set_leftmost_child(child),
            Some(separator) => match self.find(separator) {
                Some(leaf) => self.w.write(leaf.value_at(), &child.encode()),
                None => return false,
            },
        }
        true
    }

    /// Writes the child whose range holds `key` anew.
    pub(crate) fn set_child_for(self, key: &[u8], child: Child) {
        match self.floor(key) {
            Some((_, leaf)) => {
                self.w.write(leaf.value_at(), &child.encode());
            }
            None => self.set_leftmost_child(child),
        }
    }

    /// Writes the limb of the mount with exactly this path anew. False: there is no such mount.
    pub(crate) fn set_mount(self, path: &[u8], limb: Child) -> bool {
        match (self.look_up(path), self.floor(path)) {
            (LookUp::Mount { path: to, .. }, Some((_, leaf))) if to == path.len() => {
                self.w.write(leaf.value_at(), &limb.encode())
            }
            _ => return false,
        }
        true
    }

    /// All children in order with their separators, the leftmost first.
    pub(crate) fn slots(self) -> Vec<Slot> {
        let mut slots = vec![Slot { separator: None, child: self.leftmost_child() }];
        let mut cursor = Cursor::new(self);
        cursor.first();
        while let Some(leaf) = cursor.leaf() {
            slots.push(Slot { separator: Some(cursor.key().to_vec()), child: self.child_of(leaf) });
            cursor.advance();
        }
        slots
    }

    /// Calls `visit` with all children, in no order.
    pub(crate) fn each_child(self, mut visit: impl FnMut(ChildPlace, Child)) {
        visit(ChildPlace(None), self.leftmost_child());
        let mut todo = vec![self.w.u16_at(AT_ROOT)];
        // A torn read may lead in a circle; no blob has as many nodes and leaves.
        for _ in 0..BLOB_BYTES / 8 {
            let Some(ptr) = todo.pop() else { return };
            match decode(ptr) {
                Target::Leaf(offset) => {
                    let at = Leaf::at(self.w, offset).value_at();
                    visit(ChildPlace(Some(at)), Child::decode(self.w.u64_at(at)));
                }
                Target::Node(offset) => {
                    let node = Node::at(self.w, offset);
                    todo.extend(node.slots(self.w).map(|slot| self.w.u16_at(slot)));
                }
                Target::Mount(_) | Target::Null | Target::Unknown => {}
            }
        }
    }

    /// Writes the child at a place anew.
    pub(crate) fn set_child_at(self, place: ChildPlace, child: Child) {
        match place.0 {
            Some(at) => {
                self.w.write(at, &child.encode());
            }
            None => self.set_leftmost_child(child),
        }
    }

    /// How many bytes longer the base of the child with the shortest base is.
    pub(crate) fn least_delta(self) -> usize {
        let mut least = usize::MAX;
        self.each_child(|_, child| least = least.min(usize::from(child.delta)));
        least
    }

    /// Adds `by` to all deltas, because the blob's own base became so much shorter (or longer: negative).
    pub(crate) fn shift_deltas(self, by: isize) {
        self.each_child(|place, child| {
            self.set_child_at(place, Child { delta: (child.delta as isize + by) as u16, ..child });
        });
    }
}
