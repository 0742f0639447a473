//! Inner nodes of the ART, kinds 4, 16, 48 and 256 (Leis, Kemper, Neumann: "The Adaptive Radix Tree", ICDE 2013),
//! with path compression kept in full, as large as a key.
//!
//! ```text
//! 0   u32  bits 0-1 kind, 2 terminal present, 3-11 children, 12-25 prefix length, 26-31 zero
//! 4        kinds 4, 16, 48: sorted key bytes [kind], then u16 pointers [kind]; kind 256: u16 pointers [256]
//!     u16  pointer of the terminal entry and two zero bytes, if present: the entry whose key ends at this node
//!          prefix, zero padding to a multiple of four
//! ```

use super::header::Blob;
use super::ptr;
use super::simd;
use super::words::Words;

const CAPACITY: [usize; 4] = [4, 16, 48, 256];
const POINTERS_AT: [usize; 4] = [8, 20, 52, 4];
const END_AT: [usize; 4] = [16, 52, 148, 516];
const KIND_256: usize = 3;
const TERMINAL: u32 = 1 << 2;
const CHILDREN_SHIFT: u32 = 3;
const PREFIX_SHIFT: u32 = 12;
const RESERVED: u32 = 0xFC00_0000;

const _: () = {
    let mut kind = 0;
    while kind < 3 {
        assert!(POINTERS_AT[kind] == 4 + CAPACITY[kind]);
        assert!(END_AT[kind] == POINTERS_AT[kind] + 2 * CAPACITY[kind]);
        kind += 1;
    }
    assert!(END_AT[3] == 4 + 2 * 256);
};

/// The most that growing a node by a child and a terminal can allocate, its prefix aside.
pub(super) const NODE_BYTES_MAX: usize = END_AT[KIND_256] + 4;
/// Size of the smallest node, its prefix aside.
pub(super) const NODE4_BYTES: usize = END_AT[0] + 4;

/// A node's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(super) offset: usize,
    head: u32,
}

/// Where a key byte leads in a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The slot (offset of the pointer) of the child for the byte.
    At(usize),
    /// No child; a new one would become the n-th (kind 256: unused).
    Absent(usize),
}

/// The places of a node's children: in a node of kind 256 one for each byte, in the others one for each child. Worked out once
/// for whoever visits them in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Where the children's bytes stand; 0: each place is that of its byte.
    bytes_at: u32,
    pointers_at: u32,
    end: u32,
}

/// A child: its place, its byte, its pointer.
type Placed = (usize, u8, u16);

impl Places {
    #[inline(always)]
    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    #[inline(always)]
    fn pointer(self, w: Words<'_>, place: usize) -> u16 {
        w.u16_at(self.pointers_at as usize + 2 * place)
    }

    /// The first child from a place on.
    #[inline(always)]
    pub(super) fn first_at(self, w: Words<'_>, place: usize) -> Option<Placed> {
        if self.bytes_at == 0 {
            return (place..256)
                .map(|byte| (byte, byte as u8, self.pointer(w, byte)))
                .find(|child| child.2 != 0);
        }
        (place < self.end()).then(|| (place, w.u8_at(self.bytes_at as usize + place), self.pointer(w, place)))
    }

    /// The last child before a place.
    #[inline(always)]
    pub(super) fn last_before(self, w: Words<'_>, place: usize) -> Option<Placed> {
        let end = place.min(self.end());
        if self.bytes_at == 0 {
            let mut children = (0..end).rev().map(|byte| (byte, byte as u8, self.pointer(w, byte)));
            return children.find(|child| child.2 != 0);
        }
        let place = end.checked_sub(1)?;
        Some((place, w.u8_at(self.bytes_at as usize + place), self.pointer(w, place)))
    }

    /// Asks for the memory of the child in a place, if there is one.
    #[inline(always)]
    pub(super) fn prefetch(self, w: Words<'_>, place: usize) {
        if place < self.end() {
            w.prefetch_entry(ptr::offset(self.pointer(w, place)));
        }
    }

