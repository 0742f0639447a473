//! A limb against a model, without journal: structure changes, scans both ways, merges, small cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

mod listings;
mod longest;
mod mount_checks;
mod mounts;

pub(crate) use mounts::mount_by_hand;

use super::*;
use crate::buffer::Gate;
use crate::io::{MemoryStorage, Storage};
use crate::store::Store;

struct Rig {
    buffer: Buffer,
    gate: Gate,
    root: BlobId,
    database: u64,
    sequence: u64,
}

type Model = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

impl Limb<'_> {
    /// Compacts the limb and those mounted in it.
    pub(in crate::tree) fn compact(&self, gate: &Gate) -> Result<()> {
        let mut places = vec![CompactPlace::default()];
        while let Some(place) = places.pop() {
            self.compact_at(gate, &place, &mut places)?;
        }
        Ok(())
    }
}

impl Rig {
    fn new(cache_bytes: u64) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let store = Arc::new(Store::create(&storage).unwrap());
        let database = store.database_id();
        let buffer = Buffer::new(store, cache_bytes, Box::new(Format { database })).unwrap();
        let mut reservation = buffer.reserve(1).unwrap();
        let root = Limb::plant(&buffer, &mut reservation, database);
        drop(reservation);
        Self { buffer, gate: Gate::new(), root, database, sequence: 0 }
    }

    fn limb(&self) -> Limb<'_> {
        Limb::new(&self.buffer, self.root)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> u64 {
        self.sequence += 1;
        self.put_as(key, self.sequence, value);
        self.sequence
    }

    fn put_as(&self, key: &[u8], sequence: u64, value: &[u8]) {
        let mut first = true;
        loop {
            self.buffer.reserve(0).unwrap();
            let limb = self.limb();
            let mut leaf = limb.retry(|_| limb.lock_leaf(key)).unwrap();
            if !leaf.admits(key) {
                drop(leaf);
                limb.admit(&self.gate, key).unwrap();
                continue;
            }
            let need = leaf.need(key, value.len());
            if leaf.fits(need) {
                leaf.put(key, sequence, value).unwrap();
                return;
            }
            drop(leaf);
            limb.make_room(&self.gate, key, need, first).unwrap();
            first = false;
        }
    }

    fn delete(&self, key: &[u8]) -> bool {
        let limb = self.limb();
        self.buffer.reserve(0).unwrap();
        let mut leaf = limb.retry(|_| limb.lock_leaf(key)).unwrap();
        let done = leaf.remove(key);
        let merge = leaf.wants_merge();
        drop(leaf);
        if merge {
            limb.shrink(&self.gate, key).unwrap();
        }
        done
    }

    fn compact(&self) {
        self.limb().compact(&self.gate).unwrap();
    }

    fn scan(&self, low: &[u8], high: Option<&[u8]>, reverse: bool, page_max: usize) -> Vec<(Vec<u8>, u64)> {
        let mut out = Vec::new();
        let (mut low, mut high) = (low.to_vec(), high.map(<[u8]>::to_vec));
        let mut page = Page::default();
        loop {
            let request = PageRequest {
                low: &low,
                high: high.as_deref(),
                reverse,
                keys_only: false,
                delimiter: None,
                entries_max: page_max,
            };
            self.limb().fill(&request, &mut page).unwrap();
            out.extend((0..page.len()).map(|i| (page.entry(i).key.to_vec(), page.entry(i).version)));
            match page.resume.take() {
                Some(next) if reverse => high = Some(next),
                Some(next) => low = next,
                None => return out,
            }
        }
    }

    /// What a check finds wrong, and the sums.
    fn walked(&self) -> (Vec<String>, LimbStats) {
        let mut problems = Vec::new();
        let mut stats = LimbStats::default();
        let (mut reached, mut twice) = (std::collections::HashSet::new(), Vec::new());
        self.limb()
            .walk(&mut |visit| {
                visit.check(self.database, &mut problems);
                visit.count(&mut stats);
                if !reached.insert(visit.id) {
                    twice.push(format!("index blob {} is reached twice", visit.id.0));
                }
            })
            .unwrap();
        problems.append(&mut twice);
        (problems, stats)
    }

    fn check(&self, model: &Model) {
        let (problems, stats) = self.walked();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(stats.entries as usize, model.len());
        assert_eq!(stats.key_bytes as usize, model.keys().map(Vec::len).sum::<usize>());
        let expected: Vec<_> = model.iter().map(|(k, (v, _))| (k.clone(), *v)).collect();
        assert_eq!(self.scan(&[], None, false, 100), expected);
        let backward: Vec<_> = expected.into_iter().rev().collect();
        assert_eq!(self.scan(&[], None, true, 77), backward);
    }
}

