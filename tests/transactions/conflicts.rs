//! Each kind of conflict, one by one: what somebody else does between a transaction's reads and its commit makes the commit
//! fail, and names what changed; what the transaction's answers did not depend on does not.

use std::sync::Arc;

use ramus::io::MemoryStorage;
use ramus::{Db, Entry, ErrorKind, IfExists, Options, Transaction, Tree};

fn start() -> (Db, Tree) {
    let db = Db::in_memory().unwrap();
    let tree = db.default_tree();
    for key in ["a", "b", "dir/1", "dir/2", "dir/sub/x", "e"] {
        tree.put(key, key).unwrap();
    }
    (db, tree)
}

/// The commit fails, and its message names `what`; nothing of it has happened.
#[track_caller]
fn conflicts(db: &Db, mut tx: Transaction, what: &str) {
    let tree = db.default_tree();
    tx.put(&tree, "written by the loser", "").unwrap();
    let error = tx.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains(what), "{error}");
    assert!(!tree.contains("written by the loser").unwrap());
}

/// The commit goes through.
#[track_caller]
fn commits(mut tx: Transaction, tree: &Tree) {
    tx.put(tree, "written", "").unwrap();
    let version = tx.commit().unwrap();
    assert_eq!(tree.get_record("written").unwrap().unwrap().version, version);
}

fn keys(scan: ramus::TransactionScan<'_>) -> Vec<String> {
    scan.map(|entry| String::from_utf8(entry.unwrap().key().to_vec()).unwrap()).collect()
}

#[test]
fn lost_update() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    let mut value = tx.get(&tree, "a").unwrap().unwrap();
    value.push(b'+');
    tx.put(&tree, "a", value).unwrap();
    tree.put("a", "other").unwrap();
    conflicts(&db, tx, "\"a\"");
    assert_eq!(tree.get("a").unwrap().unwrap(), b"other");
}

#[test]
fn blind_writes_do_not_conflict() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    tx.put(&tree, "a", "blind").unwrap();
    tx.delete(&tree, "b").unwrap();
    tx.delete_prefix(&tree, "dir/").unwrap();
    tree.put("a", "other").unwrap();
    tree.put("b", "other").unwrap();
    tree.put("dir/3", "other").unwrap();
    commits(tx, &tree);
    assert_eq!(tree.get("a").unwrap().unwrap(), b"blind");
    assert!(!tree.contains("b").unwrap());
    assert_eq!(tree.count_prefix("dir/").unwrap().keys, 0);
}

#[test]
fn write_skew() {
    let (db, tree) = start();
    let (mut one, mut other) = (db.transaction(), db.transaction());
    for tx in [&one, &other] {
        assert!(tx.contains(&tree, "a").unwrap() && tx.contains(&tree, "b").unwrap());
    }
    one.delete(&tree, "a").unwrap();
    other.delete(&tree, "b").unwrap();
    one.commit().unwrap();
    conflicts(&db, other, "\"a\"");
    assert!(tree.contains("b").unwrap());
}

#[test]
fn read_skew_of_a_reader() {
    let (db, tree) = start();
    let tx = db.transaction();
    tx.get(&tree, "a").unwrap();
    db.batch(|batch| {
        batch.put(&tree, "a", "new");
        batch.put(&tree, "b", "new");
    })
    .unwrap();
    assert_eq!(tx.get(&tree, "b").unwrap().unwrap(), b"new");
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    // The same with nothing in between.
    let tx = db.transaction();
    let both = ["a", "b"].map(|key| tx.get(&tree, key).unwrap().unwrap());
    assert_eq!(both, [b"new", b"new"]);
    assert_eq!(tx.commit().unwrap(), tree.get_record("b").unwrap().unwrap().version);
}

#[test]
fn a_record_that_reads_otherwise_the_second_time() {
    let (db, tree) = start();
    let tx = db.transaction();
    tx.get(&tree, "a").unwrap();
    tree.put("a", "other").unwrap();
    let error = tx.get(&tree, "a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("\"a\""), "{error}");
    conflicts(&db, tx, "\"a\"");
}

