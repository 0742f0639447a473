//! Writes a packed leaf blob of sorted records where it is to be, after their [`Sketch`]: nodes in their order, then leaves
//! in that of their keys, as [`Blob::pack`] leaves them. No search, no insertion, no growth of nodes, no copy.

use super::header::{AT_ROOT, Blob, HEADER_BYTES, Kind};
use super::inner::{Below, round_up};
use super::leaf;
use super::node::{self, Node, node_bytes_for};
use super::order::Order;
use super::pen::Pen;
use super::ptr;
use super::sketch::{Hook, NONE, Place, Sketch, TERMINAL};
use crate::limits::BLOB_BYTES;

/// Makes an empty leaf blob a packed one with the records of `places`, which are sorted and each of another key, and which the
/// sketch was drawn of. The first `base` bytes of the keys are its base, `version` is the version of all.
///
/// # Panics
/// If they do not fit: [`Sketch::bytes`] says that before.
pub(crate) fn build(
    blob: Blob<'_>,
    text: &[u8],
    places: &[Place],
    sketch: &Sketch,
    base: usize,
    version: u64,
) {
    assert!(sketch.bytes(base) <= BLOB_BYTES && places.len() == sketch.hooks.len(), "records that fit");
    let (id, database, below) = (blob.id(), blob.database(), blob.below());
    blob.init(Kind::Leaf, 0, id, database);
    blob.set_version_base(version);
    let mut hanger = Hanger { blob, text, places, sketch, base, nodes: vec![0; sketch.branches.len()] };
    let start = hanger.put_nodes();
    let end = hanger.put_leaves(start);
    blob.set_heap_end(end as u32);
    blob.set_entries(places.len() as u32);
    let sum = |bytes: fn(&Place) -> u16| places.iter().map(|place| u32::from(bytes(place))).sum::<u32>();
    blob.set_key_bytes(sum(|place| place.key_len) - (places.len() * base) as u32);
    blob.set_value_bytes(sum(|place| place.value_len));
    let longest = places.iter().map(|place| place.key_len).max().map_or(0, usize::from);
    // Never more than before: the blobs above go by it.
    blob.set_below(Below::new(round_up(longest - base).min(below.longest()), false));
}

/// Hangs nodes and leaves up.
struct Hanger<'a> {
    blob: Blob<'a>,
    text: &'a [u8],
    places: &'a [Place],
    sketch: &'a Sketch,
    base: usize,
    /// Where the nodes lie.
    nodes: Vec<u32>,
}

