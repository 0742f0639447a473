//! A device that is full and stays full: nothing is lost, everything can be read, and the database can be emptied.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Dice, assert_sound, cases, contents, small, watched};
use ramus::io::FaultStorage;
use ramus::{Db, Durability, ErrorKind, Tree};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Bytes that all files take.
fn used(storage: &FaultStorage) -> u64 {
    let files = ["data.ramus", "journal.wal", "journal.next"];
    files.iter().filter_map(|name| storage.contents(name)).map(|bytes| bytes.len() as u64).sum()
}

/// Puts in random order until nothing fits any more.
fn fill(tree: &Tree, model: &mut Model, dice: &mut Dice) {
    let mut refused = 0;
    while refused < 8 {
        let key = format!("d{}/{:06}", dice.below(7), dice.below(1_000_000)).into_bytes();
        let value = vec![model.len() as u8; 100 + dice.below(800)];
        match tree.put(&key, &value) {
            Ok(_) => drop(model.insert(key, value)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert!(error.to_string().contains("fault:"), "no file in: {error}");
                refused += 1;
            }
        }
    }
}

/// Every record, by a scan and by look-ups in random order.
fn read_all(db: &Db, model: &Model, dice: &mut Dice) {
    let found = contents(db).expect("a scan of a full database");
    assert!(found["default"] == *model, "{} records for {}", found["default"].len(), model.len());
    let (tree, keys) = (db.default_tree(), model.keys().collect::<Vec<_>>());
    for _ in 0..keys.len().min(1000) {
        let key = keys[dice.below(keys.len())];
        assert_eq!(tree.get(key).expect("a look-up in a full database").as_ref(), model.get(key));
    }
}

/// After a crash as it is, the full device included, and with space.
fn crash(storage: &FaultStorage, space: u64, model: &Model, dice: &mut Dice) {
    let left = if dice.below(2) == 0 { storage.crash_lose_all() } else { storage.crash(dice.roll()) };
    left.set_full(Some(space));
    match small(&left).open("") {
        Ok(db) => read_all(&db, model, dice),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
    }
    left.set_full(None);
    let db = small(&left).open("").unwrap();
    read_all(&db, model, dice);
    assert_sound(&db);
}

/// Fills a database, reads it, empties it and fills it again, on a device that never has more space.
fn full_life(space: u64, durability: Durability, background: bool, dice: &mut Dice) {
    let storage = FaultStorage::new();
    let db = small(&storage).durability(durability).background(background).open("").unwrap();
    let tree = db.default_tree();
    storage.set_full(Some(space));
    let mut model = Model::new();
    let crashes = |model: &Model, dice: &mut Dice| {
        db.sync().unwrap();
        crash(&storage, space, model, dice);
    };
    for round in 0..2 {
        fill(&tree, &mut model, dice);
        let full = model.len();
        assert!(used(&storage) <= space);
        read_all(&db, &model, dice);
        crashes(&model, dice);
        // In key order, or from everywhere: then each delete makes another blob dirty.
        let mut keys: Vec<Vec<u8>> = model.keys().cloned().collect();
        if round == 0 {
            (1..keys.len()).rev().for_each(|at| keys.swap(at, dice.below(at + 1)));
        }
        let stop = dice.below(keys.len());
        for (at, key) in keys.iter().enumerate() {
            let there = tree.delete(key).unwrap_or_else(|error| panic!("delete {at} of {full}: {error}"));
            assert!(there);
            model.remove(key);
            if at == stop {
                read_all(&db, &model, dice);
                crashes(&model, dice);
            }
        }
        assert_eq!(tree.iter().count(), 0);
        db.checkpoint().unwrap();
        if dice.below(2) == 0 {
            db.compact().unwrap();
        }
        for n in 0..100 {
            let key = format!("again/{n}").into_bytes();
            tree.put(&key, [n; 500]).unwrap_or_else(|error| panic!("put {n} after all was deleted: {error}"));
            model.insert(key, vec![n; 500]);
        }
        assert_sound(&db);
        crashes(&model, dice);
    }
}

#[test]
fn a_full_database_can_be_read_and_emptied_on_a_device_that_stays_full() {
    watched("full lives", || {
        let mut dice = Dice(common::seed());
        for round in 0..cases(6) {
            let durability = match round % 2 {
                0 => Durability::Sync,
                _ => Durability::Batched { bytes: 4096, interval: None },
            };
            // Some are smaller than the cache, some many times larger.
            let space = (4 << 20) + dice.below(28 << 20) as u64;
            println!("round {round}: {space} bytes of space");
            full_life(space, durability, round % 4 >= 2, &mut dice);
        }
    });
}