    /// Asks for the memory of the children in the first four places: their pointers are one word. Where there is none, that is
    /// the blob's header.
    #[inline(always)]
    pub(super) fn prefetch_first(self, w: Words<'_>) {
        let pointers = w.u64_at(self.pointers_at as usize);
        for place in 0..4 {
            w.prefetch_entry(ptr::offset((pointers >> (16 * place)) as u16));
        }
    }
}

impl Node {
    #[inline(always)]
    pub(super) fn at(w: Words<'_>, offset: usize) -> Self {
        Self { offset, head: w.u32_at(offset) }
    }

    #[inline(always)]
    fn kind(self) -> usize {
        (self.head & 3) as usize
    }

    #[inline(always)]
    pub(super) fn has_terminal(self) -> bool {
        self.head & TERMINAL != 0
    }

    /// Whether the node only joins what is above it to one child: a removal can leave that behind.
    pub(super) fn is_link(self) -> bool {
        self.children() == 1 && !self.has_terminal()
    }

    /// Number of children, the terminal not counted; at most 256 whatever the bytes say.
    #[inline(always)]
    pub(super) fn children(self) -> usize {
        ((self.head >> CHILDREN_SHIFT & 0x1FF) as usize).min(CAPACITY[self.kind()])
    }

    #[inline(always)]
    pub(super) fn prefix_len(self) -> usize {
        (self.head >> PREFIX_SHIFT & 0x3FFF) as usize
    }

    #[inline(always)]
    fn end_of_pointers(self) -> usize {
        self.offset + END_AT[self.kind()]
    }

    /// Slot of the terminal's pointer.
    #[inline(always)]
    pub(super) fn terminal_slot(self) -> usize {
        self.end_of_pointers()
    }

    #[inline(always)]
    pub(super) fn prefix_at(self) -> usize {
        self.end_of_pointers() + (self.head & TERMINAL) as usize
    }

    pub(super) fn bytes(self) -> usize {
        node_bytes(self.kind(), self.has_terminal(), self.prefix_len())
    }

    /// Whether the header breaks the format.
    pub(super) fn is_unknown(self) -> bool {
        self.head & RESERVED != 0 || (self.head >> CHILDREN_SHIFT & 0x1FF) as usize > CAPACITY[self.kind()]
    }

    /// Slot of the child for `byte`, if there is one.
    #[inline(always)]
    pub(super) fn find_slot(self, w: Words<'_>, byte: u8) -> Option<usize> {
        match self.kind() {
            0 => {}
            KIND_256 => {
                let slot = self.offset + 4 + 2 * usize::from(byte);
                return (w.u16_at(slot) != 0).then_some(slot);
            }
            kind => {
                let index = simd::find(w, self.offset + 4, self.children(), byte)?;
                return Some(self.offset + POINTERS_AT[kind] + 2 * index);
            }
        }
        // The first zero byte of the four differences (Mycroft); lanes without a child lie behind.
        let differences = w.u32_at(self.offset + 4) ^ (u32::from(byte) * 0x0101_0101);
        let zeros = differences.wrapping_sub(0x0101_0101) & !differences & 0x8080_8080;
        let index = zeros.trailing_zeros() as usize / 8;
        (index < self.children()).then_some(self.offset + POINTERS_AT[0] + 2 * index)
    }

    /// Slot of the child for `byte`.
    #[inline(always)]
    pub(super) fn find(self, w: Words<'_>, byte: u8) -> Found {
        let kind = self.kind();
        if kind == KIND_256 {
            let slot = self.offset + 4 + 2 * usize::from(byte);
            return if w.u16_at(slot) == 0 { Found::Absent(0) } else { Found::At(slot) };
        }
        let (below, equal) = simd::search(w, self.offset + 4, self.children(), byte);
        if equal { Found::At(self.offset + POINTERS_AT[kind] + 2 * below) } else { Found::Absent(below) }
    }