#[test]
fn phantom_by_an_absent_key() {
    let (db, tree) = start();
    let tx = db.transaction();
    assert!(tx.get(&tree, "c").unwrap().is_none());
    tree.put("c", "").unwrap();
    conflicts(&db, tx, "\"c\"");
}

#[test]
fn presence_is_all_that_contains_reads() {
    let (db, tree) = start();
    let tx = db.transaction();
    assert!(tx.contains(&tree, "a").unwrap() && !tx.contains(&tree, "c").unwrap());
    tree.put("a", "other").unwrap();
    commits(tx, &tree);
    let tx = db.transaction();
    assert!(tx.contains(&tree, "a").unwrap());
    tree.delete("a").unwrap();
    conflicts(&db, tx, "\"a\"");
}

#[test]
fn phantom_in_a_range() {
    let (db, tree) = start();
    for reverse in [false, true] {
        let list = |tx: &Transaction| {
            let scan = tx.range(&tree, "b".."e");
            let mut keys = keys(if reverse { scan.reverse() } else { scan });
            keys.sort();
            assert_eq!(keys, ["b", "dir/1", "dir/2", "dir/sub/x"]);
        };
        for change in ["bb", "dir/1", "dir/zzz"] {
            let tx = db.transaction();
            list(&tx);
            let before = tree.get(change).unwrap();
            tree.put(change, "other").unwrap();
            conflicts(&db, tx, "\"b\"");
            let tx = db.transaction();
            tx.range(&tree, "b".."e").reverse().for_each(|entry| drop(entry.unwrap()));
            tree.delete(change).unwrap();
            conflicts(&db, tx, "\"e\"");
            if let Some(before) = before {
                tree.put(change, before).unwrap();
            }
        }
        // The ends are those of the range.
        let tx = db.transaction();
        list(&tx);
        tree.put("a", "other").unwrap();
        tree.put("e", "other").unwrap();
        tree.put("azz", "other").unwrap();
        commits(tx, &tree);
    }
}

#[test]
fn a_limit_ends_what_is_read() {
    let (db, tree) = start();
    let tx = db.transaction();
    assert_eq!(keys(tx.prefix(&tree, "").limit(2)), ["a", "b"]);
    tree.put("bb", "behind").unwrap();
    commits(tx, &tree);
    let tx = db.transaction();
    assert_eq!(keys(tx.prefix(&tree, "").limit(2)), ["a", "b"]);
    tree.put("aa", "between").unwrap();
    conflicts(&db, tx, "\"b\\\\x00\"");
    tree.delete("aa").unwrap();
    // Left off by the caller, in reverse.
    let tx = db.transaction();
    assert_eq!(tx.range(&tree, ..="e").reverse().next().unwrap().unwrap().key(), b"e");
    tree.put("dz", "below").unwrap();
    commits(tx, &tree);
    let tx = db.transaction();
    assert_eq!(tx.range(&tree, ..="e1").reverse().next().unwrap().unwrap().key(), b"e");
    tree.put("e0", "above").unwrap();
    conflicts(&db, tx, "\"e1");
}

#[test]
fn phantom_through_a_delimiter_listing() {
    let (db, tree) = start();
    let list = |tx: &Transaction| {
        assert_eq!(keys(tx.prefix(&tree, "dir/").delimiter(b'/')), ["dir/1", "dir/2", "dir/sub/"])
    };
    // Below a common prefix nothing matters but that there is something.
    let tx = db.transaction();
    list(&tx);
    tree.put("dir/sub/y", "").unwrap();
    tree.delete("dir/sub/x").unwrap();
    commits(tx, &tree);
    let tx = db.transaction();
    list(&tx);
    tree.put("dir/new/z", "").unwrap();
    conflicts(&db, tx, "\"dir/\"");
    tree.delete("dir/new/z").unwrap();
    let tx = db.transaction();
    list(&tx);
    tree.delete("dir/sub/y").unwrap();
    conflicts(&db, tx, "\"dir/\"");
}

