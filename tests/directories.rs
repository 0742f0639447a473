//! Moves and deletes of directories: what is refused, what a move keeps, the limit of keys to the byte, batches across
//! directories that moved before, and what comes after.

mod common;

use std::collections::BTreeMap;

use common::{assert_sound, cases, records, small};
use ramus::io::FaultStorage;
use ramus::limits::KEY_BYTES_MAX;
use ramus::{Db, ErrorKind, IfExists, Tree};

const FAIL: IfExists = IfExists::Fail;
const REPLACE: IfExists = IfExists::Replace;

fn kind<T: std::fmt::Debug>(outcome: ramus::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

/// A range that is deleted takes with it what is mounted in it, in one leaf blob and in many, and leaves no blob behind.
#[test]
fn ranges_with_directories_that_moved_there_go_whole() {
    for (low, high) in [("k/01002", "k/01105"), ("k/00502", "k/03505")] {
        let storage = FaultStorage::new();
        let db = small(&storage).open("").unwrap();
        let tree = db.default_tree();
        for n in 0..4000 {
            tree.put(format!("k/{n:05}"), [7; 40]).unwrap();
        }
        for dir in 0..40 {
            for n in 0..300 {
                tree.put(format!("d{dir}/{n:03}"), [7; 100]).unwrap();
            }
            tree.rename_prefix(format!("d{dir}/"), format!("k/{:05}/", dir * 100 + 3), FAIL).unwrap();
        }
        let mut expected = records(&tree).unwrap();
        expected.retain(|key, _| key.as_slice() < low.as_bytes() || key.as_slice() >= high.as_bytes());
        tree.delete_range(low..high).unwrap();
        assert!(records(&tree).unwrap() == expected);
        assert_sound(&db);
        // A few records and one directory each, most of them in one leaf blob.
        for dir in (1..40).map(|dir| dir * 100) {
            let (low, high) = (format!("k/{:05}", dir + 2), format!("k/{:05}", dir + 5));
            tree.delete_range(low.as_bytes()..high.as_bytes()).unwrap();
            expected.retain(|key, _| key.as_slice() < low.as_bytes() || key.as_slice() >= high.as_bytes());
        }
        assert!(records(&tree).unwrap() == expected);
        assert_sound(&db);
        db.checkpoint().unwrap();
        assert_sound(&db);
    }
}

/// Blobs that lost most of what they held to deletes of small directories are merged, without a background thread too.
#[test]
fn small_directories_that_go_leave_no_sparse_blobs() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.default_tree();
    // From everywhere, so that no blob is cut inside a directory: that would have its neighbours merged too.
    for n in (0..4000).map(|n| n * 1_237 % 4000) {
        tree.put(format!("d{:03}/{}", n / 10, n % 10), [7; 200]).unwrap();
    }
    let leaf_blobs = || db.survey().unwrap().survey.unwrap().leaf_blobs;
    let before = leaf_blobs();
    for dir in (0..400).filter(|dir| dir % 10 > 0) {
        tree.delete_prefix(format!("d{dir:03}/")).unwrap();
    }
    assert_eq!(tree.iter().count(), 400);
    assert!(before >= 12 && leaf_blobs() <= before / 3, "{before} became {}", leaf_blobs());
    assert_sound(&db);
}

