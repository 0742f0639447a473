//! The ART of one blob against a model: every operation, then `verify`, on keys that share prefixes in every way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::insert::Inserted;
use super::*;

type Model = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

fn empty(scratch: &Scratch) -> Blob<'_> {
    let blob = Blob::new(scratch.words());
    blob.init(Kind::Leaf, 0, 7, 99);
    blob.set_below(Below::new(crate::limits::KEY_BYTES_MAX, true));
    blob
}

fn value(blob: Blob<'_>, leaf: Leaf) -> (u64, Vec<u8>) {
    let mut out = Vec::new();
    blob.w.append_to(leaf.value_at(), leaf.value_len(), &mut out);
    (leaf.version(blob), out)
}

fn contents(blob: Blob<'_>) -> Model {
    let mut out = Model::new();
    let mut cursor = Cursor::new(blob);
    cursor.first();
    while let Some(leaf) = cursor.leaf() {
        out.insert(cursor.key().to_vec(), value(blob, leaf));
        cursor.advance();
    }
    out
}

fn check(blob: Blob<'_>, model: &Model) {
    blob.verify(blob.heap_end() as usize, Some((7, 99))).unwrap();
    assert_eq!(&contents(blob), model);
    let mut cursor = Cursor::new(blob);
    cursor.last();
    for key in model.keys().rev() {
        assert!(cursor.leaf().is_some());
        assert_eq!(cursor.key(), key);
        cursor.retreat();
    }
    assert!(cursor.leaf().is_none());
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'b', b'/', 0xFF]), 0..9),
        prop::collection::vec(any::<u8>(), 0..3),
        (0u8..80, 0u8..3).prop_map(|(a, b)| format!("usr/share/doc/lib{a}/file{b}").into_bytes()),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<u8>, u64, usize),
    Remove(Vec<u8>),
    Pack,
    Split(Vec<u8>),
    Range(Vec<u8>, Option<Vec<u8>>),
    Probe(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (key(), prop_oneof![1u64..100, 1u64 << 40..1 << 41], 0usize..20).prop_map(|(k, v, n)| Step::Insert(k, v, n)),
        4 => key().prop_map(Step::Remove),
        1 => Just(Step::Pack),
        1 => key().prop_map(Step::Split),
        2 => (key(), prop::option::of(key())).prop_map(|(from, to)| Step::Range(from, to)),
        4 => key().prop_map(Step::Probe),
    ]
}

fn split(scratch: &mut Scratch, model: &mut Model, cut: &[u8]) {
    let right = Scratch::new();
    let aside = Scratch::new();
    let blob = Blob::new(scratch.words());
    aside.words().copy_whole(blob.w, 65_536);
    Blob::new(aside.words()).prune(cut, Keep::From);
    Blob::new(aside.words()).pack(right.words(), Rebase::default()).unwrap();
    blob.prune(cut, Keep::Below);
    let left = Scratch::new();
    blob.pack(left.words(), Rebase::default()).unwrap();
    let above = model.split_off(cut);
    check(Blob::new(right.words()), &above);
    check(Blob::new(left.words()), model);
    *scratch = left;
}

