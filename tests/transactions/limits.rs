//! Large transactions: the limits that their errors name, reads of more leaf blobs than are latched at once, a small cache, and
//! databases that nobody can write to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::limits::{CACHE_BYTES_MIN, READ_BLOBS_MAX, RECORD_BYTES_MAX};
use ramus::{Db, Durability, Entry, ErrorKind, IfExists, Options, Tree};

use crate::common::{Dice, assert_sound, cases, seed, small, watched};

/// Records over many leaf blobs.
fn fill(tree: &Tree, count: usize) {
    for n in 0..count {
        tree.put(format!("d{:02}/file-{n:05}", n % 50), vec![n as u8; 2000]).unwrap();
    }
}

fn leaf_blobs(db: &Db) -> u64 {
    db.survey().unwrap().survey.unwrap().leaf_blobs
}

#[test]
fn reads_of_many_blobs_are_validated_too() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    fill(&tree, 6000);
    assert!(leaf_blobs(&db) > 2 * READ_BLOBS_MAX as u64);
    for by_count in [false, true] {
        let read = || {
            let mut tx = db.transaction();
            if by_count {
                assert_eq!(tx.count_prefix(&tree, "d").unwrap().keys, 6000);
            } else {
                assert_eq!(tx.prefix(&tree, "d").keys_only().count(), 6000);
            }
            tx.put(&tree, "e", "").unwrap();
            tx
        };
        read().commit().unwrap();
        let tx = read();
        tree.put("d25/phantom", "").unwrap();
        assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
        tree.delete("d25/phantom").unwrap();
        let mut tx = read();
        tx.rename_prefix(&tree, "d25/", "f/", IfExists::Fail).unwrap();
        tx.commit().unwrap();
        tree.rename_prefix("f/", "d25/", IfExists::Fail).unwrap();
        // Without changes of its own.
        let tx = db.transaction();
        assert_eq!(tx.prefix(&tree, "d").keys_only().count(), 6000);
        tree.put("d25/phantom", "").unwrap();
        tree.delete("d25/phantom").unwrap();
        tx.commit().unwrap();
    }
    // Single records, each in a blob of its own.
    let mut tx = db.transaction();
    for n in 0..6000 {
        assert!(tx.get(&tree, format!("d{:02}/file-{n:05}", n % 50)).unwrap().is_some());
    }
    tx.put(&tree, "e", "").unwrap();
    tx.commit().unwrap();
    assert_sound(&db);
}

/// Two that have read it all each take one of two records away, unless the other is gone: one of the records stays. They compare
/// what they read at the same time.
#[test]
fn write_skew_of_wide_readers() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    fill(&tree, 3000);
    assert!(leaf_blobs(&db) > READ_BLOBS_MAX as u64);
    for _ in 0..cases(30) {
        let guards = ["d00/guard", "d49/guard"];
        for guard in guards {
            tree.put(guard, "").unwrap();
        }
        let begin = Barrier::new(2);
        let take = |own: &str| {
            let mut tx = db.transaction();
            let there =
                tx.prefix(&tree, "d").filter(|entry| entry.as_ref().unwrap().key().ends_with(b"guard"));
            let there = there.count();
            begin.wait();
            if there == 2 {
                tx.delete(&tree, own).unwrap();
            }
            match tx.commit() {
                Ok(_) => there == 2,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    false
                }
            }
        };
        let taken = std::thread::scope(|scope| {
            let other = scope.spawn(|| take(guards[1]));
            u32::from(take(guards[0])) + u32::from(other.join().unwrap())
        });
        assert_eq!(taken, 1);
        assert_eq!(guards.iter().filter(|guard| tree.contains(guard).unwrap()).count(), 1);
    }
}

/// The range does not fit the cache: it is read again and again, and the commit ends all the same.
#[test]
fn a_range_larger_than_the_cache_is_validated() {
    watched("a range larger than the cache", || {
        let storage = FaultStorage::new();
        let db = small(&storage).open("").unwrap();
        let tree = db.default_tree();
        fill(&tree, 4000);
        assert!(leaf_blobs(&db) * 40_000 > CACHE_BYTES_MIN);
        let list = || {
            let mut tx = db.transaction();
            assert_eq!(tx.prefix(&tree, "d").count(), 4000);
            tx.put(&tree, "e", "").unwrap();
            tx
        };
        list().commit().unwrap();
        let tx = list();
        tree.put("d49/phantom", "").unwrap();
        assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
        assert_sound(&db);
    });
}

