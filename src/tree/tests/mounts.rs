//! Reading across mounts that were made by hand: pages both ways with every bound around a mount, longest prefix, counts,
//! walks, compaction, reclaiming.

use std::collections::{BTreeSet, HashSet};

use super::*;
use crate::art::{Below, Child, room_needed};
use crate::sync::{AtomicBool, Ordering};

/// Hangs an empty limb at `path`, without a journal and without other threads. None, and nothing is changed: a record, a mount
/// or a separator is in its range.
pub(crate) fn mount_by_hand(
    buffer: &Buffer,
    gate: &Gate,
    root: BlobId,
    database: u64,
    path: &[u8],
) -> Option<BlobId> {
    let limb = Limb::new(buffer, root);
    loop {
        let (fenced, offset) = limb.retry(|_| limb.land_at(path)).unwrap();
        if offset == path.len() || fenced.high.is_some_and(|high| high.starts_with(path)) {
            return None;
        }
        let leaf = limb.retry(|_| limb.lock_leaf(path)).unwrap();
        if !matches!(leaf.next_below(path, path), Next::Nothing) {
            return None;
        }
        let fits = leaf.fits(room_needed(path.len(), 8));
        drop(leaf);
        if fits {
            break;
        }
        limb.make_room(gate, path, room_needed(path.len(), 8), true).unwrap();
    }
    let planted = Limb::plant(buffer, &mut buffer.reserve(1).unwrap(), database);
    hang(buffer, root, path, Child { id: planted.0, delta: 0, below: Below::default() });
    Some(planted)
}

/// Puts a mount in, whatever is in its range, and raises the bounds above it.
pub(super) fn hang(buffer: &Buffer, root: BlobId, path: &[u8], limb: Child) {
    let below = |rest: &[u8]| Below::new(rest.len() + limb.below.longest(), true);
    let tree = Limb::new(buffer, root);
    let (mut id, mut base) = (root, 0);
    loop {
        let mut guard = tree.retry(|_| Ok(buffer.lock(id)?)).unwrap();
        let blob = Blob::new(Words::new(guard.modify()));
        let rest = &path[base..];
        if !blob.is_leaf() {
            let child = blob.child_for(rest);
            base += usize::from(child.delta);
            blob.set_child_for(rest, Child { below: child.below.and(below(&path[base..])), ..child });
            id = BlobId(child.id);
            continue;
        }
        blob.set_below(blob.below().and(below(rest)));
        let Some((to, host)) = blob.mount_on(rest) else {
            blob.insert_mount(rest, limb).unwrap();
            return;
        };
        base += to;
        assert!(blob.set_mount(&rest[..to], Child { below: host.below.and(below(&path[base..])), ..host }));
        id = BlobId(host.id);
    }
}

impl Rig {
    pub(super) fn mount(&self, path: &[u8]) -> Option<BlobId> {
        mount_by_hand(&self.buffer, &self.gate, self.root, self.database, path)
    }

    pub(super) fn put_in(&mut self, model: &mut Model, key: &[u8], value: &[u8]) {
        let version = self.put(key, value);
        model.insert(key.to_vec(), (version, value.to_vec()));
    }

    /// Makes a mount of all that starts with `path`: takes it out, hangs an empty limb there, puts it in again.
    pub(super) fn lift(&mut self, model: &mut Model, path: &[u8]) -> bool {
        let lifted: Vec<_> = model
            .range(path.to_vec()..)
            .take_while(|(key, _)| key.starts_with(path))
            .map(|(k, (_, v))| (k.clone(), v.clone()))
            .collect();
        for (key, _) in &lifted {
            assert!(self.delete(key));
        }
        let mounted = self.mount(path).is_some();
        for (key, value) in lifted {
            self.put_in(model, &key, &value);
        }
        mounted
    }

    /// All pages of a listing; every page moves the bound.
    fn list(&self, how: &Listing<'_>) -> Vec<Listed> {
        let mut out = Vec::new();
        let (mut low, mut high) = (how.low.to_vec(), how.high.map(<[u8]>::to_vec));
        let mut page = Page::default();
        loop {
            let request = PageRequest {
                low: &low,
                high: high.as_deref(),
                reverse: how.reverse,
                keys_only: how.keys_only,
                delimiter: how.delimiter,
                entries_max: how.page,
            };
            self.limb().fill(&request, &mut page).unwrap();
            assert!(page.len() <= how.page);
            out.extend((0..page.len()).map(|at| {
                let entry = page.entry(at);
                Listed {
                    key: entry.key.to_vec(),
                    record: (!entry.rolled).then(|| (entry.version, entry.value.to_vec())),
                }
            }));
            match page.resume.take() {
                Some(next) if how.reverse => {
                    assert!(high.as_ref().is_none_or(|high| next < *high) && next > low, "the page repeats");
                    high = Some(next);
                }
                Some(next) => {
                    assert!(next > low && high.as_ref().is_none_or(|high| next < *high), "the page repeats");
                    low = next;
                }
                None => return out,
            }
        }
    }