/// What deletes free lies in gaps between what is left: new records find that too, not only what one end of the file has.
#[test]
fn a_full_device_takes_as_much_again_as_was_deleted() {
    watched("refills", || {
        let mut dice = Dice(common::seed());
        for round in 0..cases(4) {
            let storage = FaultStorage::new();
            let durability = match round % 2 {
                0 => Durability::Sync,
                _ => Durability::Batched { bytes: 4096, interval: None },
            };
            let db = small(&storage).durability(durability).background(round % 4 >= 2).open("").unwrap();
            let tree = db.default_tree();
            storage.set_full(Some((4 << 20) + dice.below(12 << 20) as u64));
            let mut model = Model::new();
            let mut first = 0;
            for refill in 0..4 {
                fill(&tree, &mut model, &mut dice);
                let bytes: usize = model.iter().map(|(key, value)| key.len() + value.len()).sum();
                if refill == 0 {
                    first = bytes;
                }
                assert!(
                    bytes * 3 > first * 2,
                    "refill {refill} of round {round}: {bytes} bytes after {first}"
                );
                read_all(&db, &model, &mut dice);
                for key in model.keys().filter(|_| dice.below(8) > 0).cloned().collect::<Vec<_>>() {
                    assert!(tree.delete(&key).unwrap_or_else(|error| panic!("delete: {error}")));
                    model.remove(&key);
                }
            }
            assert_sound(&db);
            db.sync().unwrap();
            crash(&storage, u64::MAX, &model, &mut dice);
        }
    });
}

/// Filled up by others: the space that the database has is all that there will be.
#[test]
fn a_device_filled_by_others_lets_deletes_and_checkpoints_go_on() {
    watched("others", || {
        let mut dice = Dice(common::seed());
        for _ in 0..cases(4) {
            let storage = FaultStorage::new();
            let db = small(&storage).open("").unwrap();
            let tree = db.default_tree();
            let mut model = Model::new();
            for _ in 0..1 + dice.below(30_000) {
                let key = format!("{:06}", dice.below(1_000_000)).into_bytes();
                let value = vec![7; 100 + dice.below(800)];
                tree.put(&key, &value).unwrap();
                model.insert(key, value);
                if dice.below(10_000) == 0 {
                    db.checkpoint().unwrap();
                }
            }
            storage.set_full(Some(used(&storage)));
            read_all(&db, &model, &mut dice);
            for (at, key) in model.clone().into_keys().enumerate() {
                match dice.below(2000) {
                    0 => db.checkpoint().unwrap_or_else(|error| panic!("checkpoint {at}: {error}")),
                    1 => db.compact().unwrap_or_else(|error| panic!("compact {at}: {error}")),
                    _ => {}
                }
                assert!(tree.delete(&key).unwrap_or_else(|error| panic!("delete {at}: {error}")));
                model.remove(&key);
                if dice.below(4000) == 0 {
                    read_all(&db, &model, &mut dice);
                }
            }
            db.checkpoint().unwrap();
            tree.put("new", "v").unwrap();
            assert_sound(&db);
        }
    });
}

/// Counts a thread out, also one that panics.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Trees and batches free space too, and several threads at once.
#[test]
fn dropped_trees_batches_and_threads_empty_a_full_database() {
    watched("threads", || {
        let mut dice = Dice(common::seed());
        for round in 0..cases(4) {
            let storage = FaultStorage::new();
            let db = small(&storage).background(round % 2 == 0).open("").unwrap();
            let (tree, other) = (db.default_tree(), db.tree("other").unwrap());
            storage.set_full(Some((6 << 20) + dice.below(10 << 20) as u64));
            let value = [5; 600];
            let (mut kept, mut refused) = (0, 0);
            while refused < 4 {
                match db.batch(|b| {
                    b.put(&tree, format!("{kept:06}"), value);
                    b.put(&other, format!("{kept:06}"), value);
                }) {
                    Ok(_) => kept += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                        refused += 1;
                    }
                }
            }
            assert!(kept > 500, "{kept}");
            if round % 4 < 2 {
                db.drop_tree("other").unwrap();
                db.checkpoint().unwrap();
                tree.put("room", "v").unwrap();
                tree.delete("room").unwrap();
            }
            let deleting = AtomicUsize::new(4);
            std::thread::scope(|scope| {
                for part in 0..4 {
                    let (db, tree, deleting) = (&db, &tree, &deleting);
                    scope.spawn(move || {
                        let _ended = Ended(deleting);
                        let keys: Vec<u32> = (0..kept).filter(|n| n % 4 == part).collect();
                        for some in keys.chunks(3) {
                            // Others may take what a checkpoint gave back: then it is tried again, not for ever.
                            let delete =
                                || db.batch(|b| some.iter().for_each(|n| b.delete(tree, format!("{n:06}"))));
                            let full = |error: &ramus::Error| error.kind() == ErrorKind::NoSpace;
                            let deleted =
                                (0..50).map(|_| delete()).find(|done| !done.as_ref().is_err_and(full));
                            let deleted = deleted.unwrap_or_else(delete);
                            deleted.unwrap_or_else(|error| panic!("batch of {some:?}: {error}"));
                        }
                    });
                }
                scope.spawn(|| {
                    while deleting.load(Ordering::SeqCst) > 0 {
                        tree.iter().for_each(|entry| drop(entry.expect("a scan beside deletes")));
                    }
                });
            });
            assert_eq!(tree.iter().count(), 0);
            db.checkpoint().unwrap();
            // The journal may have got nothing of what is free in the data file: cutting that gives it back.
            if tree.put("new", "v").is_err_and(|error| error.kind() == ErrorKind::NoSpace) {
                db.compact().unwrap();
                tree.put("new", "v").unwrap();
            }
            assert_sound(&db);
        }
    });
}