#[test]
fn what_is_no_move_is_refused_and_changes_nothing() {
    let db = Db::in_memory().unwrap();
    let (tree, other) = (db.default_tree(), db.tree("other").unwrap());
    for key in ["a/1", "a/2", "b/1"] {
        tree.put(key, key).unwrap();
    }
    let before = (records(&tree).unwrap(), db.stats().last_version);
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    let invalid: [(&[u8], &[u8]); 6] =
        [(b"", b"x"), (b"a/", b""), (b"a/", b"a/1/"), (b"a/1", b"a"), (&long, b"x"), (b"a/", &long)];
    for (src, dst) in invalid {
        assert_eq!(kind(tree.rename_prefix(src, dst, REPLACE)), ErrorKind::InvalidInput);
        assert_eq!(kind(db.batch(|b| b.rename_prefix(&tree, src, dst, REPLACE))), ErrorKind::InvalidInput);
    }
    assert_eq!(kind(tree.rename_prefix("none", "x", FAIL)), ErrorKind::NotFound);
    assert_eq!(kind(tree.rename_prefix("none", "none", FAIL)), ErrorKind::NotFound);
    assert_eq!(kind(other.rename_prefix_to(&tree, "a/", "x", FAIL)), ErrorKind::NotFound);
    assert_eq!(kind(tree.rename_prefix("a/", "b/", FAIL)), ErrorKind::Exists);
    assert_eq!(kind(tree.rename_prefix("a/", "b", FAIL)), ErrorKind::Exists);
    assert_eq!(kind(tree.delete_prefix(&long)), ErrorKind::InvalidInput);
    assert_eq!(kind(tree.delete_range("b".."a")), ErrorKind::InvalidInput);
    assert_eq!(kind(db.batch(|b| b.delete_range(&tree, "b".."a"))), ErrorKind::InvalidInput);
    let stranger = Db::in_memory().unwrap();
    let foreign = stranger.default_tree();
    assert_eq!(kind(tree.rename_prefix_to(&foreign, "a/", "x", FAIL)), ErrorKind::InvalidInput);
    assert_eq!(
        kind(db.batch(|b| b.rename_prefix_to(&foreign, &tree, "a/", "x", FAIL))),
        ErrorKind::InvalidInput
    );
    // An error half-way through a batch takes back what came before it.
    let half = db.batch(|b| {
        b.rename_prefix(&tree, "a/", "c/", FAIL);
        b.put(&tree, "c/3", "");
        b.delete_prefix(&tree, "b/");
        b.rename_prefix(&tree, "a/", "d/", FAIL);
    });
    assert_eq!(kind(half), ErrorKind::NotFound);
    // What has nothing to do is no commit.
    assert_eq!(tree.rename_prefix("a/", "a/", FAIL).unwrap(), before.1);
    assert_eq!(tree.delete_prefix("c").unwrap(), before.1);
    assert_eq!(tree.delete_range("c"..).unwrap(), before.1);
    assert_eq!(tree.delete_range("a".."a").unwrap(), before.1);
    assert_eq!(db.batch(|b| b.delete_prefix(&other, "")).unwrap(), before.1);
    assert_eq!((records(&tree).unwrap(), db.stats().last_version), before);
    db.drop_tree("other").unwrap();
    assert_eq!(kind(other.delete_prefix("")), ErrorKind::NotFound);
    assert_eq!(kind(tree.rename_prefix_to(&other, "a/", "x", FAIL)), ErrorKind::NotFound);
    db.close().unwrap();
    assert_eq!(kind(tree.rename_prefix("a/", "x", FAIL)), ErrorKind::InvalidInput);
    assert_eq!(kind(tree.count_prefix("")), ErrorKind::InvalidInput);
}

#[test]
fn a_read_only_database_moves_nothing() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    db.default_tree().put("a/b", "").unwrap();
    db.close().unwrap();
    let db = small(&storage).read_only(true).open("").unwrap();
    let tree = db.default_tree();
    assert_eq!(kind(tree.rename_prefix("a/", "b/", FAIL)), ErrorKind::ReadOnly);
    assert_eq!(kind(tree.delete_prefix("a/")), ErrorKind::ReadOnly);
    assert_eq!(kind(tree.delete_range("a"..)), ErrorKind::ReadOnly);
    assert_eq!(tree.count_prefix("a/").unwrap().keys, 1);
}

/// A bound on the lengths of keys may say too much: after longer keys were deleted, and because it is rounded up.
#[test]
fn a_move_to_the_longest_key_there_can_be_is_made_and_one_byte_more_is_refused() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    for i in 0..2000 {
        tree.put(format!("dir/{i:04}"), [7; 100]).unwrap();
    }
    let deleted = [b"dir/1000/".as_slice(), &[b'x'; 6000]].concat();
    tree.put(&deleted, "").unwrap();
    tree.delete(&deleted).unwrap();
    let mut from = b"dir/".to_vec();
    // The second round starts from a mounted limb, the third in a batch.
    for round in 0..3 {
        let (most, more) = (vec![b'a' + round; KEY_BYTES_MAX - 4], vec![b'z'; KEY_BYTES_MAX - 3]);
        assert_eq!(kind(tree.rename_prefix(&from, &more, FAIL)), ErrorKind::InvalidInput);
        if round == 2 {
            let batch = |dst: &[u8]| {
                db.batch(|b| {
                    b.rename_prefix(&tree, &from, "between/", FAIL);
                    b.rename_prefix(&tree, "between/", dst, FAIL);
                })
            };
            assert_eq!(kind(batch(&more)), ErrorKind::InvalidInput);
            batch(&most).unwrap();
        } else {
            tree.rename_prefix(&from, &most, FAIL).unwrap();
        }
        assert_eq!(tree.count_prefix(&most).unwrap().keys, 2000);
        assert_eq!(tree.count_prefix("").unwrap().keys, 2000);
        from = most;
    }
    tree.put([&from[..], b"1"].concat(), "").unwrap();
    let longer = vec![b'y'; KEY_BYTES_MAX - 3];
    assert_eq!(kind(tree.rename_prefix(&from, &longer, FAIL)), ErrorKind::InvalidInput);
    assert_sound(&db);
}

