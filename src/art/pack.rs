//! Copies a blob into fresh memory: without garbage, nodes first ([`Order`]) and leaves behind them in key
//! order, nodes of the smallest kind that fits, chains collapsed, and keys moved to another base on the way.
//!
//! Nodes lie together so that the nodes of many blobs stay in the processor's caches where their leaves could not.

use super::header::{AT_ROOT, Blob, HEADER_BYTES};
use super::inner::{Below, round_up};
use super::leaf::{self, Leaf};
use super::node::{self, Node, node_bytes_for};
use super::order::Order;
use super::ptr::{self, Target, decode};
use super::words::Words;
use crate::limits::{BLOB_BYTES, KEY_BYTES_MAX};

/// How the keys of a blob change when its base does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rebase<'a> {
    /// Bytes put before every key (the base became shorter).
    pub(crate) lead: &'a [u8],
    /// Bytes cut off the front of every key (the base became longer); they are the same in all keys.
    pub(crate) strip: usize,
}

/// The source is not sound, or the result does not fit a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackError;

struct Measure {
    node_bytes: usize,
    /// How many entries are below each node, by its offset in units of four bytes.
    weights: Vec<u16>,
    /// Least and greatest version.
    versions: Option<(u64, u64)>,
}

impl Measure {
    /// The least version as the base, unless that would make versions wide that are narrow under the `old` base:
    /// a packed blob is never larger than what was live.
    fn version_base(&self, old: u64) -> u64 {
        match self.versions {
            Some((least, greatest)) if least >= old || greatest - least <= u64::from(u32::MAX) => least,
            Some(_) => old,
            None => 0,
        }
    }
}

struct Packer<'a, 'b> {
    from: Blob<'a>,
    to: Blob<'b>,
    weights: Vec<u16>,
    next_node: usize,
    next_leaf: usize,
    entries: u32,
    key_bytes: usize,
    value_bytes: usize,
    /// What is in the copy, exactly.
    below: Below,
}

impl<'a> Blob<'a> {
    /// Writes a packed copy of the blob into `target`.
    pub(crate) fn pack(self, target: Words<'_>, rebase: Rebase<'_>) -> Result<(), PackError> {
        let measure = self.measure(rebase)?;
        let to = Blob::new(target);
        to.w.copy_whole(self.w, HEADER_BYTES);
        to.set_version_base(measure.version_base(self.version_base()));
        let mut packer = Packer {
            from: self,
            to,
            next_node: HEADER_BYTES,
            next_leaf: HEADER_BYTES + measure.node_bytes,
            weights: measure.weights,
            entries: 0,
            key_bytes: 0,
            value_bytes: 0,
            below: Below::default(),
        };
        if packer.next_leaf > BLOB_BYTES {
            return Err(PackError);
        }
        target.set_u16(AT_ROOT, 0);
        packer.copy(self.root(), rebase)?;
        to.set_last_inserted(0);
        to.set_heap_end(packer.next_leaf as u32);
        to.set_garbage(0);
        to.set_entries(packer.entries);
        to.set_key_bytes(packer.key_bytes as u32);
        to.set_value_bytes(packer.value_bytes as u32);
        if self.is_leaf() {
            // Never more than before: the blobs above go by it.
            let before = self.below().under(rebase.lead.len()).over(rebase.strip);
            let longest = round_up(packer.below.longest()).min(before.longest());
            to.set_below(Below::new(longest, packer.below.mounts()));
        }
        Ok(())
    }

    /// Sums up the nodes that a packed copy has.
    fn measure(self, rebase: Rebase<'_>) -> Result<Measure, PackError> {
        let mut sum = Measure { node_bytes: 0, weights: vec![0; BLOB_BYTES / 4], versions: None };
        if self.root() == 0 {
            return Ok(sum);
        }
        // The nodes, each with the place in here of the one above it.
        let mut nodes: Vec<(usize, usize)> = Vec::with_capacity(256);
        // What is to be visited, the place of the node above, and by how much a prefix there becomes longer.
        let mut todo = vec![(self.root(), 0, rebase.lead.len() as isize - rebase.strip as isize)];
        while let Some((ptr, above, extra)) = todo.pop() {
            match decode(ptr) {
                Target::Null | Target::Unknown => return Err(PackError),
                Target::Leaf(offset) | Target::Mount(offset) => {
                    let leaf = Leaf::at(self.w, offset);
                    if leaf.has_version() {
                        let version = leaf.version(self);
                        let (least, greatest) = sum.versions.unwrap_or((version, version));
                        sum.versions = Some((least.min(version), greatest.max(version)));
                    }
                    if let Some((node, _)) = nodes.get(above) {
                        count(&mut sum.weights, *node, 1);
                    }
                }
                Target::Node(offset) => {
                    let node = Node::at(self.w, offset);
                    let prefix = node.prefix_len() as isize + extra;
                    let below = if node.is_link() {
                        prefix + 1
                    } else {
                        let prefix = usize::try_from(prefix).map_err(|_| PackError)?;
                        sum.node_bytes += node_bytes_for(node.children(), node.has_terminal(), prefix);
                        0
                    };
                    let own = nodes.len();
                    nodes.push((offset, above));
                    if node.has_terminal() {
                        todo.push((self.w.u16_at(node.terminal_slot()), own, 0));
                    }
                    todo.extend(node.all_children(self.w).map(|(_, child)| (child, own, below)));
                }
            }
            if sum.node_bytes > BLOB_BYTES || todo.len() > BLOB_BYTES || nodes.len() > BLOB_BYTES / 4 {
                return Err(PackError);
            }
        }
        // A node comes before all that are below it.
        for &(node, above) in nodes.iter().skip(1).rev() {
            let below = sum.weights[node / 4];
            count(&mut sum.weights, nodes[above].0, below);
        }
        Ok(sum)
    }
}

