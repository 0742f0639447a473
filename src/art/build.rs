//! Builds a packed leaf blob from sorted records in one go: nodes in their order, then leaves in that of their keys, as
//! [`Blob::pack`] leaves them. No search, no insertion, no growth of nodes.
//!
//! In sorted order the bytes that neighbours have in common say all about the tree: a node stands where the least of them
//! in a range of records is more than what leads to the range, and its children begin where that least is met.

use super::header::{AT_ROOT, Blob, HEADER_BYTES, Kind};
use super::inner::{Below, round_up};
use super::leaf;
use super::node::{self, NODE_BYTES_MAX, node_bytes_for};
use super::order::Order;
use super::pack::PackError;
use super::ptr;
use super::words::Words;
use crate::limits::BLOB_BYTES;

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

/// Tells how large the blob of the records so far would be, before it is built.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Nodes that get no more children, and leaves but for the last.
    closed_bytes: usize,
    /// Nodes on the way to the last record, from the root on.
    open: Vec<Open>,
    last: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Bytes of the key up to the node's end.
    depth: usize,
    children: usize,
    has_terminal: bool,
}

impl Open {
    /// Its size below a node that ends at `above`, or at the root.
    fn bytes(self, above: Option<usize>) -> usize {
        let prefix = self.depth - above.map_or(0, |depth| depth + 1);
        node_bytes_for(self.children, self.has_terminal, prefix)
    }
}

impl Gauge {
    pub(crate) fn clear(&mut self) {
        self.closed_bytes = 0;
        self.open.clear();
        self.last = None;
    }

    /// Adds the next record.
    pub(crate) fn add(&mut self, place: Place) {
        let common = usize::from(place.common);
        if let Some(last) = self.last.replace(place) {
            self.closed_bytes += leaf_bytes(last, place.common.max(last.common));
            self.close(common);
            match self.open.last_mut() {
                Some(node) if node.depth == common => node.children += 1,
                _ => {
                    let has_terminal = usize::from(last.key_len) == common;
                    self.open.push(Open {
                        depth: common,
                        children: 2 - usize::from(has_terminal),
                        has_terminal,
                    });
                }
            }
        }
    }

    /// Ends the nodes that end behind the first `common` bytes of the key.
    fn close(&mut self, common: usize) {
        while let Some(node) = self.open.pop_if(|node| node.depth > common) {
            // Between it and what is above, a node is put at `common`.
            let above = self.open.last().map_or(common, |above| above.depth.max(common));
            self.closed_bytes += node.bytes(Some(above));
        }
    }

    /// Whether the packed blob would be over `limit` bytes.
    #[inline]
    pub(crate) fn is_over(&self, limit: usize) -> bool {
        let last = self.last.map_or(0, |last| 2 * usize::from(last.key_len) + usize::from(last.value_len));
        // What is surely more than the last leaf and the open nodes, their prefixes being parts of the last key.
        let open = last + 16 + self.open.len() * (NODE_BYTES_MAX + 4);
        HEADER_BYTES + self.closed_bytes + open > limit && self.bytes() > limit
    }

    /// Bytes of the packed blob, header included, whose base is empty. A longer base makes it smaller.
    pub(crate) fn bytes(&self) -> usize {
        let mut above = None;
        let mut sum = HEADER_BYTES + self.closed_bytes;
        for node in &self.open {
            sum += node.bytes(above);
            above = Some(node.depth);
        }
        let last = self.last.map_or(0, |last| match self.open.is_empty() {
            true => leaf::narrow_bytes(usize::from(last.key_len), usize::from(last.value_len)),
            false => leaf_bytes(last, last.common),
        });
        sum + last
    }
}

/// Size of the leaf of a record that shares so many bytes with a neighbour: the byte behind them leads to it.
fn leaf_bytes(place: Place, shared: u16) -> usize {
    let suffix = place.key_len.saturating_sub(shared.saturating_add(1));
    leaf::narrow_bytes(usize::from(suffix), usize::from(place.value_len))
}

/// Records that a node, or a slot of one, leads to.
#[derive(Clone, Copy)]
struct Range {
    from: usize,
    to: usize,
    /// Bytes of their keys that lead there.
    above: usize,
    slot: usize,
}

/// Where a record's leaf is to be hung, and how many bytes of its key lead there.
#[derive(Clone, Copy, Default)]
struct Hook {
    slot: usize,
    above: usize,
}