fn path(n: u64) -> Vec<u8> {
    let mix = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    format!("usr/share/package-{:03}/dir{}/file-{:06}.txt", mix % 700, mix % 13, mix).into_bytes()
}

fn grown(cache_bytes: u64, keys: u64, value: usize) -> (Rig, Model) {
    let mut rig = Rig::new(cache_bytes);
    let mut model = Model::new();
    for n in 0..keys {
        let bytes = vec![n as u8; value];
        let version = rig.put(&path(n), &bytes);
        model.insert(path(n), (version, bytes));
    }
    (rig, model)
}

#[test]
fn random_loads_keep_every_key_and_leave_few_sparse_blobs() {
    let (rig, model) = grown(64 << 20, 60_000, 96);
    rig.check(&model);
    let mut stats = LimbStats::default();
    rig.limb().walk(&mut |visit| visit.count(&mut stats)).unwrap();
    assert!(stats.leaf_blobs > 50 && stats.height == 2, "{stats:?}");
    assert!(stats.sparse_leaf_blobs * 20 < stats.leaf_blobs, "{stats:?}");
    let mut value = Vec::new();
    for (key, (version, bytes)) in &model {
        let found = rig.limb().get(key, &mut value).unwrap().unwrap();
        assert_eq!((found.version, &value), (*version, bytes));
    }
}

#[test]
fn ascending_loads_fill_blobs() {
    let mut rig = Rig::new(64 << 20);
    let mut model = Model::new();
    for n in 0..60_000u64 {
        let key = format!("srv/data/{:08}/object", n).into_bytes();
        let version = rig.put(&key, &[7; 64]);
        model.insert(key, (version, vec![7; 64]));
    }
    rig.check(&model);
    let mut stats = LimbStats::default();
    rig.limb().walk(&mut |visit| visit.count(&mut stats)).unwrap();
    assert!(stats.live_bytes > stats.leaf_blobs * 65_536 * 9 / 10, "{stats:?}");
}

#[test]
fn deletes_give_blobs_back_and_lower_the_root() {
    let (rig, mut model) = grown(64 << 20, 30_000, 96);
    let keys: Vec<_> = model.keys().cloned().collect();
    for (n, key) in keys.iter().enumerate() {
        if n % 50 != 0 {
            assert!(rig.delete(key));
            model.remove(key);
        }
    }
    rig.check(&model);
    rig.compact();
    rig.check(&model);
    let mut stats = LimbStats::default();
    rig.limb().walk(&mut |visit| visit.count(&mut stats)).unwrap();
    assert!(stats.leaf_blobs < 8, "{stats:?}");
}

#[test]
fn a_cache_many_times_smaller_holds_its_budget() {
    let (rig, model) = grown(4 << 20, 150_000, 200);
    rig.check(&model);
    let stats = rig.buffer.stats();
    assert!(stats.evictions > 300, "{stats:?}");
    assert!(stats.committed_bytes <= (4 << 20) + (1 << 20), "{stats:?}");
}

#[test]
fn reclaim_frees_every_blob() {
    let (rig, _) = grown(8 << 20, 60_000, 200);
    while !rig.limb().retry(|_| rig.limb().reclaim_once(&mut Reclaimed::default())).unwrap() {}
    assert_eq!(rig.buffer.stats().resident_blobs, 0);
}

#[test]
fn longest_prefix_looks_across_blobs() {
    let (mut rig, mut model) = grown(64 << 20, 20_000, 96);
    for key in ["usr", "usr/share", "usr/share/package-100", "usr/share/package-100/dir5/file"] {
        let version = rig.put(key.as_bytes(), b"dir");
        model.insert(key.as_bytes().to_vec(), (version, b"dir".to_vec()));
    }
    let mut value = Vec::new();
    let probes = [
        "usr/share/package-100/dir5/file-zzz",
        "usr/share/package-699/x",
        "usr/shar",
        "usr",
        "us",
        "v",
        "usr/share/zzz/y",
    ];
    for probe in probes
        .iter()
        .map(|p| p.as_bytes().to_vec())
        .chain((0..500).map(|n| [path(n), b"/x".to_vec()].concat()))
    {
        let expected = (1..=probe.len()).rev().find(|n| model.contains_key(&probe[..*n]));
        let found = rig.limb().longest_prefix(&probe, &mut value).unwrap();
        assert_eq!(found.map(|(len, _)| len), expected, "{}", probe.escape_ascii());
    }
}

