//! What the background thread does and does not do to others: no operation waits for a checkpoint's I/O, and a pause is a pause.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::held::{HeldStorage, Hold};
use common::{assert_sound, watched};
use ramus::io::MemoryStorage;
use ramus::limits::JOURNAL_BYTES_MIN;
use ramus::{Db, Durability, IfExists, Options, Tree, WriteOptions};

const LAZY: Durability = Durability::Batched { bytes: 1 << 14, interval: None };

fn open(device: &HeldStorage) -> Db {
    let options = Options::new().storage(Arc::new(device.clone())).durability(LAZY);
    options.journal_bytes(JOURNAL_BYTES_MIN).open("").unwrap()
}

fn fill(tree: &Tree, keys: u32) {
    for n in 0..keys {
        tree.put(format!("dir{:02}/file{n:05}", n % 40), [7; 60]).unwrap();
    }
}

/// One of each kind of operation.
fn operate(db: &Db, round: u32, sync: bool) {
    let tree = db.default_tree();
    let key = |n: u32| format!("dir{:02}/file{n:05}", n % 40);
    assert!(tree.get(key(round)).unwrap().is_some());
    tree.put(key(round), [8; 60]).unwrap();
    let durability = if sync { Durability::Sync } else { LAZY };
    tree.put_with(format!("new/{round}"), [9; 60], WriteOptions::new().durability(durability)).unwrap();
    assert!(tree.delete(format!("new/{round}")).unwrap());
    db.batch(|batch| (0..20).for_each(|n| batch.put(&tree, key(round * 20 + n), [10; 60]))).unwrap();
    assert_eq!(tree.prefix("dir07/").limit(50).count(), 50);
    assert_eq!(tree.count_prefix("dir08/").unwrap().keys, 100);
    tree.rename(key(round), "moved", IfExists::Fail).unwrap();
    tree.rename("moved", key(round), IfExists::Fail).unwrap();
    tree.rename_prefix("dir09/", "dir99/", IfExists::Fail).unwrap();
    tree.rename_prefix("dir99/", "dir09/", IfExists::Fail).unwrap();
}

/// The storage has syncs of 200 ms; this one has syncs that do not end. Every file in turn: those of the second journal
/// file, of the first one's end, of the data file, and of the superblock.
#[test]
fn no_operation_waits_for_the_io_of_a_checkpoint() {
    for hold in [Hold::All, Hold::Data] {
        let device = HeldStorage::new(MemoryStorage::new());
        let db = open(&device);
        fill(&db.default_tree(), 4000);
        db.checkpoint().unwrap();
        fill(&db.default_tree(), 4000);
        let (checkpoints, closures) = (db.stats().checkpoints, db.stats().gate_closures.total());
        device.hold(hold);
        let through = AtomicBool::new(false);
        let mut stops = 0;
        watched("operations beside a checkpoint", || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    db.checkpoint().unwrap();
                    through.store(true, Ordering::SeqCst);
                });
                // At each sync of the checkpoint one round, while it stands still.
                while !through.load(Ordering::SeqCst) {
                    if device.held() == 0 {
                        std::thread::yield_now();
                        continue;
                    }
                    operate(&db, stops, hold == Hold::Data);
                    assert_eq!(device.held(), 1, "the checkpoint stands still");
                    stops += 1;
                    device.let_one_go();
                }
            });
        });
        let least = if hold == Hold::All { 4 } else { 2 };
        assert!(stops >= least, "{stops} syncs in the checkpoint");
        assert_eq!(db.stats().checkpoints, checkpoints + 1);
        assert!(db.stats().gate_closures.total() > closures, "the cut closed the gate");
        device.hold(Hold::Nothing);
        assert_sound(&db);
    }
}

