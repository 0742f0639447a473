//! Every operation against an ordered map, with reopens, crashes and power cuts in between: the database gives the same
//! answers, the same order and the same versions; a crash loses nothing acknowledged in Sync mode and leaves a prefix of
//! the commits in Batched mode.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use common::{cases, records, small};
use proptest::prelude::*;
use proptest::sample::Index;
use ramus::io::FaultStorage;
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Tree, Version, WriteOptions};

const TREES: [&str; 3] = ["default", "second", "third"];

/// Where a step takes its key from: the ones that are there, or anew.
#[derive(Debug, Clone)]
enum Key {
    There(Index),
    New(Vec<u8>),
    Below(Index, Vec<u8>),
    Above(Index, Index),
    /// What is above it up to and with a slash, so many from its start.
    Directory(Index, usize),
    /// Nothing: only as a prefix.
    Empty,
}

#[derive(Debug, Clone)]
enum Change {
    Put(usize, Key, Value),
    Delete(usize, Key),
    Rename(usize, Key, Key, bool),
    RenamePrefix { src: (usize, Key), dst: (usize, Key), replace: bool },
    DeletePrefix(usize, Key),
    DeleteRange { tree: usize, start: Option<(Key, bool)>, end: Option<(Key, bool)> },
}

#[derive(Debug, Clone)]
enum Expect {
    Version(usize, Key, bool),
    Absent(usize, Key),
    PrefixEmpty(usize, Key),
}

#[derive(Debug, Clone)]
struct Value {
    len: usize,
    fill: u8,
}

#[derive(Debug, Clone)]
struct List {
    start: Option<(Key, bool)>,
    end: Option<(Key, bool)>,
    prefix: Option<Key>,
    after: Option<Key>,
    delimiter: Option<u8>,
    reverse: bool,
    limit: Option<usize>,
    keys_only: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Change(Change),
    PutSync(usize, Key, Value),
    PutIfAbsent(usize, Key, Value),
    CompareAndPut(usize, Key, bool, Value),
    Replace(usize, Key, Value),
    Take(usize, Key),
    DeleteIfVersion(usize, Key, bool),
    Batch(Vec<Expect>, Vec<Change>),
    Fill { tree: usize, under: Key, count: usize, value: Value, ascending: bool },
    Load { tree: usize, under: Key, count: usize, stride: usize, value: Value, beside: Vec<Key> },
    Clear { tree: usize, from: Index, percent: usize },
    Get(usize, Key),
    Count(usize, Key),
    LongestPrefix(usize, Key),
    List(usize, List),
    Drop(usize),
    Sync,
    Checkpoint,
    Compact,
    Check,
    Reopen,
    Crash,
    PowerCut(u64),
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "ab", "usr", "lib", "x86_64-linux-gnu", "share", "doc", ".hidden", "a.txt"])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => prop::collection::vec(prop::sample::select(vec![0u8, 1, b'/', b'a', 0x7f, 0xfe, 0xff]), 0..4),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => (1usize..40).prop_map(|len| vec![0xff; len]),
    ]
}

fn fresh_key() -> impl Strategy<Value = Vec<u8>> {
    let path = || prop::collection::vec(part(), 1..6).prop_map(|parts| parts.join(&b'/'));
    prop_oneof![
        12 => path(),
        1 => (path(), 1usize..KEY_BYTES_MAX, any::<u8>()).prop_map(|(mut key, len, fill)| {
            key.resize(len.max(key.len()), fill);
            key
        }),
        1 => Just(vec![0xff; KEY_BYTES_MAX]),
        1 => Just(vec![0; KEY_BYTES_MAX]),
    ]
    .prop_map(|mut key| {
        key.truncate(KEY_BYTES_MAX);
        if key.is_empty() { vec![0] } else { key }
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        5 => any::<Index>().prop_map(Key::There),
        4 => fresh_key().prop_map(Key::New),
        2 => (any::<Index>(), part()).prop_map(|(at, tail)| Key::Below(at, tail)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(at, len)| Key::Above(at, len)),
    ]
}

/// Prefixes: keys, parts of them, directories, all.
fn prefix() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => (any::<Index>(), 1usize..4).prop_map(|(at, depth)| Key::Directory(at, depth)),
        6 => key(),
        1 => Just(Key::Empty),
    ]
}

/// Where directories move to: mostly to where nothing is, and inside others.
fn target() -> impl Strategy<Value = Key> {
    prop_oneof![
        4 => prefix(),
        4 => (any::<Index>(), part()).prop_map(|(at, tail)| Key::Below(at, tail)),
        2 => fresh_key().prop_map(Key::New),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let len = prop_oneof![6 => 0usize..120, 2 => 120usize..1000, 1 => 1000usize..=4096, 1 => Just(4096usize)];
    (len, any::<u8>()).prop_map(|(len, fill)| Value { len, fill })
}

fn tree() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0usize), 2 => Just(1usize), 1 => Just(2usize)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (tree(), key(), value()).prop_map(|(t, k, v)| Change::Put(t, k, v)),
        2 => (tree(), key()).prop_map(|(t, k)| Change::Delete(t, k)),
        2 => (tree(), key(), key(), any::<bool>()).prop_map(|(t, s, d, r)| Change::Rename(t, s, d, r)),
    ]
}

