//! A rename that others keep from its latches closes the gate, and ends once they let go.

use std::sync::Arc;

use super::mount_tests::{open, two_directories};
use crate::io::{MemoryStorage, Storage};

#[test]
fn a_rename_that_loses_its_latches_closes_the_gate() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let tree = two_directories(&engine, ["a", "z"]);
    let limb = engine.limb(&tree);
    let closures = || engine.gate.stats().closures.total();
    // The source's blob is held, the target's, and one that is both.
    for (held, src, dst) in [("a/002", "a/002", "z/1"), ("z/2", "a/003", "z/2"), ("a/004", "a/004", "a/004")]
    {
        let before = closures();
        let leaf = limb.retry(|_| limb.lock_leaf(held.as_bytes())).unwrap();
        std::thread::scope(|scope| {
            let rename = scope.spawn(|| engine.rename(&tree, src.as_bytes(), dst.as_bytes(), true, None));
            while closures() == before && !rename.is_finished() {
                std::thread::yield_now();
            }
            assert!(closures() > before, "{src} to {dst} was done without the latch of {held}");
            drop(leaf);
            rename.join().unwrap().unwrap();
        });
    }
    assert!(engine.check().unwrap().is_sound());
}
