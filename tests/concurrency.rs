//! Many threads on one database: counters add up, transfers keep their sum, a renamed record is always at one of its
//! places, a listing gives every key that stays exactly once and in order, a longest
//! prefix is where its directory is. Blobs are split, merged, evicted, loaded and cut for checkpoints meanwhile.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Dice, assert_sound, cases, records, watched};
use ramus::io::{MemoryStorage, Storage};
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Record, Tree};

const THREADS: usize = 8;

fn open(cache: u64, durability: Durability) -> Db {
    open_on(&MemoryStorage::new(), cache, durability)
}

fn open_on(storage: &MemoryStorage, cache: u64, durability: Durability) -> Db {
    let options = Options::new().storage(Arc::new(storage.clone()) as Arc<dyn Storage>);
    options.cache_bytes(cache).journal_bytes(1 << 20).durability(durability).open("").unwrap()
}

fn batched() -> Durability {
    Durability::Batched { bytes: 1 << 14, interval: None }
}

/// Puts enough beside the keys of a test that the smallest cache cannot hold it all.
fn ballast(tree: &Tree, count: usize) {
    for i in 0..count {
        tree.put(format!("ballast/{:04}/{i:06}", i % 97), vec![i as u8; 700]).unwrap();
    }
}

fn number(record: &Record) -> u64 {
    u64::from_le_bytes(record.value[..8].try_into().expect("a number"))
}

/// Runs `work` in some threads with a seed each, and `beside` until they are done.
fn run(threads: usize, work: impl Fn(usize, &mut Dice) + Sync, beside: &[&(dyn Fn(&mut Dice) + Sync)]) {
    let seed = common::seed();
    let over = AtomicBool::new(false);
    watched("threads", || {
        std::thread::scope(|scope| {
            for (at, beside) in beside.iter().enumerate() {
                let over = &over;
                scope.spawn(move || {
                    let mut dice = Dice(seed ^ (1000 + at as u64));
                    while !over.load(Ordering::Relaxed) {
                        beside(&mut dice);
                    }
                });
            }
            let workers: Vec<_> = (0..threads)
                .map(|at| {
                    let work = &work;
                    scope.spawn(move || work(at, &mut Dice(seed ^ at as u64)))
                })
                .collect();
            let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            over.store(true, Ordering::Relaxed);
            outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        });
    });
}

