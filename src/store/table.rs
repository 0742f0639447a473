//! The page table in memory: a persistent radix tree from blob id to image. A clone is O(1) and shares every node;
//! a change copies the nodes on its path that are shared.
//!
//! Invariant: a node that has a place stands there in the file exactly as it is in memory, and so does everything
//! below it. A change takes the places off its path; only the checkpoint gives places, to nodes that a cut shares
//! and that therefore cannot change.

use super::block::{FANOUT, Image, Place};
use crate::sync::Mutex;
use std::sync::Arc;

/// The image of a blob and the epoch that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    pub(super) image: Image,
    pub(super) birth: u64,
}

/// What a node holds; an absent entry has unit 0.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Leaf(Box<[Entry]>),
    Inner(Box<[Option<Arc<Node>>]>),
}

/// A node of the tree, one block of the file.
#[derive(Debug)]
pub(super) struct Node {
    place: Mutex<Option<Place>>,
    used: usize,
    body: Body,
}

impl Clone for Node {
    fn clone(&self) -> Self {
        Self { place: Mutex::new(None), used: self.used, body: self.body.clone() }
    }
}

impl Node {
    fn new(level: u8) -> Self {
        let body = match level {
            0 => Body::Leaf(vec![Entry::default(); FANOUT].into_boxed_slice()),
            _ => Body::Inner(vec![None; FANOUT].into_boxed_slice()),
        };
        Self { place: Mutex::new(None), used: 0, body }
    }

    /// A node as it was read from `place`, with `used` entries or children.
    pub(super) fn loaded(place: Place, used: usize, body: Body) -> Self {
        Self { place: Mutex::new(Some(place)), used, body }
    }

    /// Where the node stands in the file, if it has not changed since it was written.
    pub(super) fn place(&self) -> Option<Place> {
        *self.place.lock()
    }

    /// Notes where the node was written.
    pub(super) fn written(&self, place: Place) {
        *self.place.lock() = Some(place);
    }

    /// What the node holds.
    pub(super) fn body(&self) -> &Body {
        &self.body
    }
}

/// The tree. Sums over all its entries are kept beside it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    root: Option<Arc<Node>>,
    height: u8,
    sums: Sums,
}

/// Sums over a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Entries.
    pub(super) blobs: u64,
    /// Lengths of their images.
    pub(super) image_bytes: u64,
    /// Leaf nodes.
    pub(super) leaves: u64,
    /// Inner nodes.
    pub(super) inners: u64,
}

impl Sums {
    /// Memory of all nodes.
    pub(super) fn memory_bytes(self) -> u64 {
        let leaf = size_of::<Node>() + FANOUT * size_of::<Entry>();
        let inner = size_of::<Node>() + FANOUT * size_of::<Option<Arc<Node>>>();
        self.leaves * leaf as u64 + self.inners * inner as u64
    }
}

/// The slot of `id` in a node of `level`.
fn slot(id: u32, level: u8) -> usize {
    (id as usize / FANOUT.pow(level.into())) % FANOUT
}

/// How many ids a tree of `height` levels has entries for.
fn capacity(height: u8) -> usize {
    FANOUT.pow(height.into())
}

impl Table {
    /// A tree that was read from the file.
    pub(super) fn loaded(root: Option<Arc<Node>>, height: u8, sums: Sums) -> Self {
        Self { root, height, sums }
    }

    /// The top node.
    pub(super) fn root(&self) -> Option<&Arc<Node>> {
        self.root.as_ref()
    }

    /// Levels of the tree; 0 when it is empty.
    pub(super) fn height(&self) -> u8 {
        self.height
    }

    /// The sums over all entries.
    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// The entry of `id`.
    pub(super) fn get(&self, id: u32) -> Option<Entry> {
        if id as usize >= capacity(self.height) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.height;
        loop {
            level -= 1;
            match &node.body {
                Body::Leaf(entries) => {
                    return entries.get(slot(id, 0)).copied().filter(|entry| entry.image.unit != 0);
                }
                Body::Inner(children) => node = children.get(slot(id, level))?.as_ref()?,
            }
        }
    }

    /// Sets the entry of `id` and returns the one before.
    pub(super) fn set(&mut self, id: u32, entry: Entry) -> Option<Entry> {
        while id as usize >= capacity(self.height) {
            self.grow();
        }
        let old = set_below(&mut self.root, self.height - 1, id, entry, &mut self.sums);
        self.sums.image_bytes += u64::from(entry.image.bytes);
        match old {
            Some(old) => self.sums.image_bytes -= u64::from(old.image.bytes),
            None => self.sums.blobs += 1,
        }
        old
    }

    /// Takes the entry of `id` out. Nodes that become empty go with it.
    pub(super) fn remove(&mut self, id: u32) -> Option<Entry> {
        let old = self.get(id)?;
        remove_below(&mut self.root, self.height - 1, id, &mut self.sums);
        self.sums.blobs -= 1;
        self.sums.image_bytes -= u64::from(old.image.bytes);
        if self.root.is_none() {
            self.height = 0;
        }
        Some(old)
    }

