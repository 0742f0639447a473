//! Calls that are wrong, places that are wrong, and a full disk: each gets the error that says so, with the path, the
//! key or the limit in its message, and nothing is lost or changed.

mod common;

use std::sync::Arc;

use common::{Dice, assert_sound, cases, contents, records, small};
use ramus::io::{FaultStorage, Storage};
use ramus::limits::{
    CACHE_BYTES_MIN, JOURNAL_BYTES_MIN, KEY_BYTES_MAX, RECORD_BYTES_MAX, TREE_NAME_BYTES_MAX, VALUE_BYTES_MAX,
};
use ramus::{Db, Durability, Error, ErrorKind, IfExists, Options};

#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    assert!(!message.contains('\n'), "more than one line: {message}");
}

#[test]
fn an_empty_or_over_long_key_is_refused_by_every_write() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    tree.put(b"there", b"1").unwrap();
    let before = db.stats().last_version;
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    for (key, parts) in [(&b""[..], ["empty", "8192"]), (&long[..], ["8193", "8192"])] {
        let check = |error: Error| assert_error(&error, ErrorKind::InvalidInput, &parts);
        check(tree.put(key, b"").unwrap_err());
        check(tree.put_if_absent(key, b"").unwrap_err());
        check(tree.compare_and_put(key, 1, b"").unwrap_err());
        check(tree.replace(key, b"").unwrap_err());
        check(tree.delete(key).unwrap_err());
        check(tree.take(key).unwrap_err());
        check(tree.delete_if_version(key, 1).unwrap_err());
        check(tree.rename(key, b"x", IfExists::Fail).unwrap_err());
        check(tree.rename(b"there", key, IfExists::Fail).unwrap_err());
        check(db.batch(|b| b.put(&tree, key, b"")).unwrap_err());
        check(db.batch(|b| b.delete(&tree, key)).unwrap_err());
        check(db.batch(|b| b.rename(&tree, b"there", key, IfExists::Fail)).unwrap_err());
        // Reads of what cannot be there find nothing.
        assert_eq!(tree.get(key).unwrap(), None);
        assert!(!tree.contains(key).unwrap());
        assert!(tree.longest_prefix(key).unwrap().is_none());
        assert_eq!(tree.range(key..).start_after(key).count(), 1);
        assert!(db.batch(|b| b.expect_absent(&tree, key)).is_ok());
    }
    assert_eq!(db.stats().last_version, before);
    assert_eq!(records(&tree).unwrap().len(), 1);
    assert_sound(&db);
}

#[test]
fn the_largest_key_and_value_are_taken_and_one_byte_more_is_not() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    for fill in [0, b'/', 0xff] {
        let (key, value) = (vec![fill; KEY_BYTES_MAX], vec![fill; VALUE_BYTES_MAX]);
        tree.put(&key, &value).unwrap();
        assert_eq!(tree.get(&key).unwrap(), Some(value.clone()));
        let more = [value, vec![0]].concat();
        let check = |error: Error| assert_error(&error, ErrorKind::InvalidInput, &["4097", "4096", "key"]);
        check(tree.put(b"key", &more).unwrap_err());
        check(tree.put_if_absent(b"key", &more).unwrap_err());
        check(tree.compare_and_put(b"key", 1, &more).unwrap_err());
        check(tree.replace(b"key", &more).unwrap_err());
        check(db.batch(|b| b.put(&tree, b"key", &more)).unwrap_err());
        assert_eq!(tree.get(b"key").unwrap(), None);
    }
}

#[test]
fn an_inverted_range_is_refused_and_an_empty_one_is_empty() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    tree.put(b"m", b"").unwrap();
    let mut scan = tree.range(&b"z"[..]..&b"a"[..]);
    assert_error(
        &scan.next().unwrap().unwrap_err(),
        ErrorKind::InvalidInput,
        &["inverted", "\"z\"", "\"a\""],
    );
    assert!(scan.next().is_none(), "a listing goes on after its error");
    assert!(tree.range(&b"z"[..]..&b"a"[..]).reverse().next().unwrap().is_err());
    assert_eq!(tree.range(&b"m"[..]..&b"m"[..]).count(), 0);
    assert_eq!(tree.range(&b"m"[..]..=&b"m"[..]).count(), 1);
}

