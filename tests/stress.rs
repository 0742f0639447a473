//! Random work from several threads against models, with a small cache, checkpoints, crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::{Db, Durability, Entry, IfExists, Options, Tree};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) * bound) >> 31
    }
}

fn all(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    tree.iter()
        .map(|entry| match entry.unwrap() {
            Entry::Record { key, value, .. } => (key, value),
            Entry::CommonPrefix(_) => unreachable!(),
        })
        .collect()
}

fn key(random: &mut Random, thread: u64) -> Vec<u8> {
    let n = random.below(6000);
    let long = if n.is_multiple_of(50) { 2000 } else { 0 };
    [format!("d{:02}/{:04}-{thread}", n % 40, n).as_bytes(), &vec![0xFF; long]].concat()
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn work(tree: &Tree, db: &Db, thread: u64, steps: u64, model: &mut Model) {
    let mut random = Random(thread * 77 + 5);
    for step in 0..steps {
        let key1 = key(&mut random, thread);
        let value = vec![step as u8; random.below(if step.is_multiple_of(20) { 4000 } else { 300 }) as usize];
        let phase = step / 6000 % 2;
        match random.below(12) + 3 * phase {
            0..=5 => {
                tree.put(&key1, &value).unwrap();
                model.insert(key1, value);
            }
            6 => {
                let key2 = key(&mut random, thread);
                let expected = model.get(&key1).cloned();
                let done = tree.rename(&key1, &key2, IfExists::Replace);
                assert_eq!(done.is_ok(), expected.is_some(), "{done:?}");
                if let Some(value) = expected {
                    model.remove(&key1);
                    model.insert(key2, value);
                }
            }
            7 => {
                let keys: Vec<_> = (0..random.below(12)).map(|_| key(&mut random, thread)).collect();
                db.batch(|b| {
                    for (n, key) in keys.iter().enumerate() {
                        match n % 3 {
                            2 => b.delete(tree, key),
                            _ => b.put(tree, key, &value),
                        }
                    }
                })
                .unwrap();
                for (n, key) in keys.into_iter().enumerate() {
                    match n % 3 {
                        2 => drop(model.remove(&key)),
                        _ => drop(model.insert(key, value.clone())),
                    }
                }
            }
            8 => assert_eq!(tree.get(&key1).unwrap(), model.get(&key1).cloned()),
            _ => assert_eq!(tree.delete(&key1).unwrap(), model.remove(&key1).is_some()),
        }
    }
}

#[test]
fn threads_against_their_models_in_a_small_cache() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let batched = Durability::Batched { bytes: 1 << 16, interval: None };
    let options =
        Options::new().storage(storage).cache_bytes(4 << 20).journal_bytes(1 << 20).durability(batched);
    let db = options.open("").unwrap();
    let stop = AtomicBool::new(false);
    let mut models = vec![Model::new(); 3];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let tree = db.default_tree();
            let mut random = Random(1);
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                rounds += 1;
                if rounds % 8 == 0 {
                    db.compact().unwrap();
                }
                let mut last = None;
                for entry in tree.iter().keys_only() {
                    let key = entry.unwrap().key().to_vec();
                    assert!(last.as_ref().is_none_or(|last| *last < key));
                    last = Some(key);
                }
                let mut last = None;
                for entry in tree.prefix("d1").reverse() {
                    let key = entry.unwrap().key().to_vec();
                    assert!(last.as_ref().is_none_or(|last| *last > key));
                    last = Some(key);
                }
                for _ in 0..50 {
                    let probe = [key(&mut random, 1), b"zz".to_vec()].concat();
                    if let Some((found, _)) = tree.longest_prefix(&probe).unwrap() {
                        assert!(probe.starts_with(&found));
                    }
                }
            }
        });
        let writers: Vec<_> = models
            .iter_mut()
            .enumerate()
            .map(|(thread, model)| {
                let db = &db;
                scope.spawn(move || work(&db.default_tree(), db, thread as u64, 40_000, model))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let expected: Vec<_> = models.into_iter().flatten().collect::<Model>().into_iter().collect();
    assert_eq!(all(&db.default_tree()), expected);
    let report = db.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    db.compact().unwrap();
    assert_eq!(all(&db.default_tree()), expected);
    db.close().unwrap();
    drop(db);
    let db = options.open("").unwrap();
    assert_eq!(all(&db.default_tree()), expected);
    assert!(db.check().unwrap().is_sound());
}

#[test]
fn crashes_beside_writers_keep_what_was_acknowledged() {
    for seed in 0..12u64 {
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
                let after = fault.crash(seed * 100 + round);
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
    let mut random = Random(99);
    let letters = [0u8, 1, b'/', b'a', 0xFE, 0xFF];
    let word = |random: &mut Random| -> Vec<u8> {
        (0..random.below(7)).map(|_| letters[random.below(6) as usize]).collect()
    };
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..3000 {
        let mut key = word(&mut random);
        if random.below(4) == 0 {
            key.extend(vec![letters[random.below(6) as usize]; 900]);
            key.extend(word(&mut random));
        }
        if !key.is_empty() {
            tree.put(&key, vec![1; random.below(600) as usize]).unwrap();
            keys.insert(key);
        }
    }
    for round in 0..6000 {
        let reverse = random.below(2) == 0;
        let delimiter = (random.below(3) > 0).then(|| letters[random.below(6) as usize]);
        let after = (random.below(3) == 0).then(|| word(&mut random));
        let limit = if random.below(3) == 0 { random.below(200) as usize } else { usize::MAX };
        let (low, high, behind, mut scan) = if random.below(2) == 0 {
            let prefix = word(&mut random);
            (prefix.clone(), None, prefix.len(), tree.prefix(&prefix))
        } else {
            let (a, b) = (word(&mut random), word(&mut random));
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
