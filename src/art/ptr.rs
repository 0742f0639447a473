//! A child pointer: 14 bits of offset in units of four bytes, two bits of tag.

/// What a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing.
    Null,
    /// An inner node at this byte offset.
    Node(usize),
    /// A leaf at this byte offset.
    Leaf(usize),
    /// A tag that this format version does not use (2 is kept for mounts).
    Unknown,
}

const TAG_NODE: u16 = 0;
const TAG_LEAF: u16 = 1;
const OFFSET_BITS: u32 = 14;

#[inline(always)]
pub(crate) fn decode(ptr: u16) -> Target {
    if ptr == 0 {
        return Target::Null;
    }
    let offset = usize::from(ptr & ((1 << OFFSET_BITS) - 1)) * 4;
    match ptr >> OFFSET_BITS {
        TAG_NODE => Target::Node(offset),
        TAG_LEAF => Target::Leaf(offset),
        _ => Target::Unknown,
    }
}

pub(crate) fn node(offset: usize) -> u16 {
    debug_assert!(offset.is_multiple_of(4));
    (offset / 4) as u16 | TAG_NODE << OFFSET_BITS
}

pub(crate) fn leaf(offset: usize) -> u16 {
    debug_assert!(offset.is_multiple_of(4));
    (offset / 4) as u16 | TAG_LEAF << OFFSET_BITS
}