/// Sums over many blobs, which do not fit the cache, beside transfers that keep them (one in every other sum) and noise that does not
/// touch them: a commit says that the sum was true.
#[test]
fn sums_over_many_blobs_hold_beside_transfers() {
    const ACCOUNTS: usize = 3000;
    watched("sums over many blobs", || {
        let storage = FaultStorage::new();
        let db = small(&storage)
            .durability(Durability::Batched { bytes: 1 << 20, interval: None })
            .open("")
            .unwrap();
        let (tree, noise) = (db.default_tree(), db.tree("noise").unwrap());
        let name = |n: usize| format!("account-{n:05}");
        let value = |units: u64| [&units.to_le_bytes()[..], &[0; 1500]].concat();
        let units = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
        for n in 0..ACCOUNTS {
            tree.put(name(n), value(10)).unwrap();
        }
        assert!(leaf_blobs(&db) > READ_BLOBS_MAX as u64);
        let mut dice = Dice(seed());
        let (stop, turn) = (AtomicBool::new(false), AtomicU64::new(0));
        let (mut sums, mut conflicts) = (0, 0);
        std::thread::scope(|scope| {
            let mut other = Dice(dice.roll());
            let (db, tree, stop, turn) = (&db, &tree, &stop, &turn);
            scope.spawn(move || {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    noise.put([other.below(200) as u8], [0; 100]).unwrap();
                    let now = turn.load(Ordering::Relaxed);
                    if now % 2 == 1 && now != last && other.below(500) == 0 {
                        last = now;
                        let (from, to) = (name(other.below(ACCOUNTS)), name(other.below(ACCOUNTS)));
                        db.transact(|tx| {
                            let there = units(&tx.get(tree, &from)?.unwrap());
                            tx.put(tree, &from, value(there - 1))?;
                            let there = units(&tx.get(tree, &to)?.unwrap());
                            tx.put(tree, &to, value(there + 1))
                        })
                        .unwrap();
                    }
                }
            });
            while sums < cases(10) {
                turn.fetch_add(1, Ordering::Relaxed);
                let mut tx = db.transaction();
                let records = tx.prefix(tree, "account-");
                let sum: u64 = records
                    .map(|entry| match entry.unwrap() {
                        Entry::Record { value, .. } => units(&value),
                        Entry::CommonPrefix(_) => unreachable!(),
                    })
                    .sum();
                if dice.below(2) == 0 {
                    tx.put(tree, "sum", sum.to_le_bytes()).unwrap();
                }
                match tx.commit() {
                    Ok(_) => {
                        assert_eq!(sum, 10 * ACCOUNTS as u64);
                        sums += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                        conflicts += 1;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        println!("{sums} sums, {conflicts} conflicts");
        assert_sound(&db);
    });
}

#[test]
fn changes_over_the_limits_are_refused_by_name() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    let mut tx = db.transaction();
    assert_eq!(tx.put(&tree, "", "").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(tx.put(&tree, "k", vec![0; 4097]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(tx.get(&tree, vec![b'k'; 9000]).unwrap(), None);
    let mut n = 0;
    let error = loop {
        if let Err(error) = tx.put(&tree, format!("{n:08}"), vec![7; 4096]) {
            break error;
        }
        n += 1;
    };
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.to_string().contains("RECORD_BYTES_MAX"),
        "{error}"
    );
    assert!(n * 4096 <= RECORD_BYTES_MAX && (n + 10) * 4200 > RECORD_BYTES_MAX, "{n}");
    // The transaction is as before the call that was refused.
    assert_eq!(tx.count_prefix(&tree, "").unwrap().keys, n as u64);
    tx.commit().unwrap();
    assert_eq!(tree.count_prefix("").unwrap().keys, n as u64);
    let small =
        Options::new().storage(Arc::new(MemoryStorage::new())).cache_bytes(CACHE_BYTES_MIN).open("").unwrap();
    let tree = small.default_tree();
    fill(&tree, 1500);
    let mut tx = small.transaction();
    for n in 0..1500 {
        tx.put(&tree, format!("d{:02}/file-{n:05}", n % 50), "").unwrap();
    }
    let error = tx.commit().unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.to_string().contains("a quarter of the cache"),
        "{error}"
    );
    let mut tx = small.transaction();
    tx.rename_prefix(&tree, "d00/", vec![b'x'; 8190], IfExists::Fail).unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_database_opened_read_only_has_transactions_that_read() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Options::new().storage(Arc::clone(&storage)).open("").unwrap();
    let version = db.default_tree().put("a", "1").unwrap();
    db.close().unwrap();
    let db = Options::new().storage(storage).read_only(true).open("").unwrap();
    let tree = db.default_tree();
    let tx = db.transaction();
    assert_eq!(tx.get(&tree, "a").unwrap().unwrap(), b"1");
    assert_eq!(tx.prefix(&tree, "").count(), 1);
    assert_eq!(tx.commit().unwrap(), version);
    let mut tx = db.transaction();
    tx.put(&tree, "a", "2").unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn nothing_done_is_nothing_committed() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    let version = tree.put("a", "1").unwrap();
    assert_eq!(db.transaction().commit().unwrap(), version);
    let mut tx = db.transaction();
    tx.delete_prefix(&tree, "nothing/").unwrap();
    tx.delete_range(&tree, "x".."x").unwrap();
    assert_eq!(tx.commit().unwrap(), version);
    let mut tx = db.transaction();
    tx.delete(&tree, "a").unwrap();
    tx.rename_prefix(&tree, "a", "b", IfExists::Fail).unwrap_err();
    tx.rollback();
    assert_eq!(db.stats().last_version, version);
    assert!(tree.contains("a").unwrap());
}
