//! One test for each failure that was found once: races between calls, versions across crashes, a full disk during a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::{Db, Durability, ErrorKind, Options};

fn batched() -> Durability {
    Durability::Batched { bytes: 1 << 30, interval: None }
}

fn options(storage: &Arc<dyn Storage>) -> Options {
    Options::new().storage(Arc::clone(storage)).background(false).cache_bytes(64 << 20)
}

/// An expectation about a prefix was also asked of blobs that were latched for other keys, with the wrong part of the
/// prefix.
#[test]
fn an_empty_prefix_is_empty_whatever_else_a_batch_touches() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = options(&storage).durability(batched()).open("").unwrap();
    let tree = db.default_tree();
    for n in 0..20_000 {
        tree.put(format!("usr/share/doc/package/{n:06}"), [7; 40]).unwrap();
    }
    for prefix in ["a", "abc/", "var/log/something-long/0", "z", "zzzzzzzzzzzzzzzzzzzzzz01"] {
        db.batch(|b| {
            b.expect_prefix_empty(&tree, prefix);
            b.put(&tree, "usr/share/doc/package/010000", "x");
            b.delete(&tree, "usr/share/doc/package/019999");
        })
        .unwrap();
    }
    for prefix in ["", "u", "usr/share/doc/package/01", "usr/share/doc/package/005000"] {
        let refused = db.batch(|b| {
            b.expect_prefix_empty(&tree, prefix);
            b.put(&tree, "usr/share/doc/package/010000", "x");
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict, "{prefix}");
    }
}

/// A commit that had begun when the database was closed was applied and acknowledged after the last checkpoint.
#[test]
fn a_commit_that_races_with_close_is_refused_or_kept() {
    for round in 0..150u64 {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let db = options(&storage).durability(batched()).open("").unwrap();
        let last = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (tree, db, last) = (db.default_tree(), &db, &last);
                scope.spawn(move || {
                    for n in 0u64.. {
                        let key = format!("{thread}/{n}");
                        let done = match n % 3 {
                            0 => db.batch(|b| b.put(&tree, &key, "v")),
                            _ => tree.put(&key, "v"),
                        };
                        match done {
                            Ok(version) => last.fetch_max(version, Ordering::SeqCst),
                            Err(_) => return,
                        };
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_micros(200 + round * 7));
            db.close().unwrap();
        });
        drop(db);
        let db = options(&storage).open("").unwrap();
        let count = db.default_tree().iter().keys_only().count() as u64;
        let last = last.load(Ordering::SeqCst);
        assert!(db.stats().last_version >= last, "version {last} was acknowledged");
        assert!(db.default_tree().put("new", "v").unwrap() > last.max(count));
    }
}

/// The mark of the first journal file was in force after that file was gone, and the superblock had a lower one.
#[test]
fn no_version_is_issued_again_after_a_checkpoint_and_a_crash() {
    let fault = FaultStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    let db = options(&storage).durability(batched()).journal_bytes(1 << 30).open("").unwrap();
    let tree = db.default_tree();
    for _ in 0..1_000_000 {
        tree.put("key", "v").unwrap();
    }
    db.checkpoint().unwrap();
    let mut seen = 0;
    for _ in 0..100_000 {
        seen = tree.put("key", "v").unwrap();
    }
    let storage: Arc<dyn Storage> = Arc::new(fault.crash_lose_all());
    let reopened = options(&storage).open("").unwrap();
    assert!(reopened.default_tree().put("key", "v").unwrap() > seen);
}

/// A database whose checkpoint failed for lack of space at this operation, if that left its cut open.
fn with_an_open_cut(operation: u64) -> Option<(FaultStorage, Db)> {
    let fault = FaultStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    let db = options(&storage).durability(batched()).journal_bytes(1 << 30).open("").unwrap();
    let tree = db.default_tree();
    for n in 0..6000 {
        tree.put(format!("key/{n:06}"), [7; 1000]).unwrap();
    }
    db.sync().unwrap();
    fault.fail_once(operation, std::io::ErrorKind::StorageFull);
    let failed = db.checkpoint().is_err_and(|error| error.kind() == ErrorKind::NoSpace);
    let second = fault.contents("journal.next").unwrap_or_default();
    (failed && tree.put("key", "v").is_ok() && second.starts_with(b"RAMUSJNL")).then_some((fault, db))
}

/// Recovery that ends at damage did not look at the second journal file, whose marks were in force.
#[test]
fn no_version_is_issued_again_after_the_journal_is_cut_at_damage() {
    // An image that finds no space leaves the cut open, so the journal goes on in its second file.
    let (fault, db) = (0..200).find_map(with_an_open_cut).expect("some operation writes an image");
    let tree = db.default_tree();
    let mut seen = 0;
    for _ in 0..1_100_000 {
        seen = tree.put("key", "v").unwrap();
    }
    let crashed = fault.crash_lose_all();
    assert!(crashed.contents("journal.next").is_some(), "the journal is in two files");
    crashed.corrupt("journal.wal", 100_000, 1);
    let storage: Arc<dyn Storage> = Arc::new(crashed);
    assert_eq!(options(&storage).open("").unwrap_err().kind(), ErrorKind::Corrupt);
    let cut = options(&storage).recovery(ramus::Recovery::TruncateAtFirstError).open("").unwrap();
    assert!(cut.default_tree().get("key").unwrap().is_none(), "the second file was passed over");
    assert!(cut.default_tree().put("key", "v").unwrap() > seen);
}