    /// The child for `byte` and the child with the greatest key byte below it; 0 for none.
    #[inline(always)]
    pub(super) fn find_and_below(self, w: Words<'_>, byte: u8) -> (u16, u16) {
        let kind = self.kind();
        if kind == KIND_256 {
            let child = w.u16_at(self.offset + 4 + 2 * usize::from(byte));
            return (child, self.last_below(w, usize::from(byte)).map_or(0, |(_, lower)| lower));
        }
        let (below, equal) = simd::search(w, self.offset + 4, self.children(), byte);
        let slot = self.offset + POINTERS_AT[kind] + 2 * below;
        let child = if equal { w.u16_at(slot) } else { 0 };
        let lower = if below > 0 { w.u16_at(slot - 2) } else { 0 };
        (child, lower)
    }

    /// The child with the greatest key byte below `limit` (256: any): (its byte, its pointer).
    #[inline]
    pub(super) fn last_below(self, w: Words<'_>, limit: usize) -> Option<(u8, u16)> {
        let kind = self.kind();
        if kind == KIND_256 {
            return (0..limit.min(256)).rev().find_map(|byte| {
                let ptr = w.u16_at(self.offset + 4 + 2 * byte);
                (ptr != 0).then_some((byte as u8, ptr))
            });
        }
        let below = match limit {
            256.. => self.children(),
            _ => simd::search(w, self.offset + 4, self.children(), limit as u8).0,
        };
        let index = below.checked_sub(1)?;
        Some((w.u8_at(self.offset + 4 + index), w.u16_at(self.offset + POINTERS_AT[kind] + 2 * index)))
    }

    /// Where the child for `byte` stands among the node's places, or the first one behind it would, and whether it is there. A
    /// node of kind 256 has a place for each byte, the others one for each child.
    #[inline(always)]
    pub(super) fn place_of(self, w: Words<'_>, byte: u8) -> (usize, bool) {
        if self.kind() == KIND_256 {
            let place = usize::from(byte);
            return (place, w.u16_at(self.offset + 4 + 2 * place) != 0);
        }
        simd::search(w, self.offset + 4, self.children(), byte)
    }

    /// The pointer in a place that is taken.
    #[inline(always)]
    pub(super) fn pointer_at(self, w: Words<'_>, place: usize) -> u16 {
        w.u16_at(self.offset + POINTERS_AT[self.kind()] + 2 * place)
    }

    /// The child with the least key byte that is at least `from`: (its byte, its pointer).
    #[inline]
    pub(super) fn first_from(self, w: Words<'_>, from: usize) -> Option<(u8, u16)> {
        let kind = self.kind();
        if kind == KIND_256 {
            return (from..256).find_map(|byte| {
                let ptr = w.u16_at(self.offset + 4 + 2 * byte);
                (ptr != 0).then_some((byte as u8, ptr))
            });
        }
        if from > 255 {
            return None;
        }
        let (index, _) = simd::search(w, self.offset + 4, self.children(), from as u8);
        if index >= self.children() {
            return None;
        }
        Some((w.u8_at(self.offset + 4 + index), w.u16_at(self.offset + POINTERS_AT[kind] + 2 * index)))
    }

    /// All children in the order in which they stand.
    pub(super) fn all_children(self, w: Words<'_>) -> impl Iterator<Item = (u8, u16)> {
        let (kind, children) = (self.kind(), self.children());
        let places = if kind == KIND_256 { 256 } else { children };
        (0..places).filter_map(move |i| {
            let ptr = w.u16_at(self.offset + POINTERS_AT[kind] + 2 * i);
            match kind {
                KIND_256 => (ptr != 0).then_some((i as u8, ptr)),
                _ => Some((w.u8_at(self.offset + 4 + i), ptr)),
            }
        })
    }

    /// The slots of all entries in key order, the terminal first.
    pub(super) fn slots(self, w: Words<'_>) -> impl Iterator<Item = usize> {
        let (kind, children) = (self.kind(), self.children());
        let places = if kind == KIND_256 { 256 } else { children };
        let terminal = self.has_terminal().then(|| self.terminal_slot());
        let slots = (0..places).map(move |i| self.offset + POINTERS_AT[kind] + 2 * i);
        terminal.into_iter().chain(slots.filter(move |&slot| kind != KIND_256 || w.u16_at(slot) != 0))
    }