    fn compare(&self, model: &Model, how: &Listing<'_>) {
        assert_eq!(self.list(how), how.expected(model), "{how:?}");
    }

    fn counted(&self, prefix: &[u8]) -> (u64, u64, u64) {
        let counted = self.limb().count(prefix, successor(prefix).as_deref()).unwrap();
        (counted.keys, counted.key_bytes, counted.value_bytes)
    }

    fn compare_points(&self, model: &Model, probe: &[u8]) {
        let mut value = Vec::new();
        let found = self.limb().get(probe, &mut value).unwrap().map(|found| (found.version, value.clone()));
        assert_eq!(found.as_ref(), model.get(probe), "{}", probe.escape_ascii());
        let longest = (1..=probe.len()).rev().find_map(|n| Some((n, model.get(&probe[..n])?.clone())));
        let found = self.limb().longest_prefix(probe, &mut value).unwrap();
        let found = found.map(|(len, found)| (len, (found.version, value.clone())));
        assert_eq!(found, longest, "{}", probe.escape_ascii());
        assert_eq!(self.counted(probe), sums(model, probe), "{}", probe.escape_ascii());
    }
}

fn sums(model: &Model, prefix: &[u8]) -> (u64, u64, u64) {
    let inside = || model.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
    (
        inside().count() as u64,
        inside().map(|(key, _)| key.len() as u64).sum(),
        inside().map(|(_, (_, value))| value.len() as u64).sum(),
    )
}

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    key: Vec<u8>,
    /// None: rolled up.
    record: Option<(u64, Vec<u8>)>,
}

#[derive(Debug, Clone)]
struct Listing<'k> {
    low: &'k [u8],
    high: Option<&'k [u8]>,
    reverse: bool,
    keys_only: bool,
    delimiter: Option<(u8, usize)>,
    page: usize,
}

impl Listing<'_> {
    fn expected(&self, model: &Model) -> Vec<Listed> {
        let mut out: Vec<Listed> = Vec::new();
        let inside = model
            .range(self.low.to_vec()..)
            .filter(|(key, _)| self.high.is_none_or(|high| key.as_slice() < high));
        for (key, (version, value)) in inside {
            let rolled = self.delimiter.and_then(|(byte, behind)| {
                let at = key.get(behind..)?.iter().position(|&b| b == byte)?;
                Some(key[..behind + at + 1].to_vec())
            });
            match rolled {
                Some(rolled)
                    if out.last().is_some_and(|last| last.record.is_none() && last.key == rolled) => {}
                Some(key) => out.push(Listed { key, record: None }),
                None => {
                    let value = if self.keys_only { Vec::new() } else { value.clone() };
                    out.push(Listed { key: key.clone(), record: Some((*version, value)) });
                }
            }
        }
        if self.reverse {
            out.reverse();
        }
        out
    }
}

/// Bounds on all sides of these paths.
fn around(paths: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut bounds = BTreeSet::from([Vec::new()]);
    for path in paths {
        bounds.extend(successor(&path));
        for tail in [&[0][..], b"/", b"a", &[0xFF], &[0xFF, 0xFF]] {
            bounds.insert([&path, tail].concat());
        }
        bounds.insert(path[..path.len() - 1].to_vec());
        bounds.insert(path);
    }
    bounds.into_iter().collect()
}

/// Every listing between two of these bounds.
fn compare_all(rig: &Rig, model: &Model, bounds: &[Vec<u8>], pages: &[usize]) {
    for low in bounds {
        for high in bounds.iter().filter(|high| *high >= low).map(Some).chain([None]) {
            for delimiter in [None, Some((b'/', 0)), Some((0xFF, 1)), Some((b'a', 0))] {
                for &page in pages {
                    for reverse in [false, true] {
                        let high = high.map(Vec::as_slice);
                        let keys_only = page == 2;
                        rig.compare(model, &Listing { low, high, reverse, keys_only, delimiter, page });
                    }
                }
            }
        }
    }
}

