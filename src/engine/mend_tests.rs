//! Bounds on the lengths of keys come down again where directories move into each other and out, at a commit, by the background
//! thread, and where the journal is replayed.

use std::sync::Arc;

use super::mount_tests::{open, two_directories};
use super::plan::{Change, Plan};
use super::*;
use crate::io::{MemoryStorage, Storage};
use crate::limits::KEY_BYTES_MAX;
use crate::tree::{BOUND_ENOUGH, Workspace};

/// The longest that a key of the tree may be by its bounds.
fn bound(engine: &Engine, tree: &TreeState) -> usize {
    let frames = engine.buffer.reserve(0).unwrap();
    engine.buffer.load(tree.root()).unwrap();
    let _closed = engine.gate.close();
    let space = Workspace::new(&engine.buffer, frames, engine.store.database_id());
    space.longest_of_all(tree.root()).unwrap()
}

fn move_prefix(engine: &Engine, tree: &Arc<TreeState>, src: &str, dst: &str) {
    let [src, dst] = [src, dst].map(|path| path.as_bytes().to_vec());
    let (tree, dst_tree) = (Arc::clone(tree), Arc::clone(tree));
    let change = Change::RenamePrefix { tree, src, dst_tree, dst, replace: false };
    engine.commit(&Plan { changes: vec![change], ..Plan::default() }, None).unwrap();
}

#[test]
fn bounds_come_down_again() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let tree = two_directories(&engine, ["a", "b"]);
    let name = "n".repeat(500);
    let mut highest = 0;
    for _ in 0..40 {
        for (inner, outer) in [("a/", "b/"), ("b/", "a/")] {
            let inside = format!("{outer}{name}/");
            move_prefix(&engine, &tree, inner, &inside);
            highest = highest.max(bound(&engine, &tree));
            move_prefix(&engine, &tree, &inside, inner);
        }
    }
    // The bound has to have risen that far, or there was nothing to lower.
    assert!(highest > BOUND_ENOUGH / 2, "{highest}");
    assert!(highest <= BOUND_ENOUGH + 2 * 756, "{highest}");
    assert!(engine.check().unwrap().is_sound());
    drop(engine);
    let engine = open(&storage);
    let tree = engine.find_tree("t").unwrap();
    // The replay lowers no sooner than it has to.
    assert!(bound(&engine, &tree) < KEY_BYTES_MAX, "{}", bound(&engine, &tree));
    assert!(engine.check().unwrap().is_sound());
}
