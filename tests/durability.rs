//! What is on the device when, and how much room it takes: the ways to flush, the journal after a checkpoint, the data
//! file after mass deletes, and memory when the data is many times larger.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{assert_sound, contents, small};
use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::limits::CACHE_BYTES_MIN;
use ramus::{Db, Durability, Options, WriteOptions};

const HEADER_BYTES: usize = 32;

fn batched(bytes: usize) -> Durability {
    Durability::Batched { bytes, interval: None }
}

fn keys(db: &Db) -> usize {
    db.default_tree().iter().count()
}

/// Keys that are left when the power goes now, everything unsynced lost.
fn after_power_cut(storage: &FaultStorage) -> usize {
    keys(&small(&storage.crash_lose_all()).open("").unwrap())
}

/// Keys that are left when the process dies now.
fn after_kill(storage: &FaultStorage) -> usize {
    keys(&small(&storage.crash_keep_all()).open("").unwrap())
}

fn journal_len(storage: &FaultStorage) -> usize {
    storage.contents("journal.wal").expect("the journal is there").len()
}

#[test]
fn a_sync_commit_is_on_the_device_when_the_call_returns() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..50 {
        tree.put(format!("{i}"), b"").unwrap();
        assert_eq!(after_power_cut(&storage), i + 1);
    }
    db.batch(|b| (50..60).for_each(|i| b.put(&tree, format!("{i}"), b""))).unwrap();
    assert_eq!(after_power_cut(&storage), 60);
    tree.delete(b"0").unwrap();
    assert_eq!(after_power_cut(&storage), 59);
}

#[test]
fn a_batched_commit_waits_for_its_buffer_and_a_sync_for_nothing() {
    let storage = FaultStorage::new();
    let db = small(&storage).durability(batched(10_000)).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..9 {
        tree.put(format!("{i}"), vec![0; 1000]).unwrap();
    }
    assert_eq!(after_kill(&storage), 0);
    tree.put(b"9", vec![0; 1000]).unwrap();
    assert_eq!(after_kill(&storage), 10, "the buffer was full");
    assert_eq!(after_power_cut(&storage), 0, "nobody asked for a sync");
    db.sync().unwrap();
    assert_eq!(after_power_cut(&storage), 10);
    tree.put(b"a", b"").unwrap();
    assert_eq!(after_kill(&storage), 10);
    // One commit that is to be durable takes all before it along.
    tree.put_with(b"b", b"", WriteOptions::new().durability(Durability::Sync)).unwrap();
    assert_eq!(after_power_cut(&storage), 12);
    tree.put(b"c", b"").unwrap();
    db.checkpoint().unwrap();
    assert_eq!(after_power_cut(&storage), 13);
}

#[test]
fn a_sync_database_can_batch_single_commits() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.default_tree();
    let lazy = WriteOptions::new().durability(batched(1 << 20));
    tree.put_with(b"a", b"", lazy).unwrap();
    db.batch_with(lazy, |b| b.put(&tree, b"b", b"")).unwrap();
    assert_eq!(after_kill(&storage), 0);
    tree.put(b"c", b"").unwrap();
    assert_eq!(after_power_cut(&storage), 3);
}