/// Adds entries below a node. Bytes that are not sound may lead to one more often than there are entries.
fn count(weights: &mut [u16], node: usize, entries: u16) {
    weights[node / 4] = weights[node / 4].saturating_add(entries);
}

/// Something to copy: where it lies, the slot of the target that is to lead to it, the length of the key above it.
#[derive(Clone, Copy)]
struct Todo {
    ptr: u16,
    slot: usize,
    above: usize,
}

/// What is at the end of a chain of nodes with one child each; a leaf or mount with its pointer.
enum End {
    Node(Node),
    Leaf(Leaf, u16),
}

/// A slot of the target that is to lead to a leaf holds the leaf's number under this tag until the leaf has its place.
const PENDING_LEAF: u16 = 3 << 14;
const _: () = assert!(BLOB_BYTES / 8 <= 1 << 14);

impl Packer<'_, '_> {
    /// Copies what is under `root`: the nodes, then the leaves in key order.
    fn copy(&mut self, root: u16, rebase: Rebase<'_>) -> Result<(), PackError> {
        if root == 0 {
            return Ok(());
        }
        let mut lead = Vec::with_capacity(64);
        let leaves = self.copy_nodes(root, rebase, &mut lead)?;
        let mut slots = vec![AT_ROOT];
        while let Some(slot) = slots.pop() {
            match decode(self.to.w.u16_at(slot)) {
                Target::Node(offset) => {
                    let first = slots.len();
                    slots.extend(Node::at(self.to.w, offset).slots(self.to.w));
                    slots[first..].reverse();
                }
                _ => {
                    let index = usize::from(self.to.w.u16_at(slot) & !PENDING_LEAF);
                    let place = leaves.get(index).ok_or(PackError)?;
                    let (leaf, ptr, strip) = match (decode(place.ptr), place.slot) {
                        // Most have no chain above them.
                        (Target::Leaf(offset) | Target::Mount(offset), slot) if slot != AT_ROOT => {
                            lead.clear();
                            (Leaf::at(self.from.w, offset), place.ptr, 0)
                        }
                        _ => match self.follow(*place, rebase, &mut lead)? {
                            (End::Leaf(leaf, ptr), strip) => (leaf, ptr, strip),
                            (End::Node(_), _) => return Err(PackError),
                        },
                    };
                    self.copy_leaf(leaf, ptr, place, &lead, strip)?;
                }
            }
        }
        Ok(())
    }

    /// Copies the nodes; returns what leads to leaves.
    fn copy_nodes(
        &mut self,
        root: u16,
        rebase: Rebase<'_>,
        lead: &mut Vec<u8>,
    ) -> Result<Vec<Todo>, PackError> {
        let mut leaves: Vec<Todo> = Vec::with_capacity(self.from.entries() as usize);
        let mut order = Order::new();
        self.sort(Todo { ptr: root, slot: AT_ROOT, above: 0 }, &mut order, &mut leaves)?;
        while let Some(place) = order.pop() {
            match self.follow(place, rebase, lead)? {
                (End::Node(node), _) => self.copy_node(node, &place, lead, &mut order, &mut leaves)?,
                (End::Leaf(..), _) => self.wait(place, &mut leaves)?,
            }
        }
        Ok(leaves)
    }

    /// Nodes are put in order, leaves wait for their turn.
    fn sort(&self, place: Todo, order: &mut Order<Todo>, leaves: &mut Vec<Todo>) -> Result<(), PackError> {
        match decode(place.ptr) {
            Target::Node(offset) => {
                order.push(usize::from(self.weights[offset / 4]), place);
                Ok(())
            }
            _ => self.wait(place, leaves),
        }
    }