/// Writes a packed leaf blob with the records of `places`, which are sorted and each of another key, into `target`; the first
/// `base` bytes of the keys are its base, `version` the version of all. Id, database and bounds come from `like`, a leaf blob.
pub(crate) fn build(
    target: Words<'_>,
    like: Blob<'_>,
    text: &[u8],
    places: &[Place],
    base: usize,
    version: u64,
) -> Result<(), PackError> {
    let blob = Blob::new(target);
    blob.init(Kind::Leaf, 0, like.id(), like.database());
    blob.set_version_base(version);
    let mut hooks = vec![Hook::default(); places.len()];
    let end = hang(blob, text, places, base, &mut hooks)?;
    let (mut leaves, mut key_bytes, mut value_bytes, mut longest) = (Vec::new(), 0, 0, 0);
    leaves.reserve(BLOB_BYTES - end);
    for (place, hook) in places.iter().zip(&hooks) {
        let at = end + leaves.len();
        if at >= BLOB_BYTES {
            return Err(PackError);
        }
        let key = place.key(text);
        leaf::append(&key[hook.above..], place.value(text), &mut leaves);
        target.set_u16(hook.slot, ptr::leaf(at));
        key_bytes += key.len() - base;
        value_bytes += usize::from(place.value_len);
        longest = longest.max(key.len() - base);
    }
    if end + leaves.len() > BLOB_BYTES {
        return Err(PackError);
    }
    target.write_long(end, &leaves);
    blob.set_heap_end((end + leaves.len()) as u32);
    blob.set_entries(places.len() as u32);
    blob.set_key_bytes(key_bytes as u32);
    blob.set_value_bytes(value_bytes as u32);
    // Never more than before: the blobs above go by it.
    blob.set_below(Below::new(round_up(longest).min(like.below().longest()), false));
    Ok(())
}

/// Writes the nodes; returns where they end.
fn hang(
    blob: Blob<'_>,
    text: &[u8],
    places: &[Place],
    base: usize,
    hooks: &mut [Hook],
) -> Result<usize, PackError> {
    let mut end = HEADER_BYTES;
    let mut order = Order::new();
    order.push(places.len(), Range { from: 0, to: places.len(), above: base, slot: AT_ROOT });
    while let Some(Range { from, to, above, slot }) = order.pop() {
        if to - from == 1 {
            hooks[from] = Hook { slot, above };
            continue;
        }
        let Some(first) = places.get(from).filter(|_| to > from) else { return Err(PackError) };
        let Some(depth) = places[from + 1..to].iter().map(|place| place.common).min() else {
            return Err(PackError);
        };
        let has_terminal = first.key_len == depth;
        let begins = |place: &&Place| place.common == depth;
        let children = places[from + 1..to].iter().filter(begins).count() + usize::from(!has_terminal);
        let depth = usize::from(depth);
        let prefix = first.key(text).get(above..depth).ok_or(PackError)?;
        let bytes = node_bytes_for(children, has_terminal, prefix.len());
        if end + bytes > BLOB_BYTES {
            return Err(PackError);
        }
        let mut node = node::create_at(blob.w, end, children, has_terminal, prefix.len());
        if !prefix.is_empty() {
            // The last word is written whole first, so that padding is zero.
            blob.w.set_u32(end + bytes - 4, 0);
            blob.w.write(node.prefix_at(), prefix);
        }
        blob.w.set_u16(slot, ptr::node(end));
        end += bytes;
        let mut from = from;
        if has_terminal {
            hooks[from] = Hook { slot: node.terminal_slot(), above: depth };
            from += 1;
        }
        while from < to {
            let rest = places[from + 1..to].iter();
            let upto = rest.take_while(|place| usize::from(place.common) > depth).count() + from + 1;
            let byte = places[from].key(text)[depth];
            let slot = node.push_child(blob.w, byte, 0);
            match upto - from {
                1 => hooks[from] = Hook { slot, above: depth + 1 },
                entries => order.push(entries, Range { from, to: upto, above: depth + 1, slot }),
            }
            from = upto;
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Cursor, Rebase, Scratch};
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
            build(built.words(), blob, &text, &places, lead.len(), 1 << 40).unwrap();
            Blob::new(built.words()).verify(BLOB_BYTES, Some((7, 99))).unwrap();
            prop_assert_eq!(image(built.words()), image(packed.words()));

            // Without a base the gauge is exact, after each record.
            let mut gauge = Gauge::default();
            for upto in 1..=places.len() {
                gauge.add(places[upto - 1]);
                build(built.words(), blob, &text, &places[..upto], 0, 5).unwrap();
                prop_assert_eq!(gauge.bytes(), Blob::new(built.words()).heap_end() as usize, "{} records", upto);
                prop_assert!(gauge.is_over(gauge.bytes() - 1) && !gauge.is_over(gauge.bytes()));
            }
        }
    }

    #[test]
    fn too_much_is_refused() {
        let model: Model = (0..2_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![7; 60])).collect();
        let (text, places) = text_of(&model);
        let (like, built) = (Scratch::new(), Scratch::new());
        let blob = Blob::new(like.words());
        blob.init(Kind::Leaf, 0, 7, 99);
        assert!(build(built.words(), blob, &text, &places, 0, 5).is_err());
        let mut gauge = Gauge::default();
        let fits = places.iter().take_while(|place| {
            gauge.add(**place);
            gauge.bytes() <= BLOB_BYTES
        });
        let fits = fits.count();
        assert!(fits > 500);
        build(built.words(), blob, &text, &places[..fits], 0, 5).unwrap();
        assert!(build(built.words(), blob, &text, &places[..fits + 1], 0, 5).is_err());
        let mut cursor = Cursor::new(Blob::new(built.words()));
        cursor.first();
        assert_eq!(cursor.key(), [0; 4]);
    }
}
