//! Tests of the store as a whole: a model of its callers, crashes at every change, wrong calls, threads.

mod damage;
mod disk;
mod model;
mod space;

use super::*;
use disk::{Disk, Random};
use model::Model;

impl Default for Store {
    /// An empty store on a directory in memory, for the tests of the layers above.
    fn default() -> Self {
        Self::create(&Disk::default().storage()).expect("memory takes a file")
    }
}

fn read(store: &Store, id: BlobId) -> Result<Vec<u8>> {
    let mut image = Box::new([0; BLOB_BYTES]);
    let length = store.read_blob(id, &mut image)?;
    Ok(image[..length].to_vec())
}

fn problems(store: &Store) -> Vec<String> {
    let mut problems = Vec::new();
    store.check(&mut problems);
    problems
}

/// Ids with images of `bytes` each, written in bulk.
fn fill(store: &Store, count: usize, bytes: usize) -> Vec<BlobId> {
    let ids: Vec<BlobId> = (0..count).map(|_| store.allocate_id().expect("id")).collect();
    for some in ids.chunks(1000) {
        let images: Vec<Vec<u8>> = some.iter().map(|id| vec![id.0 as u8; bytes]).collect();
        let pairs: Vec<_> = some.iter().zip(&images).map(|(id, image)| (*id, &image[..])).collect();
        store.write_current(&pairs).expect("write");
    }
    ids
}

fn checkpoint(store: &Store, sequence: u64) {
    store.begin_cut(sequence, sequence).expect("begin");
    store.finish_cut(b"catalog").expect("finish");
    store.release_dead(0).expect("release");
}

/// A blob that was born and freed around a cut is in the table of the cut only: the blocks that the current table had a
/// place for went with the checkpoint before.
#[test]
fn a_shadow_of_a_blob_that_never_was_in_the_table_leaves_no_stale_block() {
    let store = Store::default();
    fill(&store, 3, 100);
    checkpoint(&store, 1);
    let id = store.allocate_id().expect("id");
    store.begin_cut(2, 2).expect("begin");
    store.free_id(id);
    store.write_cut(&[(id, &[7; 100][..], Origin::Shadow)]).expect("write");
    store.finish_cut(b"catalog").expect("finish");
    store.release_dead(0).expect("release");
    for sequence in 3..6 {
        checkpoint(&store, sequence);
        assert_eq!(problems(&store), Vec::<String>::new());
        // Takes the place of whatever was freed too early.
        fill(&store, 2, 100);
    }
}

#[test]
fn random_histories_leave_exactly_the_checkpoint_and_lose_no_unit() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let disk = Disk::default();
        let mut model = Model::create(&disk, if seed % 3 == 0 { 65_536 } else { 9000 }).expect("create");
        for step in 0..800 {
            if seed % 4 == 3 {
                model.store.set_lowest_first(step % 400 > 300);
            }
            let finished = model.finished();
            model.step(&mut random).expect("step");
            if step % 100 == 0 {
                model.verify();
            }
            if model.finished() != finished || step % 300 == 0 {
                model.verify();
                let (store, opened) = Store::open(&disk.copy().storage(), true).expect("open");
                assert_eq!((opened.sequence, opened.fallback), (model.finished(), false));
                model.verify_opened(&store, &opened);
            }
        }
        model.checkpoint(&mut random).expect("checkpoint");
        model.store.set_lowest_first(true);
        for id in model.blobs.clone().into_keys() {
            model.free(id).expect("free");
        }
        for _ in 0..2 {
            model.checkpoint(&mut random).expect("checkpoint");
            model.store.release_dead(0).expect("release");
        }
        let stats = model.store.stats();
        assert_eq!((stats.blobs, stats.table_blocks, stats.dead_units), (0, 0, 0), "seed {seed}");
        model.verify();
    }
}