#[test]
fn trees_that_are_not_there_and_names_that_cannot_be() {
    let db = Db::in_memory().unwrap();
    assert_error(&db.existing_tree("absent").unwrap_err(), ErrorKind::NotFound, &["\"absent\""]);
    assert_error(&db.drop_tree("absent").unwrap_err(), ErrorKind::NotFound, &["\"absent\""]);
    assert_error(&db.drop_tree("default").unwrap_err(), ErrorKind::InvalidInput, &["default"]);
    let long = "n".repeat(TREE_NAME_BYTES_MAX + 1);
    for name in ["", &long] {
        assert_error(&db.tree(name).unwrap_err(), ErrorKind::InvalidInput, &["255"]);
        assert_error(&db.existing_tree(name).unwrap_err(), ErrorKind::InvalidInput, &["255"]);
    }
    assert_eq!(db.tree_names(), ["default"]);
    db.tree(&long[1..]).unwrap();
    let other = Db::in_memory().unwrap();
    let stranger = other.default_tree();
    let error = db.batch(|b| b.put(&stranger, b"k", b"")).unwrap_err();
    assert_error(&error, ErrorKind::InvalidInput, &["another database"]);
}

#[test]
fn conditions_that_do_not_hold_change_nothing_and_name_the_key() {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    let version = tree.put(b"some/key", b"1").unwrap();
    tree.put(b"other", b"2").unwrap();
    let before = (contents(&db).unwrap(), db.stats().last_version);
    let conflict = |error: Error, key: &str| assert_error(&error, ErrorKind::Conflict, &[key]);
    conflict(tree.compare_and_put(b"some/key", version + 9, b"x").unwrap_err(), "some/key");
    conflict(tree.compare_and_put(b"absent", 1, b"x").unwrap_err(), "absent");
    conflict(tree.delete_if_version(b"some/key", version + 9).unwrap_err(), "some/key");
    assert!(!tree.put_if_absent(b"some/key", b"x").unwrap());
    let put = |b: &mut ramus::Batch| b.put(&tree, b"new", b"x");
    conflict(db.batch(|b| (b.expect_version(&tree, b"some/key", 999), put(b)).1).unwrap_err(), "some/key");
    conflict(db.batch(|b| (put(b), b.expect_absent(&tree, b"some/key")).1).unwrap_err(), "some/key");
    conflict(db.batch(|b| (put(b), b.expect_prefix_empty(&tree, b"some/")).1).unwrap_err(), "some/");
    let error = db.batch(|b| (put(b), b.rename(&tree, b"absent", b"z", IfExists::Fail)).1).unwrap_err();
    assert_error(&error, ErrorKind::NotFound, &["absent"]);
    let error = tree.rename(b"some/key", b"other", IfExists::Fail).unwrap_err();
    assert_error(&error, ErrorKind::Exists, &["other"]);
    assert_eq!((contents(&db).unwrap(), db.stats().last_version), before);
}

