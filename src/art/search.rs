//! Point searches in one blob. They run on bytes that another thread may be changing: every loop ends because each
//! step consumes a byte of the key or is counted, and what they return means something only after validation.

use super::header::{AT_ROOT, Blob};
use super::inner::Child;
use super::leaf::Leaf;
use super::node::Node;
use super::ptr::{Target, decode};
use crate::limits::KEY_BYTES_MAX;

/// What a leaf blob has for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// Neither record nor mount.
    Nothing,
    /// Its record.
    Record(Leaf),
    /// All keys that start with the first `path` bytes are in this limb, under the rest of their bytes.
    Mount { path: usize, limb: Child },
}

impl Blob<'_> {
    /// The leaf of exactly `key`.
    #[inline]
    pub(crate) fn find(self, key: &[u8]) -> Option<Leaf> {
        match self.look_up(key) {
            LookUp::Record(leaf) => Some(leaf),
            LookUp::Mount { .. } | LookUp::Nothing => None,
        }
    }

    /// The leaf with the greatest key that is at most `key`, and its pointer.
    #[inline]
    pub(crate) fn floor(self, key: &[u8]) -> Option<(u16, Leaf)> {
        // Everything under `best` is below the key; the answer is its greatest.
        let mut best = 0;
        self.floors(key, |ptr, _| best = ptr);
        self.greatest(best)
    }

    /// The leaf with the greatest key under `ptr`.
    pub(super) fn greatest(self, mut ptr: u16) -> Option<(u16, Leaf)> {
        for _ in 0..=KEY_BYTES_MAX {
            match decode(ptr) {
                Target::Node(offset) => {
                    let node = Node::at(self.w, offset);
                    ptr = match node.last_below(self.w, 256) {
                        Some((_, last)) => last,
                        None if node.has_terminal() => self.w.u16_at(node.terminal_slot()),
                        None => return None,
                    };
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    return Some((ptr, Leaf::at(self.w, offset)));
                }
                Target::Null | Target::Unknown => return None,
            }
        }
        None
    }

    /// What the blob has for `key`: its record, or the mount whose path it starts with.
    #[inline]
    pub(crate) fn look_up(self, key: &[u8]) -> LookUp {
        let w = self.w;
        let mut slot = AT_ROOT;
        let mut rest = key;
        loop {
            match decode(w.u16_at(slot)) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    if len != 0 {
                        if !w.starts(node.prefix_at(), len, rest) {
                            return LookUp::Nothing;
                        }
                        rest = &rest[len..];
                    }
                    let Some((&byte, below)) = rest.split_first() else {
                        if !node.has_terminal() {
                            return LookUp::Nothing;
                        }
                        let Target::Leaf(offset) = decode(w.u16_at(node.terminal_slot())) else {
                            return LookUp::Nothing;
                        };
                        let leaf = Leaf::at(w, offset);
                        return if leaf.suffix_len() == 0 { LookUp::Record(leaf) } else { LookUp::Nothing };
                    };
                    let Some(next) = node.find_slot(w, byte) else { return LookUp::Nothing };
                    (slot, rest) = (next, below);
                }
                Target::Leaf(offset) => {
                    // Where its value lies is known only once its head is there.
                    w.prefetch(offset + 64);
                    w.prefetch(offset + 127);
                    let leaf = Leaf::at(w, offset);
                    let same = leaf.suffix_len() == rest.len() && w.equals(leaf.suffix_at(), rest);
                    return if same { LookUp::Record(leaf) } else { LookUp::Nothing };
                }
                Target::Mount(offset) => return self.look_up_mount(offset, key.len() - rest.len(), rest),
                Target::Null | Target::Unknown => return LookUp::Nothing,
            }
        }
    }

    #[cold]
    fn look_up_mount(self, offset: usize, above: usize, rest: &[u8]) -> LookUp {
        let leaf = Leaf::at(self.w, offset);
        let len = leaf.suffix_len();
        if len <= rest.len() && self.w.equals(leaf.suffix_at(), &rest[..len]) {
            return LookUp::Mount { path: above + len, limb: self.child_of(leaf) };
        }
        LookUp::Nothing
    }

    /// The mount whose path `key` starts with: the path's length, and the limb.
    pub(crate) fn mount_on(self, key: &[u8]) -> Option<(usize, Child)> {
        if !self.below().mounts() {
            return None;
        }
        match self.look_up(key) {
            LookUp::Mount { path, limb } => Some((path, limb)),
            _ => None,
        }
    }

    /// The entry with the longest key that is a prefix of `key`: the key's length, and its leaf.
    pub(crate) fn longest_of(self, key: &[u8]) -> Option<(usize, Leaf)> {
        let w = self.w;
        let mut ptr = self.root();
        let mut rest = key;
        let mut longest = None;
        loop {
            match decode(ptr) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    if len != 0 {
                        if !w.starts(node.prefix_at(), len, rest) {
                            break;
                        }
                        rest = &rest[len..];
                    }
                    if node.has_terminal() {
                        longest = Some((key.len() - rest.len(), w.u16_at(node.terminal_slot())));
                    }
                    let Some((&byte, below)) = rest.split_first() else { break };
                    let Some(slot) = node.find_slot(w, byte) else { break };
                    (ptr, rest) = (w.u16_at(slot), below);
                }
                Target::Leaf(offset) => {
                    let leaf = Leaf::at(w, offset);
                    let len = leaf.suffix_len();
                    if len <= rest.len() && w.equals(leaf.suffix_at(), &rest[..len]) {
                        return Some((key.len() - rest.len() + len, leaf));
                    }
                    break;
                }
                Target::Mount(_) | Target::Null | Target::Unknown => break,
            }
        }
        let (len, terminal) = longest?;
        match decode(terminal) {
            Target::Leaf(offset) => Some((len, Leaf::at(w, offset))),
            _ => None,
        }
    }

    /// Calls `found` for every entry that is the greatest one up to some prefix of `key`, in order: with its pointer, under which
    /// [`child_at`](Self::child_at) has the child, and the length of the shortest such prefix.
    #[inline]
    pub(crate) fn floors(self, key: &[u8], mut found: impl FnMut(u16, usize)) {
        let w = self.w;
        let mut ptr = self.root();
        let mut rest = key;
        loop {
            let done = key.len() - rest.len();
            match decode(ptr) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    if len != 0 && !w.starts(node.prefix_at(), len, rest) {
                        let same = w.common_prefix(node.prefix_at(), len, rest);
                        if same < rest.len() && w.u8_at(node.prefix_at() + same) < rest[same] {
                            found(ptr, done + same + 1);
                        }
                        return;
                    }
                    rest = &rest[len..];
                    if node.has_terminal() {
                        found(w.u16_at(node.terminal_slot()), done + len);
                    }
                    let Some((&byte, below)) = rest.split_first() else { return };
                    let (child, lower) = node.find_and_below(w, byte);
                    if lower != 0 {
                        found(lower, done + len + 1);
                    }
                    if child == 0 {
                        return;
                    }
                    (ptr, rest) = (child, below);
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(w, offset);
                    let len = leaf.suffix_len();
                    let same = w.common_prefix(leaf.suffix_at(), len, rest);
                    if same == len {
                        found(ptr, done + len);
                    } else if same < rest.len() && w.u8_at(leaf.suffix_at() + same) < rest[same] {
                        found(ptr, done + same + 1);
                    }
                    return;
                }
                Target::Null | Target::Unknown => return,
            }
        }
    }
}