/// A close that found no space for its checkpoint dropped what the journal had buffered, though there was room for it.
#[test]
fn a_close_on_a_full_disk_keeps_what_was_committed() {
    let fault = FaultStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    let db = options(&storage).durability(batched()).open("").unwrap();
    for n in 0..100 {
        db.default_tree().put(format!("key/{n:03}"), "v").unwrap();
    }
    fault.set_full(Some(0));
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::NoSpace);
    let storage: Arc<dyn Storage> = Arc::new(fault.crash_lose_all());
    let reopened = options(&storage).open("").unwrap();
    assert_eq!(reopened.default_tree().prefix("key/").count(), 100);
}

/// The flush of a database that a panic dropped was taken for the panic of a writer, and lost what was buffered.
#[test]
fn a_panic_elsewhere_does_not_keep_a_drop_from_flushing() {
    let fault = FaultStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let db = options(&storage).durability(batched()).open("").unwrap();
        db.default_tree().put("key", "v").unwrap();
        std::panic::resume_unwind(Box::new("no message"));
    }));
    assert!(caught.is_err());
    let storage: Arc<dyn Storage> = Arc::new(fault.crash_lose_all());
    let reopened = options(&storage).open("").unwrap();
    assert_eq!(reopened.default_tree().get("key").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(reopened.stats().recovered_records, 0, "the drop made a checkpoint");
}

/// A checkpoint that found the disk full poisoned the database.
#[test]
fn a_full_disk_during_a_checkpoint_can_be_waited_out() {
    for spare in [0, 4096, 100_000, 700_000, 1_500_000, 3_000_000] {
        let fault = FaultStorage::new();
        let storage: Arc<dyn Storage> = Arc::new(fault.clone());
        let db = options(&storage).durability(batched()).open("").unwrap();
        let tree = db.default_tree();
        for n in 0..20_000 {
            tree.put(format!("key/{n:06}"), [7; 100]).unwrap();
        }
        db.sync().unwrap();
        let used: usize = ["data.ramus", "journal.wal"]
            .iter()
            .filter_map(|name| fault.contents(name))
            .map(|c| c.len())
            .sum();
        fault.set_full(Some((used + spare) as u64));
        let mut refused = 0;
        for n in 0..3 {
            match db.checkpoint() {
                Ok(()) => {}
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{spare}: {error}");
                }
            }
            assert!(tree.delete(format!("key/{n:06}")).unwrap());
        }
        fault.set_full(None);
        tree.put("more", "v").unwrap();
        db.checkpoint().unwrap();
        db.checkpoint().unwrap();
        let report = db.check().unwrap();
        assert!(report.is_sound(), "{spare} ({refused} refused): {:?}", report.problems);
        tree.put("most", "v").unwrap();
        db.sync().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(fault.crash_lose_all());
        let reopened = options(&storage).open("").unwrap();
        assert_eq!(reopened.default_tree().iter().count(), 20_000 - 3 + 2);
        assert!(reopened.check().unwrap().is_sound());
    }
}

/// A check beside writers took blobs that had moved for damage.
#[test]
fn a_check_beside_writers_finds_no_damage() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = options(&storage).durability(batched()).open("").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let (tree, stop) = (db.default_tree(), &stop);
            scope.spawn(move || {
                for round in 0u64.. {
                    for n in 0..4000u64 {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = format!("{:05}/{thread}", (n * 7919) % 4001);
                        match round % 2 {
                            0 => drop(tree.put(&key, [1; 400]).unwrap()),
                            _ => drop(tree.delete(&key).unwrap()),
                        }
                    }
                }
            });
        }
        let mut problems = Vec::new();
        for _ in 0..60 {
            problems.extend(db.check().unwrap().problems);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(problems.is_empty(), "{problems:?}");
    });
}

