//! The workspace against a model: moves, deletes of prefixes and ranges, and single changes, in any order.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::art::{Below, Child, Cursor};
use crate::buffer::Gate;
use crate::io::{MemoryStorage, Storage};
use crate::limits::BLOB_BYTES;
use crate::store::Store;
use crate::tree::bounds::successor;
use crate::tree::reclaim::last_child;
use crate::tree::split::copy_of;
use crate::tree::{Format, Limb, Reclaimed, Tries};

pub(super) type Model = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

pub(super) struct Rig {
    pub(super) buffer: Buffer,
    pub(super) gate: Gate,
    pub(super) root: BlobId,
    pub(super) database: u64,
    sequence: u64,
}

/// What a sound limb adds up to.
#[derive(Default)]
pub(super) struct Seen {
    ids: HashSet<BlobId>,
    records: Model,
    pub(super) mounts: Vec<Vec<u8>>,
    pub(super) leaf_blobs: usize,
    pub(super) inner_blobs: usize,
    pub(super) live_bytes: usize,
}

impl Rig {
    pub(super) fn new(cache_bytes: u64) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let store = Arc::new(Store::create(&storage).unwrap());
        let database = store.database_id();
        let buffer = Buffer::new(store, cache_bytes, Box::new(Format { database })).unwrap();
        let mut reservation = buffer.reserve(1).unwrap();
        let root = Limb::plant(&buffer, &mut reservation, database);
        drop(reservation);
        Self { buffer, gate: Gate::new(), root, database, sequence: 0 }
    }

    pub(super) fn limb(&self) -> Limb<'_> {
        Limb::new(&self.buffer, self.root)
    }

    /// Runs `body` in workspaces until one of them is not stopped, and commits that.
    pub(super) fn change<T>(&self, mut body: impl FnMut(&mut Workspace<'_>, BlobId) -> Result<T, Stop>) -> T {
        let mut tries = Tries::default();
        let mut frames = 4;
        loop {
            let reservation = self.buffer.reserve(frames).unwrap();
            let stop = {
                let _closed = self.gate.close();
                let mut space = Workspace::new(&self.buffer, reservation, self.database);
                match body(&mut space, self.root) {
                    Ok(value) => {
                        for root in space.commit() {
                            self.reclaim(root);
                        }
                        return value;
                    }
                    Err(stop) => stop,
                }
            };
            if stop == Stop::Frames {
                frames *= 2;
            }
            self.limb().settle(stop, &mut tries).unwrap();
        }
    }

    /// Tries to splice the n-th mount; says whether that was done.
    pub(super) fn splice(&self, n: usize) -> bool {
        let seen = self.walk();
        let mounts = seen.mounts;
        let Some(path) = mounts.get(n % mounts.len().max(1)) else { return false };
        self.limb().unmount(&self.gate, self.database, path).unwrap()
    }

    fn reclaim(&self, root: BlobId) {
        let limb = Limb::new(&self.buffer, root);
        // Mounts in it are forgotten: the tests here look at what is reachable only.
        while !limb.retry(|_| limb.reclaim_once(&mut Reclaimed::default())).unwrap() {}
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> u64 {
        self.sequence += 1;
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
                leaf.put(key, self.sequence, value).unwrap();
                return self.sequence;
            }
            drop(leaf);
            limb.make_room(&self.gate, key, need, first).unwrap();
            first = false;
        }
    }

    /// Walks everything that hangs from the root, and checks every invariant that an image alone cannot show.
    pub(super) fn walk(&self) -> Seen {
        let mut seen = Seen::default();
        self.walk_blob(self.root, &[], None, None, 0, None, &mut seen);
        seen
    }

    #[expect(clippy::too_many_arguments, reason = "all that a parent says of its child")]
    fn walk_blob(
        &self,
        id: BlobId,
        path: &[u8],
        low: Option<&[u8]>,
        high: Option<&[u8]>,
        base: usize,
        bound: Option<Below>,
        seen: &mut Seen,
    ) {
        assert!(seen.ids.insert(id), "blob {} is reached twice", id.0);
        let limb = self.limb();
        let copy = limb
            .retry(|_| {
                let guard = self.buffer.read(id)?;
                let copy = copy_of(Blob::new(Words::new(guard.words())));
                if guard.validate() { Ok(copy) } else { Err(Stop::Restart) }
            })
            .unwrap();
        let blob = Blob::new(copy.words());
        blob.verify(BLOB_BYTES, Some((id.0, self.database))).unwrap();
        if let Some(bound) = bound {
            assert!(bound.holds(blob.below()), "blob {}: {bound:?} {:?}", id.0, blob.below());
        }
        let lead = low.map_or(&[][..], |low| &low[..base]);
        assert!(
            base == 0 || low.is_some_and(|low| low.len() >= base),
            "blob {}: a base without a fence",
            id.0
        );
        assert!(high.is_none_or(|high| high.starts_with(lead)) && (high.is_some() || base == 0));
        seen.live_bytes += blob.live_bytes();
        if blob.is_leaf() {
            seen.leaf_blobs += 1;
            let mut cursor = Cursor::new(blob);
            cursor.first();
            while let Some(leaf) = cursor.leaf() {
                let key = [lead, cursor.key()].concat();
                assert!(low.is_none_or(|low| low <= key.as_slice()));
                assert!(high.is_none_or(|high| key.as_slice() < high));
                let full = [path, &key].concat();
                if let Some(limb) = cursor.mount() {
                    seen.mounts.push(full.clone());
                    let end = successor(&key);
                    assert!(
                        high.is_none_or(|high| end.as_deref().is_some_and(|end| end <= high)),
                        "a separator lies inside the range of mount {}",
                        full.escape_ascii()
                    );
                    self.walk_blob(BlobId(limb.id), &full, None, None, 0, Some(limb.below), seen);
                } else {
                    let mut value = Vec::new();
                    blob.w.append_to(leaf.value_at(), leaf.value_len(), &mut value);
                    assert!(seen.records.insert(full, (leaf.version(blob), value)).is_none());
                }
                cursor.advance();
            }
            return;
        }
        seen.inner_blobs += 1;
        let all = blob.slots();
        for (at, slot) in all.iter().enumerate() {
            let spell = |part: &Vec<u8>| [lead, part].concat();
            let from = slot.separator.as_ref().map(spell);
            let to = all.get(at + 1).and_then(|next| next.separator.as_ref()).map(spell);
            let (from, to) = (from.as_deref().or(low), to.as_deref().or(high));
            assert!(low.is_none_or(|low| from.is_some_and(|from| low <= from)));
            assert!(high.is_none_or(|high| to.is_some_and(|to| to <= high)));
            let base = base + usize::from(slot.child.delta);
            self.walk_blob(BlobId(slot.child.id), path, from, to, base, Some(slot.child.below), seen);
        }
    }

    /// All mounts, found limb by limb, two at a time.
    fn find_mounts(&self, limb: &[u8], found: &mut Vec<Vec<u8>>) {
        let mut from = limb.to_vec();
        loop {
            let page = self.limb().mounts(&self.gate, limb, &from, 2).unwrap().unwrap();
            for mount in &page {
                found.push(mount.path.clone());
                self.find_mounts(&mount.path, found);
            }
            match page.last() {
                Some(last) => from = [&last.path[..], &[0]].concat(),
                None => return,
            }
        }
    }

    pub(super) fn check(&self, model: &Model) -> Seen {
        let seen = self.walk();
        let mut mounts = Vec::new();
        self.find_mounts(&[], &mut mounts);
        assert_eq!(mounts, seen.mounts);
        let keys =
            |records: &Model| records.keys().map(|key| key.escape_ascii().to_string()).collect::<Vec<_>>();
        if seen.records != *model {
            assert_eq!(keys(&seen.records), keys(model));
            panic!("versions or values differ");
        }
        for (key, (version, value)) in model.iter().step_by(1 + model.len() / 200) {
            let mut out = Vec::new();
            let found = self.limb().get(key, &mut out).unwrap().unwrap();
            assert_eq!((found.version, &out), (*version, value));
        }
        seen
    }
}

