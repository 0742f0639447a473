//! Random work from several threads against models, with a small cache, checkpoints, compactions, directory moves, closes and
//! power cuts, for a time.
//!
//! `RAMUS_TEST_SEED` sets the seed, which is printed, and `RAMUS_STRESS_SECONDS` the time (4 unless set). A seed gives each thread
//! the same calls; how they meet is up to the system.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Dice, assert_sound, seed, watched};
use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Tree};

const WRITERS: usize = 3;
/// Directories of each writer.
const DIRECTORIES: usize = 6;
/// Names in each.
const NAMES: usize = 1000;
/// Records that a writer has at least when it begins, so that there is more than the cache holds.
const RECORDS_MIN: usize = 3000;
/// The longest that a database stays open.
const ROUND: Duration = Duration::from_millis(1500);

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn all(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    under(tree, b"").into_iter().collect()
}

fn under(tree: &Tree, prefix: &[u8]) -> Model {
    let record = |entry| match entry {
        Entry::Record { key, value, .. } => (key, value),
        Entry::CommonPrefix(_) => unreachable!("there is no delimiter"),
    };
    tree.prefix(prefix).map(|entry| record(entry.unwrap())).collect()
}

/// What starts with `prefix`.
fn below<'m>(model: &'m Model, prefix: &'m [u8]) -> impl Iterator<Item = (&'m Vec<u8>, &'m Vec<u8>)> {
    model.range(prefix.to_vec()..).take_while(move |(key, _)| key.starts_with(prefix))
}

/// One writer: its keys start with its number, in two trees, and a model of each knows what is there.
struct Writer<'a> {
    number: usize,
    dice: Dice,
    trees: [Tree; 2],
    models: &'a mut [Model; 2],
}

impl Writer<'_> {
    fn directory(&mut self) -> Vec<u8> {
        format!("{}/d{}/", self.number, self.dice.below(DIRECTORIES)).into_bytes()
    }

    fn key(&mut self) -> Vec<u8> {
        let name = self.dice.below(NAMES);
        let long = if name.is_multiple_of(50) { 2000 } else { 0 };
        [&self.directory()[..], format!("{name:04}").as_bytes(), &vec![0xFF; long]].concat()
    }

    fn value(&mut self) -> Vec<u8> {
        let bytes = if self.dice.below(20) == 0 { 4000 } else { 900 };
        vec![self.dice.below(256) as u8; self.dice.below(bytes)]
    }

    /// Everything that starts with `src`, taken out of the model.
    fn take(model: &mut Model, src: &[u8]) -> Model {
        let keys: Vec<_> = below(model, src).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| model.remove_entry(&key)).collect()
    }

    fn fill(&mut self, db: &Db) {
        while self.models.iter().map(Model::len).sum::<usize>() < RECORDS_MIN {
            self.batch(db, 12);
        }
    }

    fn step(&mut self, db: &Db) {
        let at = self.dice.below(2);
        let (key, other, value) = (self.key(), self.key(), self.value());
        let tree = self.trees[at].clone();
        match self.dice.below(1000) {
            0..500 => {
                tree.put(&key, &value).unwrap();
                self.models[at].insert(key, value);
            }
            500..580 => assert_eq!(tree.delete(&key).unwrap(), self.models[at].remove(&key).is_some()),
            580..630 => {
                let done = tree.rename(&key, &other, IfExists::Replace);
                match self.models[at].remove(&key) {
                    Some(value) => {
                        done.unwrap();
                        self.models[at].insert(other, value);
                    }
                    None => assert_eq!(done.unwrap_err().kind(), ErrorKind::NotFound),
                }
            }
            630..680 => {
                let absent = !self.models[at].contains_key(&key);
                assert_eq!(tree.put_if_absent(&key, &value).unwrap(), absent);
                if absent {
                    self.models[at].insert(key, value);
                }
            }
            680..750 => {
                let most = self.dice.below(12);
                self.batch(db, most);
            }
            750..930 => assert_eq!(tree.get(&key).unwrap().as_ref(), self.models[at].get(&key)),
            930..960 => {
                let directory = self.directory();
                let expected = || below(&self.models[at], &directory);
                assert_eq!(tree.count_prefix(&directory).unwrap().keys, expected().count() as u64);
                assert!(under(&tree, &directory).iter().eq(expected()), "a listing of {directory:?}");
            }
            960..988 => self.move_directory(at),
            988..990 => {
                let directory = self.directory();
                tree.delete_prefix(&directory).unwrap();
                Self::take(&mut self.models[at], &directory);
            }
            _ => {
                let (directory, first) = (self.directory(), self.dice.below(NAMES));
                let [low, high] = [first, first + 20]
                    .map(|name| [&directory[..], format!("{name:04}").as_bytes()].concat());
                tree.delete_range(low.clone()..high.clone()).unwrap();
                self.models[at].retain(|key, _| *key < low || *key >= high);
            }
        }
    }

    fn batch(&mut self, db: &Db, changes: usize) {
        let value = self.value();
        let changes: Vec<_> = (0..changes).map(|n| (n % 2, n % 3 == 2, self.key())).collect();
        let trees = &self.trees;
        db.batch(|b| {
            for (at, deletes, key) in &changes {
                match deletes {
                    true => b.delete(&trees[*at], key),
                    false => b.put(&trees[*at], key, &value),
                }
            }
        })
        .unwrap();
        for (at, deletes, key) in changes {
            match deletes {
                true => drop(self.models[at].remove(&key)),
                false => drop(self.models[at].insert(key, value.clone())),
            }
        }
    }

    fn move_directory(&mut self, from: usize) {
        let to = self.dice.below(2);
        let (src, dst) = (self.directory(), self.directory());
        let replaces = self.dice.below(8) == 0;
        let how = if replaces { IfExists::Replace } else { IfExists::Fail };
        let done = self.trees[from].rename_prefix_to(&self.trees[to], &src, &dst, how);
        if below(&self.models[from], &src).next().is_none() {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::NotFound);
            return;
        }
        if !replaces && (from, &src) != (to, &dst) && below(&self.models[to], &dst).next().is_some() {
            assert_eq!(done.unwrap_err().kind(), ErrorKind::Exists);
            return;
        }
        done.unwrap();
        let moved = Self::take(&mut self.models[from], &src);
        if (from, &src) != (to, &dst) {
            Self::take(&mut self.models[to], &dst);
        }
        let renamed = |key: Vec<u8>| [&dst[..], &key[src.len()..]].concat();
        self.models[to].extend(moved.into_iter().map(|(key, value)| (renamed(key), value)));
    }
}