#[test]
fn an_over_large_batch_names_its_limit_and_changes_nothing() {
    let storage = FaultStorage::new();
    let db = small(&storage).open("").unwrap();
    let tree = db.default_tree();
    tree.put(b"there", b"").unwrap();
    let value = vec![1; VALUE_BYTES_MAX];
    let error = db
        .batch(|b| {
            (0..RECORD_BYTES_MAX / VALUE_BYTES_MAX + 1).for_each(|i| b.put(&tree, format!("{i:05}"), &value))
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("limit") || error.to_string().contains("16777216"), "{error}");
    // Fits a record, not a quarter of the smallest cache.
    let error = db.batch(|b| (0..600).for_each(|i| b.put(&tree, format!("{i:05}"), &value))).unwrap_err();
    assert_error(&error, ErrorKind::InvalidInput, &["quarter", "4194304"]);
    assert_eq!(records(&tree).unwrap().len(), 1);
    db.batch(|b| (0..100).for_each(|i| b.put(&tree, format!("{i:05}"), &value))).unwrap();
    assert_eq!(records(&tree).unwrap().len(), 101);
    assert_sound(&db);
}

#[test]
fn options_out_of_range_name_the_minimum() {
    let cache =
        Options::new().cache_bytes(CACHE_BYTES_MIN - 1).storage(Arc::new(FaultStorage::new())).open("");
    assert_error(&cache.unwrap_err(), ErrorKind::InvalidInput, &["cache", &CACHE_BYTES_MIN.to_string()]);
    let journal =
        Options::new().journal_bytes(JOURNAL_BYTES_MIN - 1).storage(Arc::new(FaultStorage::new())).open("");
    assert_error(
        &journal.unwrap_err(),
        ErrorKind::InvalidInput,
        &["journal", &JOURNAL_BYTES_MIN.to_string()],
    );
}

#[test]
fn a_second_open_is_busy_until_the_first_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let text = path.display().to_string();
    let first = Db::open(&path).unwrap();
    first.default_tree().put(b"k", b"v").unwrap();
    for read_only in [false, true] {
        let error = Options::new().read_only(read_only).open(&path).unwrap_err();
        assert_error(&error, ErrorKind::Busy, &[&text]);
    }
    // A handle that is left, of whatever kind, keeps it open.
    let tree = first.default_tree();
    drop(first);
    assert_eq!(Db::open(&path).unwrap_err().kind(), ErrorKind::Busy);
    drop(tree);
    let again = Db::open(&path).unwrap();
    assert_eq!(again.default_tree().get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
    again.close().unwrap();
    // Closed is closed, whoever still holds a handle.
    assert_eq!(Db::open(&path).unwrap().default_tree().iter().count(), 1);
    for outcome in [
        again.default_tree().put(b"x", b"").map(drop),
        again.default_tree().get(b"k").map(drop),
        again.checkpoint(),
        again.sync(),
        again.compact(),
        again.tree("new").map(drop),
        again.check().map(drop),
        again.batch(|_| {}).map(drop),
    ] {
        assert_error(&outcome.unwrap_err(), ErrorKind::InvalidInput, &["closed"]);
    }
    again.close().unwrap();
}

#[test]
fn read_only_opens_share_and_refuse_every_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let reader = || Options::new().read_only(true).open(&path);
    assert_error(&reader().unwrap_err(), ErrorKind::NotFound, &[&path.display().to_string()]);
    assert!(!path.exists(), "a reader made the directory");
    let db = Options::new().flush_on_drop(false).open(&path).unwrap();
    db.default_tree().put(b"k", b"v").unwrap();
    db.checkpoint().unwrap();
    db.default_tree().put(b"in the journal", b"v").unwrap();
    drop(db);
    let files = |name: &str| std::fs::read(path.join(name)).unwrap();
    let before = (files("data.ramus"), files("journal.wal"));
    let (one, two) = (reader().unwrap(), reader().unwrap());
    assert_eq!(Db::open(&path).unwrap_err().kind(), ErrorKind::Busy);
    for db in [&one, &two] {
        let tree = db.default_tree();
        assert_eq!(tree.iter().count(), 2);
        for outcome in [
            tree.put(b"x", b"").map(drop),
            tree.delete(b"k").map(drop),
            tree.rename(b"k", b"x", IfExists::Fail).map(drop),
            db.batch(|b| b.delete(&tree, b"k")).map(drop),
            db.tree("new").map(drop),
            db.drop_tree("new"),
            db.checkpoint(),
            db.compact(),
        ] {
            assert_error(&outcome.unwrap_err(), ErrorKind::ReadOnly, &["read-only"]);
        }
        assert!(db.check().unwrap().is_sound());
    }
    one.close().unwrap();
    drop((one, two));
    assert!(before == (files("data.ramus"), files("journal.wal")), "a reader changed the files");
    assert_eq!(Db::open(&path).unwrap().default_tree().iter().count(), 2);
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().display().to_string();
    std::fs::write(directory.path().join("letter.txt"), b"dear").unwrap();
    let error = Db::open(directory.path()).unwrap_err();
    assert_error(&error, ErrorKind::InvalidInput, &[&text, "letter.txt"]);
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "letter.txt" || name == "lock"), "{names:?}");
    // A file of the right name that is something else.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("data.ramus"), b"not a database").unwrap();
    let error = Db::open(other.path()).unwrap_err();
    assert_error(&error, ErrorKind::Corrupt, &["data.ramus"]);
    assert_eq!(std::fs::read(other.path().join("data.ramus")).unwrap(), b"not a database");
    // A file where a directory should be.
    let file = other.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Db::open(&file).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[cfg(unix)]