pub(super) fn below(model: &Model, prefix: &[u8]) -> Vec<Vec<u8>> {
    model
        .range(prefix.to_vec()..)
        .map(|(key, _)| key.clone())
        .take_while(|key| key.starts_with(prefix))
        .collect()
}

pub(super) fn move_in_model(model: &mut Model, src: &[u8], dst: &[u8]) {
    for key in below(model, dst) {
        model.remove(&key);
    }
    for key in below(model, src) {
        let record = model.remove(&key).unwrap();
        model.insert([dst, &key[src.len()..]].concat(), record);
    }
}

pub(super) fn move_prefix(rig: &Rig, src: &[u8], dst: &[u8]) {
    rig.change(|space, root| {
        space.drop_prefix(root, dst)?;
        let taken = space.take(root, src)?;
        space.hang(root, dst, taken)
    });
}

fn path(n: u64) -> Vec<u8> {
    let mix = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    format!("usr/share/package-{:03}/dir{}/file-{:06}.txt", mix % 700, mix % 13, mix).into_bytes()
}

pub(super) fn grown(cache_bytes: u64, keys: u64, value: usize) -> (Rig, Model) {
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
fn directories_of_all_sizes_move_there_and_back() {
    let (rig, mut model) = grown(64 << 20, 60_000, 96);
    for (src, dst) in [
        ("usr/share/package-100/dir5/", "opt/one/"),
        ("usr/share/package-200/", "usr/share/package-100/inner/"),
        ("usr/share/package-1", "usr/share/packet-1"),
        ("usr/", "srv/everything/below/here/"),
        ("srv/everything/below/here/share/package-3", "usr/three"),
        ("srv/", "s"),
        ("usr/three", "srv/three"),
        ("opt/", "a/"),
        ("s", "z"),
    ] {
        if dst.starts_with(src) || src.starts_with(dst) {
            continue;
        }
        assert!(!below(&model, src.as_bytes()).is_empty(), "{src}");
        move_prefix(&rig, src.as_bytes(), dst.as_bytes());
        move_in_model(&mut model, src.as_bytes(), dst.as_bytes());
        rig.check(&model);
    }
}

#[test]
fn a_directory_that_moves_to_and_fro_stays_itself() {
    let (rig, mut model) = grown(64 << 20, 60_000, 96);
    let blobs = rig.walk().leaf_blobs;
    for n in 0..200 {
        let (src, dst) =
            if n % 2 == 0 { ("usr/share/package-2", "q/w/e/") } else { ("q/w/e/", "usr/share/package-2") };
        move_prefix(&rig, src.as_bytes(), dst.as_bytes());
        move_in_model(&mut model, src.as_bytes(), dst.as_bytes());
    }
    rig.check(&model);
    assert!(rig.walk().leaf_blobs <= blobs + 4);
}

#[test]
fn a_limb_can_be_taken_whole() {
    let (rig, mut model) = grown(64 << 20, 20_000, 96);
    rig.change(|space, root| {
        let all = space.take(root, b"")?;
        space.drop_taken(all);
        Ok(())
    });
    model.clear();
    rig.check(&model);
}

/// What a cut costs is what it moves.
#[test]
fn of_a_cut_blob_the_smaller_part_moves() {
    let mut rig = Rig::new(8 << 20);
    for n in 0..200 {
        rig.put(format!("{n:03}").as_bytes(), &[7; 100]);
    }
    for (cut, moves, moved) in [("020", 0, 20), ("099", 0, 99), ("180", 1, 20)] {
        let reservation = rig.buffer.reserve(2).unwrap();
        let _closed = rig.gate.close();
        let mut space = Workspace::new(&rig.buffer, reservation, rig.database);
        let (left, right) = space.split(rig.root, 0, cut.as_bytes(), [0, 0]).unwrap();
        let halves = [left, right].map(|child| BlobId(child.id));
        let entries = |id| space.peek(id, |blob| blob.entries()).unwrap();
        assert_eq!((entries(halves[moves]), entries(halves[1 - moves])), (moved, 200 - moved), "{cut}");
        assert_eq!(halves[1 - moves], rig.root, "{cut}");
    }
}

/// Blobs that are sound by themselves but do not fit together: an error, and neither a panic nor a walk without end.
#[test]
fn children_that_do_not_fit_are_corrupt() {
    for by_level in [true, false] {
        let (rig, _) = grown(64 << 20, 20_000, 96);
        let reservation = rig.buffer.reserve(16).unwrap();
        let _closed = rig.gate.close();
        {
            let mut root = rig.buffer.lock(rig.root).unwrap();
            let blob = Blob::new(Words::new(root.modify()));
            let (separator, child) = last_child(blob);
            let long = separator.as_ref().map_or(0, |separator| separator.len() as u16);
            assert!(long > 0);
            let wrong = match by_level {
                true => Child { id: rig.root.0, ..child },
                false => Child { delta: long, ..child },
            };
            assert!(blob.set_child(separator.as_deref(), wrong));
        }
        let corrupt = |outcome: Result<(), Stop>| {
            assert!(matches!(outcome, Err(Stop::Corrupt(..))), "{outcome:?}");
        };
        let mut space = Workspace::new(&rig.buffer, reservation, rig.database);
        corrupt(space.take(rig.root, b"usr/share/package-").map(drop));
        drop(space);
        let mut space = Workspace::new(&rig.buffer, rig.buffer.reserve(16).unwrap(), rig.database);
        corrupt(space.drop_prefix(rig.root, b"usr/share/package-"));
    }
}

#[test]
fn a_stopped_workspace_leaves_nothing_behind() {
    let (rig, model) = grown(64 << 20, 30_000, 96);
    let before = rig.buffer.stats();
    for frames in 0..6 {
        let reservation = rig.buffer.reserve(frames).unwrap();
        let _closed = rig.gate.close();
        let mut space = Workspace::new(&rig.buffer, reservation, rig.database);
        let moved = space
            .take(rig.root, b"usr/share/package-3")
            .and_then(|taken| space.hang(rig.root, b"elsewhere/", taken));
        drop((moved, space));
    }
    assert_eq!(rig.buffer.stats().resident_blobs, before.resident_blobs);
    rig.check(&model);
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "ab", "lib", "share", "x"]).prop_map(|s| s.as_bytes().to_vec()),
        1 => Just(vec![0xFF]),
        1 => Just(vec![0xFF, 0xFF]),
        1 => Just(vec![0]),
        1 => (0u8..40).prop_map(|n| format!("name-{n}").into_bytes()),
    ]
}