/// Makes checkpoints, compacts, and looks at everything, over and over.
fn upkeep(db: &Db, mut dice: Dice, stop: &AtomicBool) {
    let tree = db.default_tree();
    while !stop.load(Ordering::Relaxed) {
        match dice.below(8) {
            0 => db.compact().unwrap(),
            1 | 2 => db.checkpoint().unwrap(),
            3 => db.sync().unwrap(),
            4 => drop(db.survey().unwrap()),
            5 => {
                let probe = format!("{}/d{}/0001zz", dice.below(WRITERS), dice.below(DIRECTORIES));
                if let Some((found, _)) = tree.longest_prefix(&probe).unwrap() {
                    assert!(probe.as_bytes().starts_with(&found));
                }
            }
            turn => {
                let scan = if turn == 6 { tree.iter() } else { tree.iter().reverse() };
                let keys: Vec<_> =
                    scan.keys_only().map(|entry| entry.unwrap().key().to_vec()).take(4000).collect();
                assert!(
                    keys.is_sorted_by(|a, b| if turn == 6 { a < b } else { a > b }),
                    "a listing out of order"
                );
            }
        }
    }
}

/// Opens what is there, works on it until `end`, and ends it in one of the ways that keep what was acknowledged.
fn round(storage: &FaultStorage, seed: u64, models: &mut [[Model; 2]], end: Instant) -> FaultStorage {
    let mut dice = Dice(seed);
    let sync = dice.below(2) == 0;
    let batched = Durability::Batched { bytes: 1 << 16, interval: Some(Duration::from_millis(20)) };
    let db = Options::new()
        .storage(Arc::new(storage.clone()) as Arc<dyn Storage>)
        .cache_bytes((4 + 8 * dice.below(2) as u64) << 20)
        .journal_bytes(1 << 20)
        .durability(if sync { Durability::Sync } else { batched })
        .background(dice.below(3) > 0)
        .open("")
        .unwrap();
    let trees = [db.default_tree(), db.tree("other").unwrap()];
    assert_as_models(&trees, models);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let keeper = Dice(dice.roll());
        let keeping = scope.spawn(|| upkeep(&db, keeper, &stop));
        let writers = models.iter_mut().enumerate().map(|(number, models)| {
            let (db, trees) = (&db, trees.clone());
            let mut writer = Writer { number, dice: Dice(dice.roll()), trees, models };
            scope.spawn(move || {
                writer.fill(db);
                while Instant::now() < end {
                    writer.step(db);
                }
            })
        });
        let ended: Vec<_> = writers.collect::<Vec<_>>().into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        keeping.join().unwrap();
        ended.into_iter().for_each(Result::unwrap);
    });
    assert_as_models(&trees, models);
    assert_sound(&db);
    let stats = db.stats();
    println!(
        "blobs: {} read, {} evicted; {} checkpoints",
        stats.blob_reads, stats.evictions, stats.checkpoints
    );
    drop(trees);
    match dice.below(3) {
        0 => db.close().unwrap(),
        1 => drop(db),
        _ => {
            if !sync {
                db.sync().unwrap();
            }
            return storage.crash(dice.roll());
        }
    }
    storage.clone()
}