/// Writers that make room while their tree is dropped, and its blobs go to other trees.
#[test]
fn trees_dropped_under_their_writers_leave_the_others_sound() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = options(&storage).durability(batched()).cache_bytes(8 << 20).open("").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut n = thread;
                while !stop.load(Ordering::Relaxed) {
                    let Ok(tree) = db.tree("t") else { continue };
                    for _ in 0..3000 {
                        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let key = format!("{:06}", (n >> 33) % 5000);
                        let done = match n >> 20 & 7 {
                            0 => tree.delete(&key).map(|_| 0),
                            1 => db.batch(|b| {
                                b.put(&tree, &key, [3; 3000]);
                                b.put(&db.default_tree(), &key, [3; 300]);
                            }),
                            _ => tree.put(&key, [2; 2000]),
                        };
                        match done {
                            Ok(_) => {}
                            Err(error) if error.kind() == ErrorKind::NotFound => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
        for round in 0..200 {
            std::thread::sleep(std::time::Duration::from_millis(round % 13));
            let _ = db.drop_tree("t");
            if round % 20 == 0 {
                db.checkpoint().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let report = db.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

/// A damaged blob in a tree that was dropped kept the whole database from being opened.
#[test]
fn damage_in_a_dropped_tree_harms_nothing_else() {
    let fault = FaultStorage::new();
    let storage: Arc<dyn Storage> = Arc::new(fault.clone());
    let db = options(&storage).open("").unwrap();
    db.default_tree().put("key", "v").unwrap();
    let other = db.tree("other").unwrap();
    db.batch(|b| (0..300).for_each(|n| b.put(&other, format!("{n:03}"), [7; 1000]))).unwrap();
    db.checkpoint().unwrap();
    db.drop_tree("other").unwrap();
    let after = fault.crash_lose_all();
    // The root of the dropped tree is the one inner blob.
    let bytes = after.contents("data.ramus").unwrap();
    let roots: Vec<_> = (0..bytes.len() / 4096)
        .map(|block| block * 4096)
        .filter(|&at| bytes[at..].starts_with(b"RBLB") && bytes[at + 6] == 2)
        .collect();
    assert!(!roots.is_empty());
    for at in roots {
        after.corrupt("data.ramus", at as u64 + 70, 1);
    }
    let storage: Arc<dyn Storage> = Arc::new(after);
    for _ in 0..2 {
        let db = options(&storage).open("").unwrap();
        assert_eq!(db.default_tree().get("key").unwrap().as_deref(), Some(&b"v"[..]));
        db.default_tree().put("more", "v").unwrap();
        assert!(!db.check().unwrap().is_sound());
        db.tree("third").unwrap();
        db.drop_tree("third").unwrap();
        db.close().unwrap();
    }
}

/// A batch into few blobs was decided anew, all of it, for each cut that made room for it: minutes for a large one.
#[test]
fn a_large_batch_makes_its_room_in_few_rounds() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = options(&storage).cache_bytes(1 << 30).open("").unwrap();
    let tree = db.default_tree();
    let fill = |b: &mut ramus::Batch| {
        (0..40_000u32).for_each(|n| b.put(&tree, format!("{:08x}", n.wrapping_mul(0x9E37_79B9)), [1; 120]));
    };
    db.batch(fill).unwrap();
    assert_eq!(tree.iter().keys_only().count(), 40_000);
    assert!(db.check().unwrap().is_sound());

    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let small = options(&storage).cache_bytes(4 << 20).open("").unwrap();
    let tree = small.default_tree();
    let refused = small.batch(|b| (0..40_000u32).for_each(|n| b.put(&tree, n.to_be_bytes(), [1; 120])));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(small.check().unwrap().blobs, 1, "a refused batch leaves no blobs behind");
}

#[test]
fn a_batch_whose_closure_fails_commits_nothing() {
    let db = ramus::Db::in_memory().unwrap();
    let tree = db.default_tree();
    let outcome = db.batch(|batch| {
        batch.put(&tree, "a", "1");
        db.existing_tree("none")?;
        Ok(())
    });
    assert_eq!(outcome.unwrap_err().kind(), ramus::ErrorKind::NotFound);
    assert!(!tree.contains("a").unwrap());
    db.batch(|batch| {
        batch.put(&tree, "a", "1");
        Ok(())
    })
    .unwrap();
    assert!(tree.contains("a").unwrap());
}

/// A batch that needs more room than a blob with one large record has, by a few bytes, must not ask for it for ever.
#[test]
fn a_batch_beside_one_large_record_ends() {
    let record = |db: &ramus::Db, key: usize, values: &[usize]| {
        for &len in values {
            db.default_tree().put(vec![b'k'; key], vec![1; len]).unwrap();
        }
    };
    let batch = |db: &ramus::Db, puts: usize, key: usize, value: usize| {
        let keys: Vec<Vec<u8>> = (0..puts).map(|n| [&[b'a'; 200][..key], &[n as u8]].concat()).collect();
        db.batch(|b| {
            for key in &keys {
                b.put(&db.default_tree(), key, vec![2; value]);
            }
        })
        .unwrap();
        assert_eq!(db.default_tree().iter().count(), puts + 1);
        assert!(db.check().unwrap().is_sound());
    };
    for value in 4050..4096 {
        let db = ramus::Db::in_memory().unwrap();
        record(&db, 8192, &[4096]);
        batch(&db, 13, 2, value);
    }
    for key in 150..195 {
        let db = ramus::Db::in_memory().unwrap();
        record(&db, 5000, &[8, 4096]);
        batch(&db, 12, key, 4096);
    }
}