impl Hanger<'_> {
    /// How many bytes of a key lead to what hangs there.
    #[inline(always)]
    fn above(&self, hook: Hook) -> usize {
        match hook.node {
            NONE => self.base,
            node => {
                usize::from(self.sketch.branches[node as usize].depth) + usize::from(hook.index != TERMINAL)
            }
        }
    }

    /// Has a pointer stand where it hangs by the record's key.
    #[inline(always)]
    fn hang(&self, hook: Hook, above: usize, place: Place, ptr: u16) {
        let w = self.blob.w;
        if hook.node == NONE {
            return w.set_u16(AT_ROOT, ptr);
        }
        let node = Node::at(w, self.nodes[hook.node as usize] as usize);
        match hook.index {
            TERMINAL => w.set_u16(node.terminal_slot(), ptr),
            index => node.put_child(w, index.into(), self.text[place.key_at as usize + above - 1], ptr),
        }
    }

    /// Writes the nodes; returns where they end.
    fn put_nodes(&mut self) -> usize {
        let mut end = HEADER_BYTES;
        let mut order = Order::new();
        let mut open = self.sketch.open.iter().copied();
        order.push(self.places.len(), open.next().unwrap_or(NONE));
        while let Some(number) = order.pop().filter(|number| *number != NONE) {
            let node = self.sketch.branches[number as usize];
            let first = self.places[node.first as usize];
            let above = self.above(node.hook);
            self.hang(node.hook, above, first, ptr::node(end));
            let prefix = &first.key(self.text)[above..node.depth.into()];
            let children = node.children.into();
            node::create_full(self.blob.w, end, children, node.has_terminal, prefix);
            self.nodes[number as usize] = end as u32;
            end += node_bytes_for(children, node.has_terminal, prefix.len());
            let mut heir = node.heir;
            while heir != NONE {
                let node = self.sketch.branches[heir as usize];
                order.push(node.entries as usize, heir);
                heir = node.sibling;
            }
            // The last child of an open node is the next open one.
            if node.entries == 0
                && let Some(number) = open.next()
            {
                let first = self.sketch.branches[number as usize].first as usize;
                order.push(self.places.len() - first, number);
            }
        }
        end
    }

    /// Writes the leaves from `start` on; returns where they end.
    fn put_leaves(&self, start: usize) -> usize {
        let mut pen = Pen::new(self.blob.w, start);
        for (place, hook) in self.places.iter().zip(&self.sketch.hooks) {
            let above = self.above(*hook);
            self.hang(*hook, above, *place, ptr::leaf(pen.at()));
            leaf::write_narrow(&mut pen, self.text, *place, above);
        }
        pen.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Cursor, Rebase, Scratch, Words};
    use super::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn text_of(model: &Model) -> (Vec<u8>, Vec<Place>) {
        let (mut text, mut places, mut before): (Vec<u8>, Vec<Place>, &[u8]) =
            (vec![1, 2, 3], Vec::new(), &[]);
        for (key, value) in model {
            let common = key.iter().zip(before).take_while(|(a, b)| a == b).count() as u16;
            let (key_at, value_at) = (text.len() as u32, (text.len() + key.len() + 1) as u32);
            text.extend_from_slice(key);
            text.push(0xEE);
            text.extend_from_slice(value);
            let (key_len, value_len) = (key.len() as u16, value.len() as u16);
            places.push(Place { key_at, value_at, key_len, value_len, common });
            before = key;
        }
        (text, places)
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'b', b'/', 0xFF]), 1..9),
            prop::collection::vec(any::<u8>(), 1..3),
            (0u8..80, 0u8..3).prop_map(|(a, b)| format!("usr/share/doc/lib{a}/file{b}").into_bytes()),
        ]
    }

    fn sketch_of(places: &[Place]) -> Sketch {
        let mut sketch = Sketch::default();
        places.iter().for_each(|place| sketch.add(*place));
        sketch
    }

    fn image(words: Words<'_>) -> Vec<u8> {
        let mut image = Vec::new();
        words.image(Blob::new(words).heap_end() as usize, &mut image);
        image
    }

    proptest! {
        #[test]
        fn what_is_built_is_what_inserting_and_packing_makes(
            model in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..40), 1..300),
            lead in prop::collection::vec(prop::sample::select(vec![b'x', b'/']), 0..4),
        ) {
            let model: Model = model.into_iter().map(|(key, value)| ([&lead[..], &key].concat(), value)).collect();
            let (text, places) = text_of(&model);
            let (inserted, packed, built) = (Scratch::new(), Scratch::new(), Scratch::new());
            let blob = Blob::new(inserted.words());
            blob.init(Kind::Leaf, 0, 7, 99);
            blob.set_below(Below::new(1000, false));
            for (key, value) in &model {
                blob.insert(&key[lead.len()..], Some(1 << 40), value).unwrap();
            }
            blob.pack(packed.words(), Rebase::default()).unwrap();
            let built = Blob::new(built.words());
            let empty = || {
                built.init(Kind::Leaf, 0, 7, 99);
                built.set_below(Below::new(1000, false));
            };
            empty();
            build(built, &text, &places, &sketch_of(&places), lead.len(), 1 << 40);
            built.verify(BLOB_BYTES, Some((7, 99))).unwrap();
            prop_assert_eq!(image(built.w), image(packed.words()));

            // The sketch is exact, before each record and after it.
            let mut sketch = Sketch::default();
            for upto in 1..=places.len() {
                let next = places[upto - 1];
                for base in [0, lead.len()] {
                    empty();
                    build(built, &text, &places[..upto], &sketch_of(&places[..upto]), base, 5);
                    built.verify(BLOB_BYTES, Some((7, 99))).unwrap();
                    let bytes = built.heap_end() as usize;
                    prop_assert_eq!(sketch_of(&places[..upto]).bytes(base), bytes, "{} records", upto);
                    prop_assert!(base > 0 || sketch.has_room(next, bytes) && !sketch.has_room(next, bytes - 1));
                }
                sketch.add(next);
                prop_assert!(sketch.base_max() >= lead.len());
            }
        }
    }

    #[test]
    fn what_has_no_room_does_not_fit() {
        let model: Model = (0..2_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![7; 60])).collect();
        let (text, places) = text_of(&model);
        let built = Scratch::new();
        let blob = Blob::new(built.words());
        blob.init(Kind::Leaf, 0, 7, 99);
        blob.set_below(Below::new(4, false));
        let mut sketch = Sketch::default();
        let fits = places.iter().take_while(|place| {
            let has_room = sketch.has_room(**place, BLOB_BYTES);
            sketch.add(**place);
            has_room
        });
        let fits = fits.count();
        assert!(fits > 500);
        assert!(sketch.bytes(0) > BLOB_BYTES);
        build(blob, &text, &places[..fits], &sketch_of(&places[..fits]), 0, 5);
        assert!(blob.heap_end() as usize <= BLOB_BYTES);
        blob.verify(BLOB_BYTES, Some((7, 99))).unwrap();
        let mut cursor = Cursor::new(blob);
        cursor.last();
        assert_eq!(cursor.key(), (fits as u32 - 1).to_be_bytes());
    }
}