fn assert_as_models(trees: &[Tree; 2], models: &[[Model; 2]]) {
    for (at, tree) in trees.iter().enumerate() {
        let expected: Model = models.iter().flat_map(|models| models[at].clone()).collect();
        assert!(under(tree, b"") == expected, "tree {} is not as its models", tree.name());
    }
}

#[test]
fn everything_at_once_against_models() {
    let mut dice = Dice(seed());
    let seconds = std::env::var("RAMUS_STRESS_SECONDS").map_or(4.0, |text| text.trim().parse().unwrap());
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut storage = FaultStorage::new();
    let mut models = vec![<[Model; 2]>::default(); WRITERS];
    let mut rounds = 0;
    while rounds < 2 || Instant::now() < end {
        let stops = Instant::now() + ROUND.mul_f64(dice.below(100) as f64 / 100.0);
        storage = watched("a round of stress", || round(&storage, dice.roll(), &mut models, stops));
        rounds += 1;
    }
    println!(
        "{rounds} rounds, {} records at the end",
        models.iter().flatten().map(Model::len).sum::<usize>()
    );
}

#[test]
fn crashes_beside_writers_keep_what_was_acknowledged() {
    let first = seed();
    for seed in (0..12).map(|n| first.wrapping_add(n)) {
        let fault = FaultStorage::new();
        let sync = seed % 3 != 0;
        let durability =
            if sync { Durability::Sync } else { Durability::Batched { bytes: 4096, interval: None } };
        let options = |fault: &FaultStorage| {
            let storage: Arc<dyn Storage> = Arc::new(fault.clone());
            Options::new().storage(storage).cache_bytes(4 << 20).journal_bytes(1 << 20).durability(durability)
        };
        let db = options(&fault).background(seed % 2 == 0).open("").unwrap();
        let stop = AtomicBool::new(false);
        let acknowledged: [AtomicU64; 3] = Default::default();
        std::thread::scope(|scope| {
            for (thread, acknowledged) in acknowledged.iter().enumerate() {
                let (db, stop) = (&db, &stop);
                scope.spawn(move || {
                    let tree = db.default_tree();
                    let mut n = 0u64;
                    while !stop.load(Ordering::Relaxed) {
                        // Each commit moves a window of 300 keys, so that blobs come and go.
                        let new = format!("{:08}/{thread}", n * 7919 % 65536);
                        db.batch(|b| {
                            b.put(&tree, &new, [n as u8; 700]);
                            b.put(&tree, format!("count/{thread}"), n.to_le_bytes());
                            if let Some(old) = n.checked_sub(300) {
                                b.delete(&tree, format!("{:08}/{thread}", old * 7919 % 65536));
                            }
                        })
                        .unwrap();
                        acknowledged.store(n, Ordering::SeqCst);
                        n += 1;
                    }
                });
            }
            for round in 0..6 {
                std::thread::sleep(std::time::Duration::from_millis(60));
                let least: Vec<_> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
                let after = fault.crash(seed.wrapping_mul(100) + round);
                let reopened = options(&after).background(false).open("").unwrap();
                let tree = reopened.default_tree();
                let mut expected = Model::new();
                for (thread, least) in least.into_iter().enumerate() {
                    let Some(count) = tree.get(format!("count/{thread}")).unwrap() else {
                        assert!(least == 0 || !sync);
                        continue;
                    };
                    expected.insert(format!("count/{thread}").into_bytes(), count.clone());
                    let count = u64::from_le_bytes(count.try_into().unwrap());
                    assert!(!sync || count >= least, "{count} {least}");
                    for n in count.saturating_sub(299)..=count {
                        let key = format!("{:08}/{thread}", n * 7919 % 65536);
                        expected.insert(key.into_bytes(), vec![n as u8; 700]);
                    }
                }
                assert_eq!(all(&tree), expected.into_iter().collect::<Vec<_>>());
                let report = reopened.check().unwrap();
                assert!(report.is_sound(), "{:?}", report.problems);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Item(Vec<u8>, bool);

#[test]
fn listings_agree_with_a_model() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Options::new().storage(storage).background(false).open("").unwrap();
    let tree = db.default_tree();
    let mut dice = Dice(seed());
    let letters = [0u8, 1, b'/', b'a', 0xFE, 0xFF];
    let word = |dice: &mut Dice| -> Vec<u8> { (0..dice.below(7)).map(|_| letters[dice.below(6)]).collect() };
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..3000 {
        let mut key = word(&mut dice);
        if dice.below(4) == 0 {
            key.extend(vec![letters[dice.below(6)]; 900]);
            key.extend(word(&mut dice));
        }
        if !key.is_empty() {
            tree.put(&key, vec![1; dice.below(600)]).unwrap();
            keys.insert(key);
        }
    }
    for round in 0..6000 {
        let reverse = dice.below(2) == 0;
        let delimiter = (dice.below(3) > 0).then(|| letters[dice.below(6)]);
        let after = (dice.below(3) == 0).then(|| word(&mut dice));
        let limit = if dice.below(3) == 0 { dice.below(200) } else { usize::MAX };
        let (low, high, behind, mut scan) = if dice.below(2) == 0 {
            let prefix = word(&mut dice);
            (prefix.clone(), None, prefix.len(), tree.prefix(&prefix))
        } else {
            let (a, b) = (word(&mut dice), word(&mut dice));
            let (a, b) = if a < b { (a, b) } else { (b, a) };
            (a.clone(), Some(b.clone()), 0, tree.range(a..b))
        };
        let mut items: Vec<Item> = Vec::new();
        for key in keys.range(low.clone()..) {
            let inside = match &high {
                Some(high) => key < high,
                None => key.starts_with(&low),
            };
            if !inside {
                break;
            }
            let at = delimiter.and_then(|d| key[behind..].iter().position(|&b| b == d));
            let item = match at {
                Some(at) => Item(key[..behind + at + 1].to_vec(), true),
                None => Item(key.clone(), false),
            };
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        if reverse {
            items.reverse();
            scan = scan.reverse();
        }
        if let Some(after) = &after {
            items.retain(|item| if reverse { item.0 < *after } else { item.0 > *after });
            scan = scan.start_after(after);
        }
        if let Some(delimiter) = delimiter {
            scan = scan.delimiter(delimiter);
        }
        items.truncate(limit);
        if limit != usize::MAX {
            scan = scan.limit(limit);
        }
        if round % 2 == 0 {
            scan = scan.keys_only();
        }
        let found: Vec<Item> = scan
            .map(|entry| match entry.unwrap() {
                Entry::Record { key, .. } => Item(key, false),
                Entry::CommonPrefix(key) => Item(key, true),
            })
            .collect();
        let differ = found.iter().zip(&items).find(|(a, b)| a != b);
        assert!(
            found == items,
            "{low:?}..{high:?} reverse {reverse} delimiter {delimiter:?} after {after:?} limit {limit}: {differ:?}"
        );
    }
}
