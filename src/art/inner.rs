//! The entries of an inner blob: separators and children.
//!
//! ```text
//! value of an inner entry: u32 child id, u16 how many bytes longer the child's base is, u16 reserved
//! ```
//! The leftmost child has no separator: it takes all keys below the first one, and stands in the header.

use super::cursor::Cursor;
use super::header::Blob;
use super::leaf::Leaf;

/// Length of an inner entry's value.
pub(crate) const CHILD_BYTES: usize = 8;

/// A child as its parent knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Child {
    /// The blob's id.
    pub(crate) id: u32,
    /// How many bytes longer its base is than the parent's.
    pub(crate) delta: u16,
}

impl Child {
    pub(crate) fn encode(self) -> [u8; CHILD_BYTES] {
        let mut bytes = [0; CHILD_BYTES];
        bytes[..4].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.delta.to_le_bytes());
        bytes
    }

    #[inline(always)]
    fn decode(word: u64) -> Self {
        Self { id: word as u32, delta: (word >> 32) as u16 }
    }
}

impl Blob<'_> {
    /// The child whose range holds `key` (relative to this blob).
    #[inline]
    pub(crate) fn child_for(self, key: &[u8]) -> Child {
        match self.floor(key) {
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
        Child { id: self.leftmost(), delta: self.leftmost_delta() }
    }

    pub(crate) fn set_leftmost_child(self, child: Child) {
        self.set_leftmost(child.id);
        self.set_leftmost_delta(child.delta);
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

    /// All children in order, the leftmost first.
    pub(crate) fn children(self) -> Vec<Child> {
        let mut children = vec![self.leftmost_child()];
        let mut cursor = Cursor::new(self);
        cursor.first();
        while let Some(leaf) = cursor.leaf() {
            children.push(self.child_of(leaf));
            cursor.advance();
        }
        children
    }

    /// How many bytes longer the base of the child with the shortest base is.
    pub(crate) fn least_delta(self) -> usize {
        self.children().iter().map(|child| usize::from(child.delta)).min().unwrap_or(0)
    }

    /// Adds `by` to all deltas, because the blob's own base became so much shorter (or longer: negative).
    pub(crate) fn shift_deltas(self, by: isize) {
        let moved = |child: Child| Child { id: child.id, delta: (child.delta as isize + by) as u16 };
        self.set_leftmost_child(moved(self.leftmost_child()));
        let mut cursor = Cursor::new(self);
        cursor.first();
        while let Some(leaf) = cursor.leaf() {
            self.w.write(leaf.value_at(), &moved(self.child_of(leaf)).encode());
            cursor.advance();
        }
    }
}