#[test]
fn a_directory_without_write_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    drop(Db::open(&path).unwrap());
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    // Whoever may write everywhere cannot be kept out by a mode.
    if std::fs::write(path.join("probe"), b"").is_ok() {
        std::fs::remove_file(path.join("probe")).unwrap();
        mode(0o755);
        return;
    }
    std::fs::remove_file(path.join("lock")).unwrap_or_default();
    let fresh = Db::open(path.join("below")).unwrap_err();
    assert!(fresh.to_string().contains("below"), "{fresh}");
    assert_eq!(Options::new().read_only(true).open(&path).unwrap().default_tree().iter().count(), 0);
    mode(0o755);
}

/// Fills the disk at some level; then everything is there, deletes go, and after the disk has space again all works.
/// Returns how many deletes the full disk let through.
fn full_disk(space: u64, durability: Durability, background: bool, dice: &mut Dice) -> usize {
    let what = format!("{space} bytes of space more, {durability:?}, background {background}");
    let storage = FaultStorage::new();
    let options = small(&storage).durability(durability).background(background);
    let db = options.open("").unwrap();
    let tree = db.default_tree();
    let taken = ["data.ramus", "journal.wal"].iter().filter_map(|name| storage.contents(name));
    let space = space + taken.map(|bytes| bytes.len() as u64).sum::<u64>();
    storage.set_full(Some(space));
    let key = |i: usize| format!("d{}/{i:06}", i % 7);
    let mut model = std::collections::BTreeMap::new();
    let mut refused = 0;
    for i in 0..30_000 {
        let value = vec![i as u8; 300 + dice.below(400)];
        match tree.put(key(i), &value) {
            Ok(_) => drop(model.insert(key(i).into_bytes(), value)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}: put {i}: {error}");
                assert!(error.to_string().contains("fault:"), "{what}: no file in: {error}");
                refused += 1;
                if refused > 5 {
                    break;
                }
            }
        }
    }
    assert!(refused > 0, "{what}: the disk never filled");
    let same = |db: &Db, model: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>, when: &str| {
        let now = contents(db).unwrap_or_else(|error| panic!("{what}: a read {when}: {error}"));
        assert!(now["default"] == *model, "{what}: the contents changed {when}");
    };
    same(&db, &model, "when the disk was full");
    // Deletes go on for good. (Commits are slowed while the journal waits for a checkpoint: so many are enough.)
    let keys: Vec<Vec<u8>> = model.keys().take(1500).cloned().collect();
    let mut deleted = 0;
    for key in &keys {
        let there =
            tree.delete(key).unwrap_or_else(|error| panic!("{what}: after {deleted} deletes: {error}"));
        assert!(there);
        model.remove(key);
        deleted += 1;
    }
    same(&db, &model, "by the deletes");
    db.compact().unwrap_or_else(|error| panic!("{what}: compact: {error}"));
    same(&db, &model, "by the compaction");
    // A reopen loses nothing either; where it needs room itself it says so.
    if dice.below(2) == 0 {
        let left = storage.crash(dice.roll());
        left.set_full(Some(space));
        match small(&left).open("") {
            Ok(db) if durability == Durability::Sync => same(&db, &model, "by a crash on the full disk"),
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}: open: {error}"),
        }
    }
    storage.set_full(None);
    for i in 0..500 {
        let value = vec![9; 600];
        tree.put(key(i), &value).unwrap_or_else(|error| panic!("{what}: put with space again: {error}"));
        model.insert(key(i).into_bytes(), value);
    }
    db.sync().unwrap();
    assert!(contents(&db).unwrap()["default"] == model, "{what}: the contents changed at the end");
    assert_sound(&db);
    let left = storage.crash(dice.roll());
    drop((tree, db));
    let db = small(&left).open("").unwrap();
    assert!(contents(&db).unwrap()["default"] == model, "{what}: the contents changed by a crash");
    assert_sound(&db);
    deleted
}

