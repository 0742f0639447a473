//! The example `filesystem`: the rules of POSIX one by one, random calls against its model and against the file system of the
//! machine, threads that work at the same time, and the replay of a history.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../examples/filesystem/model.rs"]
mod model;
#[path = "../../examples/filesystem/namespace/mod.rs"]
mod namespace;
mod random;
#[path = "../../examples/filesystem/replay.rs"]
mod replay;
mod rules;
mod threads;

use std::sync::Arc;

use common::Dice;
use namespace::{DirEntry, Errno, Kind, Namespace, Result};
use ramus::io::{MemoryStorage, Storage};
use ramus::{Db, Durability, Options};

fn empty() -> Namespace {
    Namespace::open(&Db::in_memory().unwrap()).unwrap()
}

#[track_caller]
fn errno<T: std::fmt::Debug>(outcome: Result<T>) -> Errno {
    let error = outcome.expect_err("the call is refused");
    error.errno().unwrap_or_else(|| panic!("{error}"))
}

/// All paths, in order; directories end with a slash.
fn paths(namespace: &Namespace) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), vec!["/".to_owned()]);
    while let Some(directory) = open.pop() {
        for DirEntry { name, kind } in namespace.readdir(&directory).unwrap() {
            let path = format!("{directory}{}", String::from_utf8(name).unwrap());
            match kind {
                Kind::File => all.push(path),
                Kind::Directory => {
                    all.push(path.clone() + "/");
                    open.push(path + "/");
                }
            }
        }
    }
    all.sort();
    all
}

#[track_caller]
fn assert_whole(namespace: &Namespace) {
    let problems = namespace.fsck().unwrap();
    assert!(problems.is_empty(), "{problems:#?}");
}

/// A path of up to four short names, so that calls meet; now and then with a slash at its end.
fn random_path(dice: &mut Dice) -> String {
    let depth = 1 + dice.below(4).min(dice.below(4));
    let mut path = String::new();
    for _ in 0..depth {
        path += "/";
        path += ["a", "b", "a-", "a0", "long name"][dice.below(5)];
    }
    if dice.below(12) == 0 {
        path += "/";
    }
    path
}

fn open_on(storage: &MemoryStorage) -> (Db, Namespace) {
    let options = Options::new().storage(Arc::new(storage.clone()) as Arc<dyn Storage>).background(false);
    let batched = Durability::Batched { bytes: 1 << 14, interval: None };
    let db = options.cache_bytes(4 << 20).journal_bytes(1 << 20).durability(batched).open("").unwrap();
    let namespace = Namespace::open(&db).unwrap();
    (db, namespace)
}

#[test]
fn a_history_is_replayed_and_a_wrong_one_refused() {
    let mut trace = String::from("0\tmkdir\tlib\t\n0\tmkdir\tlib/core\t\n0\tcreate\tREADME\t\n");
    for i in 0..600 {
        trace += &format!("{i}\tcreate\tlib/core/file{i}\t\n{i}\tmodify\tlib/core/file{i}\t\n");
        if i % 100 == 99 {
            trace += &format!("{i}\tmkdir\tnew{i}\t\n{i}\tmvdir\tlib/core\tnew{i}/core\n");
            trace += &format!("{i}\tmvdir\tnew{i}/core\tlib/core\n{i}\trmdir\tnew{i}\t\n");
            trace += &format!("{i}\tmv\tREADME\tlib/core/file3\n{i}\tmv\tlib/core/file3\tREADME\n");
            trace += &format!("{i}\tcreate\tlib/core/file3\t\n{i}\tunlink\tlib/core/file{i}\t\n");
        }
    }
    let report = replay::replay(&empty(), &trace).unwrap();
    assert_eq!((report.lines, report.comparisons), (trace.lines().count(), 200));
    assert_eq!(report.entries, 4 + 600 - 6);
    let shown = report.show();
    assert!(shown.contains("mvdir") && shown.contains("the largest: 596 entries"), "{shown}");
    for wrong in ["5\tmkdir\tlib\t\n", "5\tmv\tx\t\n", "5\tfly\tx\t\n", "\n", "5\tmvdir\tlib\tlib/lib\n"] {
        let error = replay::replay(&empty(), &(trace.clone() + wrong)).unwrap_err();
        assert!(error.starts_with(&format!("line {}", trace.lines().count() + 1)), "{error}");
    }
}

#[test]
fn the_recorded_history_is_replayed() {
    let Some(file) = std::env::var_os("RAMUS_FSOPS") else {
        println!("skipped: RAMUS_FSOPS names no history");
        return;
    };
    let trace = std::fs::read_to_string(&file).expect("RAMUS_FSOPS names a readable history");
    let report = replay::replay(&empty(), &trace).unwrap();
    println!("{}", report.show());
    assert_eq!(report.lines, trace.lines().count());
}