/// The same with a cache in which the directory does not fit: the blobs that have to be asked come and go.
#[test]
fn the_longest_keys_are_found_in_a_directory_larger_than_the_cache() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..3000 {
        tree.put(format!("dir/{i:04}"), [7; 3000]).unwrap();
    }
    let most = vec![b'a'; KEY_BYTES_MAX - 4];
    assert_eq!(kind(tree.rename_prefix("dir/", [&most[..], b"a"].concat(), FAIL)), ErrorKind::InvalidInput);
    tree.rename_prefix("dir/", &most, FAIL).unwrap();
    assert_eq!(tree.get([&most[..], b"2999"].concat()).unwrap().unwrap(), [7; 3000]);
    assert_eq!(tree.count_prefix(&most).unwrap().keys, 3000);
    assert_sound(&db);
}

fn fill(tree: &Tree, directory: &str, count: usize) {
    for i in 0..count {
        tree.put(format!("{directory}{i:05}"), [1; 40]).unwrap();
    }
}

#[test]
fn records_keep_their_versions_and_a_replaced_directory_is_gone() {
    let db = Db::in_memory().unwrap();
    let (tree, other) = (db.default_tree(), db.tree("other").unwrap());
    fill(&tree, "a/", 3000);
    fill(&other, "a/", 10);
    fill(&other, "a/b/", 4000);
    let before = records(&tree).unwrap();
    let version = tree.rename_prefix_to(&other, "a/", "a/b/", REPLACE).unwrap();
    assert_eq!(version, db.stats().last_version);
    let (moved, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
        records(&other).unwrap().into_iter().partition(|(key, _)| key.starts_with(b"a/b/"));
    let renamed = |(key, record): (Vec<u8>, _)| ([b"a/b/", &key[2..]].concat(), record);
    assert_eq!(moved, before.into_iter().map(renamed).collect());
    assert_eq!(rest.len(), 10);
    assert!(records(&tree).unwrap().is_empty());
    assert_sound(&db);
}

/// Batches of single keys latch leaf blobs inside mounted limbs and those that the limbs are mounted in.
#[test]
fn batches_go_across_directories_that_moved() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    for directory in ["p/a/", "p/b/", "q/"] {
        fill(&tree, directory, 3000);
    }
    tree.rename_prefix("p/b/", "q/00100/b/", FAIL).unwrap();
    tree.rename_prefix("q/", "p/q/", FAIL).unwrap();
    tree.rename_prefix("p/a/", "z/", FAIL).unwrap();
    fill(&tree, "e/", 2000);
    tree.rename_prefix("e/", "p/empty/", FAIL).unwrap();
    for i in 0..2000 {
        tree.delete(format!("p/empty/{i:05}")).unwrap();
    }
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> =
        records(&tree).unwrap().into_iter().map(|(key, (value, _))| (key, value)).collect();
    let mut dice = common::Dice(common::seed());
    for _ in 0..cases(300) {
        let mut keys = Vec::new();
        for _ in 0..1 + dice.below(20) {
            let directory = ["p/", "p/q/", "p/q/00100/b/", "p/q/00100", "p/empty/", "z/", "y"][dice.below(7)];
            keys.push(format!("{directory}{:05}", dice.below(4000)).into_bytes());
        }
        let absent = keys.iter().find(|key| !model.contains_key(*key)).cloned();
        let prefix = &keys[0][..1 + dice.below(keys[0].len())];
        let is_empty = !model.keys().any(|key| key.starts_with(prefix));
        let asks = dice.below(3) == 0;
        let outcome = db.batch(|b| {
            absent.iter().for_each(|key| b.expect_absent(&tree, key));
            if asks {
                b.expect_prefix_empty(&tree, prefix);
            }
            for (at, key) in keys.iter().enumerate() {
                if at % 3 == 0 { b.delete(&tree, key) } else { b.put(&tree, key, key) }
            }
        });
        if asks && !is_empty {
            assert_eq!(kind(outcome), ErrorKind::Conflict, "{}", prefix.escape_ascii());
            continue;
        }
        outcome.unwrap();
        for (at, key) in keys.into_iter().enumerate() {
            if at % 3 == 0 { drop(model.remove(&key)) } else { drop(model.insert(key.clone(), key)) }
        }
    }
    model.retain(|key, _| !key.starts_with(b"p/empty/"));
    tree.delete_prefix("p/empty/").unwrap();
    db.batch(|b| b.expect_prefix_empty(&tree, "p/empty/")).unwrap();
    let now: BTreeMap<_, _> =
        records(&tree).unwrap().into_iter().map(|(key, (value, _))| (key, value)).collect();
    assert!(now == model);
    assert_sound(&db);
}