/// Changed blobs are copied for a checkpoint that is under way: all of them at once, none waits.
#[test]
fn every_blob_may_change_while_a_checkpoint_stands_still() {
    let device = HeldStorage::new(MemoryStorage::new());
    let options = Options::new().storage(Arc::new(device.clone())).durability(LAZY).journal_bytes(64 << 20);
    let db = options.open("").unwrap();
    let tree = db.default_tree();
    fill(&tree, 40_000);
    device.hold(Hold::Data);
    watched("puts beside a checkpoint", || {
        std::thread::scope(|scope| {
            scope.spawn(|| db.checkpoint().unwrap());
            device.wait_for_held(1);
            fill(&tree, 40_000);
            assert_eq!(device.held(), 1);
            device.hold(Hold::Nothing);
        });
    });
    assert_sound(&db);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    watched(what, || {
        while !done() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_paused_background_thread_writes_nothing() {
    let device = HeldStorage::new(MemoryStorage::new());
    let db = open(&device);
    let tree = db.default_tree();
    fill(&tree, 1000);
    db.pause_background();
    db.pause_background();
    let before = (device.by_background(), db.stats().checkpoints, db.stats().reclaimed_blobs);
    // Past the limit; a tree to be freed; a directory that could be put back.
    let mut n = 0_u64;
    while db.stats().journal_bytes < JOURNAL_BYTES_MIN * 3 / 2 {
        tree.put(n.to_be_bytes(), [0; 500]).unwrap();
        n += 1;
    }
    tree.rename_prefix("dir03/", "dir77/", IfExists::Fail).unwrap();
    tree.delete_prefix([0_u8; 4]).unwrap();
    // Longer than it takes the thread to look by itself.
    std::thread::sleep(Duration::from_millis(1200));
    let now = || (device.by_background(), db.stats().checkpoints, db.stats().reclaimed_blobs);
    assert_eq!(now(), before);
    db.resume_background();
    assert_eq!(now(), before, "it was paused twice");
    tree.put("a", "b").unwrap();
    // Who goes on past twice the limit makes the checkpoint himself.
    while db.stats().checkpoints == before.1 {
        assert!(db.stats().journal_bytes <= 2 * JOURNAL_BYTES_MIN + 4096);
        tree.put(n.to_be_bytes(), [0; 500]).unwrap();
        n += 1;
    }
    assert_eq!(device.by_background(), before.0);
    db.checkpoint().unwrap();
    assert_eq!(device.by_background(), before.0, "what is asked for is done by who asks");
    db.resume_background();
    until("the freeing of what was deleted", || db.stats().reclaimed_blobs > before.2);
    while device.by_background() == before.0 {
        tree.put(n.to_be_bytes(), [0; 500]).unwrap();
        n += 1;
    }
    // One too many changes nothing.
    db.resume_background();
    db.pause_background();
    let written = device.by_background();
    tree.put("c", "d").unwrap();
    assert_eq!(device.by_background(), written);
    assert_sound(&db);
    db.close().unwrap();
}

/// Writers that wait for a checkpoint which is not going to be made would wait for ever.
#[test]
fn a_pause_takes_nobody_along_who_waits() {
    let device = HeldStorage::new(MemoryStorage::new());
    let db = open(&device);
    let tree = db.default_tree();
    let stop = AtomicBool::new(false);
    watched("writers and pauses", || {
        std::thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (tree, stop) = (&tree, &stop);
                scope.spawn(move || {
                    let mut n = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        tree.put(((thread << 32) | (n % 2000)).to_be_bytes(), [0; 1500]).unwrap();
                        n += 1;
                    }
                });
            }
            // The first checkpoint stands still until the writers are at twice the limit.
            device.hold(Hold::Data);
            until("a full journal", || db.stats().journal_bytes >= 2 * JOURNAL_BYTES_MIN - 2048);
            let pauser = scope.spawn(|| db.pause_background());
            device.hold(Hold::Nothing);
            pauser.join().unwrap();
            let checkpoints = db.stats().checkpoints;
            until("checkpoints of writers", || db.stats().checkpoints > checkpoints + 2);
            for _ in 0..20 {
                db.resume_background();
                std::thread::yield_now();
                db.pause_background();
            }
            db.resume_background();
            stop.store(true, Ordering::Relaxed);
        });
    });
    assert_sound(&db);
}

#[test]
fn waits_for_latches_and_at_the_gate_are_counted() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    assert_eq!(db.stats().gate_waits.total(), 0);
    watched("waits", || {
        std::thread::scope(|scope| {
            let counted = || db.stats().latch_waits.total() > 0 && db.stats().gate_waits.total() > 0;
            for thread in 0..3 {
                let (db, tree) = (&db, &tree);
                scope.spawn(move || {
                    let mut n = 0_u64;
                    while !counted() {
                        tree.put("one key", n.to_be_bytes()).unwrap();
                        if thread == 0 && n.is_multiple_of(16) {
                            db.batch(|batch| batch.delete_range(tree, "a".."b")).unwrap();
                        }
                        n += 1;
                    }
                });
            }
        });
    });
    let stats = db.stats();
    assert!(stats.latch_waits.longest() > Duration::ZERO);
    assert!(stats.gate_waits.to_string().starts_with("under "));
}

#[test]
fn a_checkpoint_leaves_what_it_writes_in_order_in_memory_too() {
    let options =
        Options::new().background(false).durability(Durability::Batched { bytes: 1 << 20, interval: None });
    let db = options.storage(Arc::new(MemoryStorage::new())).open("").unwrap();
    let tree = db.default_tree();
    // Nodes grow, and so leave garbage, where keys come in no order.
    let keys: Vec<u32> = (0..20_000).map(|number: u32| number.wrapping_mul(0x9E37_79B1)).collect();
    let name = |key: u32| format!("dir{}/file-{key:08x}", key % 7);
    for key in &keys {
        tree.put(name(*key), key.to_le_bytes().repeat(12)).unwrap();
    }
    let survey = || db.survey().unwrap().survey.unwrap();
    let before = survey();
    let blobs = before.leaf_blobs + before.inner_blobs;
    assert!(before.garbage_bytes > 256 * blobs, "{before:?}");
    db.checkpoint().unwrap();
    let after = survey();
    assert!(after.garbage_bytes < 256 * blobs, "{after:?}");
    assert_eq!((after.entries, after.leaf_blobs), (before.entries, before.leaf_blobs));
    // That changed no content, so there is nothing more to write.
    let written = db.stats().blob_writes;
    db.checkpoint().unwrap();
    assert_eq!((db.stats().blob_writes, db.stats().dirty_bytes), (written, 0));
    for key in &keys {
        let value = tree.get(name(*key)).unwrap().unwrap();
        assert_eq!(value, key.to_le_bytes().repeat(12), "{key:08x}");
    }
    db.check().unwrap();
}