#[test]
fn a_full_buffer_is_written_by_a_background_thread_where_there_is_one() {
    let storage = FaultStorage::new();
    let db = small(&storage).durability(batched(10_000)).background(true).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..5 {
        tree.put(format!("{i}"), vec![0; 1000]).unwrap();
    }
    assert_eq!(after_kill(&storage), 0);
    for i in 5..15 {
        tree.put(format!("{i:02}"), vec![0; 1000]).unwrap();
    }
    let patience = Instant::now() + Duration::from_secs(120);
    while after_kill(&storage) < 10 {
        assert!(Instant::now() < patience, "the buffer was never written");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(after_power_cut(&storage), 0, "nobody asked for a sync");
}

#[test]
fn an_interval_syncs_without_being_asked() {
    let storage = FaultStorage::new();
    let durability = Durability::Batched { bytes: 1 << 20, interval: Some(Duration::from_millis(5)) };
    let db = small(&storage).durability(durability).background(true).open("").unwrap();
    for i in 0..5 {
        db.default_tree().put(format!("{i}"), b"").unwrap();
        let patience = Instant::now() + Duration::from_secs(120);
        while after_power_cut(&storage) != i + 1 {
            assert!(Instant::now() < patience, "the interval never came");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_drop_flushes_unless_told_not_to() {
    for flush in [true, false] {
        let storage = FaultStorage::new();
        let db = small(&storage).durability(batched(1 << 20)).flush_on_drop(flush).open("").unwrap();
        db.default_tree().put(b"a", b"").unwrap();
        drop(db);
        assert_eq!(after_power_cut(&storage), usize::from(flush));
        if flush {
            assert_eq!(journal_len(&storage), HEADER_BYTES);
        }
    }
    // Dropped by its last handle, a listing that is still running.
    let storage = FaultStorage::new();
    let db = small(&storage).durability(batched(1 << 20)).flush_on_drop(true).open("").unwrap();
    let tree = db.default_tree();
    tree.put(b"a", b"").unwrap();
    let mut listing = tree.iter();
    drop((tree, db));
    assert_eq!(listing.next().unwrap().unwrap().key(), b"a");
    assert_eq!(after_power_cut(&storage), 0);
    drop(listing);
    assert_eq!(after_power_cut(&storage), 1);
}

#[test]
fn a_checkpoint_cuts_the_journal_to_its_header() {
    let storage = FaultStorage::new();
    for round in 0..3 {
        for durability in [Durability::Sync, batched(1 << 16)] {
            let db = small(&storage).durability(durability).open("").unwrap();
            let tree = db.default_tree();
            for i in 0..200 {
                tree.put(format!("{i}"), vec![round; 500]).unwrap();
            }
            db.sync().unwrap();
            assert!(journal_len(&storage) > HEADER_BYTES);
            db.checkpoint().unwrap();
            assert_eq!(journal_len(&storage), HEADER_BYTES);
            assert_eq!(db.stats().journal_bytes, 0);
            assert!(storage.contents("journal.next").is_none());
            db.checkpoint().unwrap();
            assert_eq!(journal_len(&storage), HEADER_BYTES, "after a second checkpoint");
            tree.put(b"after", b"").unwrap();
            db.close().unwrap();
            assert_eq!(journal_len(&storage), HEADER_BYTES, "after a close");
        }
    }
}

#[test]
fn an_open_after_a_clean_close_replays_nothing_and_writes_nothing() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    (0..300).for_each(|i| assert!(db.default_tree().put(format!("{i}"), b"value").unwrap() > 0));
    db.close().unwrap();
    drop(db);
    let before = (storage.contents("data.ramus"), storage.contents("journal.wal"));
    for _ in 0..3 {
        let db = small(&storage).open("").unwrap();
        assert_eq!(db.stats().recovered_records, 0);
        assert_eq!(keys(&db), 300);
        db.close().unwrap();
        drop(db);
        assert!(before == (storage.contents("data.ramus"), storage.contents("journal.wal")));
    }
    let db = small(&storage).open("").unwrap();
    db.default_tree().put(b"one more", b"").unwrap();
    drop(db);
    assert_eq!(small(&storage).open("").unwrap().stats().recovered_records, 1);
}

#[test]
fn the_journal_stays_near_its_limit_with_and_without_the_background_thread() {
    for background in [false, true] {
        let storage = FaultStorage::new();
        let db = small(&storage).durability(batched(1 << 14)).background(background).open("").unwrap();
        let tree = db.default_tree();
        for i in 0..20_000 {
            tree.put(format!("{:05}", i % 500), vec![i as u8; 400]).unwrap();
            assert!(db.stats().journal_bytes < 3 << 20, "{} bytes of journal", db.stats().journal_bytes);
        }
        assert!(db.stats().checkpoints >= 2, "{:?}", db.stats());
        assert_eq!(keys(&db), 500);
    }
}

#[test]
fn the_data_file_shrinks_after_mass_deletes() {
    let storage = FaultStorage::new();
    let options = small(&storage).durability(batched(1 << 16));
    let db = options.open("").unwrap();
    let tree = db.default_tree();
    db.compact().unwrap();
    let empty = storage.contents("data.ramus").unwrap().len();
    for i in 0..20_000 {
        tree.put(format!("dir{:03}/{i:06}", i % 200), vec![i as u8; 600]).unwrap();
    }
    db.checkpoint().unwrap();
    let full = storage.contents("data.ramus").unwrap().len();
    assert!(full > 20_000 * 600, "{full} bytes");
    for i in (0..20_000).filter(|i| i % 200 != 0) {
        assert!(tree.delete(format!("dir{:03}/{i:06}", i % 200)).unwrap());
    }
    db.compact().unwrap();
    let left = storage.contents("data.ramus").unwrap().len();
    let kept = 100 * 620;
    assert!(left < empty + 4 * kept, "{left} bytes after, {full} before");
    assert_eq!(left as u64, db.stats().data_file_bytes);
    (0..20_000).step_by(200).for_each(|i| assert!(tree.delete(format!("dir000/{i:06}")).unwrap()));
    db.compact().unwrap();
    let none = storage.contents("data.ramus").unwrap().len();
    assert!(none <= empty + (64 << 10), "{none} bytes for nothing, {empty} when new");
    assert_sound(&db);
    // A dropped tree gives its space back too.
    let gone = db.tree("gone").unwrap();
    (0..5000).for_each(|i| assert!(gone.put(format!("{i}"), vec![1; 1000]).unwrap() > 0));
    db.checkpoint().unwrap();
    db.drop_tree("gone").unwrap();
    db.compact().unwrap();
    let none = storage.contents("data.ramus").unwrap().len();
    assert!(none <= empty + (64 << 10), "{none} bytes after a dropped tree");
    assert_sound(&db);
}

#[test]
fn overwriting_does_not_grow_the_file_without_bound() {
    let storage = FaultStorage::new();
    let db = small(&storage).durability(batched(1 << 16)).open("").unwrap();
    let tree = db.default_tree();
    let mut longest = 0;
    for round in 0..30u8 {
        for i in 0..2000 {
            tree.put(format!("{i:05}"), vec![round; 500]).unwrap();
        }
        db.checkpoint().unwrap();
        let len = storage.contents("data.ramus").unwrap().len();
        if round < 5 {
            longest = longest.max(len);
        } else {
            assert!(len <= longest * 2, "round {round}: {len} bytes, {longest} in the first rounds");
        }
    }
}

/// What the journal buffers there.
const JOURNAL_BYTES: usize = 1 << 16;

#[test]
fn memory_stays_within_its_budget_with_far_more_data() {
    for (background, cache) in [(true, CACHE_BYTES_MIN), (false, CACHE_BYTES_MIN), (true, 8 << 20)] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let options = Options::new().storage(storage).cache_bytes(cache).background(background);
        let options = options.journal_bytes(1 << 20).durability(batched(JOURNAL_BYTES));
        let db = options.open("").unwrap();
        let tree = db.default_tree();
        let within = |when: &str| {
            let stats = db.stats();
            // At the end of a checkpoint the journal's buffers are charged as they are; eviction follows.
            assert!(stats.cache_used_bytes <= cache + JOURNAL_BYTES as u64, "{when}: {stats:?}");
            assert_eq!(stats.cache_bytes, cache);
        };
        let count = 60_000u64;
        let key = |i: u64| format!("{:016x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for i in 0..count {
            tree.put(key(i), vec![i as u8; 1000]).unwrap();
            if i % 16 == 0 {
                within("puts");
            }
        }
        for i in (0..count).step_by(7) {
            assert_eq!(tree.get(key(i)).unwrap(), Some(vec![i as u8; 1000]));
            if i % 16 == 0 {
                within("gets");
            }
        }
        assert_eq!(tree.iter().inspect(|_| within("a listing")).count() as u64, count);
        let stats = db.stats();
        assert!(stats.evictions > 0 && stats.data_file_bytes > 5 * cache, "{stats:?}");
        assert!(stats.overhead_bytes < 64 * stats.data_file_bytes / 4096, "{stats:?}");
        assert_sound(&db);
        within("a check");
        db.close().unwrap();
        within("a close");
    }
}

#[test]
fn a_poisoned_database_reads_on_and_a_new_open_has_what_was_acknowledged() {
    let storage = FaultStorage::new();
    let db = small(&storage).flush_on_drop(true).open("").unwrap();
    let tree = db.default_tree();
    tree.put(b"a", b"1").unwrap();
    storage.fail_after(0);
    tree.put(b"b", b"2").unwrap_err();
    for outcome in [
        tree.put(b"c", b"").map(drop),
        tree.delete(b"a").map(drop),
        db.checkpoint(),
        db.sync(),
        db.compact(),
        db.tree("new").map(drop),
        db.close(),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ramus::ErrorKind::Poisoned, "{error}");
        assert!(error.to_string().contains("reopen"), "{error}");
    }
    drop((tree, db));
    let left = storage.crash_lose_all();
    let db = small(&left).open("").unwrap();
    let all = contents(&db).unwrap();
    assert_eq!(all["default"].get(&b"a"[..]).map(Vec::as_slice), Some(&b"1"[..]));
    assert!(!all["default"].contains_key(&b"c"[..]));
}

#[test]
fn a_refused_commit_leaves_no_trace_after_a_clean_close() {
    let storage = FaultStorage::new();
    let open = || Options::new().storage(Arc::new(storage.clone())).open("").unwrap();
    let db = open();
    let version = db.default_tree().put("a", "1").unwrap();
    db.close().unwrap();
    drop(db);
    for _ in 0..3 {
        let db = open();
        assert!(db.default_tree().rename("none", "b", ramus::IfExists::Fail).is_err());
        db.close().unwrap();
        drop(db);
        assert_eq!(storage.contents("journal.wal").map(|bytes| bytes.len()), Some(32));
    }
    let next = open().default_tree().put("a", "2").unwrap();
    assert!(next > version && next < version + 100, "{next} after {version}");
}