#[test]
fn listings_between_all_bounds_around_mounts() {
    let mut rig = Rig::new(8 << 20);
    let mut model = Model::new();
    for path in ["m", "m/x", "m/x/deep", "n/empty", "n/empty/too", "p/", "q", "\u{7f}"] {
        assert!(rig.mount(path.as_bytes()).is_some(), "{path}");
    }
    let mounts = ["m", "m/x", "m/x/deep", "n/empty", "p/", "q"];
    for key in [
        "a/1",
        "l",
        "m",
        "m/",
        "m/a",
        "m/x",
        "m/x/1/2",
        "m/x/deep",
        "m/x/deep/z",
        "mz",
        "n",
        "n/f",
        "o/a/b",
        "p",
        "p/1",
        "p/2/3",
        "q/",
        "z",
    ] {
        rig.put_in(&mut model, key.as_bytes(), key.as_bytes());
    }
    rig.check(&model);
    let (_, stats) = rig.walked();
    assert_eq!((stats.mounts, stats.limb_depth, stats.height), (8, 4, 1));
    let bounds = around(mounts.map(|path| path.as_bytes().to_vec()));
    compare_all(&rig, &model, &bounds, &[1, 2, 1000]);
    for probe in &bounds {
        rig.compare_points(&model, probe);
    }
    for key in model.keys() {
        rig.compare_points(&model, key);
        rig.compare_points(&model, &[key, &b"/x/deep/y"[..]].concat());
    }
}

#[test]
fn mounts_behind_which_nothing_can_be() {
    let mut rig = Rig::new(8 << 20);
    let mut model = Model::new();
    for len in [1, 2, 5] {
        assert!(rig.mount(&vec![0xFF; len]).is_some());
    }
    assert!(rig.mount(&[0xFE, 0xFF]).is_some());
    let mut bounds = around([vec![0xFF], vec![0xFF; 2], vec![0xFF; 5], vec![0xFE, 0xFF]]);
    bounds.push(vec![0xFF; 7]);
    // All are empty first.
    rig.check(&model);
    compare_all(&rig, &model, &bounds, &[1]);
    assert_eq!(rig.counted(b""), (0, 0, 0));
    for key in [&[0xFF][..], &[0xFF; 4], &[0xFF; 5], &[0xFF; 6], &[0xFE, 0xFF, 1], &[0xFF, 1], &[0xFE], &[7]]
    {
        rig.put_in(&mut model, key, b"v");
        rig.check(&model);
        compare_all(&rig, &model, &bounds, &[1, 3]);
        for probe in &bounds {
            rig.compare_points(&model, probe);
        }
    }
}

#[test]
fn chains_of_mounts_as_deep_as_keys_are_long() {
    let mut rig = Rig::new(8 << 20);
    let mut model = Model::new();
    let path: Vec<u8> = (0..120u8).flat_map(|n| [b'a' + n % 3, b'/']).collect();
    for depth in (2..=path.len()).step_by(2) {
        assert!(rig.mount(&path[..depth]).is_some());
        if depth % 6 == 0 {
            rig.put_in(&mut model, &[&path[..depth], &b"~file"[..]].concat(), b"v");
        }
    }
    rig.put_in(&mut model, &path, b"the innermost limb's empty key");
    rig.check(&model);
    assert_eq!(rig.walked().1.limb_depth, 121);
    for depth in 1..=path.len() {
        rig.compare_points(&model, &path[..depth]);
    }
    for reverse in [false, true] {
        for behind in [0, 4, 8, 100, 239] {
            let (low, high) = (&path[..behind], successor(&path[..behind]));
            let how = Listing {
                low,
                high: high.as_deref(),
                reverse,
                keys_only: false,
                delimiter: Some((b'/', behind)),
                page: 2,
            };
            rig.compare(&model, &how);
        }
    }
}

/// A host and mounted limbs of many blobs, in a cache that holds a small part of them.
fn tall() -> (Rig, Model, Vec<Vec<u8>>) {
    let mut rig = Rig::new(4 << 20);
    let mut model = Model::new();
    let dirs: Vec<Vec<u8>> =
        ["usr/share/package-100", "usr/share/package-300/dir5", "zz/top"].map(|dir| dir.into()).to_vec();
    for dir in &dirs {
        assert!(rig.mount(dir).is_some());
    }
    let inner = [&dirs[2], &b"/usr/share/package-2"[..]].concat();
    assert!(rig.mount(&inner).is_some());
    for n in 0..12_000 {
        for lead in ["", "zz/top/"] {
            let key = [lead.as_bytes(), &path(n)].concat();
            rig.put_in(&mut model, &key, &[n as u8; 150]);
        }
        let key = [&dirs[0], &b"/"[..], &path(n)].concat();
        rig.put_in(&mut model, &key, &[n as u8; 40]);
    }
    (rig, model, [dirs, vec![inner]].concat())
}

