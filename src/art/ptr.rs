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
    /// A mount at this byte offset: laid out as a leaf, its value names the limb that holds all keys below its path.
    Mount(usize),
    /// A tag that this format version does not use.
    Unknown,
}

const TAG_NODE: u16 = 0;
const TAG_LEAF: u16 = 1;
const TAG_MOUNT: u16 = 2;
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
        TAG_MOUNT => Target::Mount(offset),
        _ => Target::Unknown,
    }
}

/// Where the pointer leads to, whatever is there.
#[inline(always)]
pub(crate) fn offset(ptr: u16) -> usize {
    usize::from(ptr & ((1 << OFFSET_BITS) - 1)) * 4
}

pub(crate) fn node(offset: usize) -> u16 {
    debug_assert!(offset.is_multiple_of(4));
    (offset / 4) as u16 | TAG_NODE << OFFSET_BITS
}

pub(crate) fn leaf(offset: usize) -> u16 {
    debug_assert!(offset.is_multiple_of(4));
    (offset / 4) as u16 | TAG_LEAF << OFFSET_BITS
}

pub(crate) fn mount(offset: usize) -> u16 {
    debug_assert!(offset.is_multiple_of(4));
    (offset / 4) as u16 | TAG_MOUNT << OFFSET_BITS
}

/// Whether the pointer leads to a mount.
#[inline(always)]
pub(crate) fn is_mount(ptr: u16) -> bool {
    ptr >> OFFSET_BITS == TAG_MOUNT
}

/// The pointer to another offset, with the tag of this one.
pub(crate) fn moved(ptr: u16, offset: usize) -> u16 {
    (offset / 4) as u16 | ptr & !((1 << OFFSET_BITS) - 1)
}