#[test]
fn own_deletes_under_a_common_prefix_make_its_rest_count() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    tx.delete(&tree, "dir/sub/x").unwrap();
    assert_eq!(keys(tx.prefix(&tree, "dir/").delimiter(b'/')), ["dir/1", "dir/2"]);
    tree.put("dir/sub/y", "").unwrap();
    conflicts(&db, tx, "\"dir/sub/\"");
}

#[test]
fn changed_count() {
    let (db, tree) = start();
    let count = |tx: &Transaction| assert_eq!(tx.count_prefix(&tree, "dir/").unwrap().keys, 3);
    let tx = db.transaction();
    count(&tx);
    tree.put("dir/1", "longer than before").unwrap();
    conflicts(&db, tx, "\"dir/\"");
    let tx = db.transaction();
    count(&tx);
    // A count does not say which: the same sums are the same answer.
    tree.rename("dir/2", "dir/3", IfExists::Fail).unwrap();
    commits(tx, &tree);
}

#[test]
fn a_directory_that_moves_into_a_range() {
    let (db, tree) = start();
    let tx = db.transaction();
    assert_eq!(keys(tx.range(&tree, "b".."c")), ["b"]);
    tree.rename_prefix("dir/", "bar/", IfExists::Fail).unwrap();
    conflicts(&db, tx, "\"b\"");
    let tx = db.transaction();
    assert_eq!(tx.get(&tree, "bar/1").unwrap().unwrap(), b"dir/1");
    tree.rename_prefix("bar/", "dir/", IfExists::Fail).unwrap();
    conflicts(&db, tx, "\"bar/1\"");
}

/// Directories swap places, and their records have the same versions: only the values differ.
#[test]
fn the_same_version_with_another_value() {
    let (db, tree) = start();
    db.batch(|batch| {
        batch.put(&tree, "x/k", "1");
        batch.put(&tree, "y/k", "2");
    })
    .unwrap();
    let version = tree.get_record("x/k").unwrap().unwrap().version;
    let listing = |tx: &Transaction| keys(tx.prefix(&tree, "x/"));
    for read_by_listing in [false, true] {
        let tx = db.transaction();
        if read_by_listing {
            assert_eq!(listing(&tx), ["x/k"]);
        } else {
            tx.get(&tree, "x/k").unwrap();
        }
        db.batch(|batch| {
            batch.rename_prefix(&tree, "x/", "t/", IfExists::Fail);
            batch.rename_prefix(&tree, "y/", "x/", IfExists::Fail);
            batch.rename_prefix(&tree, "t/", "y/", IfExists::Fail);
        })
        .unwrap();
        assert_eq!(tree.get_record("x/k").unwrap().unwrap().version, version);
        conflicts(&db, tx, "\"x/");
    }
    // There and back again is no change.
    let tx = db.transaction();
    tx.get(&tree, "x/k").unwrap();
    tree.rename_prefix("x/", "t/", IfExists::Fail).unwrap();
    tree.rename_prefix("t/", "x/", IfExists::Fail).unwrap();
    commits(tx, &tree);
}