    /// The node's places, to visit them in turn.
    #[inline(always)]
    pub(super) fn places(self) -> Places {
        let (offset, kind) = (self.offset as u32, self.kind());
        let is_sparse = kind == KIND_256;
        Places {
            bytes_at: if is_sparse { 0 } else { offset + 4 },
            pointers_at: offset + POINTERS_AT[kind] as u32,
            end: if is_sparse { 256 } else { self.children() as u32 },
        }
    }

    fn set_head(&mut self, w: Words<'_>, head: u32) {
        self.head = head;
        w.set_u32(self.offset, head);
    }

    fn set_children(&mut self, w: Words<'_>, children: usize) {
        self.set_head(w, self.head & !(0x1FF << CHILDREN_SHIFT) | (children as u32) << CHILDREN_SHIFT);
    }

    /// Takes the child for `byte` out.
    pub(super) fn remove_child(&mut self, w: Words<'_>, byte: u8) {
        let Found::At(slot) = self.find(w, byte) else { return };
        let (kind, children) = (self.kind(), self.children());
        if kind == KIND_256 {
            w.set_u16(slot, 0);
        } else {
            let index = (slot - self.offset - POINTERS_AT[kind]) / 2;
            for i in index..children - 1 {
                w.set_u8(self.offset + 4 + i, w.u8_at(self.offset + 4 + i + 1));
                let from = self.offset + POINTERS_AT[kind] + 2 * i;
                w.set_u16(from, w.u16_at(from + 2));
            }
            w.set_u8(self.offset + 4 + children - 1, 0);
            w.set_u16(self.offset + POINTERS_AT[kind] + 2 * (children - 1), 0);
        }
        self.set_children(w, children - 1);
    }

    /// Takes the terminal entry out; its place before the prefix goes with it.
    pub(super) fn remove_terminal(&mut self, blob: Blob<'_>) {
        let old = self.bytes();
        let (target, source) = (self.terminal_slot(), self.prefix_at());
        blob.w.move_down(target, source, self.prefix_len());
        self.set_head(blob.w, self.head & !TERMINAL);
        blob.release(self.offset + self.bytes(), old - self.bytes());
    }

    /// Cuts `strip` bytes off the front of the prefix, in place.
    pub(super) fn trim(&mut self, blob: Blob<'_>, strip: usize) {
        let old = self.bytes();
        let kept = self.prefix_len().saturating_sub(strip);
        blob.w.move_down(self.prefix_at(), self.prefix_at() + strip, kept);
        self.set_head(blob.w, self.head & !(0x3FFF << PREFIX_SHIFT) | (kept as u32) << PREFIX_SHIFT);
        let new = self.bytes();
        if new < old {
            blob.release(self.offset + new, old - new);
        }
    }

    /// Whether another child fits without growing.
    pub(super) fn has_place(self) -> bool {
        self.children() < CAPACITY[self.kind()]
    }

    /// Puts a child in; the byte is absent and there is a place.
    pub(super) fn add_child(&mut self, w: Words<'_>, byte: u8, ptr: u16) {
        let (kind, children) = (self.kind(), self.children());
        if kind == KIND_256 {
            w.set_u16(self.offset + 4 + 2 * usize::from(byte), ptr);
        } else {
            let (index, _) = simd::search(w, self.offset + 4, children, byte);
            let pointers = self.offset + POINTERS_AT[kind];
            for i in (index..children).rev() {
                w.set_u8(self.offset + 4 + i + 1, w.u8_at(self.offset + 4 + i));
                w.set_u16(pointers + 2 * (i + 1), w.u16_at(pointers + 2 * i));
            }
            w.set_u8(self.offset + 4 + index, byte);
            w.set_u16(pointers + 2 * index, ptr);
        }
        self.set_children(w, children + 1);
    }

    pub(super) fn set_terminal(self, w: Words<'_>, ptr: u16) {
        debug_assert!(self.has_terminal());
        w.set_u32(self.terminal_slot(), u32::from(ptr));
    }

