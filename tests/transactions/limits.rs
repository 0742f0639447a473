//! Large transactions: the limits that their errors name, reads of more leaf blobs than are latched at once, a small cache, and
//! databases that nobody can write to.

use std::sync::Arc;

use ramus::io::{FaultStorage, MemoryStorage, Storage};
use ramus::limits::{CACHE_BYTES_MIN, READ_BLOBS_MAX, RECORD_BYTES_MAX};
use ramus::{Db, ErrorKind, IfExists, Options, Tree};

use crate::common::{assert_sound, small, watched};

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
