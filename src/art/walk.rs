//! Ordered walk over the entries of one blob, forward and backward, with the key above the current entry spelled out.
//!
//! Runs on bytes that may be changing under it: depth and steps are bounded, what it yields counts after validation.

use super::bytes::{Bytes, position};
use super::header::Blob;
use super::inner::Child;
use super::leaf::Leaf;
use super::node::{Node, Places};
use super::ptr::{self, Target, decode};
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX};

/// More steps than a sound blob can ask for between two entries: each visits or leaves a node.
const STEPS_MAX: usize = BLOB_BYTES / 4;

/// A walk asks for the child that is so many places further on.
const AHEAD: usize = 4;

/// Position in a node: its terminal, or before its first child, is 1, the child in place `p` is `p + 2`.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: Node,
    places: Places,
    at: u32,
    /// Length of the key at the end of the node's prefix, and before it.
    key_len: u32,
    key_start: u32,
}

/// What a walk works with, to be used again by the next one.
#[derive(Debug, Default)]
pub(crate) struct WalkMemory {
    stack: Vec<Frame>,
    key: Bytes,
}

/// A walk over keys that all start with a lead, the blob's base or nothing; it stands on an entry when `leaf()` is Some.
pub(crate) struct Walk<'a> {
    blob: Blob<'a>,
    stack: Vec<Frame>,
    /// The lead, and the key as far as nodes spell it.
    key: Bytes,
    lead: usize,
    /// The pointer of the entry, a leaf's or a mount's; 0 for none.
    entry: u16,
    /// The shortest that the key was cut back to.
    kept: usize,
    /// Stop in front of nodes whose key has this byte behind so many bytes.
    roll_up: Option<(u8, usize)>,
    /// How long the part of such a node's key is that ends with the byte; 0: it stands in front of none.
    rolled: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(blob: Blob<'a>, lead: &[u8], memory: WalkMemory) -> Self {
        let WalkMemory { mut stack, mut key } = memory;
        stack.clear();
        key.clear();
        key.extend(lead);
        Self { blob, stack, key, lead: lead.len(), entry: 0, kept: 0, roll_up: None, rolled: 0 }
    }

    pub(crate) fn into_memory(self) -> WalkMemory {
        WalkMemory { stack: self.stack, key: self.key }
    }

    /// From now on a forward walk stops, instead of going on to their first entry, at nodes whose key has `byte` behind so many
    /// bytes of it.
    pub(crate) fn roll_up(&mut self, byte: u8, behind: usize) {
        self.roll_up = Some((byte, behind));
    }

    /// The part, up to and with the first such byte, of the keys of all entries in the node that it stopped at.
    #[inline(always)]
    pub(crate) fn rolled(&self) -> Option<&[u8]> {
        if self.rolled == 0 { None } else { self.above().get(..self.rolled) }
    }

    /// Goes on from there to the node's first entry.
    pub(crate) fn unroll(&mut self) {
        let roll_up = self.roll_up.take();
        self.rolled = 0;
        if !self.begin() {
            self.run_forward();
        }
        self.roll_up = roll_up;
    }

    /// Whether it stands on an entry.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.entry != 0
    }

    /// The pointer of the entry that it stands on, 0 for none.
    #[inline(always)]
    pub(crate) fn pointer(&self) -> u16 {
        self.entry
    }

    /// The entry that it stands on.
    #[inline(always)]
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        self.is_on().then(|| Leaf::at(self.blob.w, ptr::offset(self.entry)))
    }

    /// The limb that the entry leads to, if it is a mount: then the key is its path.
    #[inline(always)]
    pub(crate) fn mount(&self) -> Option<Child> {
        if !self.is_on_mount() {
            return None;
        }
        self.leaf().map(|leaf| self.blob.child_of(leaf))
    }

    /// Whether the entry is a mount.
    #[inline(always)]
    pub(crate) fn is_on_mount(&self) -> bool {
        ptr::is_mount(self.entry)
    }

    /// The lead and the key of the entry, but for what the leaf has of it.
    #[inline(always)]
    pub(crate) fn above(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// Appends the same to `out`.
    #[inline(always)]
    pub(crate) fn append_above(&self, out: &mut Bytes) {
        out.extend_from(&self.key);
    }

    /// The lead and the whole key of the entry.
    pub(crate) fn spell(&self) -> Vec<u8> {
        let mut key = self.above().to_vec();
        if let Some(leaf) = self.leaf() {
            self.blob.w.append_to(leaf.suffix_at(), leaf.suffix_len(), &mut key);
        }
        key
    }

    /// How many bytes of the key were not touched since the last call.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> usize {
        std::mem::replace(&mut self.kept, self.key.len())
    }

    /// Goes to the first entry.
    pub(crate) fn first(&mut self) {
        self.reset();
        if !self.enter(self.blob.root()) {
            self.run_forward();
        }
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) {
        self.reset();
        if !self.enter_back(self.blob.root()) {
            self.run_backward();
        }
    }

    /// Goes to the first entry with a key of at least `bound`, which starts with the lead.
    pub(crate) fn seek(&mut self, bound: &[u8]) {
        let stop = self.follow(bound, FIRST_CHILD);
        if !matches!(stop, Stop::Above(ptr) if self.enter(ptr)) {
            self.run_forward();
        }
    }

    /// Goes to the last entry with a key below `bound`, which starts with the lead.
    pub(crate) fn seek_below(&mut self, bound: &[u8]) {
        let stop = self.follow(bound, FIRST_CHILD + 1);
        if !matches!(stop, Stop::Below(ptr) if self.enter_back(ptr)) {
            self.run_backward();
        }
    }

    /// Moves to the next entry; none when there is no more.
    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        (self.entry, self.rolled) = (0, 0);
        self.run_forward();
    }

    /// Moves to the entry before; none when there is no more.
    #[inline(always)]
    pub(crate) fn retreat(&mut self) {
        self.entry = 0;
        self.run_backward();
    }

    /// Moves to the next entry whose key does not share the first `len` bytes of this one's, the lead included.
    pub(crate) fn skip(&mut self, len: usize) {
        self.leave(len);
        self.advance();
    }

    /// The same backward.
    pub(crate) fn skip_back(&mut self, len: usize) {
        self.leave(len);
        self.retreat();
    }

    /// Leaves the nodes below which all keys share `len` bytes.
    fn leave(&mut self, len: usize) {
        while self.stack.last().is_some_and(|frame| frame.key_len as usize >= len) {
            self.pop();
        }
    }

    fn reset(&mut self) {
        self.stack.clear();
        self.key.truncate(self.lead);
        (self.kept, self.entry, self.rolled) = (0, 0, 0);
    }

    /// Follows `bound` down to where the tree and the bound part. The frames then stand at what was followed; where there is
    /// no child to follow, `gap` behind the place that it would have, less its two.
    fn follow(&mut self, bound: &[u8], gap: usize) -> Stop {
        self.reset();
        let w = self.blob.w;
        let mut ptr = self.blob.root();
        loop {
            let rest = bound.get(self.key.len()..).unwrap_or(&[]);
            match decode(ptr) {
                Target::Node(offset) => {
                    let node = Node::at(w, offset);
                    let len = node.prefix_len();
                    if !w.starts(node.prefix_at(), len, rest) {
                        let same = w.common_prefix(node.prefix_at(), len, rest);
                        let below = same < rest.len() && w.u8_at(node.prefix_at() + same) < rest[same];
                        return if below { Stop::Below(ptr) } else { Stop::Above(ptr) };
                    }
                    let Some(&byte) = rest.get(len) else { return Stop::Above(ptr) };
                    let (place, is_there) = node.place_of(w, byte);
                    if !self.push(node, place + if is_there { 2 } else { gap }) || !is_there {
                        return Stop::Gap;
                    }
                    self.key.push(byte);
                    ptr = node.pointer_at(w, place);
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

    /// Pushes a node's frame and appends its prefix to the key; false when the depth cannot be real.
    #[inline(always)]
    fn push(&mut self, node: Node, at: usize) -> bool {
        if self.key.len() > 2 * KEY_BYTES_MAX {
            return false;
        }
        let key_start = self.key.len() as u32;
        self.key.append(self.blob.w, node.prefix_at(), node.prefix_len());
        let key_len = self.key.len() as u32;
        self.stack.push(Frame { node, places: node.places(), at: at as u32, key_len, key_start });
        true
    }

    #[inline(always)]
    fn pop(&mut self) {
        if let Some(frame) = self.stack.pop() {
            let len = frame.key_start as usize;
            self.key.truncate(len);
            self.kept = self.kept.min(len);
        }
    }

    /// Steps forward from where it does not stand until it does, or the blob ends.
    #[inline(always)]
    fn run_forward(&mut self) {
        let w = self.blob.w;
        for _ in 0..STEPS_MAX {
            let Some(frame) = self.stack.last_mut() else { return };
            let (places, len) = (frame.places, frame.key_len as usize);
            let Some((place, byte, child)) = places.first_at(w, frame.at as usize - 1) else {
                self.pop();
                continue;
            };
            frame.at = place as u32 + 2;
            places.prefetch(w, place + AHEAD);
            self.key.cut_and_push(len, byte);
            self.kept = self.kept.min(len);
            if self.enter(child) {
                return;
            }
        }
    }

    /// Steps backward from where it does not stand until it does, or the blob ends.
    #[inline(always)]
    fn run_backward(&mut self) {
        let w = self.blob.w;
        for _ in 0..STEPS_MAX {
            let Some(frame) = self.stack.last_mut() else { return };
            let (node, places, len) = (frame.node, frame.places, frame.key_len as usize);
            let at = std::mem::replace(&mut frame.at, FIRST_CHILD as u32) as usize;
            let child = places.last_before(w, at.saturating_sub(2));
            let Some((place, byte, child)) = child else {
                if at > FIRST_CHILD && node.has_terminal() {
                    self.key.truncate(len);
                    self.kept = self.kept.min(len);
                    if self.stand(w.u16_at(node.terminal_slot())) {
                        return;
                    }
                } else {
                    self.pop();
                }
                continue;
            };
            frame.at = place as u32 + 2;
            if let Some(before) = place.checked_sub(AHEAD) {
                places.prefetch(w, before);
            }
            self.key.cut_and_push(len, byte);
            self.kept = self.kept.min(len);
            if self.enter_back(child) {
                return;
            }
        }
    }

    /// Stands on the entry that a pointer leads to; false if it leads to none.
    #[inline(always)]
    fn stand(&mut self, ptr: u16) -> bool {
        let is_entry = matches!(decode(ptr), Target::Leaf(_) | Target::Mount(_));
        if is_entry {
            self.entry = ptr;
        }
        is_entry
    }

    /// Goes where a pointer leads to: to an entry, or to the front of a node. True: it stands, on an entry or in front of a node that is
    /// rolled up.
    #[inline(always)]
    fn enter(&mut self, ptr: u16) -> bool {
        let Target::Node(offset) = decode(ptr) else { return self.stand(ptr) };
        if !self.push(Node::at(self.blob.w, offset), FIRST_CHILD) {
            return false;
        }
        if let Some((byte, behind)) = self.roll_up {
            // What is kept of the last key has none, or all with it would have been passed over.
            let from = self.kept.max(behind);
            let fresh = self.key.as_slice().get(from..).unwrap_or(&[]);
            if let Some(place) = position(fresh, byte) {
                self.rolled = from + place + 1;
                return true;
            }
        }
        self.begin()
    }

    /// Begins with the node that it was the last to come to. True: it stands on its terminal.
    #[inline(always)]
    fn begin(&mut self) -> bool {
        let Some(frame) = self.stack.last() else { return false };
        frame.places.prefetch_first(self.blob.w);
        frame.node.has_terminal() && self.stand(self.blob.w.u16_at(frame.node.terminal_slot()))
    }

    /// Goes where a pointer leads to: to an entry, or to the back of a node. True: it stands on an entry.
    #[inline(always)]
    fn enter_back(&mut self, ptr: u16) -> bool {
        let Target::Node(offset) = decode(ptr) else { return self.stand(ptr) };
        let (w, node) = (self.blob.w, Node::at(self.blob.w, offset));
        if self.push(node, BACK) {
            let places = node.places();
            (places.end().saturating_sub(AHEAD)..places.end()).for_each(|place| places.prefetch(w, place));
        }
        false
    }
}

/// At a node's terminal, so before its first child, and behind its last child.
const FIRST_CHILD: usize = 1;
const BACK: usize = 256 + 2;

/// Where [`Walk::follow`] stopped: at a pointer under which all keys are at least the bound, or all below it, or at a
/// gap between children.
enum Stop {
    Above(u16),
    Below(u16),
    Gap,
}