#[test]
fn a_full_disk_refuses_puts_and_lets_deletes_go_on() {
    let mut dice = Dice(common::seed());
    let mut deleted = 0;
    for round in 0..cases(12) {
        let durability = match round % 2 {
            0 => Durability::Sync,
            _ => Durability::Batched { bytes: 4096, interval: None },
        };
        let space = dice.below(12 << 20) as u64;
        deleted += full_disk(space, durability, round % 4 >= 2, &mut dice);
    }
    assert!(deleted as u64 >= 20 * cases(12), "only {deleted} deletes in {} rounds", cases(12));
}

#[test]
fn a_disk_that_fills_up_again_and_again_loses_nothing() {
    let mut dice = Dice(common::seed());
    for _ in 0..cases(6) {
        let mut storage = FaultStorage::new();
        let mut db = small(&storage).open("").unwrap();
        let mut model = std::collections::BTreeMap::new();
        for round in 0..40 {
            let used: usize = ["data.ramus", "journal.wal"]
                .iter()
                .filter_map(|name| storage.contents(name))
                .map(|bytes| bytes.len())
                .sum();
            storage.set_full(Some((used + dice.below(600_000)) as u64));
            let tree = db.default_tree();
            let mut bad = false;
            for _ in 0..dice.below(300) {
                let key = format!("k{:04}", dice.below(2000)).into_bytes();
                let value = vec![round as u8; dice.below(4096)];
                let what = dice.below(10);
                let outcome = match what {
                    0 => db.checkpoint(),
                    1 => db.compact(),
                    2..5 => tree.delete(&key).map(|there| {
                        assert_eq!(there, model.remove(&key).is_some());
                    }),
                    _ => tree.put(&key, &value).map(|_| drop(model.insert(key, value))),
                };
                match outcome.map_err(|error| (error.kind(), error)) {
                    Ok(()) => {}
                    Err((ErrorKind::NoSpace, _)) if what >= 5 => {}
                    // Others took the space before the journal had any: it has a reserve from the first commit on.
                    Err((ErrorKind::NoSpace, error)) if error.to_string().contains("journal.") => {}
                    Err((ErrorKind::Poisoned, _)) => bad = true,
                    Err((_, error)) => panic!("{error}"),
                }
            }
            let now = contents(&db).unwrap_or_else(|error| panic!("a read on a full disk: {error}"));
            assert!(now["default"] == model, "the contents changed");
            if bad || dice.below(5) == 0 {
                storage.set_full(None);
                let left = storage.crash(dice.roll());
                drop((tree, db));
                storage = left;
                db = small(&storage).open("").unwrap();
                assert!(contents(&db).unwrap()["default"] == model, "the contents changed over a crash");
            }
        }
        storage.set_full(None);
        assert_sound(&db);
    }
}

#[test]
fn a_full_disk_refuses_the_making_of_a_database() {
    for space in [0, 10, 31, 32, 4096, 8191, 8192, 20_000] {
        let storage = FaultStorage::new();
        storage.set_full(Some(space));
        let outcome = small(&storage).open("");
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{space} bytes: {error}");
        }
        storage.set_full(None);
        let db =
            small(&storage).open("").unwrap_or_else(|error| panic!("{space} bytes: no open after: {error}"));
        db.default_tree().put(b"k", b"").unwrap();
    }
}

#[test]
fn a_missing_parent_or_a_bad_file_name_is_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a\0b");
    assert!(Db::open(&path).is_err());
    let storage: Arc<dyn Storage> = Arc::new(FaultStorage::new());
    assert_eq!(
        Options::new().storage(storage).read_only(true).open("").unwrap_err().kind(),
        ErrorKind::NotFound
    );
}