/// Takes a range out, and packs it aside before that, which changes nothing.
fn take_range(blob: Blob<'_>, model: &mut Model, from: &[u8], to: Option<&[u8]>) {
    let inside = |key: &Vec<u8>| key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to);
    let part: Model =
        model.iter().filter(|(key, _)| inside(key)).map(|(key, at)| (key.clone(), at.clone())).collect();
    let (before, after, packed) = (Scratch::new(), Scratch::new(), Scratch::new());
    before.words().copy_whole(blob.w, 65_536);
    blob.pack_part(from, to, packed.words(), Rebase::default()).unwrap();
    check(Blob::new(packed.words()), &part);
    after.words().copy_whole(blob.w, 65_536);
    let heap = 0..blob.heap_end() as usize;
    assert!(heap.clone().all(|at| before.words().u8_at(at) == after.words().u8_at(at)));
    // The same keys with the bytes in front that all of them share, cut off in place.
    let shared = part
        .keys()
        .next()
        .zip(part.keys().next_back())
        .map_or(0, |(first, last)| first.iter().zip(last).take_while(|(a, b)| a == b).count());
    for bytes in 0..=shared {
        let front = Scratch::new();
        front.words().copy_whole(blob.w, 65_536);
        let stripped = Blob::new(front.words());
        stripped.prune(from, Keep::From);
        if let Some(to) = to {
            stripped.prune(to, Keep::Below);
        }
        assert!(stripped.recount());
        let longest = part.keys().map(Vec::len).max().unwrap_or(0);
        let below = Below::new(longest, false);
        stripped.set_below(below);
        if stripped.strip_front(bytes) {
            assert_eq!(stripped.below(), below.over(bytes));
            check(stripped, &part.iter().map(|(key, at)| (key[bytes..].to_vec(), at.clone())).collect());
        } else {
            assert!(part.len() < 2, "{bytes} of {shared}");
        }
    }
    blob.prune_range(from, to);
    assert!(blob.recount());
    model.retain(|key, _| !inside(key));
    check(blob, model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_blob_behaves_as_a_sorted_map(steps in prop::collection::vec(step(), 1..160)) {
        let mut scratch = Scratch::new();
        empty(&scratch);
        let mut model = Model::new();
        for step in steps {
            let blob = Blob::new(scratch.words());
            match step {
                Step::Insert(key, version, len) => {
                    let bytes = vec![version as u8; len];
                    let done = blob.insert(&key, Some(version), &bytes).unwrap();
                    let old = model.insert(key, (version, bytes));
                    prop_assert_eq!(done == Inserted::Replaced, old.is_some());
                }
                Step::Remove(key) => prop_assert_eq!(blob.remove(&key), model.remove(&key).is_some()),
                Step::Pack => {
                    let target = Scratch::new();
                    blob.pack(target.words(), Rebase::default()).unwrap();
                    let packed = Blob::new(target.words());
                    prop_assert_eq!(packed.garbage(), 0);
                    prop_assert!(packed.heap_end() as usize <= blob.live_bytes());
                    scratch = target;
                }
                Step::Split(cut) => split(&mut scratch, &mut model, &cut),
                Step::Range(from, to) => take_range(blob, &mut model, &from, to.as_deref()),
                Step::Probe(key) => {
                    let found = blob.find(&key).map(|leaf| value(blob, leaf));
                    prop_assert_eq!(found.as_ref(), model.get(&key));
                    let floor = blob.floor(&key).map(|(_, leaf)| value(blob, leaf));
                    prop_assert_eq!(floor.as_ref(), model.range(..=key.clone()).next_back().map(|(_, v)| v));
                    let mut cursor = Cursor::new(blob);
                    cursor.seek(&key);
                    let at = cursor.leaf().map(|_| cursor.key().to_vec());
                    prop_assert_eq!(at.as_ref(), model.range(key.clone()..).next().map(|(k, _)| k));
                    cursor.seek_below(&key);
                    let at = cursor.leaf().map(|_| cursor.key().to_vec());
                    prop_assert_eq!(at.as_ref(), model.range(..key.clone()).next_back().map(|(k, _)| k));
                    let longest = blob.longest_of(&key).map(|(len, leaf)| (len, value(blob, leaf)));
                    let prefixes = (0..=key.len()).rev();
                    prop_assert_eq!(longest, prefixes.clone().find_map(|n| Some((n, model.get(&key[..n])?.clone()))));
                    // For each prefix the last of those floors that are up to it.
                    let mut floors = Vec::new();
                    blob.floors(&key, |ptr, least| floors.push((least, blob.greatest(ptr).map(|(_, leaf)| value(blob, leaf)))));
                    prop_assert!(floors.is_sorted_by_key(|(least, _)| *least));
                    for n in prefixes {
                        let floor = floors.iter().rfind(|(least, _)| *least <= n).and_then(|(_, value)| value.as_ref());
                        prop_assert_eq!(floor, model.range(..=key[..n].to_vec()).next_back().map(|(_, value)| value));
                    }
                }
            }
            check(Blob::new(scratch.words()), &model);
        }
    }

    #[test]
    fn a_blob_keeps_its_keys_when_its_base_moves(keys in prop::collection::btree_set(key(), 1..40), lead in "[a-z/]{0,12}") {
        let scratch = Scratch::new();
        let blob = empty(&scratch);
        for key in &keys {
            blob.insert(key, Some(5), b"v").unwrap();
        }
        let longer = Scratch::new();
        blob.pack(longer.words(), Rebase { lead: lead.as_bytes(), strip: 0 }).unwrap();
        let expected: Vec<_> = keys.iter().map(|k| [lead.as_bytes(), k].concat()).collect();
        let got: Vec<_> = contents(Blob::new(longer.words())).into_keys().collect();
        prop_assert_eq!(&got, &expected);
        Blob::new(longer.words()).verify(65_536, None).unwrap();
        let back = Scratch::new();
        Blob::new(longer.words()).pack(back.words(), Rebase { lead: &[], strip: lead.len() }).unwrap();
        prop_assert_eq!(contents(Blob::new(back.words())).into_keys().collect::<Vec<_>>(), keys.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_refused_or_safe_to_read(seed in any::<u64>(), probe in key(), flips in prop::collection::vec((64usize..4000, any::<u8>()), 0..6), random in any::<bool>()) {
        let scratch = Scratch::new();
        let blob = empty(&scratch);
        for i in 0..60u64 {
            blob.insert(format!("dir{}/name{}", i % 7, i.wrapping_mul(seed) % 1009).as_bytes(), Some(i), &[1; 20]).unwrap();
        }
        if random {
            let mut x = seed | 1;
            for word in scratch.slot().iter().skip(8) {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                word.store(x ^ x >> 29, crate::sync::Ordering::Relaxed);
            }
        }
        for (at, byte) in flips {
            blob.w.set_u8(at, byte);
        }
        // Whatever the bytes are: these end and do not panic.
        let sound = blob.verify(65_536, None).is_ok();
        blob.find(&probe);
        blob.floor(&probe);
        blob.longest_of(&probe);
        blob.floors(&probe, |ptr, _| {
            blob.child_at(ptr);
        });
        let mut cursor = Cursor::new(blob);
        cursor.seek(&probe);
        cursor.seek_below(&probe);
        if sound {
            let target = Scratch::new();
            prop_assert!(blob.pack(target.words(), Rebase::default()).is_ok());
        }
    }
}

#[test]
fn all_node_kinds_grow_and_shrink() {
    let scratch = Scratch::new();
    let blob = empty(&scratch);
    let mut model = Model::new();
    for byte in (0..=255u8).rev() {
        let key = [b"dir/".as_slice(), &[byte], b"x"].concat();
        blob.insert(&key, Some(9), b"v").unwrap();
        model.insert(key, (9, b"v".to_vec()));
        check(blob, &model);
    }
    for byte in 0..=255u8 {
        let key = [b"dir/".as_slice(), &[byte], b"x"].concat();
        assert!(blob.remove(&key));
        model.remove(&key);
        check(blob, &model);
    }
    assert_eq!(blob.root(), 0);
}

#[test]
fn the_longest_keys_and_values_fit_and_deep_chains_end() {
    let scratch = Scratch::new();
    let blob = empty(&scratch);
    let mut model = Model::new();
    let key = vec![b'k'; crate::limits::KEY_BYTES_MAX];
    let bytes = vec![b'v'; crate::limits::VALUE_BYTES_MAX];
    assert!(blob.has_room(key.len(), bytes.len()));
    blob.insert(&key, Some(1), &bytes).unwrap();
    model.insert(key.clone(), (1, bytes));
    let mut depth = 0;
    while blob.has_room(depth, 0) {
        blob.insert(&key[..depth], Some(1), b"").unwrap();
        model.insert(key[..depth].to_vec(), (1, vec![]));
        depth += 1;
    }
    assert!(depth > 500);
    check(blob, &model);
    let target = Scratch::new();
    blob.pack(target.words(), Rebase::default()).unwrap();
    check(Blob::new(target.words()), &model);
}

/// The format, byte for byte: two entries under one node.
#[test]
fn golden_bytes() {
    let scratch = Scratch::new();
    let blob = empty(&scratch);
    blob.insert(b"ab", Some(5), b"X").unwrap();
    blob.insert(b"ac/d", Some(6), b"YZ").unwrap();
    let packed = Scratch::new();
    blob.pack(packed.words(), Rebase::default()).unwrap();
    let mut image = Vec::new();
    packed.words().image(Blob::new(packed.words()).heap_end() as usize, &mut image);
    #[rustfmt::skip]
    let expected: &[u8] = &[
        b'R', b'B', b'L', b'B', 1, 0, 1, 0, // magic, format, leaf, level
        7, 0, 0, 0, 108, 0, 0, 0, // id, heap end
        0, 0, 0, 0, 2, 0, 0, 1, // garbage, entries, below: keys up to 256
        16, 0, 0, 0, 0, 0, 0, 0, // root at 64, last inserted, leftmost
        5, 0, 0, 0, 0, 0, 0, 0, // version base
        99, 0, 0, 0, 0, 0, 0, 0, // database
        0, 0, 0, 0, 0, 0, 0, 0, // leftmost delta, flags, hints
        6, 0, 0, 0, 3, 0, 0, 0, // key bytes, value bytes
        0x10, 0x10, 0, 0, b'b', b'c', 0, 0, // node 4, 2 children, prefix of 1
        21, 0x40, 24, 0x40, 0, 0, 0, 0, // leaves at 84 and 96
        b'a', 0, 0, 0,
        0, 0x40, 0, 8, 0, 0, 0, 0, b'X', 0, 0, 0, // leaf: suffix 0, value 1, narrow version 0
        2, 0x80, 0, 8, 1, 0, 0, 0, b'/', b'd', b'Y', b'Z', // leaf: suffix 2, value 2, version 5 + 1
    ];
    assert_eq!(image[..expected.len()], *expected);
    assert_eq!(image.len(), 108);
}

#[test]
fn an_inner_blob_whose_bases_do_not_start_its_separators_is_refused() {
    let sound = |deltas: [u16; 3]| {
        let scratch = Scratch::new();
        let blob = Blob::new(scratch.words());
        blob.init(Kind::Inner, 1, 7, 99);
        blob.set_leftmost_child(Child { id: 1, delta: deltas[0], below: Below::default() });
        for (id, (separator, delta)) in [("lib/a", deltas[1]), ("lib/c", deltas[2])].into_iter().enumerate() {
            let child = Child { id: id as u32 + 2, delta, below: Below::default() };
            blob.insert(separator.as_bytes(), None, &child.encode()).unwrap();
        }
        blob.verify(65_536, Some((7, 99))).is_ok()
    };
    assert!(sound([0, 4, 0]) && sound([5, 4, 5]));
    assert!(!sound([6, 4, 0]), "longer than the first separator");
    assert!(!sound([0, 5, 0]), "not the start of the next separator");
    assert!(!sound([0, 4, 6]), "longer than its separator");
}

/// What a blob with mounts holds: records by version and value, mounts by the limb's id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Record(u64, Vec<u8>),
    Mount(u32),
}

type MountModel = BTreeMap<Vec<u8>, Held>;

fn held(blob: Blob<'_>, cursor: &Cursor<'_>) -> Option<(Vec<u8>, Held)> {
    let leaf = cursor.leaf()?;
    let held = match cursor.mount() {
        Some(limb) => Held::Mount(limb.id),
        None => {
            let (version, bytes) = value(blob, leaf);
            Held::Record(version, bytes)
        }
    };
    Some((cursor.key().to_vec(), held))
}

fn check_mounts(blob: Blob<'_>, model: &MountModel) {
    blob.verify(blob.heap_end() as usize, Some((7, 99))).unwrap();
    let mut cursor = Cursor::new(blob);
    cursor.first();
    let mut found = Vec::new();
    while let Some(entry) = held(blob, &cursor) {
        found.push(entry);
        cursor.advance();
    }
    assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
}

/// The mount of the model whose path `key` starts with.
fn mount_of<'m>(model: &'m MountModel, key: &[u8]) -> Option<(&'m Vec<u8>, u32)> {
    model.iter().find_map(|(path, held)| match held {
        Held::Mount(id) if key.starts_with(path) => Some((path, *id)),
        _ => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_blob_with_mounts_behaves_as_a_sorted_map(steps in prop::collection::vec((key(), 0u8..12, 1u64..200), 1..160)) {
        let mut scratch = Scratch::new();
        empty(&scratch);
        let mut model = MountModel::new();
        for (key, what, number) in steps {
            let blob = Blob::new(scratch.words());
            match what {
                0..=3 if mount_of(&model, &key).is_none() => {
                    let bytes = vec![number as u8; number as usize % 20];
                    // Packing made the bounds as small as they can be.
                    blob.set_below(blob.below().raised(Below::new(key.len(), false)));
                    blob.insert(&key, Some(number), &bytes).unwrap();
                    model.insert(key, Held::Record(number, bytes));
                }
                4 | 5 if !key.is_empty() && mount_of(&model, &key).is_none() => {
                    // What is there makes way, as in a move.
                    let below: Vec<_> = model.range(key.clone()..).map(|(k, _)| k.clone()).take_while(|k| k.starts_with(&key)).collect();
                    for key in below {
                        prop_assert!(blob.remove(&key));
                        model.remove(&key);
                    }
                    let limb = Child { id: number as u32, delta: 0, below: Below::new(number as usize, false) };
                    blob.set_below(blob.below().raised(Below::new(key.len() + number as usize, true)));
                    prop_assert_eq!(blob.insert_mount(&key, limb).unwrap(), Inserted::New);
                    model.insert(key, Held::Mount(number as u32));
                }
                4..=6 => {
                    let there = matches!(model.get(&key), Some(Held::Mount(_)));
                    let limb = Child { id: 1000, delta: 0, below: Below::new(0, true) };
                    prop_assert_eq!(blob.set_mount(&key, limb), there);
                    if there {
                        model.insert(key, Held::Mount(1000));
                    }
                }
                0..=3 => prop_assert!(blob.insert(&key, Some(number), b"").is_err()),
                7 => prop_assert_eq!(blob.remove(&key), model.remove(&key).is_some()),
                8 => {
                    let target = Scratch::new();
                    blob.pack(target.words(), Rebase::default()).unwrap();
                    prop_assert!(Blob::new(target.words()).below().longest() <= crate::limits::KEY_BYTES_MAX);
                    scratch = target;
                }
                9 if mount_of(&model, &key).is_none_or(|(path, _)| *path == key) => {
                    let halves = [(&key[..], None), (&b""[..], Some(&key[..]))].map(|(from, to)| {
                        let half = Scratch::new();
                        blob.pack_part(from, to, half.words(), Rebase::default()).unwrap();
                        half
                    });
                    let above = model.split_off(&key);
                    let [right, left] = halves;
                    check_mounts(Blob::new(right.words()), &above);
                    scratch = left;
                }
                _ => {
                    let mount = mount_of(&model, &key);
                    let record = model.get(&key).filter(|held| matches!(held, Held::Record(..)));
                    match blob.look_up(&key) {
                        LookUp::Nothing => prop_assert!(mount.is_none() && record.is_none()),
                        LookUp::Record(leaf) => {
                            let (version, bytes) = value(blob, leaf);
                            prop_assert_eq!(record, Some(&Held::Record(version, bytes)));
                        }
                        LookUp::Mount { path, limb } => prop_assert_eq!(mount, Some((&key[..path].to_vec(), limb.id))),
                    }
                    prop_assert_eq!(blob.mount_on(&key).map(|(path, limb)| (path, limb.id)), mount.map(|(path, id)| (path.len(), id)));
                    let mut cursor = Cursor::new(blob);
                    cursor.seek(&key);
                    prop_assert_eq!(held(blob, &cursor), model.range(key.clone()..).next().map(|(k, h)| (k.clone(), h.clone())));
                    cursor.seek_below(&key);
                    prop_assert_eq!(held(blob, &cursor), model.range(..key.clone()).next_back().map(|(k, h)| (k.clone(), h.clone())));
                    let longest = blob.longest_of(&key).map(|(len, leaf)| (len, value(blob, leaf)));
                    let expected = (0..=key.len()).rev().find_map(|n| match model.get(&key[..n])? {
                        Held::Record(version, bytes) => Some((n, (*version, bytes.clone()))),
                        _ => None,
                    });
                    prop_assert_eq!(longest, expected);
                }
            }
            check_mounts(Blob::new(scratch.words()), &model);
        }
    }
}