fn wild_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'/', 0xFF]), 1..8),
        (0u64..400).prop_map(path),
        (0u64..60, 200usize..8000).prop_map(|(n, len)| [path(n), vec![b'x'; len]].concat()),
        (0usize..30, any::<u8>()).prop_map(|(n, b)| [vec![b; 1000 + n * 7], vec![n as u8]].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_limb_behaves_as_a_sorted_map(
        steps in prop::collection::vec((wild_key(), 0usize..4096, 0u8..10), 1..400),
        bounds in prop::collection::vec((wild_key(), wild_key()), 5),
    ) {
        let mut rig = Rig::new(4 << 20);
        let mut model = Model::new();
        for (key, len, what) in steps {
            match what {
                0..=6 => {
                    let bytes = vec![what; if what < 3 { len } else { len % 100 }];
                    let version = rig.put(&key, &bytes);
                    model.insert(key, (version, bytes));
                }
                7 | 8 => prop_assert_eq!(rig.delete(&key), model.remove(&key).is_some()),
                _ => rig.limb().cut_at(&rig.gate, &key).unwrap(),
            }
        }
        rig.check(&model);
        for (a, b) in bounds {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let expected: Vec<_> = model.range(low.clone()..high.clone()).map(|(k, (v, _))| (k.clone(), *v)).collect();
            prop_assert_eq!(rig.scan(&low, Some(&high), false, 3), expected.clone());
            let backward: Vec<_> = expected.into_iter().rev().collect();
            prop_assert_eq!(rig.scan(&low, Some(&high), true, 5), backward);
        }
        for key in model.keys().cloned().collect::<Vec<_>>() {
            rig.delete(&key);
            model.remove(&key);
        }
        rig.compact();
        rig.check(&model);
    }
}

#[test]
fn an_inner_blob_cut_on_a_run_leaves_each_child_with_one_parent() {
    let mut rig = Rig::new(64 << 20);
    let mut model = Model::new();
    let long = |n: u32| [&n.to_be_bytes()[..], &[n as u8; 1500]].concat();
    // Once at the end of all separators, once in the middle of those that are there.
    for n in (0..200u32).chain(1000..1200).map(|n| n * 1000).chain((0..200).map(|n| 150_000 + n)) {
        let key = long(n);
        rig.limb().cut_at(&rig.gate, &key).unwrap();
        let version = rig.put(&key, b"v");
        model.insert(key, (version, b"v".to_vec()));
    }
    rig.check(&model);
}

#[test]
fn no_structure_change_touches_a_limb_that_has_ended() {
    let (rig, _) = grown(64 << 20, 2_000, 96);
    let life = Life::default();
    life.end();
    let before = rig.buffer.stats();
    let limb = rig.limb().of(&life, &rig.gate);
    let kind = |outcome: Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(limb.make_room(&rig.gate, &path(1), 20_000, true)), ErrorKind::NotFound);
    assert_eq!(kind(limb.cut_at(&rig.gate, &path(1))), ErrorKind::NotFound);
    assert_eq!(kind(limb.compact(&rig.gate)), ErrorKind::NotFound);
    assert!(limb.shrink(&rig.gate, &path(1)).is_ok());
    assert_eq!(rig.buffer.stats(), before);
}

#[test]
fn tall_limbs_of_long_separators_grow_shrink_and_stay_sound() {
    for seed in 1..4u64 {
        let mut random = seed;
        let mut below = move |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((random >> 33) * bound) >> 31
        };
        let mut rig = Rig::new(8 << 20);
        let mut model = Model::new();
        let (mut height, mut run) = (0, 0u64);
        for step in 0..6000u64 {
            // Long keys that differ early, or late, or extend each other; sometimes an ascending run.
            run = if below(5) == 0 { below(900) } else { (run + 1) % 900 };
            let n = run;
            let key = match below(4) {
                0 => [&n.to_be_bytes()[6..], &[n as u8; 3000]].concat(),
                1 => [&[7; 2500][..], &n.to_be_bytes()[6..], &[1; 500]].concat(),
                2 => vec![0xFF; 1 + n as usize * 9],
                _ => [&n.to_be_bytes()[5..], &[0xFF; 1200]].concat(),
            };
            let grows = step / 2000 % 2 == 0 && step < 5000;
            match below(10) {
                0..=2 => rig.limb().cut_at(&rig.gate, &key).unwrap(),
                3..=7 if grows => {
                    let bytes = vec![step as u8; below(2000) as usize];
                    let version = rig.put(&key, &bytes);
                    model.insert(key, (version, bytes));
                }
                8 => rig.limb().shrink(&rig.gate, &key).unwrap(),
                _ => {
                    assert_eq!(rig.delete(&key), model.remove(&key).is_some());
                    rig.limb().shrink(&rig.gate, &key).unwrap();
                }
            }
            if step % 300 == 0 {
                rig.check(&model);
                let mut stats = LimbStats::default();
                rig.limb().walk(&mut |visit| visit.count(&mut stats)).unwrap();
                height = height.max(stats.height);
            }
        }
        rig.check(&model);
        assert!(height >= 3, "{height}");
        rig.compact();
        rig.check(&model);
    }
}
