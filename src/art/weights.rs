//! How many entries are below each node of a blob, for one walk through it at a time.

use std::cell::RefCell;

use crate::limits::BLOB_BYTES;
use crate::sync::thread_local;

/// Weights by the nodes' offsets, of which each is a multiple of four.
///
/// The thread keeps the memory for the next ones and only what was used is zeroed: zeroing all 32 KiB for each pack would take a
/// tenth of the time that a small directory's move needs.
pub(super) struct Weights(Tables);

#[derive(Default)]
struct Tables {
    of: Vec<u16>,
    /// The nodes in an order in which each comes before those below it, with the place in here of the one above.
    nodes: Vec<(usize, usize)>,
}

thread_local! {
    static SPARE: RefCell<Option<Tables>> = const { RefCell::new(None) };
}

impl Weights {
    pub(super) fn new() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().take()).ok().flatten();
        let mut tables = spare.unwrap_or_default();
        tables.of.resize(BLOB_BYTES / 4, 0);
        Self(tables)
    }

    /// Takes a node in, which lies at an offset within the blob; its place.
    pub(super) fn push(&mut self, offset: usize, above: usize) -> usize {
        self.0.nodes.push((offset, above));
        self.0.nodes.len() - 1
    }

    /// How many nodes were taken in.
    pub(super) fn nodes(&self) -> usize {
        self.0.nodes.len()
    }

    /// Counts an entry for the node at this place, if there is one.
    pub(super) fn count(&mut self, place: usize) {
        if let Some(&(node, _)) = self.0.nodes.get(place) {
            self.add(node, 1);
        }
    }

    /// Adds what is below each node to the one above it.
    pub(super) fn sum_up(&mut self) {
        for at in (1..self.0.nodes.len()).rev() {
            let (node, above) = self.0.nodes[at];
            self.add(self.0.nodes[above].0, self.of(node));
        }
    }

    /// Bytes that are not sound may lead to a node more often than there are entries.
    fn add(&mut self, node: usize, entries: u16) {
        let weight = &mut self.0.of[node / 4];
        *weight = weight.saturating_add(entries);
    }

    /// The entries below the node at this offset.
    #[inline]
    pub(super) fn of(&self, offset: usize) -> u16 {
        self.0.of[offset / 4]
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        let mut tables = std::mem::take(&mut self.0);
        for (node, _) in tables.nodes.drain(..) {
            tables.of[node / 4] = 0;
        }
        // A thread that ends has no spare one.
        let _ = SPARE.try_with(|spare| *spare.borrow_mut() = Some(tables));
    }
}