#[test]
fn limbs_of_many_blobs_read_count_and_compact() {
    let (rig, mut model, dirs) = tall();
    rig.check(&model);
    let (_, before) = rig.walked();
    assert!(before.leaf_blobs > 100 && before.mounts == 4 && before.limb_depth == 3, "{before:?}");
    let mut probes = around(dirs.clone());
    probes.extend((0..12_000).step_by(1500).map(|n| [&b"zz/top/"[..], &path(n)].concat()));
    for probe in &probes {
        rig.compare_points(&model, probe);
    }
    for reverse in [false, true] {
        for (low, high) in probes.iter().zip(&probes[1..]) {
            let how = Listing { low, high: Some(high), reverse, keys_only: true, delimiter: None, page: 500 };
            rig.compare(&model, &how);
        }
        for behind in [0, 10, "zz/top/usr/share/".len()] {
            let low = &b"zz/top/usr/share/"[..behind];
            let high = successor(low);
            let how = Listing {
                low,
                high: high.as_deref(),
                reverse,
                keys_only: false,
                delimiter: Some((b'/', behind)),
                page: 7,
            };
            rig.compare(&model, &how);
        }
    }
    let keys: Vec<_> = model.keys().cloned().collect();
    for (n, key) in keys.iter().enumerate() {
        if n % 40 != 0 {
            // Without a look for neighbours: that is left to the compaction.
            rig.buffer.reserve(0).unwrap();
            let limb = rig.limb();
            assert!(limb.retry(|_| limb.lock_leaf(key)).unwrap().remove(key));
            model.remove(key);
        }
    }
    let garbage = rig.walked().1.garbage_bytes;
    rig.limb().compact(&rig.gate).unwrap();
    rig.check(&model);
    let (_, after) = rig.walked();
    // Inner blobs are not packed.
    assert!(garbage > 1 << 20 && after.garbage_bytes < 1 << 14, "{garbage} {after:?}");
    assert!(after.leaf_blobs < 30 && after.mounts == 4, "{after:?}");
}

#[test]
fn reclaiming_names_every_limb_that_was_mounted_in_what_it_frees() {
    let (rig, _, dirs) = tall();
    let (_, stats) = rig.walked();
    let mounted: HashSet<BlobId> = dirs
        .iter()
        .map(|dir| rig.limb().retry(|_| Ok(rig.limb().mounted_at(dir)?.unwrap().0.guard.id())).unwrap())
        .collect();
    let (mut list, mut seen, mut blobs, mut misses) = (vec![rig.root], HashSet::new(), 0, 0);
    while let Some(root) = list.pop() {
        let limb = Limb::new(&rig.buffer, root);
        loop {
            rig.buffer.reserve(0).unwrap();
            let mut reclaimed = Reclaimed::default();
            let outcome = limb.reclaim_once(&mut reclaimed);
            assert!(reclaimed.blobs <= 70, "{}", reclaimed.blobs);
            blobs += reclaimed.blobs;
            for limb in reclaimed.limbs {
                assert!(seen.insert(limb), "named twice");
                list.push(limb);
            }
            match outcome {
                Ok(true) => break,
                Ok(false) => {}
                Err(stop) => {
                    misses += 1;
                    limb.settle(stop, &mut Tries::default()).unwrap();
                }
            }
        }
    }
    assert_eq!(seen, mounted);
    assert_eq!(blobs, stats.leaf_blobs + stats.inner_blobs);
    assert_eq!(rig.buffer.stats().resident_blobs, 0);
    // Read were inner blobs, and the leaf blobs under entries that tell of mounts.
    assert!(misses <= stats.inner_blobs + 2 * stats.mounts, "{misses} of {stats:?}");
}