#[test]
fn no_increment_is_lost() {
    let db = open(4 << 20, Durability::Sync);
    let tree = db.default_tree();
    ballast(&tree, 8000);
    let keys: Vec<String> = (0..40).map(|i| format!("ballast/{:04}/counter{i}", i * 2)).collect();
    for key in &keys {
        tree.put(key, 0u64.to_le_bytes()).unwrap();
    }
    let rounds = cases(1500);
    let work = |_, dice: &mut Dice| {
        for _ in 0..rounds {
            let key = &keys[dice.below(keys.len())];
            loop {
                let record = tree.get_record(key).unwrap().expect("the counter is there");
                let next = number(&record) + 1;
                match tree.compare_and_put(key, record.version, next.to_le_bytes()) {
                    Ok(version) => {
                        assert!(version > record.version);
                        break;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
        }
    };
    run(THREADS, work, &[&|_| db.checkpoint().unwrap()]);
    let sum: u64 = keys.iter().map(|key| number(&tree.get_record(key).unwrap().unwrap())).sum();
    assert_eq!(sum, THREADS as u64 * rounds);
    assert_sound(&db);
}

#[test]
fn transfers_keep_the_sum() {
    let storage = MemoryStorage::new();
    let db = open_on(&storage, 4 << 20, batched());
    let (tree, other) = (db.default_tree(), db.tree("other").unwrap());
    ballast(&tree, 6000);
    let accounts: Vec<(Tree, String)> = (0..16)
        .map(|i| match i % 4 {
            0 => (other.clone(), format!("account{i}")),
            _ => (tree.clone(), format!("ballast/{:04}/account{i}", i * 3)),
        })
        .collect();
    for (tree, key) in &accounts {
        tree.put(key, 1000u64.to_le_bytes()).unwrap();
    }
    let rounds = cases(1200);
    let read = |at: usize| accounts[at].0.get_record(&accounts[at].1).unwrap().expect("the account is there");
    let work = |_, dice: &mut Dice| {
        for _ in 0..rounds {
            let (from, to) = (dice.below(accounts.len()), dice.below(accounts.len()));
            if from == to {
                continue;
            }
            loop {
                let (a, b) = (read(from), read(to));
                let amount = (dice.below(10) as u64).min(number(&a));
                let outcome = db.batch(|batch| {
                    batch.expect_version(&accounts[from].0, &accounts[from].1, a.version);
                    batch.expect_version(&accounts[to].0, &accounts[to].1, b.version);
                    batch.put(&accounts[from].0, &accounts[from].1, (number(&a) - amount).to_le_bytes());
                    batch.put(&accounts[to].0, &accounts[to].1, (number(&b) + amount).to_le_bytes());
                });
                match outcome {
                    Ok(version) => {
                        assert!(version > a.version.max(b.version));
                        break;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
        }
    };
    let consistent = AtomicU64::new(0);
    // A sum counts when a batch of expectations proves that all of it was so at one instant.
    let audit = |_: &mut Dice| {
        let all: Vec<Record> = (0..accounts.len()).map(read).collect();
        let outcome = db.batch(|batch| {
            for ((tree, key), record) in accounts.iter().zip(&all) {
                batch.expect_version(tree, key, record.version);
            }
        });
        match outcome {
            Ok(_) => {
                assert_eq!(all.iter().map(number).sum::<u64>(), 1000 * accounts.len() as u64);
                consistent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    };
    run(THREADS, work, &[&audit, &|_| db.checkpoint().unwrap()]);
    audit(&mut Dice(0));
    assert!(consistent.into_inner() > 0);
    assert_sound(&db);
    drop((tree, other, accounts, db));
    let db = open_on(&storage, 4 << 20, batched());
    let sum = |tree: &Tree| -> u64 {
        let all = records(tree).unwrap();
        all.iter()
            .filter(|(key, _)| key.windows(7).any(|part| part == b"account"))
            .map(|(_, (value, _))| u64::from_le_bytes(value[..8].try_into().unwrap()))
            .sum()
    };
    assert_eq!(sum(&db.default_tree()) + sum(&db.tree("other").unwrap()), 16_000);
}

#[test]
fn both_halves_of_a_batch_show_together() {
    let db = open(4 << 20, batched());
    let tree = db.default_tree();
    ballast(&tree, 4000);
    // Both keys of a pair get the same number in each batch; whoever reads the second one later sees no older number.
    let pair = |i: usize| (format!("ballast/{i:04}/first"), format!("ballast/{:04}/second", 96 - i));
    for i in 0..8 {
        let (a, b) = pair(i);
        db.batch(|batch| [a, b].iter().for_each(|key| batch.put(&tree, key, 0u64.to_le_bytes()))).unwrap();
    }
    let rounds = cases(1500);
    let work = |at: usize, _: &mut Dice| {
        let (a, b) = pair(at);
        for n in 1..=rounds {
            let order = if n % 2 == 0 { [&a, &b] } else { [&b, &a] };
            db.batch(|batch| order.iter().for_each(|key| batch.put(&tree, key, n.to_le_bytes()))).unwrap();
        }
    };
    let watch = |dice: &mut Dice| {
        let (a, b) = pair(dice.below(8));
        for (first, then) in [(&a, &b), (&b, &a)] {
            let early = tree.get_record(first).unwrap().unwrap();
            let late = tree.get_record(then).unwrap().unwrap();
            assert!(
                number(&late) >= number(&early),
                "half of a batch: {} then {}",
                number(&early),
                number(&late)
            );
            assert!(late.version >= early.version);
        }
    };
    run(8, work, &[&watch, &watch, &|_| db.checkpoint().unwrap()]);
    assert_sound(&db);
}

#[test]
fn a_renamed_record_is_always_at_one_of_its_places() {
    let db = open(4 << 20, batched());
    let tree = db.default_tree();
    ballast(&tree, 5000);
    let place = |i: usize, side: usize| format!("ballast/{:04}/ball{i}", if side == 0 { i } else { 90 - i });
    for i in 0..4 {
        tree.put(place(i, 0), format!("ball {i}")).unwrap();
    }
    let rounds = cases(3000);
    // The record goes to and fro. A number counts the moves that have ended and one the moves begun: when neither changed
    // between two reads, one of them must have found it.
    let begun: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let ended: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let work = |at: usize, _: &mut Dice| {
        for n in 0..rounds {
            let (src, dst) = (place(at, n as usize % 2), place(at, (n as usize + 1) % 2));
            begun[at].store(n + 1, Ordering::SeqCst);
            tree.rename(src, dst, IfExists::Fail).unwrap();
            ended[at].store(n + 1, Ordering::SeqCst);
        }
    };
    let watch = |dice: &mut Dice| {
        let at = dice.below(4);
        let before = ended[at].load(Ordering::SeqCst);
        let (first, second) = (dice.below(2), dice.below(2));
        let seen = [first, 1 - first, second, 1 - second].map(|side| tree.get(place(at, side)).unwrap());
        let after = begun[at].load(Ordering::SeqCst);
        for value in seen.iter().flatten() {
            assert_eq!(value, format!("ball {at}").as_bytes());
        }
        if after <= before + 1 {
            // At most one move: the destination, then the source, cannot both be empty.
            let (src, dst) = (before as usize % 2, (before as usize + 1) % 2);
            let order = [first, 1 - first, second, 1 - second];
            for pair in [0, 2] {
                if order[pair] == src && order[pair + 1] == dst {
                    assert!(seen[pair].is_some() || seen[pair + 1].is_some(), "the record was nowhere");
                }
            }
            let both = (0..3).any(|i| {
                order[i] == dst && order[i + 1] == src && seen[i].is_some() && seen[i + 1].is_some()
            });
            assert!(!both, "the record was at its new place and then still at the old one");
        }
        // A batch of expectations sees both places at one instant.
        let none = db.batch(|batch| (0..2).for_each(|side| batch.expect_absent(&tree, place(at, side))));
        assert_eq!(none.unwrap_err().kind(), ErrorKind::Conflict);
    };
    run(4, work, &[&watch, &watch, &|_| db.checkpoint().unwrap()]);
    for i in 0..4 {
        let found = (0..2).filter(|side| tree.contains(place(i, *side)).unwrap()).count();
        assert_eq!(found, 1);
    }
    assert_sound(&db);
}

#[test]
fn a_listing_gives_every_stable_key_once_and_in_order() {
    let db = open(4 << 20, batched());
    let tree = db.default_tree();
    let stable: Vec<String> = (0..6000).map(|i| format!("d{:02}/{i:05}/stable", i % 23)).collect();
    for (i, key) in stable.iter().enumerate() {
        tree.put(key, vec![i as u8; 300]).unwrap();
    }
    let rounds = cases(10);
    // Each thread fills and empties ranges of its own, so that blobs split and merge all the time.
    let work = |at: usize, dice: &mut Dice| {
        for _ in 0..rounds {
            let from = dice.below(6000);
            let key = |i: usize| format!("d{:02}/{:05}/t{at}-{i}", (from + i) % 23, (from + i / 9) % 6000);
            (0..400).for_each(|i| assert!(tree.put(key(i), vec![7; 500]).unwrap() > 0));
            (0..400).for_each(|i| assert!(tree.delete(key(i)).unwrap()));
        }
    };
    let mut sorted = stable.clone();
    sorted.sort();
    let list = |reverse: bool| {
        let scan = if reverse { tree.iter().reverse() } else { tree.iter() };
        let mut found = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        for entry in scan {
            let Entry::Record { key, value, .. } = entry.unwrap() else { panic!("a common prefix") };
            if let Some(last) = &last {
                assert!(if reverse { key < *last } else { key > *last }, "out of order");
            }
            if key.ends_with(b"stable") {
                assert_eq!(value.len(), 300);
                found.push(String::from_utf8(key.clone()).unwrap());
            }
            last = Some(key);
        }
        if reverse {
            found.reverse();
        }
        assert!(found == sorted, "{} of {} stable keys", found.len(), sorted.len());
    };
    let roll = |_: &mut Dice| {
        let names: Vec<Vec<u8>> =
            tree.prefix(b"").delimiter(b'/').map(|entry| entry.unwrap().key().to_vec()).collect();
        let wanted: Vec<Vec<u8>> = (0..23).map(|i| format!("d{i:02}/").into_bytes()).collect();
        assert_eq!(names, wanted);
    };
    run(4, work, &[&|_| list(false), &|_| list(true), &roll, &|_| db.checkpoint().unwrap()]);
    list(false);
    assert_eq!(records(&tree).unwrap().len(), stable.len());
    assert_sound(&db);
}

#[test]
fn ranges_that_come_and_go_leave_a_sound_tree() {
    let db = open(4 << 20, batched());
    let tree = db.default_tree();
    let rounds = cases(6);
    let key = |at: usize, i: usize| format!("range{at}/{:02}/{i:05}", i % 7);
    // Every range grows the tree by levels' worth of blobs and takes them away again, up to the empty root.
    let work = |at: usize, dice: &mut Dice| {
        for _ in 0..rounds {
            let count = 200 + dice.below(800);
            for i in 0..count {
                tree.put(key(at, i), vec![i as u8; 1500]).unwrap();
                assert_eq!(tree.get(key(at, i)).unwrap().map(|v| v.len()), Some(1500));
            }
            let listed = tree.prefix(format!("range{at}/")).keys_only().count();
            assert_eq!(listed, count);
            let mut order: Vec<usize> = (0..count).collect();
            (1..count).for_each(|i| order.swap(i, dice.below(i + 1)));
            for i in order {
                assert_eq!(tree.take(key(at, i)).unwrap().map(|r| r.value[0]), Some(i as u8));
            }
            assert_eq!(tree.prefix(format!("range{at}/")).count(), 0);
        }
    };
    let read = |dice: &mut Dice| {
        let (at, i) = (dice.below(THREADS), dice.below(1000));
        if let Some(value) = tree.get(key(at, i)).unwrap() {
            assert_eq!(value, vec![i as u8; 1500]);
        }
        if let Some((found, _)) = tree.longest_prefix(key(at, i) + "/below").unwrap() {
            assert_eq!(found, key(at, i).into_bytes());
        }
    };
    run(THREADS, work, &[&read, &|_| db.checkpoint().unwrap(), &|_| db.compact().unwrap()]);
    assert_eq!(tree.iter().count(), 0);
    let survey = db.survey().unwrap().survey.unwrap();
    assert_eq!(survey.entries, 0);
    assert!(survey.leaf_blobs <= 3, "{survey:?}");
    assert_sound(&db);
}

/// A file in a directory that moves to and fro is the longest prefix below its name where the directory is, and what is above the
/// directory where it is not.
#[test]
fn the_longest_prefix_goes_along_with_a_directory_that_moves() {
    let db = open(8 << 20, batched());
    let tree = db.default_tree();
    ballast(&tree, 4000);
    let names = ["alpha/beta/dir/", "omega/dir/"];
    let shorter = ["alpha/", "omega/"];
    for key in shorter {
        tree.put(key, b"above").unwrap();
    }
    for i in 0..1500 {
        tree.put(format!("{}{i:05}", names[0]), vec![i as u8; 400]).unwrap();
    }
    // Even: the directory has stayed under the name of that half, modulo two; odd: it may be moving.
    let phase = AtomicU64::new(0);
    let (rounds, turns) = (cases(600), AtomicU64::new(0));
    let work = |at: usize, dice: &mut Dice| {
        if at > 0 {
            // Blobs beside the directory, in both places, are cut and merged.
            for _ in 0..rounds * 10 {
                let key = format!("{}~{:04}", names[dice.below(2)].trim_end_matches('/'), dice.below(2000));
                if dice.below(3) > 0 {
                    tree.put(&key, vec![1; 500]).unwrap();
                } else {
                    tree.delete(&key).unwrap();
                }
            }
            return;
        }
        for round in 0..rounds {
            phase.fetch_add(1, Ordering::SeqCst);
            let (src, dst) = if round % 2 == 0 { (names[0], names[1]) } else { (names[1], names[0]) };
            tree.rename_prefix(src, dst, IfExists::Fail).unwrap();
            phase.fetch_add(1, Ordering::SeqCst);
        }
    };
    let read = |dice: &mut Dice| {
        let (side, i) = (dice.below(2), dice.below(1500));
        let file = format!("{}{i:05}", names[side]);
        let before = phase.load(Ordering::SeqCst);
        let (found, record) = tree.longest_prefix(format!("{file}/x/y")).unwrap().expect("what is above");
        let has_stayed = phase.load(Ordering::SeqCst) == before && before.is_multiple_of(2);
        let is_there = found == file.as_bytes();
        assert!(is_there || found == shorter[side].as_bytes(), "{}", found.escape_ascii());
        assert_eq!(record.value, if is_there { vec![i as u8; 400] } else { b"above".to_vec() });
        if has_stayed {
            assert_eq!(is_there, before / 2 % 2 == side as u64, "{file} after {before} steps");
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    run(3, work, &[&read, &read]);
    assert!(turns.load(Ordering::Relaxed) > 0);
    assert_sound(&db);
}

#[test]
fn a_dropped_tree_answers_not_found_and_nothing_else_suffers() {
    let db = open(4 << 20, batched());
    let stay = db.default_tree();
    ballast(&stay, 3000);
    let rounds = cases(12);
    let work = |at: usize, dice: &mut Dice| {
        let name = format!("temporary{at}");
        for round in 0..rounds {
            let tree = db.tree(&name).unwrap();
            assert_eq!(tree.iter().count(), 0, "a new tree of an old name is empty");
            for i in 0..50 + dice.below(200) {
                tree.put(format!("{i:04}"), vec![round as u8; 1000]).unwrap();
            }
            db.drop_tree(&name).unwrap();
            for outcome in [
                tree.get(b"0001").map(drop),
                tree.put(b"0001", b"").map(drop),
                tree.delete(b"0001").map(drop),
                tree.rename(b"0001", b"0002", IfExists::Fail).map(drop),
                tree.iter().next().expect("an item").map(drop),
                db.batch(|b| b.put(&tree, b"0001", b"")).map(drop),
                db.existing_tree(&name).map(drop),
                db.drop_tree(&name),
            ] {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound);
            }
        }
    };
    let read = |dice: &mut Dice| {
        let Ok(tree) = db.existing_tree(&format!("temporary{}", dice.below(4))) else { return };
        for entry in tree.iter() {
            match entry {
                Ok(Entry::Record { value, .. }) => {
                    assert!(value.len() == 1000 && value.iter().all(|&b| b == value[0]))
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
        match tree.get(b"0007") {
            Ok(Some(value)) => assert!(value.len() == 1000 && value.iter().all(|&b| b == value[0])),
            Ok(None) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        let i = dice.below(3000);
        let value = stay.get(format!("ballast/{:04}/{i:06}", i % 97)).unwrap();
        assert_eq!(value, Some(vec![i as u8; 700]));
    };
    run(4, work, &[&read, &read, &|_| db.checkpoint().unwrap()]);
    assert_eq!(db.tree_names(), ["default"]);
    assert_sound(&db);
}

#[test]
fn commits_of_many_threads_survive_in_an_order_that_each_of_them_saw() {
    use ramus::io::FaultStorage;
    let mut dice = Dice(common::seed());
    for round in 0..cases(12) {
        let storage = FaultStorage::new();
        storage.fail_after(100 + dice.below(1500) as u64);
        let durability = if round % 2 == 0 { Durability::Sync } else { batched() };
        let options = common::small(&storage).durability(durability).background(true);
        let Ok(db) = options.open("") else { continue };
        let tree = db.default_tree();
        // What each thread put, in order, and how many of that were acknowledged.
        let acknowledged: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for (at, acknowledged) in acknowledged.iter().enumerate() {
                let tree = &tree;
                scope.spawn(move || {
                    for n in 1..=2000u64 {
                        if tree.put(format!("{at}/{:02}", n % 50), n.to_le_bytes()).is_err() {
                            return;
                        }
                        acknowledged.store(n, Ordering::SeqCst);
                    }
                });
            }
        });
        let left = storage.crash(dice.roll());
        drop((tree, db));
        let db = common::small(&left).durability(durability).open("").unwrap();
        let mut last: HashMap<u8, u64> = HashMap::new();
        let all = records(&db.default_tree()).unwrap();
        for (key, (value, _)) in &all {
            let n = u64::from_le_bytes(value[..8].try_into().unwrap());
            let last = last.entry(key[0] - b'0').or_default();
            *last = n.max(*last);
        }
        for at in 0..THREADS {
            let last = last.get(&(at as u8)).copied().unwrap_or(0);
            if durability == Durability::Sync {
                assert!(
                    last >= acknowledged[at].load(Ordering::SeqCst),
                    "thread {at} lost what was acknowledged"
                );
            }
            // Exactly the thread's first `last` puts: each slot has the last number that fell on it.
            for n in last.saturating_sub(49).max(1)..=last {
                let (value, _) = &all[format!("{at}/{:02}", n % 50).as_bytes()];
                assert_eq!(value[..], n.to_le_bytes());
            }
        }
        assert_sound(&db);
    }
}
