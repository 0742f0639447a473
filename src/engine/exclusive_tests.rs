//! What a panic in the middle of a directory move leaves: nothing that anyone reads, and nothing that stays.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::exclusive::Moving;
use super::mount_tests::{open, two_directories};
use super::*;
use crate::io::{MemoryStorage, Storage};

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn a_move_that_breaks_off_ends_its_trees_and_all_writing() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let tree = two_directories(&engine, ["a", "b"]);
    let other = engine.open_tree("other").unwrap();
    let put = |tree: &TreeState| engine.put(tree, b"a/000", b"new", Condition::Any, false, None);
    put(&other).unwrap();
    let trees = BTreeMap::from([(tree.id, Arc::clone(&tree))]);
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let _closed = engine.gate.close();
        let _watch = engine.journal().unwrap().watch();
        let _moving = Moving::begin(&trees);
        panic!("planted");
    }));
    assert!(broken.is_err());
    let get = |tree: &TreeState| {
        let mut value = Vec::new();
        engine.read(tree, |limb| limb.get(b"a/000", &mut value)).map(|found| found.is_some())
    };
    assert_eq!(kind(get(&tree)), ErrorKind::Poisoned);
    assert_eq!(kind(engine.read(&tree, |limb| limb.count(b"", None).map(drop))), ErrorKind::Poisoned);
    assert!(get(&other).unwrap());
    assert_eq!(kind(put(&tree)), ErrorKind::Poisoned);
    assert_eq!(kind(put(&other)), ErrorKind::Poisoned);
    assert_eq!(kind(engine.checkpoint()), ErrorKind::Poisoned);
    assert!(engine.check().is_err());
    drop(engine);
    let engine = open(&storage);
    let tree = engine.find_tree("t").unwrap();
    assert_eq!(engine.read(&tree, |limb| limb.count(b"", None)).unwrap().keys, 600);
    assert!(engine.check().unwrap().is_sound());
}

#[test]
fn a_move_that_ends_while_its_thread_panics_is_none_that_broke_off() {
    struct Last<'t>(&'t BTreeMap<u32, Arc<TreeState>>);
    impl Drop for Last<'_> {
        fn drop(&mut self) {
            drop(Moving::begin(self.0));
        }
    }
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let tree = two_directories(&engine, ["a", "b"]);
    let trees = BTreeMap::from([(tree.id, Arc::clone(&tree))]);
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let _last = Last(&trees);
        panic!("planted");
    }));
    assert!(broken.is_err());
    assert_eq!(engine.read(&tree, |limb| limb.count(b"", None)).unwrap().keys, 600);
}