#[test]
fn answers_of_renames_are_read() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    let error = tx.rename(&tree, "a", "b", IfExists::Fail).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    tree.delete("b").unwrap();
    conflicts(&db, tx, "\"b\"");
    let mut tx = db.transaction();
    assert_eq!(tx.rename(&tree, "b", "c", IfExists::Fail).unwrap_err().kind(), ErrorKind::NotFound);
    tree.put("b", "b").unwrap();
    conflicts(&db, tx, "\"b\"");
    let mut tx = db.transaction();
    tx.rename(&tree, "a", "c", IfExists::Fail).unwrap();
    tree.put("a", "other").unwrap();
    conflicts(&db, tx, "\"a\"");
    let mut tx = db.transaction();
    tx.rename_prefix(&tree, "dir/", "new/", IfExists::Fail).unwrap();
    tree.put("new/1", "").unwrap();
    conflicts(&db, tx, "\"new/\"");
    let mut tx = db.transaction();
    assert_eq!(
        tx.rename_prefix(&tree, "none/", "x/", IfExists::Fail).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    tree.put("none/1", "").unwrap();
    conflicts(&db, tx, "\"none/\"");
    // Which keys move, and what they hold, is nobody's business.
    let mut tx = db.transaction();
    tx.rename_prefix(&tree, "dir/", "other/", IfExists::Fail).unwrap();
    tree.put("dir/3", "").unwrap();
    tree.put("dir/1", "changed").unwrap();
    commits(tx, &tree);
    assert_eq!(tree.count_prefix("other/").unwrap().keys, 4);
}

/// What is read through the transaction's own moves is where it was before them.
#[test]
fn reads_through_own_moves() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    tx.rename_prefix(&tree, "dir/", "moved/", IfExists::Fail).unwrap();
    assert_eq!(keys(tx.prefix(&tree, "moved/")), ["moved/1", "moved/2", "moved/sub/x"]);
    tree.put("dir/3", "").unwrap();
    conflicts(&db, tx, "\"dir/\"");
    let mut tx = db.transaction();
    tx.rename_prefix(&tree, "dir/", "moved/", IfExists::Replace).unwrap();
    assert!(tx.get(&tree, "moved/4").unwrap().is_none());
    tree.put("dir/4", "").unwrap();
    conflicts(&db, tx, "\"dir/4\"");
}

/// Large directories that have moved are limbs mounted in others.
#[test]
fn phantoms_in_mounted_directories() {
    let db = Options::new().background(false).storage(Arc::new(MemoryStorage::new())).open("").unwrap();
    let tree = db.default_tree();
    for directory in ["a/", "c/", "e/"] {
        for n in 0..200 {
            tree.put(format!("from/{directory}{n:03}"), vec![7; 1000]).unwrap();
        }
        tree.rename_prefix(format!("from/{directory}"), format!("all/{directory}"), IfExists::Fail).unwrap();
    }
    for key in ["all/b", "all/d", "all/f"] {
        tree.put(key, "").unwrap();
    }
    assert!(db.survey().unwrap().survey.unwrap().mounts > 0);
    type Reader = fn(&Transaction, &Tree);
    let readers: [Reader; 4] = [
        |tx, tree| assert_eq!(tx.prefix(tree, "all/").count(), 603),
        |tx, tree| assert_eq!(tx.range(tree, "all/c/150".."all/e/020").reverse().count(), 71),
        |tx, tree| assert_eq!(tx.count_prefix(tree, "all/").unwrap().keys, 603),
        |tx, tree| {
            assert_eq!(tx.prefix(tree, "all/").delimiter(b'/').count(), 6);
            assert!(tx.get(tree, "all/c/199x").unwrap().is_none());
        },
    ];
    for read in readers {
        let tx = db.transaction();
        read(&tx, &tree);
        commits(tx, &tree);
        tree.delete("written").unwrap();
        let tx = db.transaction();
        read(&tx, &tree);
        tree.put("all/c/199x", "").unwrap();
        conflicts(&db, tx, "\"all/");
        tree.delete("all/c/199x").unwrap();
    }
}

#[test]
fn a_transaction_across_trees_is_one_commit() {
    let (db, tree) = start();
    let other = db.tree("other").unwrap();
    let mut tx = db.transaction();
    tx.get(&tree, "a").unwrap();
    tx.put(&other, "a", "there").unwrap();
    tx.rename_prefix_to(&tree, &other, "dir/", "dir/", IfExists::Fail).unwrap();
    let before = db.stats().last_version;
    let version = tx.commit().unwrap();
    assert_eq!(version, before + 1);
    assert_eq!(db.stats().last_version, version, "one journal record");
    assert_eq!(other.count_prefix("").unwrap().keys, 4);
    let mut tx = db.transaction();
    tx.get(&tree, "a").unwrap();
    tx.put(&other, "b", "there").unwrap();
    tree.delete("a").unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!other.contains("b").unwrap());
}

