//! Damaged bytes, lost writes and failed syncs: an error or the right data, never wrong data.

use super::disk::{Disk, Random};
use super::model::{Images, Model, catalog_of};
use super::{fill, problems, read};
use crate::error::{ErrorKind, Result};
use crate::limits::BLOCK_BYTES;
use crate::store::block::Image;
use crate::store::file::NAME;
use crate::store::table::Entry;
use crate::store::{BlobId, Store};

#[test]
fn every_damaged_byte_gives_an_error_or_the_right_data() {
    let disk = Disk::default();
    let mut model = Model::create(&disk, 3000).expect("create");
    let mut random = Random(7);
    for _ in 0..300 {
        model.add(&mut random).expect("add");
    }
    for _ in 0..2 {
        model.checkpoint(&mut random).expect("checkpoint");
    }
    let names = model.store.checkpoint.lock().blocks.values().map(|place| place.unit).collect::<Vec<_>>();
    assert!(names.len() >= 3, "the table has several levels");
    let image = model.store.place_of(BlobId(1)).expect("place").0;
    let catalog = model.store.checkpoint.lock().superblock.catalog.unit;
    let damaged = disk.copy();
    for unit in [0, 1, image, catalog].into_iter().chain(names) {
        let stride = if unit == image || unit == catalog { 16 } else { 1 };
        for byte in (0..BLOCK_BYTES).step_by(stride) {
            let at = unit as usize * BLOCK_BYTES + byte;
            damaged.with(NAME, |bytes| bytes[at] ^= 0x10);
            if let Ok((store, opened)) = Store::open(&damaged.storage(), true) {
                let padding = unit == catalog && byte >= opened.catalog.len();
                assert!(unit == image || padding || opened.fallback, "damage at {at} unseen");
                let expected: &Images = &model.checkpoints[&opened.sequence];
                for id in [1, 255, 300] {
                    match read(&store, BlobId(id)) {
                        Ok(bytes) => assert_eq!(Some(&bytes), expected.get(&id), "damage at {at}"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "damage at {at}"),
                    }
                }
            }
            damaged.with(NAME, |bytes| bytes[at] ^= 0x10);
        }
    }
    let length = model.checkpoints[&2][&1].len();
    damaged.with(NAME, |bytes| bytes[image as usize * BLOCK_BYTES + length - 1] ^= 1);
    let (store, _) = Store::open(&damaged.storage(), true).expect("open");
    let error = read(&store, BlobId(1)).expect_err("a damaged image");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("memory/data.ramus") && error.to_string().contains("blob 1"),
        "{error}"
    );
    assert_eq!(problems(&store).len(), 1);
    assert_eq!(catalog_of(2).len(), model.store.checkpoint.lock().catalog.len());
}

#[test]
fn which_checkpoint_is_opened() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let open = |disk: &Disk| Store::open(&disk.storage(), true).map(|(_, opened)| opened);
    let first = open(&disk).expect("open");
    assert_eq!((first.generation, first.sequence, first.fallback), (1, 0, false));
    fill(&store, 5, 10);
    store.begin_cut(7, 70).expect("begin");
    store.finish_cut(b"seven").expect("finish");
    let newest = open(&disk).expect("open");
    assert_eq!((newest.generation, newest.sequence, newest.sequence_mark), (2, 7, 70));
    assert_eq!(
        (&newest.catalog[..], newest.fallback, newest.database_id),
        (&b"seven"[..], false, first.database_id)
    );
    let root = store.checkpoint.lock().superblock.root.unit as usize * BLOCK_BYTES;
    let catalog = store.checkpoint.lock().superblock.catalog.unit as usize * BLOCK_BYTES;

    let with = |damage: &dyn Fn(&mut Vec<u8>)| {
        let copy = disk.copy();
        copy.with(NAME, |bytes| damage(bytes));
        open(&copy)
    };
    for at in [0, 30, root, catalog] {
        let older = with(&|bytes| bytes[at] ^= 1).expect("the older one");
        assert_eq!((older.generation, older.fallback), (1, true), "damage at {at}");
    }
    let older = with(&|bytes| bytes[..BLOCK_BYTES].fill(0)).expect("the older one");
    assert_eq!((older.generation, older.fallback), (1, false), "zeros may never have been written");
    for at in [BLOCK_BYTES, BLOCK_BYTES + 30] {
        let newer = with(&|bytes| bytes[at] ^= 1).expect("the newer one");
        assert_eq!((newer.generation, newer.fallback), (2, true), "damage at {at}");
    }
    let lost = with(&|bytes| bytes[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0)).expect("the newer one");
    assert_eq!((lost.generation, lost.fallback), (2, true));
    let both = with(&|bytes| (bytes[30], bytes[BLOCK_BYTES + 30]) = (9, 9)).expect_err("both damaged");
    assert_eq!(both.kind(), ErrorKind::Corrupt);
    let root_and_old = with(&|bytes| (bytes[root], bytes[BLOCK_BYTES]) = (9, 9)).expect_err("nothing left");
    assert!(root_and_old.to_string().contains(&format!("offset {root}")), "{root_and_old}");
    for length in [0, 5, BLOCK_BYTES, root] {
        let short = with(&|bytes| bytes.truncate(length));
        assert!(short.map_or_else(|error| error.kind() == ErrorKind::Corrupt, |opened| opened.fallback));
    }
}

#[test]
fn a_failed_sync_poisons_writes_and_reads_go_on() {
    let disk = Disk::default();
    let store = Store::create(&disk.storage()).expect("create");
    let ids = fill(&store, 3, 100);
    store.begin_cut(1, 1).expect("begin");
    disk.fail_syncs();
    assert_eq!(store.finish_cut(b"").expect_err("sync").kind(), ErrorKind::Io);
    let poisoned = |result: Result<()>| assert_eq!(result.expect_err("refused").kind(), ErrorKind::Poisoned);
    poisoned(store.write_current(&[(ids[0], b"x")]));
    poisoned(store.begin_cut(2, 2));
    poisoned(store.finish_cut(b""));
    poisoned(store.release_dead(0));
    assert_eq!(read(&store, ids[0]).expect("read"), [1; 100]);
}

#[test]
fn tables_that_contradict_themselves_are_corrupt() {
    let place = |unit| Entry { image: Image { unit, bytes: 9000, hash: 0 }, birth: 1 };
    let forged = |id: u32, entry: Entry| {
        let disk = Disk::default();
        let store = Store::create(&disk.storage()).expect("create");
        fill(&store, 2, 9000);
        store.state.lock().current.set(id, entry);
        store.begin_cut(1, 1).expect("begin");
        store.finish_cut(b"").expect("finish");
        // Nothing to fall back to.
        disk.with(NAME, |bytes| bytes[BLOCK_BYTES] ^= 1);
        Store::open(&disk.storage(), true).map(drop)
    };
    let first = 2;
    for (id, unit) in
        [(2, first), (2, first + 2), (2, 0xFFFF_FFFF), (2, 1), (2, 1000), (3, 900), (9000, first + 6)]
    {
        let error = forged(id, place(unit)).expect_err("contradicts itself");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "blob {id} at {unit}: {error}");
    }
    assert!(forged(2, place(first + 3)).is_ok(), "where it is anyway");
}
