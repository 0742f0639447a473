//! Ordered walk over the entries of one blob, forward and backward, with the current key spelled out.
//!
//! Runs on bytes that may be changing under it: depth and steps are bounded, what it yields counts after validation.

use super::header::Blob;
use super::inner::Child;
use super::leaf::Leaf;
use super::node::{Found, Node};
use super::ptr::{self, Target, decode};
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX};

/// More steps than a sound blob can ask for between two entries: each visits or leaves a node.
const STEPS_MAX: usize = BLOB_BYTES / 4;

/// Position in a node: before its terminal is 0, its terminal is 1, child byte `b` is `b + 2`.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: usize,
    at: usize,
    /// Length of the key at the end of the node's prefix, and before it.
    key_len: usize,
    key_start: usize,
}

/// A cursor; it stands on an entry when `leaf()` is Some.
pub(crate) struct Cursor<'a> {
    blob: Blob<'a>,
    stack: Vec<Frame>,
    key: Vec<u8>,
    leaf: Option<(u16, Leaf)>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(blob: Blob<'a>) -> Self {
        Self { blob, stack: Vec::with_capacity(16), key: Vec::with_capacity(128), leaf: None }
    }

    /// The entry that the cursor stands on.
    #[inline]
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        self.leaf.map(|(_, leaf)| leaf)
    }

    /// The pointer of the entry that the cursor stands on, 0 for none.
    pub(crate) fn pointer(&self) -> u16 {
        self.leaf.map_or(0, |(ptr, _)| ptr)
    }

    /// The limb that the entry leads to, if it is a mount: then the key is its path.
    #[inline]
    pub(crate) fn mount(&self) -> Option<Child> {
        let (ptr, leaf) = self.leaf?;
        ptr::is_mount(ptr).then(|| self.blob.child_of(leaf))
    }

    /// The relative key of that entry.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Goes to the first entry.
    pub(crate) fn first(&mut self) {
        self.reset();
        self.enter_first(self.blob.root());
        self.run_forward();
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) {
        self.reset();
        self.enter_last(self.blob.root());
        self.run_backward();
    }

    /// Goes to the first entry with a key of at least `bound`.
    pub(crate) fn seek(&mut self, bound: &[u8]) {
        match self.follow(bound) {
            Stop::Above(ptr) => self.enter_first(ptr),
            Stop::Below(_) | Stop::Gap => {}
        }
        self.run_forward();
    }

    /// Goes to the last entry with a key below `bound`.
    pub(crate) fn seek_below(&mut self, bound: &[u8]) {
        match self.follow(bound) {
            Stop::Below(ptr) => self.enter_last(ptr),
            Stop::Above(_) | Stop::Gap => {}
        }
        self.run_backward();
    }

    /// Moves to the next entry; none when there is no more.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.leaf = None;
        self.run_forward();
    }

    /// Moves to the entry before; none when there is no more.
    pub(crate) fn retreat(&mut self) {
        self.leaf = None;
        self.run_backward();
    }

    fn reset(&mut self) {
        self.stack.clear();
        self.key.clear();
        self.leaf = None;
    }

    /// Follows `bound` down to where the tree and the bound part. The frames then stand at what was followed.
    fn follow(&mut self, bound: &[u8]) -> Stop {
        self.reset();
        let w = self.blob.w;
        let mut ptr = self.blob.root();
        loop {
            let rest = bound.get(self.key.len()..).unwrap_or(&[]);
            match decode(ptr) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    let same = w.common_prefix(node.prefix_at(), len, rest);
                    if same < len {
                        let below = same < rest.len() && w.u8_at(node.prefix_at() + same) < rest[same];
                        return if below { Stop::Below(ptr) } else { Stop::Above(ptr) };
                    }
                    let Some((&byte, _)) = rest[len..].split_first() else { return Stop::Above(ptr) };
                    if !self.push(node, usize::from(byte) + 2) {
                        return Stop::Gap;
                    }
                    let Found::At(slot) = node.find(w, byte) else { return Stop::Gap };
                    self.key.push(byte);
                    ptr = w.u16_at(slot);
                }
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(w, offset);
                    let (at, len) = (leaf.suffix_at(), leaf.suffix_len());
                    let same = w.common_prefix(at, len, rest);
                    let below = same < rest.len() && (same == len || w.u8_at(at + same) < rest[same]);
                    return if below { Stop::Below(ptr) } else { Stop::Above(ptr) };
                }
                Target::Null | Target::Unknown => return Stop::Gap,
            }
        }
    }

    fn stand(&mut self, ptr: u16, leaf: Leaf) {
        self.blob.w.append_to(leaf.suffix_at(), leaf.suffix_len(), &mut self.key);
        self.leaf = Some((ptr, leaf));
    }

    /// Pushes a node's frame and appends its prefix to the key; false when the depth cannot be real.
    fn push(&mut self, node: Node, at: usize) -> bool {
        if self.key.len() > 2 * KEY_BYTES_MAX {
            return false;
        }
        let key_start = self.key.len();
        self.blob.w.append_to(node.prefix_at(), node.prefix_len(), &mut self.key);
        self.stack.push(Frame { node: node.offset, at, key_len: self.key.len(), key_start });
        true
    }

    /// Steps forward until the cursor stands on an entry or the blob ends.
    fn run_forward(&mut self) {
        let mut steps = 0;
        while self.leaf.is_none() && steps < STEPS_MAX && self.step_forward() {
            steps += 1;
        }
    }

    /// Steps backward until the cursor stands on an entry or the blob ends.
    fn run_backward(&mut self) {
        let mut steps = 0;
        while self.leaf.is_none() && steps < STEPS_MAX && self.step_backward() {
            steps += 1;
        }
    }

    /// One step forward from the top frame's position; false when the stack is empty.
    fn step_forward(&mut self) -> bool {
        let Some(frame) = self.stack.last_mut() else { return false };
        let w = self.blob.w;
        let node = Node::at(w, frame.node);
        self.key.truncate(frame.key_len);
        if frame.at == 0 {
            frame.at = 1;
            if node.has_terminal() {
                self.enter_first(w.u16_at(node.terminal_slot()));
            }
            return true;
        }
        match node.first_from(w, frame.at - 1) {
            Some((byte, child)) => {
                frame.at = usize::from(byte) + 2;
                self.key.push(byte);
                self.enter_first(child);
            }
            None => self.pop(),
        }
        true
    }

    /// One step backward from the top frame's position; false when the stack is empty.
    fn step_backward(&mut self) -> bool {
        let Some(frame) = self.stack.last_mut() else { return false };
        let w = self.blob.w;
        let node = Node::at(w, frame.node);
        self.key.truncate(frame.key_len);
        if frame.at <= 1 {
            self.pop();
            return true;
        }
        match node.last_below(w, frame.at - 2) {
            Some((byte, child)) => {
                frame.at = usize::from(byte) + 2;
                self.key.push(byte);
                self.enter_last(child);
            }
            None if node.has_terminal() => {
                frame.at = 1;
                self.enter_last(w.u16_at(node.terminal_slot()));
            }
            None => self.pop(),
        }
        true
    }

    fn pop(&mut self) {
        if let Some(frame) = self.stack.pop() {
            self.key.truncate(frame.key_start);
        }
    }

    /// Stands on a leaf, or before the first entry of a node.
    fn enter_first(&mut self, ptr: u16) {
        self.enter(ptr, 0);
    }

    /// Stands on a leaf, or behind the last entry of a node.
    fn enter_last(&mut self, ptr: u16) {
        self.enter(ptr, 256 + 2);
    }

    fn enter(&mut self, ptr: u16, at: usize) {
        match decode(ptr) {
            Target::Leaf(offset) | Target::Mount(offset) => self.stand(ptr, Leaf::at(self.blob.w, offset)),
            Target::Node(offset) => {
                self.push(Node::at(self.blob.w, offset), at);
            }
            Target::Null | Target::Unknown => {}
        }
    }
}

/// Where [`Cursor::follow`] stopped: at a pointer under which all keys are at least the bound, or all below it, or at a
/// gap between children.
enum Stop {
    Above(u16),
    Below(u16),
    Gap,
}