    /// A copy of the node in a fresh place with room for `children` children and, if asked, a terminal.
    /// The old place becomes garbage.
    pub(super) fn grow(self, blob: Blob<'_>, children: usize, terminal: bool) -> Option<Node> {
        let terminal = terminal || self.has_terminal();
        let kind = kind_for(children.max(self.children()));
        let offset = blob.allocate(node_bytes(kind, terminal, self.prefix_len()))?;
        let mut new = write_empty(blob.w, offset, kind, terminal, self.prefix_len());
        blob.w.copy(new.prefix_at(), blob.w, self.prefix_at(), self.prefix_len());
        new.append_children(blob.w, self, blob.w);
        if self.has_terminal() {
            new.set_terminal(blob.w, blob.w.u16_at(self.terminal_slot()));
        }
        blob.release(self.offset, self.bytes());
        Some(new)
    }

    fn append_children(&mut self, w: Words<'_>, from: Node, source: Words<'_>) {
        let mut next = 0;
        while let Some((byte, ptr)) = from.first_from(source, next) {
            self.push_child(w, byte, ptr);
            next = usize::from(byte) + 1;
        }
    }

    /// Puts the child with this index in key order into its place.
    #[inline(always)]
    pub(super) fn put_child(self, w: Words<'_>, index: usize, byte: u8, ptr: u16) {
        let kind = self.kind();
        if kind == KIND_256 {
            w.set_u16(self.offset + 4 + 2 * usize::from(byte), ptr);
        } else {
            w.set_u8(self.offset + 4 + index, byte);
            w.set_u16(self.offset + POINTERS_AT[kind] + 2 * index, ptr);
        }
    }

    /// Puts a child in behind all others; returns its slot.
    pub(super) fn push_child(&mut self, w: Words<'_>, byte: u8, ptr: u16) -> usize {
        let (kind, children) = (self.kind(), self.children());
        let slot = if kind == KIND_256 {
            self.offset + 4 + 2 * usize::from(byte)
        } else {
            w.set_u8(self.offset + 4 + children, byte);
            self.offset + POINTERS_AT[kind] + 2 * children
        };
        w.set_u16(slot, ptr);
        self.set_children(w, children + 1);
        slot
    }
}

fn kind_for(children: usize) -> usize {
    CAPACITY.iter().position(|&capacity| children <= capacity).unwrap_or(KIND_256)
}

fn node_bytes(kind: usize, terminal: bool, prefix: usize) -> usize {
    END_AT[kind] + if terminal { 4 } else { 0 } + prefix.next_multiple_of(4)
}

/// Size of the smallest node for so many children.
pub(super) fn node_bytes_for(children: usize, terminal: bool, prefix: usize) -> usize {
    node_bytes(kind_for(children), terminal, prefix)
}

/// Writes a node without children, its prefix bytes left to the caller.
fn write_empty(w: Words<'_>, offset: usize, kind: usize, terminal: bool, prefix: usize) -> Node {
    let head = kind as u32 | if terminal { TERMINAL } else { 0 } | (prefix as u32) << PREFIX_SHIFT;
    let node = Node { offset, head };
    w.clear(offset + 4, node.prefix_at());
    w.set_u32(offset, head);
    node
}

/// Writes a childless node for so many children at `offset`, its prefix bytes left to the caller.
pub(super) fn create_at(w: Words<'_>, offset: usize, children: usize, terminal: bool, prefix: usize) -> Node {
    write_empty(w, offset, kind_for(children), terminal, prefix)
}

/// Writes a node that has so many children, which [`put_child`](Node::put_child) puts in their places.
pub(super) fn create_full(w: Words<'_>, offset: usize, children: usize, terminal: bool, prefix: &[u8]) {
    let mut node = create_at(w, offset, children, terminal, prefix.len());
    node.set_children(w, children);
    if !prefix.is_empty() {
        // The last word is written whole first, so that padding is zero.
        w.set_u32(offset + node.bytes() - 4, 0);
        w.write(node.prefix_at(), prefix);
    }
}

/// Allocates a childless node for so many children.
pub(super) fn create(blob: Blob<'_>, children: usize, terminal: bool, prefix: &[u8]) -> Option<Node> {
    let offset = blob.allocate(node_bytes_for(children, terminal, prefix.len()))?;
    let node = create_at(blob.w, offset, children, terminal, prefix.len());
    blob.w.write(node.prefix_at(), prefix);
    Some(node)
}
