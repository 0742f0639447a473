//! Cuts one side of a blob off at a key, in place: what lies on one path is shrunk, whole subtrees are dropped.
//! Counts and garbage are left wrong: a [`pack`](super::pack) must follow, or a recount, which make them anew.

use super::header::{AT_ROOT, Blob, HEADER_BYTES};
use super::leaf::Leaf;
use super::node::{Found, Node};
use super::ptr::{Target, decode};

/// Which entries stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Keys below the cut.
    Below,
    /// Keys at or above the cut.
    From,
}

impl Blob<'_> {
    /// Drops all entries on the other side of `cut`.
    pub(crate) fn prune(self, cut: &[u8], keep: Keep) {
        let w = self.w;
        let mut slot = AT_ROOT;
        let mut rest = cut;
        // Nodes on the path with the byte followed: those left empty are unlinked at the end, bottom up.
        let mut path: Vec<(usize, usize, u8)> = Vec::new();
        let whole = loop {
            match decode(w.u16_at(slot)) {
                Target::Node(offset) => {
                    let mut node = Node::at(w, offset);
                    let len = node.prefix_len();
                    let same = w.common_prefix(node.prefix_at(), len, rest);
                    if same < len {
                        let below = same < rest.len() && w.u8_at(node.prefix_at() + same) < rest[same];
                        break if below { Keep::Below } else { Keep::From };
                    }
                    rest = &rest[len..];
                    let Some((&byte, under)) = rest.split_first() else { break Keep::From };
                    match keep {
                        Keep::Below => {
                            while let Some((last, _)) = node.first_from(w, usize::from(byte) + 1) {
                                node.remove_child(w, last);
                            }
                        }
                        Keep::From => {
                            while let Some((first, _)) = node.last_below(w, usize::from(byte)) {
                                node.remove_child(w, first);
                            }
                            if node.has_terminal() {
                                node.remove_terminal(self);
                            }
                        }
                    }
                    path.push((slot, offset, byte));
                    let Found::At(child) = node.find(w, byte) else { break keep };
                    (slot, rest) = (child, under);
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(w, offset);
                    let (at, len) = (leaf.suffix_at(), leaf.suffix_len());
                    let same = w.common_prefix(at, len, rest);
                    let below = same < rest.len() && (same == len || w.u8_at(at + same) < rest[same]);
                    break if below { Keep::Below } else { Keep::From };
                }
                Target::Null | Target::Unknown => break keep,
            }
        };
        if whole != keep {
            match path.last() {
                Some(&(_, offset, byte)) => Node::at(w, offset).remove_child(w, byte),
                None => w.set_u16(AT_ROOT, 0),
            }
        }
        for (depth, &(_, offset, _)) in path.iter().enumerate().rev() {
            let node = Node::at(w, offset);
            if node.children() > 0 || node.has_terminal() {
                break;
            }
            match depth.checked_sub(1).map(|above| path[above]) {
                Some((_, above, byte)) => Node::at(w, above).remove_child(w, byte),
                None => w.set_u16(AT_ROOT, 0),
            }
        }
    }

    /// Counts what is there anew: what was pruned becomes garbage. Costs a third of packing. False: the blob is not sound.
    pub(crate) fn recount(self) -> bool {
        let (mut live, mut entries, mut key_bytes, mut value_bytes) = (HEADER_BYTES, 0, 0, 0);
        let root = self.w.u16_at(AT_ROOT);
        let mut todo = Vec::with_capacity(64);
        todo.extend((root != 0).then_some((root, 0)));
        while let Some((ptr, above)) = todo.pop() {
            match decode(ptr) {
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(self.w, offset);
                    live += leaf.bytes();
                    entries += 1;
                    key_bytes += above + leaf.suffix_len();
                    value_bytes += leaf.value_len();
                }
                Target::Node(offset) => {
                    let node = Node::at(self.w, offset);
                    live += node.bytes();
                    let above = above + node.prefix_len();
                    if node.has_terminal() {
                        todo.push((self.w.u16_at(node.terminal_slot()), above));
                    }
                    todo.extend(node.all_children(self.w).map(|(_, child)| (child, above + 1)));
                }
                Target::Null | Target::Unknown => return false,
            }
            if live > self.heap_end() as usize {
                return false;
            }
        }
        self.set_garbage(self.heap_end() - live as u32);
        self.set_entries(entries);
        self.set_key_bytes(key_bytes as u32);
        self.set_value_bytes(value_bytes as u32);
        self.set_last_inserted(0);
        true
    }
}