#[test]
fn a_crash_at_any_change_leaves_the_last_checkpoint_or_the_next() {
    for seed in 0..4 {
        let history = |disk: &Disk, random: &mut Random| -> (Option<Model>, bool) {
            let Ok(mut model) = Model::create(disk, 5000) else { return (None, false) };
            for _ in 0..200 {
                if model.step(random).is_err() {
                    return (Some(model), false);
                }
            }
            let whole = model.checkpoint(random).is_ok();
            (Some(model), whole)
        };
        let whole = Disk::default();
        assert!(history(&whole, &mut Random(seed)).1);
        for changes in 0..whole.changes() {
            let disk = Disk::default();
            disk.lose_power_after(changes);
            let (model, finished) = history(&disk, &mut Random(seed));
            assert!(!finished, "the power did not go");
            let after = disk.after_power_loss(&mut Random(seed * 1000 + changes));
            let Some(model) = model else {
                if Store::exists(&after.storage()).expect("list") {
                    Store::open(&after.storage(), false).expect("a file under the right name is whole");
                }
                continue;
            };
            let (store, opened) = Store::open(&after.storage(), false).expect("open after a crash");
            let range = model.finished()..=model.sequence();
            assert!(range.contains(&opened.sequence), "{} is not in {range:?}", opened.sequence);
            model.verify_opened(&store, &opened);
            fill(&store, 20, 3000);
            checkpoint(&store, 1_000_000);
            assert_eq!(problems(&store), [""; 0]);
        }
    }
}

#[test]
fn a_read_only_store_refuses_changes() {
    let disk = Disk::default();
    Store::create(&disk.storage()).expect("create");
    let store = Store::open(&disk.storage(), true).expect("open").0;
    assert_eq!(store.begin_cut(1, 1).expect_err("refused").kind(), ErrorKind::ReadOnly);
    let error = store.write_current(&[(BlobId(1), b"x")]).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn wrong_calls_are_refused() {
    let store = Store::default();
    let id = store.allocate_id().expect("id");
    let invalid = |result: Result<()>| assert_eq!(result.expect_err("wrong").kind(), ErrorKind::InvalidInput);
    invalid(store.write_current(&[(id, b"")]));
    invalid(store.write_current(&[(id, &vec![0; BLOB_BYTES + 1])]));
    invalid(store.write_current(&[(BlobId(0), b"x")]));
    invalid(store.write_cut(&[(id, b"x", Origin::Live)]));
    invalid(store.finish_cut(b""));
    store.begin_cut(1, 1).expect("begin");
    invalid(store.begin_cut(2, 2));
    let young = store.allocate_id().expect("id");
    invalid(store.write_cut(&[(young, b"x", Origin::Live)]));
    assert_eq!(read(&store, young).expect_err("no image").kind(), ErrorKind::Corrupt);
    store.free_id(young);
    store.write_current(&[(young, b"x")]).expect("an image of a freed id is dropped");
    assert_eq!((store.place_of(young), problems(&store)), (None, vec![]));
}

#[test]
fn readers_and_writers_run_beside_checkpoints() {
    let store = std::sync::Arc::new(Store::default());
    let ids = fill(&store, 64, 5000);
    let done = std::sync::Arc::new(crate::sync::AtomicBool::new(false));
    let reader = {
        let (store, ids, done) = (store.clone(), ids.clone(), done.clone());
        crate::sync::spawn("reader", move || {
            while !done.load(Ordering::Relaxed) {
                for &id in &ids {
                    let image = read(&store, id).expect("an image that moves stays readable");
                    assert!(image.iter().all(|&byte| byte == image[0]), "blob {id:?} is torn");
                }
            }
        })
    };
    let writer = {
        let (store, ids, done) = (store.clone(), ids[..32].to_vec(), done.clone());
        crate::sync::spawn("writer", move || {
            let mut random = Random(5);
            while !done.load(Ordering::Relaxed) {
                let id = ids[random.below(32) as usize];
                store.write_current(&[(id, &vec![random.below(256) as u8; 7000])]).expect("write");
            }
        })
    };
    for sequence in 1..100 {
        checkpoint(&store, sequence);
        assert_eq!(problems(&store), [""; 0]);
    }
    done.store(true, Ordering::Relaxed);
    reader.expect("thread").join().expect("reader");
    writer.expect("thread").join().expect("writer");
    assert_eq!(problems(&store), [""; 0]);
}
