//! Check, survey, compaction and reclaiming of trees with mounts that were made by hand.

use std::sync::Arc;

use super::*;
use crate::io::{MemoryStorage, Storage};
use crate::journal::Recovery;
use crate::store::BlobId;
use crate::tree::tests::mount_by_hand;

/// A small one that does nothing by itself.
pub(super) fn open(storage: &Arc<dyn Storage>) -> Arc<Engine> {
    let settings = Settings {
        cache_bytes: 4 << 20,
        durability: Durability::Sync,
        journal_bytes: 64 << 20,
        background: false,
        recovery: Recovery::Strict,
        read_only: false,
        flush_on_drop: false,
    };
    Engine::open(Arc::clone(storage), settings).unwrap()
}

/// A tree with 300 records of 300 bytes below each of two directories.
pub(super) fn two_directories(engine: &Engine, dirs: [&str; 2]) -> Arc<TreeState> {
    let tree = engine.open_tree("t").unwrap();
    for n in 0..300 {
        for dir in dirs {
            let key = format!("{dir}/{n:03}");
            engine.put(&tree, key.as_bytes(), &[7; 300], Condition::Any, false, None).unwrap();
        }
    }
    tree
}

fn put(engine: &Engine, tree: &TreeState, key: &str) {
    let outcome = engine.put(tree, key.as_bytes(), &[7; 200], Condition::Any, false, None).unwrap();
    assert!(matches!(outcome, Outcome::Done { .. }));
}

fn mount(engine: &Engine, tree: &TreeState, path: &str) -> BlobId {
    let database = engine.store.database_id();
    mount_by_hand(&engine.buffer, &engine.gate, tree.root(), database, path.as_bytes()).unwrap()
}

/// A tree of several leaf blobs with mounts in mounts, some empty; how many records it has.
fn fill(engine: &Engine, tree: &TreeState, name: &str) -> u64 {
    for path in ["b", "b/in", "b/in/in", "b/void", "c", "d/void"] {
        mount(engine, tree, path);
    }
    let mut entries = 0;
    for n in 0..300 {
        for dir in ["a", "b", "b/in", "b/in/in", "c", "d"] {
            put(engine, tree, &format!("{dir}/{name}-{n:04}"));
            entries += 1;
        }
    }
    entries
}

fn sound(engine: &Engine) -> CheckReport {
    let report = engine.check().unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert!(engine.catalog.lock().reclaim.is_empty(), "what is lost was not looked for");
    report
}

#[test]
fn check_and_survey_reach_mounted_limbs() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut entries = 0;
    {
        let engine = open(&storage);
        let tree = engine.open_tree("t").unwrap();
        entries += fill(&engine, &tree, "first");
        let report = sound(&engine);
        let stats = engine.survey().unwrap();
        assert_eq!((report.entries, stats.entries), (entries, entries));
        assert_eq!(report.blobs, stats.leaf_blobs + stats.inner_blobs);
        assert_eq!((stats.mounts, stats.limb_depth), (6, 4));
        // These are only in the journal.
        for n in 0..50 {
            put(&engine, &tree, &format!("b/in/late-{n}"));
            entries += 1;
        }
    }
    let engine = open(&storage);
    assert_eq!(sound(&engine).entries, entries);
    engine.compact().unwrap();
    assert_eq!(sound(&engine).entries, entries);
}

#[test]
fn check_finds_the_blobs_of_a_mount_that_was_lost() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let tree = engine.open_tree("t").unwrap();
    let lost = mount(&engine, &tree, "lost");
    put(&engine, &tree, "lost/record");
    sound(&engine);
    let mut leaf = engine.limb(&tree).retry(|_| engine.limb(&tree).lock_leaf(b"los")).unwrap();
    assert!(leaf.remove(b"lost"));
    drop(leaf);
    let report = engine.check().unwrap();
    assert_eq!(report.problems, [format!("blob {} is stored but nothing leads to it", lost.0)]);
}

#[test]
fn a_dropped_tree_gives_back_the_blobs_of_all_its_mounts() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = open(&storage);
    let (kept, dropped) = (engine.open_tree("kept").unwrap(), engine.open_tree("dropped").unwrap());
    let entries = fill(&engine, &kept, "kept");
    let before = sound(&engine).blobs;
    fill(&engine, &dropped, "dropped");
    let with_both = sound(&engine).blobs;
    engine.drop_tree("dropped").unwrap();
    let report = sound(&engine);
    // The root of the dropped tree was counted before it was filled.
    assert_eq!((report.blobs, report.entries), (before - 1, entries));
    assert_eq!(engine.stats().reclaimed, with_both - report.blobs);
}

/// A checkpoint after any passage of a reclaiming has on its list, or reaches, every limb that is left.
#[test]
fn no_checkpoint_between_two_passages_loses_a_limb() {
    for passages in 0.. {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let mut left = true;
        {
            let engine = open(&storage);
            let tree = engine.open_tree("t").unwrap();
            fill(&engine, &tree, "name");
            engine.checkpoint().unwrap();
            {
                let _closed = engine.gate.close();
                assert!(engine.uproot(tree.id));
            }
            for _ in 0..passages {
                let listed = engine.catalog.lock().reclaim.last().copied();
                match listed {
                    Some(root) => drop(engine.reclaim_step(root).unwrap()),
                    None => left = false,
                }
            }
            // A commit, or there would be nothing to write.
            put(&engine, &engine.find_tree(DEFAULT_TREE).unwrap(), "record");
            engine.checkpoint().unwrap();
        }
        let engine = open(&storage);
        let report = sound(&engine);
        assert_eq!((report.trees, report.blobs, report.entries), (1, 1, 1), "{passages}");
        if !left {
            assert!(passages > 6, "{passages}");
            return;
        }
    }
}