/// Where there is no background thread, what was deleted is freed by the calls that follow.
#[test]
fn what_was_deleted_is_freed_by_later_calls() {
    let storage = FaultStorage::new();
    let db = small(&storage).cache_bytes(64 << 20).open("").unwrap();
    let tree = db.default_tree();
    for i in 0..20_000 {
        tree.put(format!("dir/{i:05}"), [7; 1000]).unwrap();
    }
    let before = db.stats().reclaimed_blobs;
    tree.delete_prefix("dir/").unwrap();
    let first = db.stats().reclaimed_blobs - before;
    assert!((1..300).contains(&first), "{first} blobs at once");
    for i in 0..4 {
        tree.put(format!("x{i}"), "").unwrap();
        tree.delete_prefix("x").unwrap();
    }
    assert!(db.stats().reclaimed_blobs - before > 300);
    db.compact().unwrap();
    assert!(db.stats().data_file_bytes < 4 << 20, "{}", db.stats().data_file_bytes);
    assert_sound(&db);
}

/// Directories of all sizes, and moves that cut nearly every leaf blob.
fn scattered(db: &Db) -> (u64, u64) {
    let tree = db.default_tree();
    for n in 0..6_000u32 {
        let mix = n.wrapping_mul(2_654_435_761) >> 8;
        tree.put(format!("usr/{:02}/{:03}/file-{mix:08}", mix % 40, mix % 400), [7; 300]).unwrap();
    }
    let blobs = || db.survey().unwrap().survey.unwrap().leaf_blobs;
    let before = blobs();
    for n in 0..40 {
        tree.rename_prefix(format!("usr/{n:02}/"), format!("usr/moved-{:02}/", n * 7 % 40), FAIL).unwrap();
    }
    (before, blobs())
}

#[test]
fn what_cuts_leave_is_mended_by_the_commit_where_there_is_no_background_thread() {
    let db = small(&FaultStorage::new()).background(false).open("").unwrap();
    let (before, after) = scattered(&db);
    let mounts = db.survey().unwrap().survey.unwrap().mounts;
    // Each mounted limb has a leaf blob at least; those that they came out of are merged.
    assert!(after <= before / 4 + mounts, "{before} {after} {mounts}");
    assert_sound(&db);
}

#[test]
fn the_background_thread_mends_and_puts_mounts_back_also_those_found_at_the_open() {
    let storage = FaultStorage::new();
    let db = small(&storage).background(false).open("").unwrap();
    let (before, _) = scattered(&db);
    let records_before = records(&db.default_tree()).unwrap();
    assert!(db.survey().unwrap().survey.unwrap().mounts > 10);
    db.close().unwrap();
    let db = small(&storage).background(true).open("").unwrap();
    common::watched("mounts are put back", || {
        while db.survey().unwrap().survey.unwrap().mounts > 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let after = db.survey().unwrap().survey.unwrap().leaf_blobs;
    assert!(after <= before + before / 10, "{before} {after}");
    assert_eq!(records(&db.default_tree()).unwrap(), records_before);
    assert_sound(&db);
}