fn wide_change() -> impl Strategy<Value = Change> {
    let bound = || prop::option::weighted(0.8, (prefix(), any::<bool>()));
    let trees = prop_oneof![4 => tree().prop_map(|t| (t, t)), 1 => (tree(), tree())];
    prop_oneof![
        8 => (trees, prefix(), target(), any::<bool>())
            .prop_map(|((a, b), src, dst, replace)| Change::RenamePrefix { src: (a, src), dst: (b, dst), replace }),
        1 => (tree(), prefix()).prop_map(|(t, p)| Change::DeletePrefix(t, p)),
        1 => (tree(), bound(), bound()).prop_map(|(tree, start, end)| Change::DeleteRange { tree, start, end }),
    ]
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        (tree(), key(), prop::bool::weighted(0.8)).prop_map(|(t, k, right)| Expect::Version(t, k, right)),
        (tree(), key()).prop_map(|(t, k)| Expect::Absent(t, k)),
        (tree(), key()).prop_map(|(t, k)| Expect::PrefixEmpty(t, k)),
    ]
}

fn list() -> impl Strategy<Value = List> {
    let bound = || prop::option::weighted(0.5, (key(), any::<bool>()));
    let delimiter = prop::option::weighted(
        0.5,
        prop_oneof![4 => Just(b'/'), 1 => Just(0u8), 1 => Just(0xffu8), 1 => Just(b'a')],
    );
    (
        (bound(), bound()),
        prop::option::of(key()),
        prop::option::weighted(0.4, key()),
        delimiter,
        any::<bool>(),
        prop::option::weighted(0.3, 0usize..200),
        any::<bool>(),
    )
        .prop_map(|((start, end), prefix, after, delimiter, reverse, limit, keys_only)| List {
            start,
            end,
            prefix,
            after,
            delimiter,
            reverse,
            limit,
            keys_only,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => change().prop_map(Step::Change),
        14 => wide_change().prop_map(Step::Change),
        2 => (tree(), key(), value()).prop_map(|(t, k, v)| Step::PutSync(t, k, v)),
        4 => (tree(), key(), value()).prop_map(|(t, k, v)| Step::PutIfAbsent(t, k, v)),
        4 => (tree(), key(), prop::bool::weighted(0.7), value()).prop_map(|(t, k, r, v)| Step::CompareAndPut(t, k, r, v)),
        4 => (tree(), key(), value()).prop_map(|(t, k, v)| Step::Replace(t, k, v)),
        4 => (tree(), key()).prop_map(|(t, k)| Step::Take(t, k)),
        4 => (tree(), key(), prop::bool::weighted(0.7)).prop_map(|(t, k, r)| Step::DeleteIfVersion(t, k, r)),
        8 => (prop::collection::vec(expect(), 0..2), prop::collection::vec(change(), 0..12))
            .prop_map(|(e, c)| Step::Batch(e, c)),
        5 => (prop::collection::vec(expect(), 0..2), prop::collection::vec(prop_oneof![change(), wide_change()], 1..8))
            .prop_map(|(e, c)| Step::Batch(e, c)),
        5 => (tree(), key(), 1usize..400, value(), any::<bool>())
            .prop_map(|(tree, under, count, value, ascending)| Step::Fill { tree, under, count, value, ascending }),
        4 => (tree(), key(), 0usize..800, 1usize..3, value(), prop::collection::vec(key(), 0..6)).prop_map(
            |(tree, under, count, stride, value, beside)| Step::Load { tree, under, count, stride, value, beside }
        ),
        3 => (tree(), any::<Index>(), 1usize..=100).prop_map(|(tree, from, percent)| Step::Clear { tree, from, percent }),
        8 => (tree(), key()).prop_map(|(t, k)| Step::Get(t, k)),
        5 => (tree(), prefix()).prop_map(|(t, k)| Step::Count(t, k)),
        5 => (tree(), key()).prop_map(|(t, k)| Step::LongestPrefix(t, k)),
        14 => (tree(), list()).prop_map(|(t, l)| Step::List(t, l)),
        1 => (1usize..3).prop_map(Step::Drop),
        2 => Just(Step::Sync),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Compact),
        1 => Just(Step::Check),
        2 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        3 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

type Map = BTreeMap<Vec<u8>, (Vec<u8>, Version)>;
type State = BTreeMap<&'static str, Map>;

/// What one commit does to the state.
#[derive(Debug, Clone)]
enum Effect {
    Set(usize, Vec<u8>, Option<(Vec<u8>, Version)>),
    Make(usize),
    Drop(usize),
    /// All is like this.
    All(State),
}

fn apply(state: &mut State, effect: &Effect) {
    match effect {
        Effect::Set(tree, key, Some(record)) => {
            state.get_mut(TREES[*tree]).expect("the tree is there").insert(key.clone(), record.clone());
        }
        Effect::Set(tree, key, None) => {
            state.get_mut(TREES[*tree]).expect("the tree is there").remove(key);
        }
        Effect::Make(tree) => drop(state.insert(TREES[*tree], Map::new())),
        Effect::Drop(tree) => drop(state.remove(TREES[*tree])),
        Effect::All(after) => state.clone_from(after),
    }
}

/// The version of what a batch puts, until it is known.
const UNKNOWN: Version = Version::MAX;

fn map_of(state: &mut State, tree: usize) -> &mut Map {
    state.get_mut(TREES[tree]).expect("the tree is there")
}

fn holds(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>, key: &[u8]) -> bool {
    (match start {
        Bound::Included(low) => key >= &low[..],
        Bound::Excluded(low) => key > &low[..],
        Bound::Unbounded => true,
    }) && (match end {
        Bound::Included(high) => key <= &high[..],
        Bound::Excluded(high) => key < &high[..],
        Bound::Unbounded => true,
    })
}

fn is_inverted(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> bool {
    match (start, end) {
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low > high
        }
        _ => false,
    }
}

/// Whether a change of a whole range may be asked for, whatever is there.
fn is_valid(world: &World, change: &Change) -> bool {
    match change {
        Change::RenamePrefix { src: (from, src), dst: (to, dst), .. } => {
            let (src, dst) = (world.key(*from, src), world.key(*to, dst));
            let nested = from == to && src != dst && (src.starts_with(&dst) || dst.starts_with(&src));
            !(src.is_empty() || dst.is_empty() || nested)
        }
        Change::DeleteRange { tree, start, end } => {
            !is_inverted(&world.bound(*tree, start), &world.bound(*tree, end))
        }
        _ => true,
    }
}

/// What a change of a whole range does to `after`; false: nothing. Keys are those that the world's state makes of the change.
fn wide(after: &mut State, world: &World, change: &Change) -> Result<bool, ErrorKind> {
    if !is_valid(world, change) {
        return Err(ErrorKind::InvalidInput);
    }
    match change {
        Change::RenamePrefix { src: (from, src), dst: (to, dst), replace } => {
            let (src, dst) = (world.key(*from, src), world.key(*to, dst));
            let moved: Vec<_> = map_of(after, *from)
                .iter()
                .filter(|(key, _)| key.starts_with(&src))
                .map(|(key, record)| (key.clone(), record.clone()))
                .collect();
            if moved.is_empty() {
                return Err(ErrorKind::NotFound);
            }
            if from == to && src == dst {
                return Ok(false);
            }
            if !replace && map_of(after, *to).keys().any(|key| key.starts_with(&dst)) {
                return Err(ErrorKind::Exists);
            }
            if moved.iter().any(|(key, _)| key.len() - src.len() + dst.len() > KEY_BYTES_MAX) {
                return Err(ErrorKind::InvalidInput);
            }
            map_of(after, *to).retain(|key, _| !key.starts_with(&dst));
            for (key, record) in moved {
                map_of(after, *from).remove(&key);
                map_of(after, *to).insert([&dst[..], &key[src.len()..]].concat(), record);
            }
            Ok(true)
        }
        Change::DeletePrefix(tree, prefix) => {
            let prefix = world.key(*tree, prefix);
            let before = map_of(after, *tree).len();
            map_of(after, *tree).retain(|key, _| !key.starts_with(&prefix));
            Ok(map_of(after, *tree).len() < before)
        }
        Change::DeleteRange { tree, start, end } => {
            let (start, end) = (world.bound(*tree, start), world.bound(*tree, end));
            let before = map_of(after, *tree).len();
            map_of(after, *tree).retain(|key, _| !holds(&start, &end, key));
            Ok(map_of(after, *tree).len() < before)
        }
        Change::Put(..) | Change::Delete(..) | Change::Rename(..) => panic!("{change:?} is not wide"),
    }
}

#[derive(Debug, Clone, Copy)]
struct Config {
    sync: bool,
    background: bool,
    large: bool,
}

/// What a batch may touch with the small cache, 4 MiB: a quarter of it in leaf blobs.
const SMALL_CACHE_BATCH_BLOBS: usize = 16;

/// A leaf blob for each key, and one more where what is put must be spread; None if there is no such bound.
fn blobs_touched_at_most(expects: &[Expect], changes: &[Change]) -> Option<usize> {
    if expects.iter().any(|expect| matches!(expect, Expect::PrefixEmpty(..))) {
        return None;
    }
    let touched = |change: &Change| match change {
        Change::Put(..) => 2,
        Change::Delete(..) => 1,
        Change::Rename(..) => 3,
        Change::RenamePrefix { .. } | Change::DeletePrefix(..) | Change::DeleteRange { .. } => 0,
    };
    Some(expects.len() + changes.iter().map(touched).sum::<usize>())
}

/// The database and what it should hold.
struct World {
    config: Config,
    storage: FaultStorage,
    db: Option<Db>,
    state: State,
    /// The state that no crash takes away, and the commits since.
    base: State,
    log: Vec<Vec<Effect>>,
    /// The highest version that was ever seen.
    seen: Version,
}

impl World {
    fn new(config: Config) -> Self {
        let storage = FaultStorage::new();
        let state = State::from([(TREES[0], Map::new())]);
        let mut world =
            Self { config, storage, db: None, base: state.clone(), state, log: Vec::new(), seen: 0 };
        world.open();
        world
    }

    fn options(&self) -> Options {
        let durability = match self.config.sync {
            true => Durability::Sync,
            false => Durability::Batched { bytes: 4096, interval: None },
        };
        let options = small(&self.storage).durability(durability).background(self.config.background);
        if self.config.large { options.cache_bytes(64 << 20).journal_bytes(64 << 20) } else { options }
    }

    fn open(&mut self) {
        self.db = Some(self.options().open("").expect("the database opens"));
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the database is open")
    }

    /// The tree, made if need be: that is a commit too.
    fn tree(&mut self, at: usize) -> Tree {
        let tree = self.db().tree(TREES[at]).expect("the tree opens");
        if !self.state.contains_key(TREES[at]) {
            self.commit(vec![Effect::Make(at)]);
        }
        tree
    }

    fn commit(&mut self, effects: Vec<Effect>) {
        effects.iter().for_each(|effect| apply(&mut self.state, effect));
        self.log.push(effects);
        if self.config.sync {
            self.settle();
        }
    }

    /// All commits so far are durable.
    fn settle(&mut self) {
        for effects in self.log.drain(..) {
            effects.iter().for_each(|effect| apply(&mut self.base, effect));
        }
    }

    fn map(&self, tree: usize) -> Map {
        self.state.get(TREES[tree]).cloned().unwrap_or_default()
    }

    fn record(&self, tree: usize, key: &[u8]) -> Option<(Vec<u8>, Version)> {
        self.state.get(TREES[tree])?.get(key).cloned()
    }

    fn key(&self, tree: usize, key: &Key) -> Vec<u8> {
        let pick = |at: &Index| -> Option<&Vec<u8>> {
            let map = self.state.get(TREES[tree])?;
            (!map.is_empty()).then(|| map.keys().nth(at.index(map.len())))?
        };
        let mut key = match key {
            Key::Empty => return Vec::new(),
            Key::Directory(at, depth) => {
                let key = pick(at).cloned().unwrap_or_else(|| b"none/x".to_vec());
                let slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
                let end = slashes.take(*depth).last().map_or(key.len(), |(at, _)| at + 1);
                key[..end].to_vec()
            }
            Key::New(key) => key.clone(),
            Key::There(at) => pick(at).cloned().unwrap_or_else(|| b"none".to_vec()),
            Key::Below(at, tail) => [pick(at).map_or(&b""[..], |key| key), tail].concat(),
            Key::Above(at, len) => {
                let key = pick(at).cloned().unwrap_or_else(|| b"none".to_vec());
                key[..len.index(key.len()) + 1].to_vec()
            }
        };
        key.truncate(KEY_BYTES_MAX);
        if key.is_empty() { vec![b'/'] } else { key }
    }

    fn newer(&mut self, version: Version) -> Version {
        assert!(version > self.seen, "version {version} was given after {}", self.seen);
        self.seen = version;
        version
    }

    /// The version of what was just put, when the call does not give it.
    fn version_now(&mut self, tree: usize, key: &[u8], value: &[u8]) -> Version {
        let record = self.tree(tree).get_record(key).unwrap().expect("what was put is there");
        assert_eq!(record.value, value);
        self.newer(record.version)
    }

    fn put(&mut self, tree: usize, key: Vec<u8>, value: Vec<u8>, options: WriteOptions) {
        let version = self.tree(tree).put_with(&key, &value, options).unwrap();
        self.newer(version);
        self.commit(vec![Effect::Set(tree, key, Some((value, version)))]);
    }

    /// Loads records; those that get the same version are one commit.
    fn load(&mut self, tree: usize, keys: BTreeSet<Vec<u8>>, value: &[u8]) {
        let handle = self.tree(tree);
        let loaded = handle.bulk_load(keys.iter().map(|key| (key, value))).unwrap();
        assert_eq!(loaded, keys.len() as u64);
        let mut effects: Vec<Effect> = Vec::new();
        for key in keys {
            let record = handle.get_record(&key).unwrap().expect("what was loaded is there");
            assert_eq!(record.value, value);
            if record.version != self.seen {
                self.newer(record.version);
                if !effects.is_empty() {
                    self.commit(std::mem::take(&mut effects));
                }
            }
            effects.push(Effect::Set(tree, key, Some((record.value, record.version))));
        }
        if !effects.is_empty() {
            self.commit(effects);
        }
    }

    fn bound(&self, tree: usize, bound: &Option<(Key, bool)>) -> Bound<Vec<u8>> {
        match bound {
            None => Bound::Unbounded,
            Some((key, true)) => Bound::Included(self.key(tree, key)),
            Some((key, false)) => Bound::Excluded(self.key(tree, key)),
        }
    }

    /// A change of a whole range.
    fn change_wide(&mut self, change: &Change, run: impl FnOnce(&Self, [Tree; 2]) -> ramus::Result<Version>) {
        let trees = match change {
            Change::RenamePrefix { src, dst, .. } => [src.0, dst.0],
            Change::DeletePrefix(tree, _) | Change::DeleteRange { tree, .. } => [*tree; 2],
            Change::Put(..) | Change::Delete(..) | Change::Rename(..) => panic!("{change:?} is not wide"),
        };
        let trees = trees.map(|tree| self.tree(tree));
        let before = self.db().stats().last_version;
        let outcome = run(self, trees);
        let mut after = self.state.clone();
        match wide(&mut after, self, change) {
            Err(wanted) => assert_eq!(outcome.unwrap_err().kind(), wanted, "{change:?}"),
            Ok(false) => {
                let (version, after) = (outcome.unwrap(), self.db().stats().last_version);
                assert!(before <= version && version <= after, "{change:?} has nothing to do");
                // A checkpoint of the background thread may take a sequence for itself.
                assert!(after == before || self.config.background, "{change:?} has nothing to do");
            }
            Ok(true) => {
                self.newer(outcome.unwrap());
                self.commit(vec![Effect::All(after)]);
            }
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::RenamePrefix { src: (from, src), dst: (to, dst), replace } => {
                let how = if *replace { IfExists::Replace } else { IfExists::Fail };
                self.change_wide(change, |world, [a, b]| {
                    a.rename_prefix_to(&b, world.key(*from, src), world.key(*to, dst), how)
                });
            }
            Change::DeletePrefix(at, prefix) => {
                self.change_wide(change, |world, [tree, _]| tree.delete_prefix(world.key(*at, prefix)));
            }
            Change::DeleteRange { tree: at, start, end } => {
                let range = (self.bound(*at, start), self.bound(*at, end));
                self.change_wide(change, |_, [tree, _]| tree.delete_range(range));
            }
            Change::Put(tree, key, value) => {
                self.put(*tree, self.key(*tree, key), bytes(value), WriteOptions::new());
            }
            Change::Delete(tree, key) => {
                let key = self.key(*tree, key);
                let there = self.record(*tree, &key).is_some();
                assert_eq!(self.tree(*tree).delete(&key).unwrap(), there);
                if there {
                    self.commit(vec![Effect::Set(*tree, key, None)]);
                }
            }
            Change::Rename(tree, src, dst, replace) => {
                let (src, dst) = (self.key(*tree, src), self.key(*tree, dst));
                let how = if *replace { IfExists::Replace } else { IfExists::Fail };
                let outcome = self.tree(*tree).rename(&src, &dst, how);
                match (self.record(*tree, &src), self.record(*tree, &dst)) {
                    (None, _) => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound),
                    (_, Some(_)) if !replace => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Exists),
                    (Some((value, _)), _) => {
                        let version = self.newer(outcome.unwrap());
                        self.commit(vec![
                            Effect::Set(*tree, src, None),
                            Effect::Set(*tree, dst, Some((value, version))),
                        ]);
                    }
                }
            }
        }
    }

    fn batch(&mut self, expects: &[Expect], changes: &[Change]) {
        let trees: Vec<Tree> = (0..TREES.len()).map(|at| self.tree(at)).collect();
        let mut held = true;
        let before = self.db().stats().last_version;
        let mut after = self.state.clone();
        let mut touched = Vec::new();
        let (mut changed, mut is_wide, mut invalid) = (false, false, false);
        let mut failed = None;
        let world = &*self;
        let outcome = world.db().batch(|b| {
            for expect in expects {
                match expect {
                    Expect::Version(t, k, right) => {
                        let key = world.key(*t, k);
                        let there = world.record(*t, &key).map(|(_, version)| version);
                        let version = there.unwrap_or(1) + u64::from(!right);
                        held &= there == Some(version);
                        b.expect_version(&trees[*t], key, version);
                    }
                    Expect::Absent(t, k) => {
                        let key = world.key(*t, k);
                        held &= world.record(*t, &key).is_none();
                        b.expect_absent(&trees[*t], key);
                    }
                    Expect::PrefixEmpty(t, k) => {
                        let prefix = world.key(*t, k);
                        held &= !world.map(*t).keys().any(|key| key.starts_with(&prefix));
                        b.expect_prefix_empty(&trees[*t], prefix);
                    }
                }
            }
            for change in changes {
                match change {
                    Change::Put(t, k, v) => {
                        let key = world.key(*t, k);
                        b.put(&trees[*t], &key, bytes(v));
                        map_of(&mut after, *t).insert(key.clone(), (bytes(v), UNKNOWN));
                        touched.push((*t, key));
                    }
                    Change::Delete(t, k) => {
                        let key = world.key(*t, k);
                        b.delete(&trees[*t], &key);
                        map_of(&mut after, *t).remove(&key);
                        touched.push((*t, key));
                    }
                    Change::Rename(t, s, d, replace) => {
                        let (src, dst) = (world.key(*t, s), world.key(*t, d));
                        let how = if *replace { IfExists::Replace } else { IfExists::Fail };
                        b.rename(&trees[*t], &src, &dst, how);
                        let map = map_of(&mut after, *t);
                        match (map.get(&src).cloned(), map.contains_key(&dst)) {
                            (None, _) => failed = failed.or(Some(ErrorKind::NotFound)),
                            (_, true) if !replace => failed = failed.or(Some(ErrorKind::Exists)),
                            (Some((value, _)), _) => {
                                map.remove(&src);
                                map.insert(dst.clone(), (value, UNKNOWN));
                                touched.extend([(*t, src), (*t, dst)]);
                            }
                        }
                    }
                    Change::RenamePrefix { src: (from, src), dst: (to, dst), replace } => {
                        let how = if *replace { IfExists::Replace } else { IfExists::Fail };
                        let (src, dst) = (world.key(*from, src), world.key(*to, dst));
                        b.rename_prefix_to(&trees[*from], &trees[*to], src, dst, how);
                    }
                    Change::DeletePrefix(t, prefix) => b.delete_prefix(&trees[*t], world.key(*t, prefix)),
                    Change::DeleteRange { tree, start, end } => {
                        let range = (world.bound(*tree, start), world.bound(*tree, end));
                        b.delete_range(&trees[*tree], range);
                    }
                }
                match change {
                    Change::Put(..) | Change::Delete(..) | Change::Rename(..) => changed = true,
                    _ => {
                        is_wide = true;
                        invalid |= !is_valid(world, change);
                        match wide(&mut after, world, change) {
                            Ok(done) => changed |= done,
                            Err(error) => failed = failed.or(Some(error)),
                        }
                    }
                }
            }
        });
        match outcome {
            Err(error) => {
                let wanted = if held { failed } else { Some(ErrorKind::Conflict) };
                let wanted = if invalid { Some(ErrorKind::InvalidInput) } else { wanted };
                // In a tree of many blobs, a batch may touch more of them than a small cache lets it.
                let wide = error.kind() == ErrorKind::InvalidInput
                    && !self.config.large
                    && blobs_touched_at_most(expects, changes)
                        .is_none_or(|blobs| blobs > SMALL_CACHE_BATCH_BLOBS);
                assert!(wide || Some(error.kind()) == wanted, "batch: {error}; wanted {wanted:?}");
            }
            Ok(version) => {
                assert!(
                    held && !invalid && failed.is_none(),
                    "a batch went through: {expects:?} {changes:?}"
                );
                if !changed {
                    assert_eq!(version, before, "a batch with nothing to do: {changes:?}");
                    return;
                }
                self.newer(version);
                for (_, there) in after.values_mut().flat_map(BTreeMap::values_mut) {
                    if *there == UNKNOWN {
                        *there = version;
                    }
                }
                let effects = match is_wide {
                    true => vec![Effect::All(after)],
                    false => touched
                        .into_iter()
                        .map(|(tree, key)| {
                            let record = after[TREES[tree]].get(&key).cloned();
                            Effect::Set(tree, key, record)
                        })
                        .collect(),
                };
                self.commit(effects);
            }
        }
    }

    fn list(&mut self, at: usize, list: &List) {
        let tree = self.tree(at);
        let map = self.map(at);
        let prefix = list.prefix.as_ref().map(|key| self.key(at, key));
        let (start, end) = (self.bound(at, &list.start), self.bound(at, &list.end));
        let mut scan = match &prefix {
            Some(prefix) => tree.prefix(prefix),
            None => tree.range((start.clone(), end.clone())),
        };
        let after = list.after.as_ref().map(|key| self.key(at, key));
        if let Some(after) = &after {
            scan = scan.start_after(after);
        }
        if let Some(delimiter) = list.delimiter {
            scan = scan.delimiter(delimiter);
        }
        if list.reverse {
            scan = scan.reverse();
        }
        if let Some(limit) = list.limit {
            scan = scan.limit(limit);
        }
        if list.keys_only {
            scan = scan.keys_only();
        }
        let got: Result<Vec<Entry>, _> = scan.collect();
        if prefix.is_none() && is_inverted(&start, &end) {
            if list.limit != Some(0) {
                assert_eq!(got.unwrap_err().kind(), ErrorKind::InvalidInput);
            }
            return;
        }
        let inside = |key: &[u8]| match &prefix {
            Some(prefix) => key.starts_with(prefix),
            None => holds(&start, &end, key),
        };
        let listed = prefix.as_ref().map_or(0, Vec::len);
        let mut wanted: Vec<Entry> = Vec::new();
        for (key, (value, version)) in map.iter().filter(|(key, _)| inside(key)) {
            let roll = list
                .delimiter
                .and_then(|byte| key[listed..].iter().position(|&b| b == byte))
                .map(|at| key[..listed + at + 1].to_vec());
            let entry = match roll {
                Some(prefix) => Entry::CommonPrefix(prefix),
                None => Entry::Record {
                    key: key.clone(),
                    value: if list.keys_only { Vec::new() } else { value.clone() },
                    version: *version,
                },
            };
            let passed = after.as_ref().is_some_and(|after| match list.reverse {
                false => entry.key() <= &after[..],
                true => entry.key() >= &after[..],
            });
            if !passed && wanted.last() != Some(&entry) {
                wanted.push(entry);
            }
        }
        if list.reverse {
            wanted.reverse();
        }
        wanted.truncate(list.limit.unwrap_or(usize::MAX));
        let got = got.unwrap();
        assert!(got == wanted, "{}: {list:?}", first_difference(&got, &wanted));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(change) => self.change(change),
            Step::PutSync(t, k, v) => {
                self.put(*t, self.key(*t, k), bytes(v), WriteOptions::new().durability(Durability::Sync));
                self.settle();
            }
            Step::PutIfAbsent(t, k, v) => {
                let (key, value) = (self.key(*t, k), bytes(v));
                let absent = self.record(*t, &key).is_none();
                assert_eq!(self.tree(*t).put_if_absent(&key, &value).unwrap(), absent);
                if absent {
                    let version = self.version_now(*t, &key, &value);
                    self.commit(vec![Effect::Set(*t, key, Some((value, version)))]);
                }
            }
            Step::CompareAndPut(t, k, right, v) => {
                let (key, value) = (self.key(*t, k), bytes(v));
                let there = self.record(*t, &key).map(|(_, version)| version);
                let version = there.unwrap_or(1) + u64::from(!right);
                let outcome = self.tree(*t).compare_and_put(&key, version, &value);
                if there == Some(version) {
                    let version = self.newer(outcome.unwrap());
                    self.commit(vec![Effect::Set(*t, key, Some((value, version)))]);
                } else {
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
                }
            }
            Step::Replace(t, k, v) => {
                let (key, value) = (self.key(*t, k), bytes(v));
                let old = self.tree(*t).replace(&key, &value).unwrap().map(|r| (r.value, r.version));
                assert_eq!(old, self.record(*t, &key));
                let version = self.version_now(*t, &key, &value);
                self.commit(vec![Effect::Set(*t, key, Some((value, version)))]);
            }
            Step::Take(t, k) => {
                let key = self.key(*t, k);
                let old = self.tree(*t).take(&key).unwrap().map(|r| (r.value, r.version));
                assert_eq!(old, self.record(*t, &key));
                if old.is_some() {
                    self.commit(vec![Effect::Set(*t, key, None)]);
                }
            }
            Step::DeleteIfVersion(t, k, right) => {
                let key = self.key(*t, k);
                let there = self.record(*t, &key).map(|(_, version)| version);
                let version = there.unwrap_or(1) + u64::from(!right);
                let outcome = self.tree(*t).delete_if_version(&key, version);
                match there {
                    None => assert!(!outcome.unwrap()),
                    Some(there) if there != version => {
                        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
                    }
                    Some(_) => {
                        assert!(outcome.unwrap());
                        self.commit(vec![Effect::Set(*t, key, None)]);
                    }
                }
            }
            Step::Batch(expects, changes) => self.batch(expects, changes),
            Step::Fill { tree, under, count, value, ascending } => {
                let mut under = self.key(*tree, under);
                under.truncate(KEY_BYTES_MAX - 16);
                for i in 0..*count {
                    let name = if *ascending { i } else { i * 7919 % count };
                    let key = [&under[..], format!("/{name:08}").as_bytes()].concat();
                    self.put(*tree, key, bytes(value), WriteOptions::new());
                }
            }
            Step::Load { tree, under, count, stride, value, beside } => {
                let mut under = self.key(*tree, under);
                under.truncate(KEY_BYTES_MAX - 16);
                let mut keys: BTreeSet<Vec<u8>> = beside.iter().map(|key| self.key(*tree, key)).collect();
                for i in 0..*count {
                    keys.insert([&under[..], format!("/{:08}", i * stride).as_bytes()].concat());
                }
                self.load(*tree, keys, &bytes(value));
            }
            Step::Clear { tree, from, percent } => {
                let keys: Vec<Vec<u8>> = self.map(*tree).into_keys().collect();
                if keys.is_empty() {
                    return;
                }
                let handle = self.tree(*tree);
                for key in keys.iter().cycle().skip(from.index(keys.len())).take(keys.len() * percent / 100) {
                    assert!(handle.delete(key).unwrap());
                    self.commit(vec![Effect::Set(*tree, key.clone(), None)]);
                }
            }
            Step::Get(t, k) => {
                let key = self.key(*t, k);
                let wanted = self.record(*t, &key);
                let tree = self.tree(*t);
                let got = tree.get_record(&key).unwrap().map(|r| (r.value, r.version));
                assert_eq!(got, wanted);
                let wanted = wanted.map(|(value, _)| value);
                assert_eq!(tree.get(&key).unwrap(), wanted);
                assert_eq!(tree.get_with(&key, <[u8]>::to_vec).unwrap(), wanted);
                assert_eq!(tree.contains(&key).unwrap(), wanted.is_some());
            }
            Step::Count(t, k) => {
                let prefix = self.key(*t, k);
                let map = self.map(*t);
                let mut wanted = [0; 3];
                for (key, (value, _)) in map.iter().filter(|(key, _)| key.starts_with(&prefix)) {
                    for (sum, more) in wanted.iter_mut().zip([1, key.len(), value.len()]) {
                        *sum += more as u64;
                    }
                }
                let got = self.tree(*t).count_prefix(&prefix).unwrap();
                let got = [got.keys, got.key_bytes, got.value_bytes];
                assert_eq!(got, wanted, "{}", prefix.escape_ascii());
            }
            Step::LongestPrefix(t, k) => {
                let key = self.key(*t, k);
                let map = self.map(*t);
                let wanted = (1..=key.len()).rev().find_map(|len| map.get_key_value(&key[..len]));
                let got = self.tree(*t).longest_prefix(&key).unwrap();
                let got = got.map(|(key, r)| (key, (r.value, r.version)));
                assert_eq!(got, wanted.map(|(key, record)| (key.clone(), record.clone())));
            }
            Step::List(t, l) => self.list(*t, l),
            Step::Drop(t) => {
                let outcome = self.db().drop_tree(TREES[*t]);
                if self.state.contains_key(TREES[*t]) {
                    outcome.unwrap();
                    self.commit(vec![Effect::Drop(*t)]);
                } else {
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound);
                }
            }
            Step::Sync => {
                self.db().sync().unwrap();
                self.settle();
            }
            Step::Checkpoint => {
                self.db().checkpoint().unwrap();
                self.settle();
            }
            Step::Compact => {
                self.db().compact().unwrap();
                self.settle();
            }
            Step::Check => {
                common::assert_sound(self.db());
                self.settle();
            }
            Step::Reopen => {
                self.db().close().unwrap();
                self.settle();
                self.db = None;
                self.open();
                self.verify();
            }
            Step::Crash => {
                self.db = None;
                self.open();
                self.match_prefix();
            }
            Step::PowerCut(seed) => {
                let left = self.storage.crash(*seed);
                self.db = None;
                self.storage = left;
                self.open();
                self.match_prefix();
            }
        }
    }

    fn actual(&self) -> State {
        let names = self.db().tree_names();
        let known = |name: &String| *TREES.iter().find(|tree| *tree == name).expect("a tree of the test");
        names
            .iter()
            .map(|name| (known(name), records(&self.db().existing_tree(name).unwrap()).unwrap()))
            .collect()
    }

    fn verify(&self) {
        assert!(self.actual() == self.state, "the contents differ from the model");
    }

    /// After a crash: what is there is what was durable, and a prefix of the commits since.
    fn match_prefix(&mut self) {
        let actual = self.actual();
        let mut state = std::mem::take(&mut self.base);
        let log = std::mem::take(&mut self.log);
        let mut differing = differences(&state, &actual);
        let mut kept = (differing == 0).then_some(0);
        let mut best = state.clone();
        for (at, effects) in log.iter().enumerate() {
            for effect in effects {
                match effect {
                    Effect::Set(tree, key, _) => {
                        let differs = |state: &State| {
                            let now = state.get(TREES[*tree]).and_then(|map| map.get(key));
                            usize::from(now != actual.get(TREES[*tree]).and_then(|map| map.get(key)))
                        };
                        differing -= differs(&state);
                        apply(&mut state, effect);
                        differing += differs(&state);
                    }
                    _ => {
                        apply(&mut state, effect);
                        differing = differences(&state, &actual);
                    }
                }
            }
            if differing == 0 {
                kept = Some(at + 1);
                best.clone_from(&state);
            }
        }
        assert!(
            kept.is_some(),
            "after the crash the contents are no prefix of the {} open commits",
            log.len()
        );
        self.state = best.clone();
        self.base = best;
    }
}