    fn grow(&mut self) {
        if let Some(root) = self.root.take() {
            let mut top = Node::new(self.height);
            if let Body::Inner(children) = &mut top.body {
                children[0] = Some(root);
                top.used = 1;
            }
            self.sums.inners += 1;
            self.root = Some(Arc::new(top));
        }
        self.height += 1;
    }

    /// Calls `visit` for every entry in the order of ids.
    pub(super) fn for_each(&self, mut visit: impl FnMut(u32, Entry)) {
        if let Some(root) = &self.root {
            visit_below(root, 0, &mut visit);
        }
    }
}

fn set_below(
    place: &mut Option<Arc<Node>>,
    level: u8,
    id: u32,
    entry: Entry,
    sums: &mut Sums,
) -> Option<Entry> {
    let shared = place.get_or_insert_with(|| {
        *(if level == 0 { &mut sums.leaves } else { &mut sums.inners }) += 1;
        Arc::new(Node::new(level))
    });
    let node = Arc::make_mut(shared);
    *node.place.get_mut() = None;
    match &mut node.body {
        Body::Leaf(entries) => {
            let old = std::mem::replace(&mut entries[slot(id, 0)], entry);
            if old.image.unit != 0 {
                return Some(old);
            }
            node.used += 1;
            None
        }
        Body::Inner(children) => {
            let child = &mut children[slot(id, level)];
            node.used += usize::from(child.is_none());
            set_below(child, level - 1, id, entry, sums)
        }
    }
}

fn remove_below(place: &mut Option<Arc<Node>>, level: u8, id: u32, sums: &mut Sums) {
    let Some(shared) = place else { return };
    let node = Arc::make_mut(shared);
    *node.place.get_mut() = None;
    match &mut node.body {
        Body::Leaf(entries) => {
            entries[slot(id, 0)] = Entry::default();
            node.used -= 1;
        }
        Body::Inner(children) => {
            let child = &mut children[slot(id, level)];
            remove_below(child, level - 1, id, sums);
            node.used -= usize::from(child.is_none());
        }
    }
    if node.used == 0 {
        *(if level == 0 { &mut sums.leaves } else { &mut sums.inners }) -= 1;
        *place = None;
    }
}

fn visit_below(node: &Node, index: u32, visit: &mut impl FnMut(u32, Entry)) {
    let first = index * FANOUT as u32;
    match &node.body {
        Body::Leaf(entries) => {
            for (slot, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.image.unit != 0) {
                visit(first + slot as u32, *entry);
            }
        }
        Body::Inner(children) => {
            for (slot, child) in children.iter().enumerate() {
                if let Some(child) = child {
                    visit_below(child, first + slot as u32, visit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn entry(unit: u32) -> Entry {
        Entry { image: Image { unit, bytes: unit * 3, hash: 0 }, birth: 0 }
    }

    fn contents(table: &Table) -> BTreeMap<u32, u32> {
        let mut all = BTreeMap::new();
        table.for_each(|id, entry| {
            all.insert(id, entry.image.unit);
        });
        all
    }

    #[test]
    fn agrees_with_a_map_and_clones_stay_as_they_were() {
        let mut table = Table::default();
        let mut model = BTreeMap::new();
        let mut clones = Vec::new();
        let mut random = 1_u64;
        for step in 1..4000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let id = ((random >> 33) as u32 % 300) * if random >> 20 & 1 == 0 { 1 } else { 55_000 };
            if random >> 21 & 3 == 0 {
                assert_eq!(table.remove(id).map(|old| old.image.unit), model.remove(&id));
            } else {
                assert_eq!(table.set(id, entry(step)).map(|old| old.image.unit), model.insert(id, step));
            }
            assert_eq!(table.get(id).map(|found| found.image.unit), model.get(&id).copied());
            if step % 500 == 0 {
                clones.push((table.clone(), model.clone()));
            }
        }
        for (table, model) in clones {
            assert_eq!(contents(&table), model);
            assert_eq!(table.sums().blobs, model.len() as u64);
            assert_eq!(
                table.sums().image_bytes,
                model.values().map(|&unit| u64::from(unit) * 3).sum::<u64>()
            );
        }
        for id in model.into_keys() {
            table.remove(id);
        }
        assert_eq!((table.sums(), table.height()), (Sums::default(), 0));
    }

    #[test]
    fn a_change_takes_places_off_its_path_only() {
        let mut table = Table::default();
        table.set(1, entry(1));
        table.set(300, entry(2));
        let place = Place { unit: 5, hash: 5 };
        let leaves = |table: &Table| match table.root().map(|root| root.body()) {
            Some(Body::Inner(children)) => children.iter().flatten().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        for leaf in leaves(&table) {
            leaf.written(place);
        }
        table.root().expect("root").written(place);
        let cut = table.clone();
        table.set(300, entry(3));
        assert_eq!(leaves(&table).iter().map(|leaf| leaf.place()).collect::<Vec<_>>(), [Some(place), None]);
        assert_eq!(table.root().and_then(|root| root.place()), None);
        assert_eq!(cut.root().and_then(|root| root.place()), Some(place));
        drop(cut);
        table.root().expect("root").written(place);
        table.remove(300);
        assert_eq!(table.root().and_then(|root| root.place()), None);
    }
}
