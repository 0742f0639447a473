//! Cuts one side of a blob off at a key, or a range out of it, in place: what lies on one path is shrunk, whole subtrees are dropped.
//! Counts and garbage are left wrong: a [`pack`](super::pack) must follow, or a recount, which make them anew.

use super::header::{AT_ROOT, Blob, HEADER_BYTES};
use super::leaf::Leaf;
use super::node::{Found, Node};
use super::pack::{PackError, Rebase};
use super::ptr::{Target, decode};
use super::words::Words;

/// Which entries stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Keys below the cut.
    Below,
    /// Keys at or above the cut.
    From,
}

/// A node on the way to a cut: its place, and the byte followed.
type Step = (usize, u8);

impl Blob<'_> {
    /// Drops all entries on the other side of `cut`.
    pub(crate) fn prune(self, cut: &[u8], keep: Keep) {
        self.prune_under(AT_ROOT, cut, keep, &mut Vec::new());
    }

    /// Drops all entries from `from` to below `to`, where there is no end those from `from` on.
    pub(crate) fn prune_range(self, from: &[u8], to: Option<&[u8]>) {
        let Some(to) = to else { return self.prune(from, Keep::Below) };
        let w = self.w;
        let (mut slot, mut low, mut high) = (AT_ROOT, from, to);
        let mut path: Vec<Step> = Vec::new();
        while let Target::Node(offset) = decode(w.u16_at(slot)) {
            let mut node = Node::at(w, offset);
            let [below_low, below_high] =
                [low, high].map(|cut| is_below(w, node.prefix_at(), node.prefix_len(), cut));
            match (below_low, below_high) {
                // All of it is in front of the range, or behind it.
                (Some(true), _) | (_, Some(false)) => return,
                (Some(false), _) => return self.prune_under(slot, high, Keep::From, &mut path),
                (None, Some(true)) => return self.prune_under(slot, low, Keep::Below, &mut path),
                (None, None) => {}
            }
            let [under_low, under_high] = [low, high].map(|cut| cut[node.prefix_len()..].split_first());
            let (Some((&first, under_low)), Some((&last, under_high))) = (under_low, under_high) else {
                // Only the end is below the node; or it is the node, and all of that is behind it.
                if under_high.is_some() {
                    self.prune_under(slot, high, Keep::From, &mut path);
                }
                return;
            };
            if first > last {
                return;
            }
            path.push((offset, first));
            if first == last {
                let Found::At(child) = node.find(w, first) else { return };
                (slot, low, high) = (child, under_low, under_high);
                continue;
            }
            while let Some((byte, _)) =
                node.last_below(w, usize::from(last)).filter(|(byte, _)| *byte > first)
            {
                node.remove_child(w, byte);
            }
            if let Found::At(child) = node.find(w, first) {
                self.prune_under(child, under_low, Keep::Below, &mut path.clone());
            }
            path.pop();
            path.push((offset, last));
            match Node::at(w, offset).find(w, last) {
                Found::At(child) => self.prune_under(child, under_high, Keep::From, &mut path),
                _ => self.unlink_empty(&path),
            }
            return;
        }
        if let Target::Leaf(offset) | Target::Mount(offset) = decode(w.u16_at(slot)) {
            let leaf = Leaf::at(w, offset);
            if !is_leaf_below(w, leaf, low) {
                self.prune_under(slot, high, Keep::From, &mut path);
            }
        }
    }

    /// Drops all entries on the other side of `cut` among those that `slot`, at the end of `path`, leads to.
    fn prune_under(self, mut slot: usize, cut: &[u8], keep: Keep, path: &mut Vec<Step>) {
        let w = self.w;
        let mut rest = cut;
        // Nodes on the path are unlinked at the end, bottom up, if they are left empty.
        let whole = loop {
            match decode(w.u16_at(slot)) {
                Target::Node(offset) => {
                    let mut node = Node::at(w, offset);
                    match is_below(w, node.prefix_at(), node.prefix_len(), rest) {
                        Some(true) => break Keep::Below,
                        Some(false) => break Keep::From,
                        None => rest = &rest[node.prefix_len()..],
                    }
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
                    path.push((offset, byte));
                    let Found::At(child) = node.find(w, byte) else { break keep };
                    (slot, rest) = (child, under);
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    break if is_leaf_below(w, Leaf::at(w, offset), rest) { Keep::Below } else { Keep::From };
                }
                Target::Null | Target::Unknown => break keep,
            }
        };
        if whole != keep {
            match path.last() {
                Some(&(offset, byte)) => Node::at(w, offset).remove_child(w, byte),
                None => w.set_u16(AT_ROOT, 0),
            }
        }
        self.unlink_empty(path);
    }

    /// Unlinks the nodes at the end of a path that nothing is below.
    fn unlink_empty(self, path: &[Step]) {
        let w = self.w;
        for (depth, &(offset, _)) in path.iter().enumerate().rev() {
            let node = Node::at(w, offset);
            if node.children() > 0 || node.has_terminal() {
                break;
            }
            match depth.checked_sub(1).map(|above| path[above]) {
                Some((above, byte)) => Node::at(w, above).remove_child(w, byte),
                None => w.set_u16(AT_ROOT, 0),
            }
        }
    }

    /// Cuts `bytes`, which all keys start with, off their front, where they lie: a blob's base became longer. False, and nothing has
    /// changed, where not nodes alone stand for them; packing does it too. Of a leaf blob the bound on lengths follows.
    pub(crate) fn strip_front(self, bytes: usize) -> bool {
        let w = self.w;
        let (mut ptr, mut left, mut links) = (self.root(), bytes, Vec::new());
        let first = loop {
            let Target::Node(offset) = decode(ptr) else { return false };
            let node = Node::at(w, offset);
            if left <= node.prefix_len() {
                break offset;
            }
            if !node.is_link() {
                return false;
            }
            let Some((_, child)) = node.first_from(w, 0) else { return false };
            links.push((offset, node.bytes()));
            (ptr, left) = (child, left - node.prefix_len() - 1);
        };
        links.iter().for_each(|&(offset, bytes)| self.release(offset, bytes));
        Node::at(w, first).trim(self, left);
        w.set_u16(AT_ROOT, ptr);
        self.set_key_bytes(self.key_bytes().saturating_sub(self.entries() * bytes as u32));
        if self.is_leaf() {
            self.set_below(self.below().over(bytes));
        }
        true
    }

    /// Writes a packed copy of the entries from `from` to below `to` into `target`. The blob is as before when this returns; meanwhile
    /// it is not, so nobody else may read it.
    pub(crate) fn pack_part(
        self,
        from: &[u8],
        to: Option<&[u8]>,
        target: Words<'_>,
        rebase: Rebase<'_>,
    ) -> Result<(), PackError> {
        let mut saved = vec![self.bytes_of(0, HEADER_BYTES)];
        self.save_way(from, &mut saved);
        if let Some(to) = to {
            self.save_way(to, &mut saved);
            self.prune(to, Keep::Below);
        }
        if !from.is_empty() {
            self.prune(from, Keep::From);
        }
        let outcome = self.pack(target, rebase);
        for (offset, bytes) in saved {
            self.w.write(offset, &bytes);
        }
        outcome
    }

    /// Keeps all that a cut at `cut` may change but for the header.
    fn save_way(self, cut: &[u8], saved: &mut Vec<(usize, Vec<u8>)>) {
        let w = self.w;
        let (mut slot, mut rest) = (AT_ROOT, cut);
        while let Target::Node(offset) = decode(w.u16_at(slot)) {
            let node = Node::at(w, offset);
            saved.push(self.bytes_of(offset, node.bytes()));
            if is_below(w, node.prefix_at(), node.prefix_len(), rest).is_some() {
                return;
            }
            let Some((&byte, under)) = rest[node.prefix_len()..].split_first() else { return };
            let Found::At(child) = node.find(w, byte) else { return };
            (slot, rest) = (child, under);
        }
    }

    fn bytes_of(self, offset: usize, len: usize) -> (usize, Vec<u8>) {
        let mut bytes = Vec::with_capacity(len);
        self.w.append_to(offset, len, &mut bytes);
        (offset, bytes)
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

/// Which side of `cut` everything under a prefix lies on: whether it is below. None: the cut goes through it.
fn is_below(w: Words<'_>, prefix_at: usize, prefix_len: usize, cut: &[u8]) -> Option<bool> {
    let same = w.common_prefix(prefix_at, prefix_len, cut);
    (same < prefix_len).then(|| same < cut.len() && w.u8_at(prefix_at + same) < cut[same])
}

fn is_leaf_below(w: Words<'_>, leaf: Leaf, cut: &[u8]) -> bool {
    let (at, len) = (leaf.suffix_at(), leaf.suffix_len());
    let same = w.common_prefix(at, len, cut);
    same < cut.len() && (same == len || w.u8_at(at + same) < cut[same])
}
