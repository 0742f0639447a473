//! Space: full disks, files that shrink, tables that are large.

use super::disk::Disk;
use super::{checkpoint, fill, problems, read};
use crate::error::ErrorKind;
use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use crate::store::file::NAME;
use crate::store::{Origin, Store};

#[test]
fn a_full_disk_changes_nothing_and_space_within_is_found() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let ids = fill(&store, 40, 8000);
    // What the file grew by ahead of use goes to blobs that only take space.
    while store.stats().free_units > 0 {
        fill(&store, 1, 1);
    }
    disk.limit(Some(store.stats().file_units as usize * BLOCK_BYTES));
    let error = store.begin_cut(1, 1).and_then(|()| store.finish_cut(b"catalog")).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "the table needs a block");
    disk.limit(Some((store.stats().file_units as usize + 4) * BLOCK_BYTES));
    store.finish_cut(b"catalog").expect("finish");
    store.release_dead(0).expect("release");
    while store.stats().free_units > 0 {
        fill(&store, 1, 1);
    }
    let before = store.stats();
    disk.limit(Some(before.file_units as usize * BLOCK_BYTES));
    let big = vec![1; BLOB_BYTES];
    let fresh = store.allocate_id().expect("id");
    let error = store.write_current(&[(ids[0], &big), (fresh, &big)]).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(read(&store, ids[0]).expect("read"), vec![ids[0].0 as u8; 8000]);
    assert_eq!((store.place_of(fresh), store.stats().blobs), (None, before.blobs));
    assert_eq!(problems(&store), [""; 0]);

    store.begin_cut(2, 2).expect("begin");
    let small = vec![2; 5000];
    let error = store.write_cut(&[(ids[1], &big, Origin::Live)]).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    store.free_id(ids[3]);
    let error = store.finish_cut(&[7; 3 * BLOCK_BYTES]).and_then(|()| store.finish_cut(b"")).err();
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::NoSpace), "the cut stays in progress");
    assert_eq!(problems(&store), [""; 0]);
    assert_eq!(Store::open(&disk.copy().storage(), true).expect("open").1.sequence, 1);

    disk.limit(Some((before.file_units as usize + 10) * BLOCK_BYTES));
    store.write_cut(&[(ids[1], &small, Origin::Live)]).expect("write");
    store.finish_cut(b"catalog").expect("finish");
    store.release_dead(0).expect("release");
    store.free_id(ids[5]);
    store.free_id(ids[20]);
    checkpoint(&store, 3);
    disk.limit(Some(store.stats().file_units as usize * BLOCK_BYTES));
    while store.stats().free_units > 2 {
        let id = store.allocate_id().expect("id");
        store.write_current(&[(id, &small)]).expect("the gaps of the file are used");
    }
    assert_eq!(problems(&store), [""; 0]);
}

#[test]
fn a_full_disk_takes_gaps_first_and_keeps_its_capacity() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let ids = fill(&store, 100, 10 * BLOCK_BYTES);
    checkpoint(&store, 1);
    // Gaps of one blob each, and a run of twelve.
    ids[..40].iter().step_by(2).chain(&ids[42..54]).for_each(|id| store.free_id(*id));
    checkpoint(&store, 2);
    disk.limit(Some(store.stats().file_units as usize * BLOCK_BYTES));
    assert!(!store.is_full());
    let full = store.grow(1).expect_err("full");
    assert_eq!((full.kind(), store.is_full()), (ErrorKind::NoSpace, true));
    // As deletes do it: blobs are written anew, no longer than before, a few a checkpoint; each leaves a gap.
    let spare = store.spare_units();
    let images: Vec<_> = (0..10).map(|units| vec![3; (10 - units % 3) * BLOCK_BYTES]).collect();
    let rewritten: Vec<_> = ids[56..].iter().step_by(2).zip(&images).collect();
    for (round, some) in rewritten.chunks(4).enumerate() {
        let pairs: Vec<_> = some.iter().map(|(id, image)| (**id, &image[..])).collect();
        store.write_current(&pairs).expect("the gaps take them");
        checkpoint(&store, 3 + round as u64);
    }
    assert!(store.spare_units() >= spare, "{} of {spare} units", store.spare_units());
    assert_eq!(problems(&store), [""; 0]);
    disk.limit(None);
    store.grow(1).expect("space");
    assert!(!store.is_full());
}

#[test]
fn the_file_shrinks_after_a_mass_free_and_by_moving_blobs_down() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let ids = fill(&store, 2000, 8192);
    checkpoint(&store, 1);
    let full = disk.with(NAME, |bytes| bytes.len());
    assert_eq!(full, store.stats().file_units as usize * BLOCK_BYTES);
    for id in ids.iter().filter(|id| id.0 % 4 != 0) {
        store.free_id(*id);
    }
    checkpoint(&store, 2);
    store.set_lowest_first(true);
    let live = 500 * 2 + 16;
    for id in store.blobs_above(live) {
        let image = read(&store, id).expect("read");
        store.write_current(&[(id, &image)]).expect("move");
    }
    checkpoint(&store, 3);
    checkpoint(&store, 4);
    let small = disk.with(NAME, |bytes| bytes.len());
    // With what a table of all ids given out would take, in whatever pieces: 2000 / 255 blocks and their parent.
    let held = 9 + 1 + 15;
    assert!(small <= (live as usize + held) * BLOCK_BYTES, "{full} bytes became {small}");
    assert_eq!(problems(&store), [""; 0]);
    let (store, opened) = Store::open(&disk.storage(), false).expect("open");
    assert_eq!((opened.sequence, store.stats().blobs), (4, 500));
    for id in store.blob_ids() {
        assert_eq!(read(&store, id).expect("read"), vec![id.0 as u8; 8192]);
    }
}

#[test]
fn a_large_table_opens_and_a_small_change_writes_few_blocks() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let ids = fill(&store, 100_000, 16);
    checkpoint(&store, 1);
    let (store, _) = Store::open(&disk.storage(), false).expect("open");
    let stats = store.stats();
    assert_eq!((stats.blobs, stats.image_bytes, stats.table_blocks), (100_000, 1_600_000, 393 + 2 + 1));
    store.write_current(&[(ids[77_777], b"changed")]).expect("write");
    let before = disk.changes();
    store.begin_cut(2, 2).expect("begin");
    store.finish_cut(b"catalog").expect("finish");
    // Three table blocks next to each other or not, a sync, the superblock, a sync.
    assert!(disk.changes() - before <= 6, "{} changes", disk.changes() - before);
    assert_eq!(store.stats().dead_units, 1 + 3);
    store.release_dead(0).expect("release");
    let (store, opened) = Store::open(&disk.storage(), false).expect("open");
    assert_eq!((opened.sequence, read(&store, ids[77_777]).expect("read")), (2, b"changed".to_vec()));
    assert_eq!(problems(&store), [""; 0]);
}
