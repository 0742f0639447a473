//! The tree of nodes that a packed leaf blob of sorted records has, drawn as the records come: how large it is, and what
//! hangs where, is known before a byte of it is written.
//!
//! In sorted order the bytes that neighbours have in common say all about the tree: a node stands where the least of them
//! in a range of records is more than what leads to the range, and its children begin where that least is met. So the next
//! record only changes what leads to the one before.

use super::header::HEADER_BYTES;
use super::leaf;
use super::node::{NODE_BYTES_MAX, node_bytes_for};

/// A record in a text that holds many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) key_at: u32,
    pub(crate) value_at: u32,
    pub(crate) key_len: u16,
    pub(crate) value_len: u16,
    /// How many bytes the key shares with the one before; 0 for the first.
    pub(crate) common: u16,
}

impl Place {
    pub(crate) fn key(self, text: &[u8]) -> &[u8] {
        &text[self.key_at as usize..][..usize::from(self.key_len)]
    }

    pub(crate) fn value(self, text: &[u8]) -> &[u8] {
        &text[self.value_at as usize..][..usize::from(self.value_len)]
    }
}

/// The number of no node.
pub(super) const NONE: u32 = u32::MAX;
/// The index of what hangs as a node's terminal.
pub(super) const TERMINAL: u16 = u16::MAX;

/// Where a leaf or a node hangs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    /// The node; [`NONE`]: the blob's root.
    pub(super) node: u32,
    /// The how manieth child it is there, or [`TERMINAL`].
    pub(super) index: u16,
}

const ROOT: Hook = Hook { node: NONE, index: 0 };

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    /// Bytes of the key up to the node's end.
    pub(super) depth: u16,
    pub(super) children: u16,
    pub(super) has_terminal: bool,
    pub(super) hook: Hook,
    /// The first record below it.
    pub(super) first: u32,
    /// Records below it; 0 while it is open.
    pub(super) entries: u32,
    /// Its first and last closed child that is a node.
    pub(super) heir: u32,
    last_heir: u32,
    /// The next closed node that hangs where it hangs.
    pub(super) sibling: u32,
}

impl Branch {
    /// Its size if so many bytes of the key lead to it.
    fn bytes(self, above: usize) -> usize {
        node_bytes_for(self.children.into(), self.has_terminal, usize::from(self.depth) - above)
    }

    /// Bytes of the key that lead to its children.
    fn below(self) -> usize {
        usize::from(self.depth) + 1
    }
}

/// The tree of the records so far; see the module.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    pub(super) branches: Vec<Branch>,
    /// Those on the way to the last record, from the root on: they may get more children.
    pub(super) open: Vec<u32>,
    /// Where each record's leaf hangs. The last one's may still change.
    pub(super) hooks: Vec<Hook>,
    last: Option<Place>,
    /// Of nodes that get no more children, and leaves but for the last.
    closed_bytes: usize,
}

impl Sketch {
    pub(crate) fn clear(&mut self) {
        self.branches.clear();
        self.open.clear();
        self.hooks.clear();
        self.last = None;
        self.closed_bytes = 0;
    }

    /// Adds the next record.
    pub(crate) fn add(&mut self, place: Place) {
        let hook = match self.last.replace(place) {
            None => ROOT,
            Some(last) => {
                self.closed_bytes += leaf_bytes(last, place.common.max(last.common));
                let number = self.parent(last, place.common);
                let node = &mut self.branches[number as usize];
                node.children += 1;
                Hook { node: number, index: node.children - 1 }
            }
        };
        self.hooks.push(hook);
    }

    /// The open node at the depth `common`, where the record behind `last` branches off. What is open below that is closed.
    fn parent(&mut self, last: Place, common: u16) -> u32 {
        let closed = self.close(common);
        let number = match self.open.last() {
            Some(&number) if self.branches[number as usize].depth == common => number,
            _ => self.put_between(last, closed, common),
        };
        if let Some(closed) = closed {
            self.link(number, closed);
        }
        number
    }

    /// Closes the nodes that end behind the first `common` bytes of the key; the uppermost of them.
    fn close(&mut self, common: u16) -> Option<u32> {
        let mut closed = None;
        while let Some(&number) = self.open.last() {
            if self.branches[number as usize].depth <= common {
                break;
            }
            let node = self.branches[number as usize];
            self.open.pop();
            // Between it and what is above, a node is put at `common`.
            let above = self.open.last().map_or(0, |above| self.branches[*above as usize].depth).max(common);
            self.closed_bytes += node.bytes(usize::from(above) + 1);
            self.branches[number as usize].entries = self.hooks.len() as u32 - node.first;
            if let Some(below) = closed.replace(number) {
                self.link(number, below);
            }
        }
        closed
    }