fn wild_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(part(), 1..5).prop_map(|parts| parts.join(&b'/')),
        1 => (0u64..400).prop_map(path),
        1 => (0u64..40, 200usize..3000).prop_map(|(n, len)| [path(n), vec![b'x'; len]].concat()),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, usize),
    PutInside(Vec<u8>, usize),
    Delete(Vec<u8>),
    Move(Vec<u8>, usize, Vec<u8>, usize),
    DeletePrefix(Vec<u8>, usize),
    DeleteRange(Vec<u8>, Vec<u8>),
    Fill(Vec<u8>, usize, u16),
    CutAt(Vec<u8>),
    Shrink(Vec<u8>),
    Tidy(Vec<u8>, usize),
    Lower(usize),
    Splice(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (wild_key(), 0usize..3000).prop_map(|(key, len)| Step::Put(key, len)),
        4 => (wild_key(), 0usize..3000).prop_map(|(key, len)| Step::PutInside(key, len)),
        3 => wild_key().prop_map(Step::Delete),
        10 => (wild_key(), 0usize..14, wild_key(), 0usize..14).prop_map(|(a, n, b, m)| Step::Move(a, n, b, m)),
        2 => (wild_key(), 0usize..12).prop_map(|(key, n)| Step::DeletePrefix(key, n)),
        2 => (wild_key(), wild_key()).prop_map(|(a, b)| Step::DeleteRange(a, b)),
        3 => (wild_key(), 0usize..120, any::<u16>()).prop_map(|(key, n, x)| Step::Fill(key, n, x)),
        2 => wild_key().prop_map(Step::CutAt),
        2 => wild_key().prop_map(Step::Shrink),
        3 => (wild_key(), 0usize..14).prop_map(|(key, n)| Step::Tidy(key, n)),
        4 => (0usize..20).prop_map(Step::Splice),
        3 => (0usize..5000).prop_map(Step::Lower),
    ]
}