    fn wait(&self, place: Todo, leaves: &mut Vec<Todo>) -> Result<(), PackError> {
        if leaves.len() >= BLOB_BYTES / 8 {
            return Err(PackError);
        }
        self.to.w.set_u16(place.slot, PENDING_LEAF | leaves.len() as u16);
        leaves.push(place);
        Ok(())
    }

    /// Follows a chain of nodes with one child each from a place to its end; the bytes on it go to `lead`. Returns the end
    /// and how many bytes are still to be stripped there, which only a leaf can have.
    fn follow(&self, place: Todo, rebase: Rebase<'_>, lead: &mut Vec<u8>) -> Result<(End, usize), PackError> {
        lead.clear();
        let mut strip = 0;
        if place.slot == AT_ROOT {
            lead.extend_from_slice(rebase.lead);
            strip = rebase.strip;
        }
        let mut ptr = place.ptr;
        loop {
            match decode(ptr) {
                Target::Null | Target::Unknown => return Err(PackError),
                Target::Leaf(offset) | Target::Mount(offset) => {
                    return Ok((End::Leaf(Leaf::at(self.from.w, offset), ptr), strip));
                }
                Target::Node(offset) => {
                    let node = Node::at(self.from.w, offset);
                    // A chain may be longer than what is stripped, where its first node is not.
                    let cut = strip.min(node.prefix_len());
                    strip -= cut;
                    let kept = node.prefix_len() - cut;
                    if lead.len() + kept > KEY_BYTES_MAX || (strip > 0 && !node.is_link()) {
                        return Err(PackError);
                    }
                    self.from.w.append_to(node.prefix_at() + cut, kept, lead);
                    if !node.is_link() {
                        return Ok((End::Node(node), 0));
                    }
                    let (byte, child) = node.first_from(self.from.w, 0).ok_or(PackError)?;
                    match strip.checked_sub(1) {
                        Some(rest) => strip = rest,
                        None => lead.push(byte),
                    }
                    ptr = child;
                }
            }
        }
    }

    fn copy_leaf(
        &mut self,
        leaf: Leaf,
        from: u16,
        place: &Todo,
        lead: &[u8],
        strip: usize,
    ) -> Result<(), PackError> {
        let suffix = lead.len() + leaf.suffix_len().checked_sub(strip).ok_or(PackError)?;
        let at = self.next_leaf;
        let bytes = leaf::copied_bytes(self.from, leaf, suffix, self.to.version_base());
        if at + bytes > BLOB_BYTES || place.above + suffix > KEY_BYTES_MAX {
            return Err(PackError);
        }
        // The last word is written whole first, so that padding is zero.
        self.to.w.set_u32(at + bytes - 4, 0);
        leaf::copy(self.to, at, self.from, leaf, lead, strip);
        self.to.w.set_u16(place.slot, ptr::moved(from, at));
        self.next_leaf += bytes;
        self.entries += 1;
        self.key_bytes += place.above + suffix;
        let below = match ptr::is_mount(from) {
            true => Below::new(self.from.child_of(leaf).below.longest(), true),
            false => Below::default(),
        };
        self.below = self.below.and(below.under(place.above + suffix));
        self.value_bytes += leaf.value_len();
        Ok(())
    }

    fn copy_node(
        &mut self,
        node: Node,
        place: &Todo,
        prefix: &[u8],
        order: &mut Order<Todo>,
        leaves: &mut Vec<Todo>,
    ) -> Result<(), PackError> {
        let w = self.from.w;
        let at = self.next_node;
        let bytes = node_bytes_for(node.children(), node.has_terminal(), prefix.len());
        if at + bytes > BLOB_BYTES {
            return Err(PackError);
        }
        self.next_node += bytes;
        let mut new = node::create_at(self.to.w, at, node.children(), node.has_terminal(), prefix.len());
        if !prefix.is_empty() {
            self.to.w.set_u32(at + bytes - 4, 0);
            self.to.w.write(new.prefix_at(), prefix);
        }
        self.to.w.set_u16(place.slot, ptr::node(at));
        let above = place.above + prefix.len();
        if node.has_terminal() {
            let place = Todo { ptr: w.u16_at(node.terminal_slot()), slot: new.terminal_slot(), above };
            self.sort(place, order, leaves)?;
        }
        for (byte, child) in node.all_children(w) {
            let slot = new.push_child(self.to.w, byte, child);
            self.sort(Todo { ptr: child, slot, above: above + 1 }, order, leaves)?;
        }
        Ok(())
    }
}
