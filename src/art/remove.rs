//! Removal from one blob. The caller holds the exclusive latch.

use smallvec::SmallVec;

use super::header::{AT_ROOT, Blob};
use super::leaf::Leaf;
use super::node::{Found, Node};
use super::ptr::{Target, decode};

/// A step of the way down: a node's offset and the byte taken there (None: its terminal).
type Step = (usize, Option<u8>);

impl Blob<'_> {
    /// Takes the entry with exactly this key, or the mount with exactly this path, out; false when there is none. Nodes left empty go too; a node left with one child stays
    /// until the next compaction.
    pub(crate) fn remove(self, key: &[u8]) -> bool {
        let w = self.w;
        let mut path: SmallVec<[Step; 24]> = SmallVec::new();
        let mut slot = AT_ROOT;
        let mut rest = key;
        let (offset, leaf) = loop {
            match decode(w.u16_at(slot)) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    if len > rest.len() || !w.equals(node.prefix_at(), &rest[..len]) {
                        return false;
                    }
                    rest = &rest[len..];
                    let Some((&byte, below)) = rest.split_first() else {
                        if !node.has_terminal() {
                            return false;
                        }
                        path.push((offset, None));
                        slot = node.terminal_slot();
                        continue;
                    };
                    let Found::At(child) = node.find(w, byte) else { return false };
                    path.push((offset, Some(byte)));
                    (slot, rest) = (child, below);
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(w, offset);
                    if leaf.suffix_len() != rest.len() || !w.equals(leaf.suffix_at(), rest) {
                        return false;
                    }
                    break (offset, leaf);
                }
                Target::Null | Target::Unknown => return false,
            }
        };
        self.set_entries(self.entries().saturating_sub(1));
        self.set_key_bytes(self.key_bytes().saturating_sub(key.len() as u32));
        self.set_value_bytes(self.value_bytes().saturating_sub(leaf.value_len() as u32));
        self.set_last_inserted(0);
        self.release(offset, leaf.bytes());
        self.unlink(&path);
        true
    }

    /// Takes the pointer at the end of `path` out, and every node that is empty after that.
    fn unlink(self, path: &[Step]) {
        for &(offset, step) in path.iter().rev() {
            let mut node = Node::at(self.w, offset);
            match step {
                Some(byte) => node.remove_child(self.w, byte),
                None => node.remove_terminal(self),
            }
            if node.children() > 0 || node.has_terminal() {
                return;
            }
            self.release(offset, node.bytes());
        }
        self.w.set_u16(AT_ROOT, 0);
    }
}