fn cut(key: &[u8], len: usize) -> Vec<u8> {
    key[..key.len().min(len.max(1))].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn a_tree_of_limbs_behaves_as_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new(16 << 20);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Put(key, len) => {
                    let bytes = vec![len as u8; len];
                    let version = rig.put(&key, &bytes);
                    model.insert(key, (version, bytes));
                }
                Step::PutInside(key, len) => {
                    let bytes = vec![len as u8; len];
                    rig.sequence += 1;
                    let version = rig.sequence;
                    rig.change(|space, root| space.put(root, &key, version, &bytes));
                    model.insert(key, (version, bytes));
                }
                Step::Delete(key) => {
                    let done = rig.change(|space, root| space.delete(root, &key));
                    prop_assert_eq!(done, model.remove(&key).is_some());
                }
                Step::Move(src, n, dst, m) => {
                    let (src, dst) = (cut(&src, n), cut(&dst, m));
                    let longest = below(&model, &src).iter().map(|key| key.len() - src.len()).max();
                    if src.starts_with(&dst) || dst.starts_with(&src) || longest.is_none() {
                        continue;
                    }
                    let bound = rig.change(|space, root| space.longest(root, &src));
                    prop_assert!(bound >= longest.unwrap(), "{bound} {longest:?}");
                    move_prefix(&rig, &src, &dst);
                    move_in_model(&mut model, &src, &dst);
                    let there = rig.change(|space, root| space.has_range(root, &src, successor(&src).as_deref()));
                    prop_assert!(!there);
                }
                Step::DeletePrefix(key, n) => {
                    let prefix = cut(&key, n);
                    rig.change(|space, root| space.drop_prefix(root, &prefix));
                    for key in below(&model, &prefix) {
                        model.remove(&key);
                    }
                }
                Step::DeleteRange(a, b) => {
                    let (low, high) = if a < b { (a, b) } else { (b, a) };
                    let there = rig.change(|space, root| space.has_range(root, &low, Some(&high)));
                    prop_assert_eq!(there, model.range(low.clone()..high.clone()).next().is_some());
                    rig.change(|space, root| space.drop_range(root, &low, Some(&high)));
                    model.retain(|key, _| *key < low || *key >= high);
                }
                Step::Fill(key, count, salt) => {
                    for n in 0..count {
                        let key = [&key[..], format!("/{:05}", (n as u16).wrapping_mul(7919) ^ salt).as_bytes()].concat();
                        let version = rig.put(&key, &vec![n as u8; 600]);
                        model.insert(key, (version, vec![n as u8; 600]));
                    }
                }
                Step::CutAt(key) => rig.limb().cut_at(&rig.gate, &key).unwrap(),
                Step::Shrink(key) => rig.limb().shrink(&rig.gate, &key).unwrap(),
                Step::Tidy(key, n) => rig.limb().tidy(&rig.gate, &cut(&key, n)).unwrap(),
                Step::Lower(enough) => while rig.limb().lower(&rig.gate, rig.database, enough).unwrap() {},
                Step::Splice(n) => {
                    rig.splice(n);
                }
            }
            rig.check(&model);
        }
    }
}