    /// A new node above the closed one that leads to the record `last`, or above that itself.
    fn put_between(&mut self, last: Place, closed: Option<u32>, depth: u16) -> u32 {
        let number = self.branches.len() as u32;
        let has_terminal = closed.is_none() && last.key_len == depth;
        let index = if has_terminal { TERMINAL } else { 0 };
        let (first, hook) = match closed {
            Some(closed) => {
                let node = &mut self.branches[closed as usize];
                (node.first, &mut node.hook)
            }
            None => (self.hooks.len() as u32 - 1, self.hooks.last_mut().expect("a record came before")),
        };
        let hook = std::mem::replace(hook, Hook { node: number, index });
        let children = u16::from(!has_terminal);
        let [entries, heir, last_heir, sibling] = [0, NONE, NONE, NONE];
        self.branches.push(Branch {
            depth,
            children,
            has_terminal,
            hook,
            first,
            entries,
            heir,
            last_heir,
            sibling,
        });
        self.open.push(number);
        number
    }

    fn link(&mut self, above: u32, closed: u32) {
        let node = &mut self.branches[above as usize];
        match std::mem::replace(&mut node.last_heir, closed) {
            NONE => node.heir = closed,
            before => self.branches[before as usize].sibling = closed,
        }
    }

    /// Whether the packed blob would be at most `limit` bytes with the next record too, whatever its base.
    #[inline]
    pub(crate) fn has_room(&self, next: Place, limit: usize) -> bool {
        let last = self.last.map_or(0, |last| 2 * usize::from(last.key_len) + usize::from(last.value_len));
        let next_most = usize::from(next.key_len) + usize::from(next.value_len);
        // The two leaves, and the open nodes with one more: their prefixes are parts of the last key.
        let open = last + next_most + 32 + (self.open.len() + 1) * (NODE_BYTES_MAX + 4);
        HEADER_BYTES + self.closed_bytes + open <= limit || self.bytes_with(next) <= limit
    }

    /// Bytes of the packed blob, header included, with the next record too. Its base is empty: a longer one makes it smaller.
    fn bytes_with(&self, next: Place) -> usize {
        let Some(last) = self.last else { return HEADER_BYTES + narrow_bytes(next, 0) };
        let common = next.common;
        let (mut above, mut is_there) = (0, false);
        let mut sum = HEADER_BYTES
            + self.closed_bytes
            + leaf_bytes(last, common.max(last.common))
            + leaf_bytes(next, common);
        let open = || self.open.iter().map(|number| self.branches[*number as usize]);
        for mut node in open().take_while(|node| node.depth <= common) {
            is_there = node.depth == common;
            node.children += u16::from(is_there);
            sum += node.bytes(above);
            above = node.below();
        }
        let mut rest = open().skip_while(|node| node.depth <= common).peekable();
        if !is_there {
            let has_terminal = rest.peek().is_none() && last.key_len == common;
            let common = usize::from(common);
            sum += node_bytes_for(2 - usize::from(has_terminal), has_terminal, common - above);
            above = common + 1;
        }
        for node in rest {
            sum += node.bytes(above);
            above = node.below();
        }
        sum
    }

    /// Bytes of the packed blob, header included, if its base is the first `base` bytes of all keys.
    pub(crate) fn bytes(&self, base: usize) -> usize {
        let mut above = base;
        let mut sum = HEADER_BYTES + self.closed_bytes;
        for number in &self.open {
            let node = self.branches[*number as usize];
            sum += node.bytes(above);
            above = node.below();
        }
        let last = self.last.map_or(0, |last| match self.open.is_empty() {
            true => narrow_bytes(last, base),
            false => leaf_bytes(last, last.common),
        });
        sum + last
    }

    /// How many bytes all keys start with, up to the end of the shortest.
    pub(crate) fn base_max(&self) -> usize {
        match self.open.first() {
            Some(root) => self.branches[*root as usize].depth.into(),
            None => self.last.map_or(0, |last| last.key_len.into()),
        }
    }
}

/// Size of the leaf of a record that shares so many bytes with a neighbour: the byte behind them leads to it.
fn leaf_bytes(place: Place, shared: u16) -> usize {
    narrow_bytes(place, usize::from(shared) + 1)
}

/// Size of the leaf of a record to which so many bytes of the key lead, or all.
fn narrow_bytes(place: Place, above: usize) -> usize {
    let suffix = usize::from(place.key_len).saturating_sub(above);
    leaf::narrow_bytes(suffix, usize::from(place.value_len))
}
