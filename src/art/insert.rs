//! Insertion into one blob. The caller holds the exclusive latch and has asked [`Blob::has_room`].

use super::header::{AT_ROOT, Blob};
use super::inner::Child;
use super::leaf::{self, Leaf, leaf_bytes_max};
use super::node::{self, Found, NODE_BYTES_MAX, NODE4_BYTES, Node};
use super::ptr::{self, Target, decode};

/// What an insertion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The key was not there.
    New,
    /// The key was there; its value was replaced.
    Replaced,
}

/// The heap had no room, or a pointer led nowhere; the blob may hold garbage but no half-made entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What [`Blob::has_room`] asks for: the new leaf, a node split and the growth of one node, whose prefix is part of the key.
pub(crate) const fn room_needed(key: usize, value: usize) -> usize {
    leaf_bytes_max(key, value) + NODE_BYTES_MAX + NODE4_BYTES + key.next_multiple_of(4)
}

impl Blob<'_> {
    /// Whether an entry of this size can be inserted without compaction or a split.
    #[inline]
    pub(crate) fn has_room(self, key: usize, value: usize) -> bool {
        self.room() >= room_needed(key, value)
    }

    /// Inserts or replaces an entry. In a leaf blob the key is in the range of no mount.
    pub(crate) fn insert(self, key: &[u8], version: Option<u64>, value: &[u8]) -> Result<Inserted, Full> {
        if self.entries() == 0
            && let Some(version) = version
        {
            self.set_version_base(version);
        }
        self.insert_as(ptr::leaf, key, version, value)
    }

    /// Inserts a mount: from now on all keys that start with `path` are in `limb`. No key in the blob starts with it.
    pub(crate) fn insert_mount(self, path: &[u8], limb: Child) -> Result<Inserted, Full> {
        self.insert_as(ptr::mount, path, None, &limb.encode())
    }

    fn insert_as(
        self,
        tag: fn(usize) -> u16,
        key: &[u8],
        version: Option<u64>,
        value: &[u8],
    ) -> Result<Inserted, Full> {
        let w = self.w;
        let mut slot = AT_ROOT;
        let mut rest = key;
        loop {
            match decode(w.u16_at(slot)) {
                Target::Null => {
                    let leaf = leaf::create(self, rest, version, value).ok_or(Full)?;
                    w.set_u16(slot, tag(leaf));
                    return Ok(self.count(tag(leaf), key, value));
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(w, offset);
                    let same = w.common_prefix(leaf.suffix_at(), leaf.suffix_len(), rest);
                    let is_mount = ptr::is_mount(w.u16_at(slot));
                    if same == leaf.suffix_len() && is_mount {
                        return Err(Full);
                    }
                    if same == rest.len() && same == leaf.suffix_len() {
                        return self.replace(slot, offset, leaf, rest, version, value);
                    }
                    return self
                        .split_leaf(slot, leaf, same, rest, tag, version, value)
                        .map(|new| self.count(new, key, value));
                }
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    let same = w.common_prefix(node.prefix_at(), len, rest);
                    if same < len {
                        return self
                            .split_prefix(slot, node, same, rest, tag, version, value)
                            .map(|new| self.count(new, key, value));
                    }
                    rest = &rest[len..];
                    let Some((&byte, below)) = rest.split_first() else {
                        if node.has_terminal() {
                            slot = node.terminal_slot();
                            continue;
                        }
                        let leaf = leaf::create(self, &[], version, value).ok_or(Full)?;
                        let grown = node.grow(self, node.children(), true).ok_or(Full)?;
                        grown.set_terminal(w, tag(leaf));
                        w.set_u16(slot, ptr::node(grown.offset));
                        return Ok(self.count(tag(leaf), key, value));
                    };
                    match node.find(w, byte) {
                        Found::At(child) => (slot, rest) = (child, below),
                        Found::Absent(_) => {
                            let leaf = leaf::create(self, below, version, value).ok_or(Full)?;
                            let mut place = node;
                            if !node.has_place() {
                                place = node.grow(self, node.children() + 1, false).ok_or(Full)?;
                                w.set_u16(slot, ptr::node(place.offset));
                            }
                            place.add_child(w, byte, tag(leaf));
                            return Ok(self.count(tag(leaf), key, value));
                        }
                    }
                }
                Target::Unknown => return Err(Full),
            }
        }
    }

    fn count(self, ptr: u16, key: &[u8], value: &[u8]) -> Inserted {
        self.set_last_inserted(ptr);
        self.set_entries(self.entries() + 1);
        self.set_key_bytes(self.key_bytes() + key.len() as u32);
        self.set_value_bytes(self.value_bytes() + value.len() as u32);
        Inserted::New
    }

    fn replace(
        self,
        slot: usize,
        offset: usize,
        old: Leaf,
        suffix: &[u8],
        version: Option<u64>,
        value: &[u8],
    ) -> Result<Inserted, Full> {
        let old_value = old.value_len() as u32;
        if !leaf::overwrite(self, old, version, value) {
            let new = leaf::create(self, suffix, version, value).ok_or(Full)?;
            self.w.set_u16(slot, ptr::leaf(new));
            if self.last_inserted() == ptr::leaf(offset) {
                self.set_last_inserted(ptr::leaf(new));
            }
            self.release(offset, old.bytes());
        }
        self.set_value_bytes(self.value_bytes().wrapping_sub(old_value) + value.len() as u32);
        Ok(Inserted::Replaced)
    }

    /// Puts a node above a leaf whose suffix shares `same` bytes with the rest of the key. Returns the new leaf's pointer.
    #[expect(clippy::too_many_arguments, reason = "the state of a descent and the entry")]
    fn split_leaf(
        self,
        slot: usize,
        old: Leaf,
        same: usize,
        rest: &[u8],
        tag: fn(usize) -> u16,
        version: Option<u64>,
        value: &[u8],
    ) -> Result<u16, Full> {
        let w = self.w;
        let old_ptr = w.u16_at(slot);
        let terminal = same == rest.len() || same == old.suffix_len();
        let below = rest.get(same + 1..).unwrap_or(&[]);
        let leaf = leaf::create(self, below, version, value).ok_or(Full)?;
        let mut node = node::create(self, 2, terminal, &rest[..same]).ok_or(Full)?;
        self.hang(&mut node, rest.get(same).copied(), tag(leaf));
        let old_byte = (same < old.suffix_len()).then(|| w.u8_at(old.suffix_at() + same));
        leaf::trim(self, old, same + usize::from(old_byte.is_some()));
        self.hang(&mut node, old_byte, old_ptr);
        w.set_u16(slot, ptr::node(node.offset));
        Ok(tag(leaf))
    }

    /// Puts a node above a node whose prefix shares only `same` bytes with the rest of the key. Returns the new leaf's pointer.
    #[expect(clippy::too_many_arguments, reason = "the state of a descent and the entry")]
    fn split_prefix(
        self,
        slot: usize,
        mut old: Node,
        same: usize,
        rest: &[u8],
        tag: fn(usize) -> u16,
        version: Option<u64>,
        value: &[u8],
    ) -> Result<u16, Full> {
        let w = self.w;
        let below = rest.get(same + 1..).unwrap_or(&[]);
        let leaf = leaf::create(self, below, version, value).ok_or(Full)?;
        let mut node = node::create(self, 2, same == rest.len(), &rest[..same]).ok_or(Full)?;
        self.hang(&mut node, rest.get(same).copied(), tag(leaf));
        let old_byte = w.u8_at(old.prefix_at() + same);
        old.trim(self, same + 1);
        self.hang(&mut node, Some(old_byte), ptr::node(old.offset));
        w.set_u16(slot, ptr::node(node.offset));
        Ok(tag(leaf))
    }

    /// Hangs a pointer into a fresh node: at a byte, or as its terminal.
    fn hang(self, node: &mut Node, byte: Option<u8>, ptr: u16) {
        match byte {
            Some(byte) => node.add_child(self.w, byte, ptr),
            None => node.set_terminal(self.w, ptr),
        }
    }
}