fn differences(left: &State, right: &State) -> usize {
    let empty = Map::new();
    TREES
        .iter()
        .map(|name| {
            let there = usize::from(left.contains_key(name) != right.contains_key(name));
            let (a, b) = (left.get(name).unwrap_or(&empty), right.get(name).unwrap_or(&empty));
            let changed = a.iter().filter(|(key, record)| b.get(*key) != Some(record)).count();
            there + changed + b.keys().filter(|key| !a.contains_key(*key)).count()
        })
        .sum()
}

fn first_difference(got: &[Entry], wanted: &[Entry]) -> String {
    let at = got.iter().zip(wanted).position(|(a, b)| a != b).unwrap_or(got.len().min(wanted.len()));
    let key =
        |list: &[Entry]| list.get(at).map(|e| e.key()[..e.key().len().min(60)].escape_ascii().to_string());
    format!("item {at} of {} (wanted {}): {:?}, wanted {:?}", got.len(), wanted.len(), key(got), key(wanted))
}

fn bytes(value: &Value) -> Vec<u8> {
    (0..value.len).map(|i| value.fill.wrapping_add((i % 251) as u8)).collect()
}

fn run(config: Config, steps: &[Step]) {
    let mut world = World::new(config);
    for step in steps {
        world.step(step);
    }
    world.verify();
    common::assert_sound(world.db());
}

fn settings(usual: u64) -> ProptestConfig {
    ProptestConfig {
        cases: cases(usual) as u32,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings(500))]

    #[test]
    fn nothing_acknowledged_is_lost_in_sync_mode(background: bool, large: bool, steps in prop::collection::vec(step(), 1..220)) {
        run(Config { sync: true, background, large }, &steps);
    }

    #[test]
    fn a_crash_leaves_a_prefix_in_batched_mode(background: bool, large: bool, steps in prop::collection::vec(step(), 1..220)) {
        run(Config { sync: false, background, large }, &steps);
    }
}