#[test]
fn a_tree_that_was_dropped() {
    let (db, tree) = start();
    let doomed = db.tree("doomed").unwrap();
    doomed.put("k", "").unwrap();
    let mut tx = db.transaction();
    assert!(tx.contains(&doomed, "k").unwrap());
    tx.put(&tree, "a", "").unwrap();
    db.drop_tree("doomed").unwrap();
    assert_eq!(tx.get(&doomed, "k").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::NotFound);
    let elsewhere = Db::in_memory().unwrap();
    let mut tx = elsewhere.transaction();
    assert_eq!(tx.put(&tree, "a", "").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(tx.prefix(&tree, "").next().unwrap().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn transact_tries_again_after_a_conflict() {
    let (db, tree) = start();
    let mut runs = 0;
    let seen = db
        .transact(|tx| {
            runs += 1;
            let value = tx.get(&tree, "a")?.unwrap();
            if runs < 4 {
                tree.put("a", format!("run {runs}"))?;
            }
            tx.put(&tree, "b", &value)?;
            Ok(value)
        })
        .unwrap();
    assert_eq!((runs, &seen[..]), (4, &b"run 3"[..]));
    assert_eq!(tree.get("b").unwrap().unwrap(), b"run 3");
}

#[test]
fn transact_gives_up_after_its_limit() {
    let (db, tree) = start();
    let mut runs = 0;
    let outcome: ramus::Result<()> = db.transact(|tx| {
        runs += 1;
        tx.get(&tree, "a")?;
        tree.put("a", format!("run {runs}"))?;
        tx.put(&tree, "b", "")
    });
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(runs, ramus::limits::TRANSACT_TRIES_MAX);
}

/// An error that was concluded from what was never true together is not given to the caller.
#[test]
fn transact_returns_an_error_only_if_its_reads_hold() {
    let (db, tree) = start();
    let mut runs = 0;
    let outcome = db.transact(|tx| {
        runs += 1;
        let a = tx.get(&tree, "a")?;
        if runs == 1 {
            db.batch(|batch| {
                batch.put(&tree, "a", "equal");
                batch.put(&tree, "b", "equal");
            })?;
        }
        match tx.get(&tree, "b")? == a {
            true => Ok(()),
            false => Err(ramus::Error::invalid("they differ")),
        }
    });
    assert!(outcome.is_ok());
    assert_eq!(runs, 2);
    runs = 0;
    let outcome: ramus::Result<()> = db.transact(|tx| {
        runs += 1;
        tx.put(&tree, "b", "given up")?;
        tx.rename(&tree, "nothing", "there", IfExists::Fail)
    });
    assert_eq!((outcome.unwrap_err().kind(), runs), (ErrorKind::NotFound, 1));
    assert_eq!(tree.get("b").unwrap().unwrap(), b"equal");
}

#[test]
fn a_transaction_may_go_to_another_thread() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    tx.put(&tree, "a", "here").unwrap();
    let tx = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tx.put(&tree, "b", "there").unwrap();
                tx
            })
            .join()
            .unwrap()
    });
    tx.commit().unwrap();
    assert_eq!([tree.get("a").unwrap().unwrap(), tree.get("b").unwrap().unwrap()], [&b"here"[..], b"there"]);
}

#[test]
fn the_transactions_own_records_have_no_version_yet() {
    let (db, tree) = start();
    let mut tx = db.transaction();
    tx.put(&tree, "a", "own").unwrap();
    assert_eq!(tx.get_record(&tree, "a").unwrap().unwrap().version, 0);
    let first = tx.prefix(&tree, "a").next().unwrap().unwrap();
    assert_eq!(first, Entry::Record { key: b"a".to_vec(), value: b"own".to_vec(), version: 0 });
}