#[test]
fn a_count_ends_and_is_right_while_directories_move_all_the_time() {
    let (rig, model, _) = tall();
    let life = Life::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _closed = rig.gate.close();
                life.begin_move();
                life.end_move();
            }
        });
        let limb = rig.limb().of(&life, &rig.gate);
        for prefix in [&b""[..], b"zz/top/usr", b"usr/share/package-100"] {
            let counted = limb.count(prefix, successor(prefix).as_deref());
            let counted = counted.map(|c| (c.keys, c.key_bytes, c.value_bytes));
            if counted.as_ref().ok() != Some(&sums(&model, prefix)) {
                stop.store(true, Ordering::Relaxed);
                panic!("{counted:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Listings see every record that stays, in order, whatever comes and goes around it on both sides of mounts.
#[test]
fn listings_beside_writers_across_mounts() {
    let mut rig = Rig::new(16 << 20);
    let mut stays = BTreeSet::new();
    for dir in ["b", "b/b", "c", "d/d"] {
        assert!(rig.mount(dir.as_bytes()).is_some());
    }
    for dir in ["a/", "b/", "b/b/", "b/b/x/", "b/c/", "c/", "d/c/", "d/d/", "e/"] {
        for n in (0..600).step_by(3) {
            let key = format!("{dir}{n:04}").into_bytes();
            rig.put(&key, &[7; 100]);
            stays.insert(key);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..12_000u64 {
                let dir = ["a/", "b/", "b/b/", "b/b/x/", "b/c/", "c/", "d/c/", "d/d/", "e/"][n as usize % 9];
                let key = format!("{dir}{:04}", (n * 3 + 1 + n % 2) % 600 / 3 * 3 + 1 + n % 2).into_bytes();
                match n / 2_000 % 2 {
                    0 => rig.put_as(&key, 1_000_000 + n, &[1; 300]),
                    _ => drop(rig.delete(&key)),
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while rounds < 4 || !done.load(Ordering::Acquire) {
            for reverse in [false, true] {
                let mut keys: Vec<_> =
                    rig.scan(b"", None, reverse, 64).into_iter().map(|(key, _)| key).collect();
                if reverse {
                    keys.reverse();
                }
                assert!(keys.is_sorted_by(|a, b| a < b));
                let seen: BTreeSet<_> = keys.into_iter().collect();
                assert!(stays.is_subset(&seen));
            }
            assert!(rig.counted(b"b/").0 >= stays.iter().filter(|key| key.starts_with(b"b/")).count() as u64);
            rounds += 1;
        }
    });
    let (problems, _) = rig.walked();
    assert!(problems.is_empty(), "{problems:?}");
}

fn wild() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(prop::sample::select(vec![0u8, b'a', b'/', 0xFF]), 1..7),
        2 => (0u64..60).prop_map(path),
        1 => (0u64..20, 2000usize..7000).prop_map(|(n, len)| [path(n), vec![b'x'; len]].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn limbs_with_mounts_behave_as_one_sorted_map(
        steps in prop::collection::vec((wild(), 0usize..3000, 0u8..16, 0usize..30), 1..250),
        bounds in prop::collection::vec(wild(), 6),
    ) {
        let mut rig = Rig::new(4 << 20);
        let mut model = Model::new();
        let mut mounts = BTreeSet::new();
        for (key, len, what, cut) in steps {
            match what {
                0..=6 => rig.put_in(&mut model, &key, &vec![what; if what < 2 { len } else { len % 60 }]),
                7 | 8 => prop_assert_eq!(rig.delete(&key), model.remove(&key).is_some()),
                9 => rig.limb().cut_at(&rig.gate, &key).unwrap(),
                10 => rig.limb().shrink(&rig.gate, &key).unwrap(),
                11 if len < 300 => rig.limb().compact(&rig.gate).unwrap(),
                _ => {
                    let path = &key[..(cut % key.len()) + 1];
                    if rig.lift(&mut model, path) {
                        mounts.insert(path.to_vec());
                    }
                }
            }
            let (problems, _) = rig.walked();
            prop_assert!(problems.is_empty(), "{:?}", problems);
        }
        rig.check(&model);
        prop_assert_eq!(rig.walked().1.mounts, mounts.len() as u64);
        let some: Vec<_> = mounts.iter().step_by(mounts.len() / 3 + 1).cloned().collect();
        let near = around(some);
        compare_all(&rig, &model, &near.iter().step_by(near.len() / 6 + 1).chain(&bounds).cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), &[1, 4]);
        for probe in near.iter().chain(&bounds).chain(model.keys().step_by(5)).chain(&mounts) {
            rig.compare_points(&model, probe);
        }
        let keys: Vec<_> = model.keys().cloned().collect();
        for key in keys {
            rig.delete(&key);
            model.remove(&key);
        }
        rig.limb().compact(&rig.gate).unwrap();
        rig.check(&model);
        prop_assert_eq!(rig.counted(b""), (0, 0, 0));
    }
}
